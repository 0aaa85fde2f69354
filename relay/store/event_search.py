"""Reads the archive of events: search, newest first and a page at a time, and what is archived while somebody waits.

Events that are not archived yet are read from the logs of the shards. These are read first: an event is archived
before its owner prunes it, so that whatever moves meanwhile is met once at least, and left out the second time.

A position is (day, key): the file's day as text, and the key of an event in it; both only grow.
"""

import contextlib
import re
import sqlite3
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from relay.errors import CorruptionError, UsageError
from relay.model.event import LoggedEvent
from relay.model.search import EventQuery, event_facts
from relay.store.database import reading
from relay.store.event_blocks import INDEX_BITS, Archived, decoded
from relay.store.places import all_places
from relay.store.postings import keys_of
from relay.store.reader import ShardReader
from relay.store.retention import DAY_MS, days_of
from relay.store.sql import queries

Position = tuple[str, int]

BEGINNING: Final[Position] = ("", 0)
END: Final[Position] = ("9999-99-99", 1 << 60)
LOOK_FIRST: Final = 25
LOOK_EVENTS: Final = 500
LIVE_MAX: Final = 10_000
ARCHIVED_LATE_MS: Final = 2 * DAY_MS  # the day of a file, and as much for a clock that was set back
SCHEMA: Final = "archive"
BLOCKS_MAX: Final = 200  # of one look of a follower
_LAST: Final = 1 << 60
_INDEX: Final = (1 << INDEX_BITS) - 1
_CURSOR: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.([0-9a-f]{1,16})\Z")
_ARCHIVE: Final = queries("archive.sql")


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first, and where to go on, "" at the end."""

    found: list[Archived]
    cursor: str


class EventSearch:
    """A search over the archive, and over the logs of shards, given as number: spool file."""

    def __init__(self, directory: Path, shards: Mapping[int, Path], query: EventQuery) -> None:
        self._directory = directory
        self._shards = shards
        self._query = query

    def page(self, limit: int, cursor: str = "") -> Page:
        """Return up to `limit` events beyond a cursor. Raise UsageError for a bad one, TemporaryError."""
        position = _read_cursor(cursor)
        found = [] if cursor else self._live()
        seen = {(one.event.shard, one.event.seq) for one in found}
        if len(found) >= limit:
            return Page(found[:limit], _cursor(END))  # what is not archived yet is soon found there
        for at, one in self.each(position):
            if (one.event.shard, one.event.seq) not in seen:
                found.append(one)
            if len(found) == limit:
                return Page(found, _cursor(at))
        return Page(found, "")

    def each(self, below: Position = END) -> Iterator[tuple[Position, Archived]]:
        """Yield archived events below a position, the newest first. Raise TemporaryError."""
        size = LOOK_FIRST  # few are wanted, mostly, and each may be in a block of its own
        for file in days_of(self._directory):
            if file.day > below[0]:
                continue
            if file.day_ms + ARCHIVED_LATE_MS <= self._query.since_ms:
                return  # an event is archived after it happened, so that older files have older events only
            at: int | None = below[1] if file.day == below[0] else _LAST
            while at is not None:
                with reading(file.path, SCHEMA) as connection:
                    found, at = self._look(connection, at, size) if connection else ([], None)
                size = min(2 * size, LOOK_EVENTS)
                for key, one in found:
                    yield (file.day, key), one

    def oldest_first(self) -> Iterator[Archived]:
        """Yield all events that are meant in the order in which they came, not yet archived ones last.

        Memory: eight octets for each. Raise TemporaryError.
        """
        live = {(one.event.shard, one.event.seq): one for one in reversed(self._live())}
        days: dict[str, array[int]] = {}
        for (day, key), _ in self.each():
            days.setdefault(day, array("q")).append(key)
        for file in reversed(days_of(self._directory)):
            keys = days.get(file.day, array("q"))
            blocks = _Blocks()
            for start in range(len(keys), 0, -LOOK_EVENTS):
                with reading(file.path, SCHEMA) as connection:
                    for key in reversed(keys[max(0, start - LOOK_EVENTS) : start]):
                        one = blocks.event(connection, key) if connection else None
                        if one is not None:
                            live.pop((one.event.shard, one.event.seq), None)
                            yield one
        yield from live.values()

    def _look(
        self, connection: sqlite3.Connection, below: int, size: int
    ) -> tuple[list[tuple[int, Archived]], int | None]:
        """Return what is found at one look, and the key below which to go on, None at the end of the file."""
        terms, blocks = self._query.terms(), _Blocks()
        keys = keys_of(connection, terms, 0, below) if terms else self._of_times(connection, below)
        found: list[tuple[int, Archived]] = []
        key = None
        for key in islice(keys, size):
            one = blocks.event(connection, key)
            if one is not None and self._query.meant(event_facts(one.event)):
                found.append((key, one))
        return found, key if next(keys, None) is not None else None

    def _of_times(self, connection: sqlite3.Connection, below: int) -> Iterator[int]:
        """Yield the keys of all events in blocks of the times that are looked for, greatest first."""
        query = self._query
        values = ((below >> INDEX_BITS) + 1, query.since_ms, query.until_ms, LOOK_EVENTS + 1)
        for block, events in connection.execute(_ARCHIVE["blocks"], values):
            for index in range(events - 1, -1, -1):
                key = block << INDEX_BITS | index
                if key < below:
                    yield key

    def _live(self) -> list[Archived]:
        """Return what is meant of the events that are not archived yet, the newest first."""
        places = places_of(self._directory)
        found = []
        for shard, spool in self._shards.items():
            for event in newest_events(shard, spool, places):
                facts = event_facts(event)
                if self._query.meant(facts):
                    found.append(Archived(facts.time_ms, event))
        return sorted(found, key=lambda one: (one.time_ms, one.event.shard, one.event.seq), reverse=True)


class Follower:
    """What is archived from now on, in order."""

    def __init__(self, directory: Path, query: EventQuery) -> None:
        self._directory = directory
        self._query = query
        self.position = self._end()

    def more(self) -> list[Archived]:
        """Return what was archived since the last call. Raise TemporaryError."""
        found: list[Archived] = []
        for file in reversed(days_of(self._directory)):
            if file.day < self.position[0]:
                continue
            key = self.position[1] if file.day == self.position[0] else 0
            with reading(file.path, SCHEMA) as connection:
                for block, events in _rows(connection, "blocks_from", key >> INDEX_BITS, BLOCKS_MAX):
                    first = key & _INDEX if block == key >> INDEX_BITS else 0
                    if events > first:
                        found += [one for one in _block(connection, block)[first:] if one is not None]
                        self.position = (file.day, (block << INDEX_BITS) + events)
        return [one for one in found if self._query.meant(event_facts(one.event))]

    def _end(self) -> Position:
        """Return the position behind the last event of the newest file."""
        for file in days_of(self._directory)[:1]:
            with reading(file.path, SCHEMA) as connection:
                for block, events in _rows(connection, "newest_block"):
                    return file.day, (block << INDEX_BITS) + events
            return file.day, 0
        return BEGINNING


class _Blocks:
    """Decodes blocks; the one used last is kept."""

    def __init__(self) -> None:
        self._number = 0
        self._events: list[Archived | None] = []

    def event(self, connection: sqlite3.Connection, key: int) -> Archived | None:
        """Return an event, None for one that was erased or is damaged."""
        if self._number != key >> INDEX_BITS:
            self._number = key >> INDEX_BITS
            self._events = _block(connection, self._number)
        index = key & _INDEX
        return self._events[index] if index < len(self._events) else None


def places_of(directory: Path) -> dict[tuple[int, int], int]:
    """Return how far the events of each shard and log are archived. Raise TemporaryError."""
    found: dict[tuple[int, int], int] = {}
    for file in days_of(directory)[:1]:  # a new file begins with the places of the one before
        with reading(file.path, SCHEMA) as connection:
            rows = all_places(connection) if connection else []
            found |= {(shard, log): seq for _, shard, log, seq in rows}
    return found


def newest_events(shard: int, spool: Path, places: Mapping[tuple[int, int], int]) -> list[LoggedEvent]:
    """Return the events in a shard's log beyond its place, the newest first, at most 10,000. Raise TemporaryError."""
    if not spool.is_file():
        return []
    reader = ShardReader(spool)
    try:
        after = places.get((shard, reader.event_log()), 0)
        return [LoggedEvent(shard, seq, event) for seq, event in reader.newest_events(after, LIVE_MAX)]
    finally:
        reader.close()


def _block(connection: sqlite3.Connection | None, block: int) -> list[Archived | None]:
    """Return the events of a block, None for an erased one; of a damaged block what can be read."""
    found: list[Archived | None] = []
    with contextlib.suppress(CorruptionError):
        for (data,) in _rows(connection, "block", block):
            found.extend(decoded(data))
    return found


def _rows(connection: sqlite3.Connection | None, name: str, *values: int) -> list[Any]:
    return connection.execute(_ARCHIVE[name], values).fetchall() if connection else []


def _cursor(position: Position) -> str:
    return f"{position[0]}.{position[1]:x}"


def _read_cursor(text: str) -> Position:
    if not text:
        return END
    match = _CURSOR.match(text)
    if match is None:
        raise UsageError(f"{text[:100]!r} is no cursor: take it as an earlier search gave it.")
    return match.group(1), int(match.group(2), 16)
