"""The durable queue of one shard, and what came back for messages of any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.model.content import Content
from relay.model.message import Delivery, Message, NewEvent, NewMessage, Settlement
from relay.model.scan import Scan

Done = Callable[[Exception | None], None]


class Spool(Protocol):
    """One shard of the durable queue, owned by this process for its life.

    `append` and `settle` call back after their transaction was synced to disk (None), or with a StorageError when
    nothing of it was kept. Keys are given out by `next_key` in memory and never repeat, across restarts too.
    """

    shard: int

    def next_key(self) -> int:
        """Return the key for the next message."""
        ...

    def append(self, message: NewMessage, done: Done) -> None:
        """Write a message with its deliveries, events and usage, all or nothing."""
        ...

    def settle(self, settlement: Settlement, done: Done) -> None:
        """Write the verdict on one delivery with all its effects, all or nothing."""
        ...

    def settle_all(self, settlements: Sequence[Settlement], done: Done) -> None:
        """Write the verdicts on several deliveries in one transaction, all or nothing."""
        ...

    def deliveries_of(self, message: Message) -> Sequence[Delivery]:
        """Return the deliveries of a message of this shard as they are on disk, those that ended too."""
        ...

    def scan(self, message_key: int) -> Scan | None:
        """Return what scanners said of a message, None when none was asked."""
        ...

    def keep_scan(self, message_key: int, scan: Scan) -> None:
        """Write what scanners said of a message; when that fails nobody is told, and it is scanned again."""
        ...

    def strands(self, after: int, limit: int) -> list[tuple[int, int]]:
        """Return up to `limit` strands beyond one in which something is queued, each with its first `next_ms`.

        A delivery waits in the strand of its flow (`relay.schedule.fair`), as a first attempt or as a retry. The cost
        of a strand does not depend on how much waits in it.
        """
        ...

    def set_strand(self, keys: Sequence[int], strand: int) -> None:
        """Let queued deliveries wait in another strand, soon; when that fails they stay where they are."""
        ...

    def waiting(self, strand: int, now_ms: int, limit: int, after: tuple[int, int] = (0, 0)) -> list[tuple[int, int]]:
        """Return (next_ms, key) of what is queued in a strand and due, beyond `after`, in order."""
        ...

    def queued(self, keys: Sequence[int]) -> list[Delivery]:
        """Return those of some deliveries that are queued and whole, in the given order."""
        ...

    def due(self, now_ms: int, limit: int, after: tuple[int, int] = (0, 0)) -> list[Delivery]:
        """Return queued deliveries with `next_ms <= now_ms`, ordered by (next_ms, key), beyond `after`.

        Reads the whole index: for those who look at a queue, not for those who work it off.
        """
        ...

    def next_due_ms(self) -> int | None:
        """Return the earliest `next_ms` of the queued deliveries (of 1,000 strands), None when there are none."""
        ...

    def content(self, message_key: int) -> Content:
        """Return the message as accepted. Raise CorruptionError when it is missing or fails its checksum."""
        ...

    def in_flight(self, slot: int, delivery_key: int) -> None:
        """Note, cheaply and crash-safe, that connection `slot` works on a delivery (0: on none)."""
        ...

    def room_bytes(self) -> int:
        """Return how much may still be written before `limits.disk_free_min` is reached; 0 or less: refuse mail."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """A message of this shard with its deliveries, still queued or long finished.

    `attempts` are the attempts of each delivery, a JSON list in the order they were made.
    """

    message: Message
    deliveries: Sequence[Delivery]
    attempts: Sequence[str] = ()


Recorded = Callable[[bool, Exception | None], None]
"""Called with whether it was written (False: known before, or an error), and the error."""


class Inbox(Protocol):
    """What came back for messages of any shard, until its owner took it over; and this shard's own records."""

    def keep(self, item_id: str, shard: int, payload: bytes, done: Done) -> None:
        """Write an item for a shard; the same id again changes nothing."""
        ...

    def waiting(self, limit: int) -> Sequence[tuple[str, int, bytes]]:
        """Return items (id, shard, payload) that were not taken over yet, oldest first."""
        ...

    def forget(self, item_id: str, done: Done) -> None:
        """Drop an item that its owner has taken over."""
        ...

    def find(self, message_id_prefix: str) -> Record | None:
        """Return the message of this shard whose id starts so, from queue or history."""
        ...

    def record(
        self, dedupe_key: str, events: Sequence[NewEvent], messages: Sequence[NewMessage], done: Recorded
    ) -> None:
        """Write events and messages in one transaction; nothing when `dedupe_key` was recorded before."""
        ...
