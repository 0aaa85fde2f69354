"""Search for messages over spool and history of all shards, newest first, a page at a time.

Every look is one short read-only transaction of one file. A page of the spool is read before the history of the same
keys: a message is copied to history before the spool forgets it, so that whatever moves meanwhile is met once at
least, and left out the second time. History is searched by its index (`relay.store.postings`); a spool has no index
for this, because it is written with every message, so that what still waits is read through.

Memory is bounded by a page for each shard; time by the number of seconds a caller gives: a page that is cut short
says where to go on.
"""

import contextlib
import heapq
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from relay.errors import CorruptionError, UsageError
from relay.model.ids import accepted_ms_of, shard_of
from relay.model.message import RECIPIENTS_HARD_MAX, Delivery, Message
from relay.model.search import FOREVER_MS, MessageFacts, MessageQuery
from relay.store.database import reading
from relay.store.postings import keys_of
from relay.store.records import delivery_of, message_of
from relay.store.retention import DAY_MS, day_path, days_of
from relay.store.sql import queries

LAST_KEY: Final = 1 << 46
LOOK_MESSAGES: Final = 5000
LOOK_DELIVERIES: Final = RECIPIENTS_HARD_MAX + 5000  # more than one message can have
FOUND_MAX: Final = 200  # of one look
CLOCK_SLACK_MS: Final = 600_000  # keys follow the time of acceptance but for small steps of the clock
CURSOR_MAX: Final = 4000
_SEARCH: Final = queries("search.sql")


