"""How logs of events are read on: by batches bounded in number and octets, with growing waits after faults.

Whoever follows a log (`relay.events.outbox`, `relay.events.carrier`) reads it by these.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from relay.model.message import NewEvent
from relay.ports import EventSource

BATCH_EVENTS: Final = 500
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
BACKOFF_FIRST_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 60.0


def read_batch(source: EventSource, after: int) -> Sequence[tuple[int, NewEvent]]:
    """Return the events above `after` that fit a batch, at least one if there is any. Raise TemporaryError."""
    events = source.read(after, BATCH_EVENTS)
    total = 0
    for index, (_, event) in enumerate(events):
        total += len(event.payload) + 1
        if total > BATCH_BYTES_MAX and index:
            return events[:index]
    return events


def is_large(events: Sequence[NewEvent]) -> bool:
    """Say whether a batch is about as large as may be, so that more is behind it."""
    return len(events) == BATCH_EVENTS or sum(len(event.payload) for event in events) > BATCH_BYTES_MAX // 2


class Backoff:
    """How long a follower waits after a fault: from a second on, twice as long each time, spread by a fifth."""

    def __init__(self) -> None:
        self.seconds = BACKOFF_FIRST_SECONDS

    def reset(self) -> None:
        """Begin anew: it went well."""
        self.seconds = BACKOFF_FIRST_SECONDS

    async def wait(self) -> None:
        """Wait, and longer the next time."""
        await asyncio.sleep(self.seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries, guards nothing
        self.seconds = min(self.seconds * 2, BACKOFF_MAX_SECONDS)
