"""What the writer thread is asked to do, and how a group of it becomes few SQL statements."""

import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from relay.model.delivery import OPEN_STATES
from relay.model.message import NewEvent, NewMessage, Settlement
from relay.ports import Done
from relay.store.dialogues import packed
from relay.store.records import CODES, FIRST_FINAL_CODE, delivery_row, event_row, message_row
from relay.store.sql import queries, repeated

# A statement gives up the interpreter lock and waits for it again; with a busy event loop that wait dominates.
# So rows go in by 32, and what is left in as few statements as may be (5 times the rate of single rows then).
_ROW_COUNTS: Final = (32, 16, 8, 4, 2, 1)
_WRITE: Final = queries("write.sql")
_INSERTS: Final = {
    name: tuple((rows, repeated(_WRITE[name], rows)) for rows in _ROW_COUNTS)
    for name in ("insert_message", "insert_content", "insert_delivery", "insert_event", "insert_dialogue", "settle")
}
_OVERHEAD_BYTES: Final = 1024
DIALOGUES_KEPT: Final = 4  # of a delivery: that of the first attempt, and the newest
MINUTE_MS: Final = 60_000


class Group:
    """The rows of one transaction, and what has to happen after its commit."""

    def __init__(self, connection: sqlite3.Connection, next_seq: int) -> None:
        self._connection = connection
        self.next_seq = next_seq
        self.last_key = 0
        self.finished: list[int] = []  # keys of messages without an open delivery
        self.files: list[str] = []  # body files that no row names any more
        self._messages: list[tuple[Any, ...]] = []
        self._contents: list[tuple[Any, ...]] = []
        self._deliveries: list[tuple[Any, ...]] = []
        self._events: list[tuple[Any, ...]] = []
        self._dialogues: list[tuple[int, int, bytes]] = []
        self._verdicts: dict[int, tuple[Any, ...]] = {}
        self._usage: dict[tuple[str, int], int] = {}
        self._closing: set[int] = set()

    def add_message(self, new: NewMessage, file: str | None = None, checksum: int | None = None) -> None:
        """Add a message with everything that belongs to it."""
        message = new.message
        self.last_key = max(self.last_key, message.key)
        self._messages.append(message_row(message))
        self._deliveries += [delivery_row(delivery) for delivery in new.deliveries]
        self.add_events(new.events)
        if any(delivery.state in OPEN_STATES for delivery in new.deliveries):
            self._contents.append(_content_row(new, file, checksum))
        else:
            self.finished.append(message.key)
            self.files += [file] if file else []
        if new.usage_recipients:
            minute = (message.account, message.accepted_ms // MINUTE_MS)
            self._usage[minute] = self._usage.get(minute, 0) + new.usage_recipients

    def add_settlement(self, settlement: Settlement) -> None:
        """Add a verdict with all its effects, unless its dedupe key was taken before."""
        if settlement.dedupe_key and not self.claim(settlement.dedupe_key):
            return
        delivery = settlement.delivery
        key, code = delivery.key, CODES[settlement.state]
        if key in self._verdicts:
            self.write()
        attempt = "," + settlement.attempt.decode("utf-8") if settlement.attempt else ""
        tries, next_ms, reply = settlement.attempts, settlement.next_ms, settlement.last_reply
        self._verdicts[key] = (key, code, tries, next_ms, reply, settlement.source, settlement.delay_told, attempt)
        if settlement.dialogue is not None:
            self._dialogues.append((key, tries, packed(settlement.dialogue)))
        if code >= FIRST_FINAL_CODE:
            self._closing.add(delivery.message.key)
        self.add_events(settlement.events)
        for new in settlement.messages:
            self.add_message(new)

    def add_events(self, events: Sequence[NewEvent]) -> None:
        """Add events to the log."""
        for event in events:
            self._events.append(event_row(self.next_seq, event))
            self.next_seq += 1

    def free(self, message_key: int) -> None:
        """Drop the content of a message if it has no open delivery any more."""
        self._closing.add(message_key)

    def write(self) -> None:
        """Run the statements of what was added so far; the transaction stays open."""
        self._insert("insert_message", self._messages)
        self._insert("insert_content", self._contents)
        self._insert("insert_delivery", self._deliveries)
        self._insert("insert_event", self._events)
        for (account, minute), recipients in self._usage.items():
            self._connection.execute(_WRITE["add_usage"], (account, minute, recipients))
        self._insert("settle", list(self._verdicts.values()))
        self._keep_dialogues()
        self._free_closed()
        for rows in (self._messages, self._contents, self._deliveries, self._events, self._dialogues):
            rows.clear()
        self._usage.clear()
        self._verdicts.clear()

    def _insert(self, name: str, rows: list[tuple[Any, ...]]) -> None:
        start = 0
        for count, statement in _INSERTS[name]:
            while len(rows) - start >= count:
                values = [value for row in rows[start : start + count] for value in row]
                self._connection.execute(statement, values)
                start += count

    def _keep_dialogues(self) -> None:
        if not self._dialogues:
            return
        self._insert("insert_dialogue", self._dialogues)
        grown = [(key, tries - DIALOGUES_KEPT) for key, tries, _ in self._dialogues if tries > DIALOGUES_KEPT]
        for values in grown:
            self._connection.execute(_WRITE["drop_dialogues"], values)

    def _free_closed(self) -> None:
        if not self._closing:
            return
        wanted = orjson.dumps(list(self._closing)).decode()
        keys, files = self._connection.execute(_WRITE["freeable"], (wanted,)).fetchone()
        self._closing.clear()
        if keys == "[]":
            return
        self._connection.execute(_WRITE["free_content"], (keys,))
        self.finished += orjson.loads(keys)
        self.files += orjson.loads(files or "[]")

    def claim(self, dedupe_key: str) -> bool:
        """Take a dedupe key; False when it was taken before."""
        # The age of a key only bounds how long it is kept, so the wall clock will do.
        settled_ms = int(time.time() * 1000)
        return self._connection.execute(_WRITE["claim_dedupe"], (dedupe_key, settled_ms)).rowcount == 1


class Append:
    """A message to be written."""

    __slots__ = ("_checksum", "_done", "_file", "_new")
    on_loop = True

    def __init__(self, new: NewMessage, done: Done, file: str | None = None, checksum: int | None = None) -> None:
        self._new = new
        self._done = done
        self._file = file
        self._checksum = checksum

    @property
    def size_bytes(self) -> int:
        """About how much it writes."""
        return _OVERHEAD_BYTES + (0 if self._file else self._new.content.size_bytes)

    def add_to(self, group: Group, _connection: sqlite3.Connection) -> None:
        """Add its rows."""
        group.add_message(self._new, self._file, self._checksum)

    def done(self, error: Exception | None) -> None:
        """Answer whoever asked."""
        self._done(error)


class Settle:
    """Verdicts to be written together."""

    __slots__ = ("_done", "_settlements")
    on_loop = True

    def __init__(self, settlements: Sequence[Settlement], done: Done) -> None:
        self._settlements = settlements
        self._done = done

    @property
    def size_bytes(self) -> int:
        """About how much it writes."""
        return sum(
            _OVERHEAD_BYTES + sum(new.content.size_bytes for new in settlement.messages)
            for settlement in self._settlements
        )

    def add_to(self, group: Group, _connection: sqlite3.Connection) -> None:
        """Add its rows."""
        for settlement in self._settlements:
            group.add_settlement(settlement)

    def done(self, error: Exception | None) -> None:
        """Answer whoever asked."""
        self._done(error)


class Call:
    """Anything rarer: `run(group, connection)` inside the group's transaction.

    `answer(result, error)` is called on the event loop's thread, or on the writer's when `on_loop` is false.
    """

    __slots__ = ("_answer", "_result", "_run", "on_loop", "size_bytes")

    def __init__(
        self,
        run: Callable[[Group, sqlite3.Connection], Any],
        answer: Callable[[Any, Exception | None], None],
        *,
        on_loop: bool = True,
    ) -> None:
        self._run = run
        self._answer = answer
        self._result: Any = None
        self.on_loop = on_loop
        self.size_bytes = _OVERHEAD_BYTES

    def add_to(self, group: Group, connection: sqlite3.Connection) -> None:
        """Run it, after the rows of what came before."""
        group.write()
        self._result = self._run(group, connection)

    def done(self, error: Exception | None) -> None:
        """Answer whoever asked."""
        self._answer(None if error else self._result, error)


Job = Append | Settle | Call


def _content_row(new: NewMessage, file: str | None, checksum: int | None) -> tuple[Any, ...]:
    content, body = new.content, new.content.body
    if not isinstance(body, bytes):
        if file is None or checksum is None:
            raise ValueError("a body file must be kept before its row is written")
        return (new.message.key, checksum, body.size_bytes, file, content.head, None)
    total = zlib.crc32(body, zlib.crc32(content.head))
    return (new.message.key, total, len(body), None, content.head, body)
