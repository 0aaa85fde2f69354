"""A spool in memory, by the same rules as the one on disk.

Answers come through the running event loop, one turn later, as the port asks. `fail_next` makes the next writes
fail with StorageError; `contents` may be edited to make content unreadable.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from relay.errors import CorruptionError, StorageError
from relay.model.content import Content
from relay.model.delivery import OPEN_STATES, DeliveryState
from relay.model.message import Delivery, Message, NewEvent, NewMessage, Settlement
from relay.model.scan import Scan
from relay.ports import Done
from relay.schedule.fair import RETRY_BIT, strand_of

_MINUTE_MS = 60_000


@dataclass(slots=True)
class MemorySpool:
    """Spool and EventSource for tests."""

    shard: int = 1
    deliveries: dict[int, Delivery] = field(default_factory=dict)
    attempts_logs: dict[int, list[bytes]] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)
    events: list[NewEvent] = field(default_factory=list)
    number: int = 1
    usage: dict[tuple[str, int], int] = field(default_factory=dict)
    dedupe_keys: set[str] = field(default_factory=set)
    noted: dict[int, int] = field(default_factory=dict)
    settlements: list[Settlement] = field(default_factory=list)
    scans: dict[int, Scan] = field(default_factory=dict)
    moved: dict[int, int] = field(default_factory=dict)  # delivery key to strand
    room: int = 1 << 40
    fail_next: int = 0
    _last_key: int = 0

    def next_key(self) -> int:
        """Return the key for the next message."""
        self._last_key += 1
        return self._last_key

    def append(self, message: NewMessage, done: Done) -> None:
        """Keep a message with its deliveries, events and usage."""
        if self._refused(done):
            return
        self._keep(message)
        _answer(done, None)

    def settle(self, settlement: Settlement, done: Done) -> None:
        """Keep the verdict on one delivery with all its effects."""
        if self._refused(done):
            return
        if not settlement.dedupe_key or settlement.dedupe_key not in self.dedupe_keys:
            self._apply(settlement)
        _answer(done, None)

    def settle_all(self, settlements: Sequence[Settlement], done: Done) -> None:
        """Keep several verdicts, all or nothing."""
        if self._refused(done):
            return
        for settlement in settlements:
            self._apply(settlement)
        _answer(done, None)

    def deliveries_of(self, message: Message) -> Sequence[Delivery]:
        """Return the deliveries of a message."""
        return [delivery for delivery in self.deliveries.values() if delivery.message.key == message.key]

    def scan(self, message_key: int) -> Scan | None:
        """Return what scanners said of a message."""
        return self.scans.get(message_key)

    def keep_scan(self, message_key: int, scan: Scan) -> None:
        """Keep what scanners said of a message."""
        self.scans[message_key] = scan

    def strands(self, after: int, limit: int) -> list[tuple[int, int]]:
        """Return up to `limit` strands beyond one in which something is queued, each with its first `next_ms`."""
        found: dict[int, int] = {}
        for delivery in self.deliveries.values():
            strand = self._strand(delivery)
            if delivery.state is DeliveryState.QUEUED and strand > after:
                found[strand] = min(found.get(strand, delivery.next_ms), delivery.next_ms)
        return sorted(found.items())[:limit]

    def set_strand(self, keys: Sequence[int], strand: int) -> None:
        """Let deliveries wait in another strand."""
        self.moved.update(dict.fromkeys(keys, strand))

    def _strand(self, delivery: Delivery) -> int:
        strand = self.moved.get(delivery.key)
        return strand_of(delivery) if strand is None else strand | (RETRY_BIT if delivery.attempts else 0)

    def waiting(self, strand: int, now_ms: int, limit: int, after: tuple[int, int] = (0, 0)) -> list[tuple[int, int]]:
        """Return (next_ms, key) of what is queued in a strand and due, beyond `after`, in order."""
        found = [
            (delivery.next_ms, delivery.key)
            for delivery in self.deliveries.values()
            if delivery.state is DeliveryState.QUEUED
            and delivery.next_ms <= now_ms
            and self._strand(delivery) == strand
        ]
        return sorted(position for position in found if position > after)[:limit]

    def queued(self, keys: Sequence[int]) -> list[Delivery]:
        """Return those of some deliveries that are queued and whole, in the given order."""
        found = (self.deliveries.get(key) for key in keys)
        return [delivery for delivery in found if delivery and delivery.state is DeliveryState.QUEUED]

    def due(self, now_ms: int, limit: int, after: tuple[int, int] = (0, 0)) -> list[Delivery]:
        """Return queued deliveries with `next_ms <= now_ms`, ordered by (next_ms, key), beyond `after`."""
        found = [
            delivery
            for delivery in self.deliveries.values()
            if delivery.state is DeliveryState.QUEUED
            and delivery.next_ms <= now_ms
            and (delivery.next_ms, delivery.key) > after
        ]
        return sorted(found, key=lambda delivery: (delivery.next_ms, delivery.key))[:limit]

    def next_due_ms(self) -> int | None:
        """Return the earliest `next_ms` of the queued deliveries, None when there are none."""
        queued = [d.next_ms for d in self.deliveries.values() if d.state is DeliveryState.QUEUED]
        return min(queued, default=None)

    def content(self, message_key: int) -> Content:
        """Return the message as accepted. Raise CorruptionError when it is missing."""
        if message_key not in self.contents:
            raise CorruptionError(f"the content of message {message_key} is missing")
        return self.contents[message_key]

    def in_flight(self, slot: int, delivery_key: int) -> None:
        """Note that connection `slot` works on a delivery (0: on none)."""
        self.noted[slot] = delivery_key

    def room_bytes(self) -> int:
        """Return `room`."""
        return self.room

    def log(self) -> int:
        """Return the number of the log."""
        return self.number

    def last(self) -> int:
        """Return the highest sequence number."""
        return len(self.events)

    def read(self, after: int, limit: int) -> Sequence[tuple[int, NewEvent]]:
        """Return events with a sequence number (from 1) above `after`, in order."""
        return list(enumerate(self.events, start=1))[after : after + limit]

    def _refused(self, done: Done) -> bool:
        if not self.fail_next:
            return False
        self.fail_next -= 1
        _answer(done, StorageError("the test made this write fail"))
        return True

    def _keep(self, new: NewMessage) -> None:
        message = new.message
        self.deliveries.update({delivery.key: delivery for delivery in new.deliveries})
        self.events += new.events
        if any(delivery.state in OPEN_STATES for delivery in new.deliveries):
            self.contents[message.key] = new.content
        if new.usage_recipients:
            minute = (message.account, message.accepted_ms // _MINUTE_MS)
            self.usage[minute] = self.usage.get(minute, 0) + new.usage_recipients

    def _apply(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)
        if settlement.dedupe_key:
            self.dedupe_keys.add(settlement.dedupe_key)
        key = settlement.delivery.key
        known = self.deliveries.get(key)
        if known is not None and known.state in OPEN_STATES:
            stays = known.state is not DeliveryState.QUEUED and settlement.state in OPEN_STATES
            self.deliveries[key] = replace(
                known,
                state=known.state if stays else settlement.state,
                attempts=settlement.attempts,
                next_ms=settlement.next_ms,
                last_reply=settlement.last_reply,
                crashes=0,
                source=settlement.source or known.source,
                delay_told=settlement.delay_told or known.delay_told,
            )
            self.attempts_logs.setdefault(key, []).extend([settlement.attempt] if settlement.attempt else [])
        self.events += settlement.events
        for new in settlement.messages:
            self._keep(new)
        self._free(settlement.delivery.message.key)

    def _free(self, message_key: int) -> None:
        mine = (d for d in self.deliveries.values() if d.message.key == message_key)
        if not any(delivery.state in OPEN_STATES for delivery in mine):
            self.contents.pop(message_key, None)


def _answer(done: Done, error: Exception | None) -> None:
    asyncio.get_running_loop().call_soon(done, error)
