"""How far a reader has come in each shard's event log: the table `place` of every file of effects, and of cursors.

A log has a random number of its own, made with its file and kept by a salvage: a place belongs to a log, not to the
directory that the log happens to be in. A file beside another spool than before therefore begins at the beginning of
that log, and goes on where it was when the first comes back. Numbers of events are never used twice within a log
(`relay.store.adoption` begins beyond all earlier ones at each start), so that a restored spool goes on behind every
place; a place beyond the end of its log all the same, as after a clock that went back, counts as none.

`reader` tells apart who shares a file; files of effects have one reader, "".

A file that was damaged begins anew (`relay.store.small_file`), maybe in the hands of somebody else who uses it: a log
that was followed in the file before has to be followed again before its place moves, so that nobody goes on in the
middle of a log of which the new file has nothing.
"""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

from relay.errors import RelayError, StorageError
from relay.store.sql import queries

PlaceRow = tuple[str, int, int, int]  # reader, shard, log, seq
_PLACES: Final = queries("places.sql")


class Places:
    """The table of one file; used by the thread that the file's connection belongs to.

    Calls raise what `failed` makes of an error. `move` belongs into the transaction of the effects.
    """

    __slots__ = ("_connection", "_failed", "_files", "_logs")

    def __init__(
        self, connection: Callable[[], sqlite3.Connection], failed: Callable[[sqlite3.Error], RelayError]
    ) -> None:
        self._connection = connection
        self._failed = failed
        self._logs: dict[int, int] = {}
        self._files: dict[int, sqlite3.Connection] = {}

    def follow(self, shard: int, log: int, last: int) -> None:
        """Say which log a shard has from now on, and the highest number in it; before, every place is 0."""
        if self._run("beyond", (shard, log, last)):
            self._run("forget_beyond", (shard, log, last))
        self._logs[shard] = log
        self._files[shard] = self._connection()

    def get(self, shard: int, reader: str = "") -> int:
        """Return the number of the last event of a shard's log that a reader has, 0 for none."""
        rows = self._run("get", (reader, shard, self._logs.get(shard, 0)))
        return int(rows[0][0]) if rows else 0

    def move(self, shard: int, seq: int, reader: str = "") -> None:
        """Note that a reader has all events up to `seq`; a place never goes back.

        Raise StorageError when the file began anew since the log was followed.
        """
        if self._files.get(shard, self._connection()) is not self._connection():
            raise StorageError("the file began anew, so its events are read from the beginning of their log")
        self._run("move", (reader, shard, self._logs.get(shard, 0), seq))

    def forget_others(self, readers: frozenset[str]) -> None:
        """Drop the places of all other readers."""
        for (name,) in self._run("readers", ()):
            if name not in readers:
                self._run("forget", (name,))

    def _run(self, name: str, values: tuple[object, ...]) -> list[Any]:
        try:
            return self._connection().execute(_PLACES[name], values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error


def all_places(connection: sqlite3.Connection) -> list[PlaceRow]:
    """Return every row of a file. Raise sqlite3.Error."""
    return connection.execute(_PLACES["all"]).fetchall()


def put_places(connection: sqlite3.Connection, rows: Iterable[PlaceRow]) -> None:
    """Move places of a file forward, inside a transaction. Raise sqlite3.Error."""
    connection.executemany(_PLACES["move"], rows)