@dataclass(frozen=True, slots=True)
class Found:
    """A message with its deliveries; `finished`: it has left the spool."""

    shard: int
    message: Message
    deliveries: tuple[Delivery, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, newest first, and where to go on, "" at the end."""

    found: list[Found]
    cursor: str


class MessageSearch:
    """A search over shards, given as number: (spool file, history directory). `key` is the one of subject hashes."""

    def __init__(self, shards: Mapping[int, tuple[Path, Path]], query: MessageQuery, key: bytes) -> None:
        self._shards = {
            number: _ShardSearch(number, spool, history, query, key) for number, (spool, history) in shards.items()
        }

    def page(self, limit: int, cursor: str = "", seconds_max: float = float("inf")) -> Page:
        """Return up to `limit` messages beyond a cursor. Raise UsageError for a bad one, TemporaryError."""
        until = time.monotonic() + seconds_max
        begins = _read_cursor(cursor)
        lanes = [
            _Lane(shard, shard.each(begins.get(number, LAST_KEY)), begins.get(number, LAST_KEY))
            for number, shard in self._shards.items()
        ]
        found: list[Found] = []
        for lane in lanes:
            lane.advance(until)
        waiting = [(-lane.head.message.accepted_ms, lane.number, lane) for lane in lanes if lane.head]
        heapq.heapify(waiting)
        while waiting and len(found) < limit and not any(lane.cut for lane in lanes):
            _, number, lane = heapq.heappop(waiting)
            assert lane.head is not None
            found.append(lane.head)
            lane.advance(until)
            if lane.head is not None:
                heapq.heappush(waiting, (-lane.head.message.accepted_ms, number, lane))
        return Page(found, _cursor({lane.number: lane.below for lane in lanes}))

    def named(self, message_ids: Sequence[str]) -> Page:
        """Return those of some messages (whole ids) that are meant. Raise TemporaryError."""
        found = []
        for message_id in dict.fromkeys(message_ids):
            shard = self._shards.get(shard_of(message_id))
            found += shard.named(message_id) if shard else []
        return Page(found, "")


class _Lane:
    """One shard within a page: its next message, and the key below which it goes on."""

    def __init__(self, shard: "_ShardSearch", source: Iterator[Found | int], below: int) -> None:
        self.number = shard.number
        self.below = below
        self.head: Found | None = None
        self.cut = False
        self._source = source

    def advance(self, until: float) -> None:
        """Go to the next message; `cut` is set when time ran out before there was one."""
        self.head = None
        for one in self._source:
            if isinstance(one, Found):
                self.head, self.below = one, one.message.key + 1
                return
            self.below = one
            if time.monotonic() >= until:
                self.cut = True
                return
        self.below = 0


class _ShardSearch:
    def __init__(self, number: int, spool: Path, history: Path, query: MessageQuery, key: bytes) -> None:
        self.number = number
        self._spool = spool
        self._history = history
        self._query = query
        self._terms = query.terms()
        self._key = key

    def each(self, below: int) -> Iterator[Found | int]:
        """Yield messages below a key, greatest first, and in between the key down to which all was looked at."""
        while below > 0:
            waiting, down_to = self._waiting(below)
            seen = {one.message.key for one in waiting}
            older = iter(waiting)
            following = next(older, None)
            for one in self._finished(down_to, below):
                key = one if isinstance(one, int) else one.message.key
                while following is not None and following.message.key >= key:
                    yield following
                    following = next(older, None)
                if isinstance(one, int) or key not in seen:
                    yield one
            if following is not None:
                yield following
                yield from older
            below = down_to
            yield below

    def named(self, message_id: str) -> list[Found]:
        """Return a message if it is meant: from the spool, else from history."""
        day = day_path(self._history, accepted_ms_of(message_id))
        for path, schema in ((self._spool, "spool"), (day, "history")):
            with reading(path, schema) as connection:
                row = connection.execute(_SEARCH["named"], (message_id,)).fetchone() if connection else None
                if row is not None:
                    assert connection is not None
                    return self._loaded(connection, row[0], finished=path == day)
        return []

    def _waiting(self, below: int) -> tuple[list[Found], int]:
        """Return what is found in the spool at one look, and the key down to which it looked."""
        query = self._query
        with reading(self._spool, "spool") as connection:
            if connection is None:
                return [], 0
            if query.recipient or query.domain:
                pattern = _like(query)
                keys = connection.execute(_SEARCH["scan_recipients"], (below, LOOK_DELIVERIES, pattern)).fetchall()
                least, seen = connection.execute(_SEARCH["scan_recipients_end"], (below, LOOK_DELIVERIES)).fetchone()
                down_to = least + 1 if seen == LOOK_DELIVERIES else 0  # the last message may have been cut
            else:
                keys = connection.execute(_SEARCH["scan_messages"], (below, LOOK_MESSAGES, query.account)).fetchall()
                least, seen = connection.execute(_SEARCH["scan_messages_end"], (below, LOOK_MESSAGES)).fetchone()
                down_to = least if seen == LOOK_MESSAGES else 0
            found: list[Found] = []
            for (key,) in keys:
                found += self._loaded(connection, key, finished=False)
                if len(found) == FOUND_MAX:
                    return found, int(key)
            return found, int(down_to)

    def _finished(self, least: int, below: int) -> Iterator[Found | int]:
        """Yield what is found in history, the newest day first."""
        for file in days_of(self._history):
            if file.day_ms >= self._query.until_ms or file.day_ms + DAY_MS <= self._query.since_ms:
                continue
            position: int | None = below
            while position is not None:
                found, position = self._look(file.path, least, position)
                yield from found
                if position is not None:
                    yield position

    def _look(self, path: Path, least: int, below: int) -> tuple[list[Found], int | None]:
        """Return what is found in one file at one look, and the key below which to go on, None at its end."""
        with reading(path, "history") as connection:
            if connection is None:
                return [], None
            first, last = connection.execute(_SEARCH["extent"]).fetchone()
            least, below = max(least, first), min(below, last + 1)
            least, below = self._within_time(connection, least, below)
            if least >= below:
                return [], None
            keys = (
                keys_of(connection, self._terms, least, below) if self._terms else _newest(connection, least, below)
            )
            found: list[Found] = []
            key = None
            for key in islice(keys, FOUND_MAX):
                found += self._loaded(connection, key, finished=True)
            return found, key if next(keys, None) is not None else None

    def _within_time(self, connection: sqlite3.Connection, least: int, below: int) -> tuple[int, int]:
        """Narrow a range of keys to the times that are looked for, with some slack."""
        if self._query.since_ms > 0:
            least = _first_accepted(connection, self._query.since_ms - CLOCK_SLACK_MS, least, below)
        if self._query.until_ms < FOREVER_MS:
            below = _first_accepted(connection, self._query.until_ms + CLOCK_SLACK_MS, least, below)
        return least, below

    def _loaded(self, connection: sqlite3.Connection, key: int, *, finished: bool) -> list[Found]:
        """Return a message if it is one that is looked for; a damaged one is not."""
        row = connection.execute(_SEARCH["message"], (key,)).fetchone()
        if row is None:
            return []
        try:
            message = message_of(row)
        except CorruptionError:
            return []
        deliveries = []
        for each in connection.execute(_SEARCH["deliveries"], (key,)):
            with contextlib.suppress(CorruptionError):
                deliveries.append(delivery_of(each, message))
        if not self._query.meant(facts_of(message, deliveries), self._key):
            return []
        return [Found(self.number, message, tuple(deliveries), finished)]


def facts_of(message: Message, deliveries: Sequence[Delivery]) -> MessageFacts:
    """Return what of a message is compared with a query."""
    return MessageFacts(
        message.account,
        message.sender,
        message.options.configuration_set,
        message.accepted_ms,
        message.mail_json,
        [(delivery.recipient, delivery.state) for delivery in deliveries],
    )


def _newest(connection: sqlite3.Connection, least: int, below: int) -> Iterator[int]:
    return (key for (key,) in connection.execute(_SEARCH["newest"], (least, below, FOUND_MAX + 1)))


def _first_accepted(connection: sqlite3.Connection, moment_ms: int, least: int, below: int) -> int:
    """Return the first key from which on messages were accepted at or after a moment, by bisection."""
    while least < below:
        middle = (least + below) // 2
        row = connection.execute(_SEARCH["accepted_from"], (middle,)).fetchone()
        if row is None or row[0] >= below or row[1] >= moment_ms:
            below = middle
        else:
            least = row[0] + 1
    return least


def _like(query: MessageQuery) -> str:
    text = query.recipient or f"@{query.domain}"
    escaped = "".join(f"!{letter}" if letter in "!%_" else letter for letter in text)
    return escaped if query.recipient else f"%{escaped}"


def _cursor(positions: Mapping[int, int]) -> str:
    """Return where to go on in each shard as one text; "" when every shard was read to its end."""
    if not any(positions.values()):
        return ""
    return "_".join(f"{number:x}.{key:x}" for number, key in sorted(positions.items()))


def _read_cursor(text: str) -> dict[int, int]:
    if not text:
        return {}
    try:
        pairs = [part.split(".") for part in text[:CURSOR_MAX].split("_")]
        return {int(number, 16): min(int(key, 16), LAST_KEY) for number, key in pairs}
    except ValueError:
        raise UsageError(f"{text[:100]!r} is no cursor: take it as an earlier search gave it.") from None
