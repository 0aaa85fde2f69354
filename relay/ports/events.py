"""Events on their way from a shard to their destinations."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from relay.model.message import NewEvent


class EventSource(Protocol):
    """The event log of one shard, read by the process that publishes it."""

    shard: int

    def read(self, after: int, limit: int) -> Sequence[tuple[int, NewEvent]]:
        """Return events with a sequence number above `after`, in order."""
        ...


class EventDestination(Protocol):
    """A place events are published to, at least once: `publish` returns after they are kept there."""

    name: str

    async def publish(self, events: Iterable[NewEvent]) -> None:
        """Publish in order; raise TemporaryError to be called again later with the same events."""
        ...
