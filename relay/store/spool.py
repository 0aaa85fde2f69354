"""The spool of one shard: the durable queue behind `relay.ports.Spool`.

Threads: the event loop's thread calls everything here and reads; the writer commits; the housekeeper moves
finished messages to history; the body thread syncs large bodies before their rows are written.

It is long because the port is wide: each call is a few lines, and what is done stands in the modules it calls.
"""

import asyncio
import contextlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from relay.errors import CorruptionError, StorageError
from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.ids import accepted_ms_of
from relay.model.message import Delivery, Message, NewMessage, Settlement
from relay.model.queue_entry import QueueEntry
from relay.model.scan import Scan
from relay.ports import Clock, Done, Log, Metrics
from relay.store import operations
from relay.store.adoption import Adopted, AdoptionReport, ShardPaths, adopt
from relay.store.body_keeper import BodyKeeper
from relay.store.history import NO_KEY, Trace, find_in_history
from relay.store.housekeeping import Housekeeper, Retention
from relay.store.jobs import Append, Call, Group, Settle
from relay.store.reader import Damaged, QueueDepth, QueueScan, ShardReader
from relay.store.records import scan_row
from relay.store.room import room_bytes
from relay.store.sql import queries
from relay.store.writer import KEY_BLOCK, CrashPoint, Writer

