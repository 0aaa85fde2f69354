"""Reads one shard with short statements: for its owner's event loop, and for the office and the command line."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import orjson

from relay.errors import CorruptionError, TemporaryError
from relay.model.delivery import OPEN_STATES, DeliveryState
from relay.model.message import Delivery, Message, NewEvent
from relay.model.scan import Scan
from relay.schedule.fair import BULK_BIT, NO_STRAND
from relay.store.database import open_reader
from relay.store.records import CODES, STATES, Row, delivery_of, message_of, scan_of
from relay.store.sql import queries

PAGE_ROWS_MAX: Final = 1000
PAGE_SCAN_MAX: Final = 20_000
STRANDS_LOOKED_AT: Final = 1000
ACCOUNTS_TOLD: Final = 10
_READ: Final = queries("read.sql")
_DELIVERY_COLUMNS: Final = 11


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which deliveries to list: in any of `states`, and where given, of one recipient domain or message."""

    states: frozenset[DeliveryState] = OPEN_STATES
    domain: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Some deliveries in key order; `next_after` continues the listing, None at its end.

    A page may be empty and not the last: each scans a bounded number of deliveries.
    """

    deliveries: tuple[Delivery, ...]
    next_after: int | None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Open deliveries by state (all three, zeros too), and when the oldest message among them was accepted.

    `overdue_ms` has the accounts whose mail has been due longest, at most ten, and for how long that is.
    """

    counts: Mapping[DeliveryState, int]
    oldest_accepted_ms: int | None
    transactional: int = 0
    bulk: int = 0
    overdue_ms: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Damaged:
    """A delivery that cannot be read back whole."""

    delivery_key: int
    problem: str


