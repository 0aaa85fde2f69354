"""The archive of events: every event once, in files of the day on which it was archived, for search and replay.

`EventArchive` is an applier (`relay.ports.Applier`), the only writer of the files. Each file keeps the places of all
shards itself, so that a place and the events before it are one transaction of one file: a transaction over two files
in WAL mode is atomic in each of them only. A new file begins with the places of the one before, so that old files can
be dropped; what counts is the greatest place in any file. Files are dropped whole, by age, by size and for want of
disk (`relay.store.retention`).

Events are compressed some together (`relay.store.event_blocks`) and found by the same index as messages
(`relay.store.postings`).
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from relay.errors import ConfigurationError, StorageError
from relay.model.event import LoggedEvent
from relay.model.search import event_facts
from relay.ports import Clock, Log
from relay.store.database import is_damage, open_reader, open_writer
from relay.store.event_blocks import INDEX_BITS, BlockWriter
from relay.store.places import PlaceRow, all_places, put_places
from relay.store.postings import file_keys
from relay.store.retention import DayFile, day_path, days_of
from relay.store.small_file import whole
from relay.store.sql import queries

CHECKPOINT_PAGES: Final = 1000
SCHEMA: Final = "archive"
_ARCHIVE: Final = queries("archive.sql")


class EventArchive:
    """The applier `archive`; `drop` may be called from another thread than the rest."""

    name = "archive"

    def __init__(self, directory: Path, clock: Clock, log: Log) -> None:
        self.directory = directory
        self._turn = threading.Lock()
        self._clock = clock
        self._log = log
        self._path: Path | None = None
        self._connection: sqlite3.Connection | None = None
        self._places: dict[tuple[int, int], int] = {}  # by shard and log
        self._logs: dict[int, int] = {}
        self._block: tuple[int, BlockWriter] | None = None

    def open(self) -> None:
        """Read the places. Raise ConfigurationError when the directory cannot be used."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for file in days_of(self.directory):
                for _, shard, log, seq in self._places_in(file):
                    self._places[shard, log] = max(seq, self._places.get((shard, log), 0))
        except OSError as error:
            raise ConfigurationError(f"the archive of events {self.directory} cannot be used: {error}") from error

    def follow(self, shard: int, log: int, last: int) -> None:
        """Archive the events of a log from now on, from its beginning where the place is beyond its end."""
        self._logs[shard] = log
        if self.place(shard) > last:
            self._places[shard, log] = 0  # until the next start, which finds the old one or a greater one

    def place(self, shard: int) -> int:
        """Return the number of the last event of a shard that is archived, 0 for none."""
        return self._places.get(self._key(shard), 0)

    def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        """Archive events of a shard; synced on return. Raise StorageError."""
        new = [event for event in events if event.seq > self.place(shard)]
        if not new:
            return
        with self._writing() as connection:
            self._add(connection, new)
            self._move(connection, shard, new[-1].seq)
        self._places[self._key(shard)] = new[-1].seq

    def skip(self, shard: int, seq: int) -> None:
        """Move the place past an event that cannot be archived. Raise StorageError."""
        with self._writing() as connection:
            self._move(connection, shard, seq)
        self._places[self._key(shard)] = max(seq, self.place(shard))

    def drop(self, files: Sequence[DayFile]) -> None:
        """Remove files of days gone by. Raise StorageError; what is removed stays removed."""
        with self._writing():  # today's file, with all places, is there before the last of the others goes
            pass
        try:
            for file in files:
                with self._turn:
                    if file.path != self._path:
                        file.remove()
        except OSError as error:
            raise StorageError(f"the archive of events {self.directory} cannot be tidied up: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._let_go()

    def _key(self, shard: int) -> tuple[int, int]:
        return shard, self._logs.get(shard, 0)

    def _move(self, connection: sqlite3.Connection, shard: int, seq: int) -> None:
        put_places(connection, [("", *self._key(shard), seq)])

    def _let_go(self) -> None:
        self._block = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _add(self, connection: sqlite3.Connection, events: Sequence[LoggedEvent]) -> None:
        """Append events to the open block, and to new ones."""
        if self._block is not None and connection.execute(_ARCHIVE["closed"], (self._block[0],)).fetchone() == (1,):
            self._block = None  # something was erased from it
        at = 0
        while at < len(events):
            block, writer = self._block or (0, BlockWriter())
            block = block or connection.execute(_ARCHIVE["last_block"]).fetchone()[0] + 1
            self._block = (block, writer)
            at = self._extend(connection, block, writer, events, at)
            if writer.full:
                self._block = None

    def _extend(
        self, connection: sqlite3.Connection, block: int, writer: BlockWriter, events: Sequence[LoggedEvent], at: int
    ) -> int:
        """Append events from an index on to a block until it is full; return the index of the next one."""
        before, parts, terms, times = writer.events, [], [], []
        while at < len(events) and not writer.full:
            event = events[at]
            facts = event_facts(event)
            key = block << INDEX_BITS | writer.events
            terms += [(term, key) for term in set(facts.terms())]
            times.append(facts.time_ms)
            parts.append(writer.add(facts.time_ms, event))
            at += 1
        added = (writer.events - before, min(times), max(times), b"".join(parts) + writer.flush())
        if before:
            connection.execute(_ARCHIVE["extend_block"], (block, *added))
        else:
            connection.execute(_ARCHIVE["add_block"], added)
        file_keys(connection, terms)
        return at

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Give today's file for one transaction. Raise StorageError; nothing is kept then."""
        with self._turn:
            try:
                connection = self._today()
                with whole(connection):
                    yield connection
            except (OSError, sqlite3.Error) as error:
                self._let_go()  # the open block has what was rolled back
                damaged = is_damage(error) and not isinstance(error, sqlite3.OperationalError)
                if damaged and self._path is not None:
                    self._set_aside(self._path)
                raise StorageError(f"the archive of events {self.directory} cannot be written: {error}") from error
            except BaseException:
                self._let_go()
                raise

    def _today(self) -> sqlite3.Connection:
        """Return today's file, made with the places of the one before when it is not there."""
        path = day_path(self.directory, self._clock.now_ms())
        newest = next(iter(days_of(self.directory)), None)
        if newest is not None and newest.path.name > path.name:
            path = newest.path  # the clock went back: events stay in the order in which they came
        if self._connection is None or path != self._path or not path.exists():
            self._let_go()
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = self._opened(path)
            self._path = path
        return self._connection

    def _opened(self, path: Path) -> sqlite3.Connection:
        try:
            connection = open_writer(path, SCHEMA)
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES:d}")
            with whole(connection):
                put_places(connection, [("", *key, seq) for key, seq in self._places.items()])
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._set_aside(path)
            raise
        return connection

    def _set_aside(self, path: Path) -> None:
        """Let the next try begin a new file, with the places that are known; the damaged one is kept beside."""
        if path.exists():
            self._log.error("events archived today are unreadable, starting anew", path=str(path))
            DayFile.of(path).set_aside()

    def _places_in(self, file: DayFile) -> list[PlaceRow]:
        try:
            with contextlib.closing(open_reader(file.path, SCHEMA)) as connection:
                return all_places(connection)
        except sqlite3.Error as error:
            self._log.error("archived events are unreadable", path=str(file.path), error=str(error))
            return []
