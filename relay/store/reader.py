"""Reads one shard with short statements: for its owner's event loop, and for the office and the command line."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import orjson

from relay.errors import CorruptionError, TemporaryError
from relay.model.delivery import OPEN_STATES, DeliveryState
from relay.model.message import (
    RECIPIENT_INDEX_BITS,
    RECIPIENTS_HARD_MAX,
    Delivery,
    Message,
    NewEvent,
    SendOptions,
)
from relay.model.queue_entry import QueueEntry
from relay.model.scan import Scan
from relay.schedule.fair import BULK_BIT, NO_STRAND
from relay.store.database import open_reader
from relay.store.records import CODES, STATES, Row, delivery_of, message_of, options_of, scan_of
from relay.store.sql import queries

STRANDS_LOOKED_AT: Final = 1000
ACCOUNTS_TOLD: Final = 10
SCAN_ROWS_MAX: Final = 5000
PAGE_ROWS_MAX: Final = 1000
_READ: Final = queries("read.sql")
_DELIVERY_COLUMNS: Final = 11
_LAST_KEY: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class QueueScan:
    """Which rows of the queue to look at: states, and where given, one account or the keys of some messages.

    `rows_max` bounds how many deliveries one look passes over.
    """

    states: frozenset[DeliveryState] = OPEN_STATES
    account: str = ""
    message_id: str = ""
    rows_max: int = SCAN_ROWS_MAX


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
        self._log = 0
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
            (seq, NewEvent(event_id, kind, message_id, payload, notes))
            for seq, event_id, kind, message_id, payload, notes in self._all("events", (after, limit))
        ]

    def newest_events(self, after: int, limit: int) -> list[tuple[int, NewEvent]]:
        """Return the newest events beyond a sequence number, the last one first."""
        return [(seq, NewEvent(*columns)) for seq, *columns in self._all("newest_events", (after, limit))]

    def event_backlog(self, after: int) -> int:
        """Return how many events lie beyond a sequence number, at most a million."""
        return int(self._all("event_backlog", (after,))[0][0])

    def last_event(self) -> int:
        """Return the highest sequence number that was ever used."""
        return int(self._all("last_event")[0][0])

    def event_log(self) -> int:
        """Return the random number of the event log, 0 where the file is being made."""
        with self._reading() as connection:
            if not self._log:
                found = connection.execute(_READ["meta"], ("event_log",)).fetchone()
                self._log = int(found[0]) if found else 0
            return self._log

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

    def entries(self, scan: QueueScan, after: int = 0) -> tuple[list[QueueEntry], int | None]:
        """Return what there is beyond a delivery key, and where to go on, None at the end.

        There may be nothing and more all the same: each look passes over a bounded number. Rows that are damaged are
        left out.
        """
        upto = _LAST_KEY
        if scan.message_id:
            rows = self._all("message_key", (scan.message_id,))
            if not rows:
                return [], None
            first = rows[0][0] << RECIPIENT_INDEX_BITS
            after, upto = max(after, first - 1), first | RECIPIENTS_HARD_MAX
        bits = sum(1 << CODES[state] for state in scan.states)
        rows = self._all("entries", (after, upto, bits, scan.account or None, scan.rows_max))
        found = [entry for row in rows if (entry := _entry(row)) is not None]
        end, seen = self._all("entries_end", (after, upto, scan.rows_max))[0]
        return found, end if seen == scan.rows_max else None

    def held_by_rule(self) -> list[tuple[int, int]]:
        """Return (standing hold, deliveries that it holds now)."""
        return [(rule, number) for rule, number in self._all("held_by_rule")]

    def next_end_ms(self) -> int | None:
        """Return when the next hold ends, None when none does."""
        found: int | None = self._all("next_end")[0][0]
        return found

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

    def dialogues_of(self, message_key: int) -> list[tuple[int, int, bytes]]:
        """Return (delivery key, attempt, packed dialogue) of a message."""
        return [(key, attempt, record) for key, attempt, record in self._all("dialogues_of", (message_key,))]

    def scan(self, message_key: int) -> Scan | None:
        """Return what scanners said of a message, None when none was asked."""
        return scan_of(self._all("scan", (message_key,)))

    def body_files(self) -> list[tuple[int, str, int]]:
        """Return (message key, name, size) of every body file that a row names."""
        return [(key, str(file), size) for key, file, size in self._all("unfinished_bodies")]

    def finished(self, after: int, limit: int) -> list[tuple[int, bool]]:
        """Return message keys beyond one, and whether each is finished."""
        return [(key, bool(done)) for key, done in self._all("finished", (after, limit))]

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
        self._log = 0
        return self._connection


class ShardEvents:
    """EventSource: the event log of one shard, for the process that publishes it."""

    def __init__(self, shard: int, spool_path: Path) -> None:
        self.shard = shard
        self._reader = ShardReader(spool_path)

    def log(self) -> int:
        """Return the random number of the log, 0 while there is none. Raise TemporaryError."""
        return self._reader.event_log()

    def last(self) -> int:
        """Return the highest number that was ever used. Raise TemporaryError."""
        return self._reader.last_event()

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


def _entry(row: Row) -> QueueEntry | None:
    """Return what an operator sees of a row; no checksum is looked at, because nothing is sent from it."""
    try:
        key, state, attempts, next_ms, recipient, last_reply, message_id, account, sender, *numbers = row
        accepted_ms, expires_ms, size_bytes, options, until_ms, rule, source = numbers
        return QueueEntry(
            key,
            STATES[state],
            attempts,
            next_ms,
            _clean(recipient),
            _clean(last_reply),
            _clean(message_id),
            _clean(account),
            _clean(sender),
            accepted_ms,
            expires_ms,
            size_bytes,
            _options(options),
            max(0, until_ms or 0),
            rule or 0,
            _clean(source),
        )
    except (TypeError, ValueError, AttributeError, KeyError):
        return None


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=1024)
def _options(text: str) -> SendOptions:
    return options_of(text)