class ShardReader:
    """Read access to one spool file; used by one thread. `owned`: this process is the file's writer.

    Raise TemporaryError when the file cannot be read now. A file that was replaced (salvage) is opened again.
    """

    def __init__(self, path: Path, *, owned: bool = False) -> None:
        self._path = path
        self._owned = owned
        self._inode = 0
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def strands(self, after: int, limit: int) -> list[tuple[int, int]]:
        """Return up to `limit` strands beyond one in which something is queued, each with its first `next_ms`."""
        return [(strand, next_ms) for strand, next_ms in self._all("strands", (after, limit))]

    def waiting(self, strand: int, now_ms: int, limit: int, after: tuple[int, int]) -> list[tuple[int, int]]:
        """Return (next_ms, key) of what is due in a strand, beyond `after`, in order."""
        return self._all("waiting", (strand, now_ms, *after, limit))

    def queued(self, keys: Sequence[int]) -> tuple[list[Delivery], list[Damaged]]:
        """Return those of some deliveries that are queued, in the given order, and those that are damaged."""
        return _sorted_out(self._all("queued_deliveries", (orjson.dumps(keys).decode(),)))

    def due(self, now_ms: int, limit: int, after: tuple[int, int]) -> tuple[list[Delivery], list[Damaged]]:
        """Return queued deliveries whose time has come, beyond `after`, in order, and those that are damaged."""
        return _sorted_out(self._all("due", (now_ms, *after, limit)))

    def next_due_ms(self) -> int | None:
        """Return the earliest time of a queued delivery, as far as the first 1,000 strands tell."""
        return min((next_ms for _, next_ms in self.strands(NO_STRAND, STRANDS_LOOKED_AT)), default=None)

    def content_row(self, message_key: int) -> Row | None:
        """Return checksum, size, file, head and body of a message's content. Raise CorruptionError."""
        try:
            rows = self._all("content", (message_key,))
        except TemporaryError as error:
            raise CorruptionError(f"the content of message {message_key} cannot be read: {error}") from error
        return rows[0] if rows else None

    def events(self, after: int, limit: int) -> list[tuple[int, NewEvent]]:
        """Return events beyond a sequence number, in order."""
        return [
            (seq, NewEvent(event_id, kind, message_id, payload))
            for seq, event_id, kind, message_id, payload in self._all("events", (after, limit))
        ]

    def event_backlog(self, after: int) -> int:
        """Return how many events lie beyond a sequence number, at most a million."""
        return int(self._all("event_backlog", (after,))[0][0])

    def last_event(self) -> int:
        """Return the highest sequence number that was ever used."""
        return int(self._all("last_event")[0][0])

    def usage_since(self, minute: int) -> list[tuple[str, int, int]]:
        """Return (account, minute, recipients) from a minute (since 1970) on."""
        return [(account, at, recipients) for account, at, recipients in self._all("usage_since", (minute,))]

    def inbox(self, limit: int) -> list[tuple[str, int, bytes]]:
        """Return (item id, shard, payload) of what waits for other shards, oldest first."""
        return [(item_id, shard, payload) for item_id, shard, payload in self._all("inbox", (limit,))]

    def counts(self) -> dict[DeliveryState, int]:
        """Return the number of deliveries in each state."""
        return {STATES[code]: number for code, number in self._all("counts") if code in STATES}

    def held_for(self, reason: str) -> int:
        """Return how many deliveries are held with a reason as their last reply."""
        return int(self._all("held_for", (reason,))[0][0])

    def depth(self, now_ms: int) -> "QueueDepth":
        """Return how many deliveries are open, by state and class, how old the oldest is, and who waits longest."""
        counts = {STATES[code]: number for code, number in self._all("set_aside")}
        queued = dict(self._all("queued"))
        counts[DeliveryState.QUEUED] = sum(queued.values())
        overdue: dict[str, int] = {}
        for strand, next_ms in sorted(self.strands(NO_STRAND, STRANDS_LOOKED_AT), key=itemgetter(1)):
            if len(overdue) == ACCOUNTS_TOLD or next_ms >= now_ms:
                break
            for (account,) in self._all("account_of", (strand,)):
                overdue.setdefault(account, now_ms - next_ms)
        return QueueDepth(
            counts, self.oldest_accepted_ms(), queued.get(0, 0), queued.get(BULK_BIT, 0), tuple(overdue.items())
        )

    def oldest_accepted_ms(self) -> int | None:
        """Return when the oldest message with an open delivery was accepted."""
        rows = self._all("oldest_queued")
        return int(rows[0][0]) if rows else None

    def page(self, wanted: QueueFilter, after: int, limit: int) -> QueuePage:
        """Return a page of the queue beyond a delivery key."""
        limit = max(1, min(limit, PAGE_ROWS_MAX))
        bits = sum(1 << CODES[state] for state in wanted.states)
        pattern = "%@" + _escaped(wanted.domain) if wanted.domain else None
        if wanted.message_id:
            return self._page_of_message(wanted, after, limit)
        values = (after, bits, pattern, None, PAGE_SCAN_MAX, limit)
        rows = self._all("page", values)
        messages: dict[int, Message] = {}
        found = tuple(item for row in rows if isinstance(item := _delivery(row, messages), Delivery))
        if len(rows) == limit:
            return QueuePage(found, rows[-1][0])
        end, scanned = self._all("page_end", (after, PAGE_SCAN_MAX))[0]
        return QueuePage(found, end if scanned == PAGE_SCAN_MAX else None)

    def attempts(self, after: int, limit: int) -> list[tuple[int, str, str]]:
        """Return (key, recipient, attempts as a JSON list) of deliveries beyond a key, in order."""
        return [(key, recipient, _json_list(log)) for key, recipient, log in self._all("attempts", (after, limit))]

    def delivery(self, key: int) -> Delivery | None:
        """Return one delivery, None when it is not in the queue. Raise CorruptionError."""
        rows = self._all("delivery", (key,))
        if not rows:
            return None
        item = _delivery(rows[0], {})
        if isinstance(item, Damaged):
            raise CorruptionError(item.problem)
        return item

    def message(self, message_id: str) -> Message | None:
        """Return the message whose id is or begins with a text. Raise CorruptionError."""
        rows = self._all("message_by_id", (message_id, message_id + "\U0010ffff"))
        return message_of(rows[0]) if rows else None

    def deliveries_of(self, message: Message) -> list[tuple[Delivery, str]]:
        """Return the deliveries of a message with their attempts, each as a JSON list."""
        return deliveries_with_attempts(self._all("deliveries_of", (message.key,)), message)

    def scan(self, message_key: int) -> Scan | None:
        """Return what scanners said of a message, None when none was asked."""
        return scan_of(self._all("scan", (message_key,)))

    def body_files(self) -> list[tuple[int, str, int]]:
        """Return (message key, name, size) of every body file that a row names."""
        return [(key, str(file), size) for key, file, size in self._all("unfinished_bodies")]

    def finished(self, after: int, limit: int) -> list[tuple[int, bool]]:
        """Return message keys beyond one, and whether each is finished."""
        return [(key, bool(done)) for key, done in self._all("finished", (after, limit))]

    def _page_of_message(self, wanted: QueueFilter, after: int, limit: int) -> QueuePage:
        message = self.message(wanted.message_id)
        if message is None or message.message_id != wanted.message_id:
            return QueuePage((), None)
        found = [
            delivery
            for delivery, _ in self.deliveries_of(message)
            if delivery.key > after
            and delivery.state in wanted.states
            and (not wanted.domain or delivery.domain == wanted.domain.lower())
        ]
        more = len(found) > limit
        return QueuePage(tuple(found[:limit]), found[limit - 1].key if more else None)

    def _all(self, name: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(_READ[name], values).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._connection if self._connection is not None and self._owned else self._opened()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise TemporaryError(f"the spool {self._path} cannot be read: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        inode = self._path.stat().st_ino
        if self._connection is not None and inode == self._inode:
            return self._connection
        self.close()
        self._connection = open_reader(self._path, "spool")
        self._inode = inode
        return self._connection


class ShardEvents:
    """EventSource: the event log of one shard, for the process that publishes it."""

    def __init__(self, shard: int, spool_path: Path) -> None:
        self.shard = shard
        self._reader = ShardReader(spool_path)

    def read(self, after: int, limit: int) -> Sequence[tuple[int, NewEvent]]:
        """Return events with a sequence number above `after`, in order. Raise TemporaryError."""
        return self._reader.events(after, limit)

    def backlog(self, after: int) -> int:
        """Return how many events lie beyond a sequence number, at most a million."""
        return self._reader.event_backlog(after)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def deliveries_with_attempts(rows: Sequence[Row], message: Message) -> list[tuple[Delivery, str]]:
    """Return deliveries and their attempts (a JSON list) from rows; damaged ones are left out."""
    found = []
    for row in rows:
        try:
            delivery = delivery_of(row[:_DELIVERY_COLUMNS], message)
        except CorruptionError:
            continue
        found.append((delivery, _json_list(row[_DELIVERY_COLUMNS])))
    return found


def _json_list(log: str) -> str:
    return "[" + log.removeprefix(",") + "]"


def pages_of_attempts(page: Callable[[int, int], list[tuple[int, str, str]]]) -> Iterator[tuple[str, str]]:
    """Yield recipient and attempts (a JSON list, never empty) of all deliveries, reading a page at a time."""
    after = 0
    while rows := page(after, PAGE_ROWS_MAX):
        yield from ((recipient, log) for _, recipient, log in rows if log != "[]")
        after = rows[-1][0]


def _sorted_out(rows: Sequence[Row]) -> tuple[list[Delivery], list[Damaged]]:
    deliveries: list[Delivery] = []
    damaged: list[Damaged] = []
    messages: dict[int, Message] = {}
    for row in rows:
        item = _delivery(row, messages)
        if isinstance(item, Delivery):
            deliveries.append(item)
        else:
            damaged.append(item)
    return deliveries, damaged


def _delivery(row: Row, messages: dict[int, Message]) -> Delivery | Damaged:
    key = row[0]
    message_key = row[_DELIVERY_COLUMNS]
    if message_key is None:
        return Damaged(key, f"the message of delivery {key} is missing")
    try:
        message = messages.get(message_key)
        if message is None:
            message = messages[message_key] = message_of(row[_DELIVERY_COLUMNS:])
        return delivery_of(row[:_DELIVERY_COLUMNS], message)
    except CorruptionError as error:
        return Damaged(key, str(error))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