TRACE_PREFIX_MIN: Final = 25  # of a message id: what a return path carries
_ROOM_SECONDS: Final = 1.0
_DISK_BYTES_A_BYTE: Final = 2  # it is in the log, and in the database as well once the log is carried over
_DAMAGE_LOGGED_MAX: Final = 100
_WRITE: Final = queries("write.sql")
_READ: Final = queries("read.sql")


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Settings of a shard. `crash_point` and `on_damage` may be None; see ShardSpool.

    `search_key` is the key of the hashes under which history files subjects.
    """

    disk_free_min_bytes: int = 0
    retention: Retention = field(default_factory=Retention)
    crash_point: CrashPoint | None = None
    metrics: Metrics | None = None
    search_key: bytes = NO_KEY


class ShardSpool:
    """One shard, owned by this process until `close`.

    `open` before the event loop serves (it may take seconds), `start` on the loop. `on_damage` is called on the
    loop once the file turns out to be damaged while it is in use: the process should end, so that its successor
    salvages what can be read.
    """

    def __init__(self, shard: int, adopted: Adopted, clock: Clock, log: Log, options: SpoolOptions) -> None:
        self.shard = shard
        self.report: AdoptionReport = adopted.report
        self.paths: ShardPaths = adopted.paths
        self.on_damage: Callable[[], None] | None = None
        self._adopted = adopted
        self._clock = clock
        self._log = log
        self._options = options
        self._next_key = adopted.next_key
        self._bodies = adopted.bodies
        self._in_flight = adopted.in_flight
        self._reader = ShardReader(adopted.paths.database, owned=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room_bytes = 0
        self._room_until = 0.0
        self._damage_seen: set[int] = set()
        self._writer = Writer(
            adopted.paths.database,
            next_seq=adopted.next_seq,
            key_ceiling=adopted.next_key + KEY_BLOCK,
            log=log,
            on_commit=self._committed,
            on_failure=self._failed,
            crash_point=options.crash_point,
            metrics=options.metrics,
        )
        self._housekeeper = Housekeeper(
            adopted.paths.database,
            adopted.paths.history,
            writer=self._writer,
            clock=clock,
            log=log,
            retention=options.retention,
            crash_point=options.crash_point,
            search_key=options.search_key,
        )
        self._keeper = BodyKeeper(
            shard, adopted.bodies, log, self._writer.submit, no_room=self._no_room, crash_point=options.crash_point
        )

    @classmethod
    def open(
        cls, data_dir: Path, shard: int, clock: Clock, log: Log, options: SpoolOptions | None = None
    ) -> "ShardSpool":
        """Adopt a shard, made when missing; blocks. Raise ConfigurationError, NewerVersionError."""
        return cls(shard, adopt(data_dir, shard, clock, log), clock, log, options or SpoolOptions())

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads; answers arrive on `loop`. Raise StorageError."""
        self._loop = loop
        try:
            self._writer.start(loop)
        except sqlite3.Error as error:
            raise StorageError(f"the spool {self.paths.database} cannot be opened: {error}") from error
        self._housekeeper.start()
        self._keeper.start(loop)

    def close(self) -> None:
        """Commit what waits, end the threads, forget what is in flight, give the shard up; blocks."""
        self._keeper.stop()
        self._housekeeper.stop()
        self._writer.stop()
        self._reader.close()
        self._in_flight.clear()
        self._in_flight.close()
        os.close(self._adopted.lock)

    def apply(self, options: SpoolOptions) -> None:
        """Keep to other bounds of disk space and retention from now on."""
        self._options = options
        self._room_until = 0.0
        self._housekeeper.retention = options.retention

    # --- the port ----------------------------------------------------------------------------------------------

    def next_key(self) -> int:
        """Return the key for the next message."""
        key = self._next_key
        self._next_key = key + 1
        return key

    def append(self, message: NewMessage, done: Done) -> None:
        """Write a message with its deliveries, events and usage, all or nothing.

        A body file in `incoming/` is moved: use `content` afterwards, not the old path.
        """
        self._room_bytes -= _DISK_BYTES_A_BYTE * message.content.size_bytes
        if isinstance(message.content.body, bytes):
            self._writer.submit_soon(Append(message, done))
        else:
            self._keeper.put(message, done)

    def settle(self, settlement: Settlement, done: Done) -> None:
        """Write the verdict on one delivery with all its effects, all or nothing."""
        self._writer.submit_soon(Settle((settlement,), done))

    def settle_all(self, settlements: Sequence[Settlement], done: Done) -> None:
        """Write the verdicts on several deliveries in one transaction, all or nothing."""
        self._writer.submit_soon(Settle(settlements, done))

    def deliveries_of(self, message: Message) -> Sequence[Delivery]:
        """Return the deliveries of a message as they are on disk. Raise TemporaryError."""
        return [delivery for delivery, _ in self._reader.deliveries_of(message)]

    def scan(self, message_key: int) -> Scan | None:
        """Return what scanners said of a message, None when none was asked. Raise TemporaryError."""
        return self._reader.scan(message_key)

    def keep_scan(self, message_key: int, scan: Scan) -> None:
        """Write what scanners said of a message; when that fails it is scanned again."""
        row = scan_row(message_key, scan)
        self._writer.submit(Call(lambda _group, connection: _ran(connection, "put_scan", row), _ignore))

    def strands(self, after: int, limit: int) -> list[tuple[int, int]]:
        """Return up to `limit` strands beyond one in which something is queued, each with its first `next_ms`."""
        return self._reader.strands(after, limit)

    def set_strand(self, keys: Sequence[int], strand: int) -> None:
        """Let queued deliveries wait in another strand, soon; when that fails they stay where they are."""
        values = (orjson.dumps(keys).decode(), strand)
        self._writer.submit(Call(lambda _group, connection: _ran(connection, "set_strand", values), _ignore))

    def waiting(self, strand: int, now_ms: int, limit: int, after: tuple[int, int] = (0, 0)) -> list[tuple[int, int]]:
        """Return (next_ms, key) of what is queued in a strand and due, beyond `after`, in order."""
        return self._reader.waiting(strand, now_ms, limit, after)

    def queued(self, keys: Sequence[int]) -> list[Delivery]:
        """Return those of some deliveries that are queued and whole, in the given order.

        The others of them are quarantined. Raise TemporaryError.
        """
        return self._whole(*self._reader.queued(keys))

    def due(self, now_ms: int, limit: int, after: tuple[int, int] = (0, 0)) -> list[Delivery]:
        """Return queued deliveries with `next_ms <= now_ms`, ordered by (next_ms, key), beyond `after`.

        Reads the whole index. Those that cannot be read back whole are quarantined and left out.
        """
        return self._whole(*self._reader.due(now_ms, limit, after))

    def _whole(self, deliveries: list[Delivery], damaged: list[Damaged]) -> list[Delivery]:
        for item in damaged:
            self._set_aside(item.delivery_key, item.problem)
        return deliveries

    def next_due_ms(self) -> int | None:
        """Return the earliest `next_ms` of the queued deliveries, None when there are none."""
        return self._reader.next_due_ms()

    def content(self, message_key: int) -> Content:
        """Return the message as accepted. Raise CorruptionError when it is missing or fails its checksum."""
        row = self._reader.content_row(message_key)
        if row is None:
            raise CorruptionError(f"the content of message {message_key} is missing")
        checksum, size_bytes, file, head, body = row
        if file is not None:
            if not isinstance(head, bytes):
                raise CorruptionError(f"the head of message {message_key} is unreadable")
            return Content(head, self._bodies.open(str(file), size_bytes, head, checksum))
        if not isinstance(head, bytes) or not isinstance(body, bytes) or len(body) != size_bytes:
            raise CorruptionError(f"the content of message {message_key} is not whole")
        if zlib.crc32(body, zlib.crc32(head)) != checksum:
            raise CorruptionError(f"the content of message {message_key} fails its checksum")
        return Content(head, body)

    def in_flight(self, slot: int, delivery_key: int) -> None:
        """Note, cheaply and crash-safe, that connection `slot` works on a delivery (0: on none)."""
        self._in_flight.note(slot, delivery_key)

    def room_bytes(self) -> int:
        """Return how much may still be written before `disk_free_min` is reached.

        Looks once a second, and counts what is written in between.
        """
        now = self._clock.monotonic()
        if now < self._room_until:
            return self._room_bytes
        self._room_until = now + _ROOM_SECONDS
        paths = self.paths
        self._room_bytes = room_bytes(paths.directory, self._options.disk_free_min_bytes, (paths.database,))
        return self._room_bytes

    # --- for operators -----------------------------------------------------------------------------------------

    async def act(self, operation: operations.Operation) -> list[int]:
        """Do what an operator asked for in one transaction; return the keys that changed. Raise StorageError."""
        keys: list[int] = await self._call(operation)
        return keys

    def entries(self, scan: QueueScan, after: int = 0) -> tuple[list[QueueEntry], int | None]:
        """Return what there is in the queue beyond a delivery key, and where to go on. Raise TemporaryError."""
        return self._reader.entries(scan, after)

    def next_end_ms(self) -> int | None:
        """Return when the next hold ends by itself, None when none does. Raise TemporaryError."""
        return self._reader.next_end_ms()

    def delivery(self, key: int) -> Delivery | None:
        """Return one delivery, None when it is not in the shard. Raise CorruptionError, TemporaryError."""
        return self._reader.delivery(key)

    def counts(self) -> dict[DeliveryState, int]:
        """Return the number of deliveries in each state (finished ones until they move to history).

        Reads the whole queue: for operators; metrics use `depth`.
        """
        return self._reader.counts()

    def depth(self) -> QueueDepth:
        """Return open deliveries by state and the oldest message's time, a few seconds old and without any wait."""
        return self._housekeeper.depth or self._reader.depth(self._clock.now_ms())

    def oldest_accepted_ms(self) -> int | None:
        """Return when the oldest message with an open delivery was accepted."""
        return self._reader.oldest_accepted_ms()

    def trace(self, message_id: str) -> Trace | None:
        """Return a message by its id, or by the first 25 characters of it, from the shard or from history.

        Raise CorruptionError, TemporaryError.
        """
        return find_message(self._reader, self.paths.history, message_id)

    # --- for the processes beside ------------------------------------------------------------------------------

    def usage_since(self, minute: int) -> list[tuple[str, int, int]]:
        """Return (account, minute, recipients) from a minute (since 1970) on; kept for 25 hours."""
        return self._reader.usage_since(minute)

    async def prune_events(self, seq: int) -> None:
        """Drop the events up to `seq`: every destination has them."""

        def run(_group: Group, connection: sqlite3.Connection) -> bool:
            # Noted before the rows go: a number must not be given out again when the log is empty.
            last = int(connection.execute(_READ["last_event"]).fetchone()[0])
            connection.execute(_WRITE["set_meta"], ("event_seq", last))
            connection.execute(_WRITE["prune_events"], (seq,))
            return bool(connection.execute(_WRITE["events_left"], (seq,)).fetchone()[0])

        while await self._call(run):
            pass

    def inbox(self, limit: int = 100) -> list[tuple[str, int, bytes]]:
        """Return (item id, shard, payload) of what waits for other shards, oldest first."""
        return self._reader.inbox(limit)

    def submit(
        self, run: Callable[[Group, sqlite3.Connection], Any], answer: Callable[[Any, Exception | None], None]
    ) -> None:
        """Run something rarer in the writer's next transaction; `answer` is called on the loop after its sync."""
        self._writer.submit(Call(run, answer))

    def between(self, action: Callable[[sqlite3.Connection], None]) -> None:
        """Run something in the writer's thread, outside a transaction, between two groups."""
        self._writer.between(action)

    # --- inside ------------------------------------------------------------------------------------------------

    async def _call(self, run: Callable[[Group, sqlite3.Connection], Any]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(result: Any, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.submit(run, answer)
        return await future

    def _set_aside(self, delivery_key: int, problem: str) -> None:
        if delivery_key in self._damage_seen:
            return
        if len(self._damage_seen) < _DAMAGE_LOGGED_MAX:
            self._damage_seen.add(delivery_key)
            self._log.error("delivery quarantined", shard=self.shard, delivery=delivery_key, problem=problem)
        self._writer.submit(
            Call(lambda _group, connection: _ran(connection, "quarantine", (delivery_key, problem)), _ignore)
        )

    def _committed(self, keys: list[int], files: list[str]) -> None:
        for name in files:
            self._keeper.remove(name)
        self._housekeeper.add_finished(keys)

    def _failed(self, damaged: bool) -> None:  # noqa: FBT001 - the writer's own callback
        self._no_room()
        if not damaged:
            return
        with contextlib.suppress(OSError):
            self.paths.damage_mark.touch(mode=0o600)
        if self._loop is not None and self.on_damage is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.on_damage)

    def _no_room(self) -> None:
        self._room_bytes = 0
        self._room_until = self._clock.monotonic() + _ROOM_SECONDS


def find_message(reader: ShardReader, history: Path, message_id: str) -> Trace | None:
    """Return a message by its id or the first 25 characters of it. Raise CorruptionError, TemporaryError."""
    if len(message_id) < TRACE_PREFIX_MIN or not _hexadecimal(message_id[:16]):
        return None
    message = reader.message(message_id)
    if message is not None:
        found = tuple(reader.deliveries_of(message))
        said = tuple(reader.dialogues_of(message.key))
        scan = reader.scan(message.key)
        if reader.message(message_id) is not None:  # else it moved to history between these reads
            return Trace(message, found, finished=False, scan=scan, dialogues=said)
    try:
        return find_in_history(history, message_id, accepted_ms_of(message_id))
    except (sqlite3.Error, OverflowError, ValueError, OSError) as error:
        raise CorruptionError(f"the history of {message_id} cannot be read: {error}") from error


def _hexadecimal(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)


def _ran(connection: sqlite3.Connection, name: str, values: tuple[Any, ...]) -> None:
    connection.execute(_WRITE[name], values)


def _ignore(_result: Any, _error: Exception | None) -> None:
    """Nobody waits for this."""
