"""Events on their way from a shard to whoever wants them: sources, destinations, and files of effects."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from relay.model.event import LoggedEvent
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


class Applier(Protocol):
    """A file of effects that keeps its own place in each shard's log, so that each event takes effect exactly once.

    All calls come from one thread of its own, `open` first. What `apply` and `skip` change is one transaction with
    the new place, synced on return; a crash leaves both or neither. They raise StorageError to be called again later.
    """

    name: str

    def open(self) -> None:
        """Open or create the file. Raise RelayError when it cannot be used."""
        ...

    def place(self, shard: int) -> int:
        """Return the number of the last event of a shard that took effect, 0 for none."""
        ...

    def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        """Let events of a shard take effect, and move the place to the last of them; never empty, in order."""
        ...

    def skip(self, shard: int, seq: int) -> None:
        """Move the place past an event that cannot take effect."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...
