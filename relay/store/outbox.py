"""Where each destination stands in each shard's event log: `office/outbox.db`, written by the office alone.

A cursor is moved only after the destination kept the events, so a crash publishes again, with the same ids.
"""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Final

from relay.errors import ConfigurationError, StorageError
from relay.ports import Log
from relay.store.database import open_writer
from relay.store.sql import queries

_COMPANIONS: Final = ("", "-wal", "-shm")
_OUTBOX: Final = queries("outbox.sql")


class OutboxCursors:
    """EventCursors: the office's own small file; used by one thread."""

    def __init__(self, path: Path, log: Log) -> None:
        """Open or create the file. A damaged one is set aside: everything still in the logs is published again.

        Raise ConfigurationError when the place cannot be used, NewerVersionError.
        """
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = self._open(log)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"the event cursors {path} cannot be opened: {error}") from error

    def get(self, shard: int, destination: str) -> int:
        """Return the last sequence number that the destination has, 0 when it has none."""
        found = self._run("get", (shard, destination))
        return int(found[0][0]) if found else 0

    def move(self, shard: int, destination: str, seq: int) -> None:
        """Note that a destination has all events up to `seq`; synced on return. Raise StorageError."""
        self._run("move", (shard, destination, seq))

    def forget_others(self, destinations: frozenset[str]) -> None:
        """Drop the cursors of destinations that are not configured any more: they hold back no pruning."""
        for (name,) in self._run("destinations", ()):
            if name not in destinations:
                self._run("forget", (name,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _run(self, name: str, values: tuple[object, ...]) -> list[Any]:
        try:
            return self._connection.execute(_OUTBOX[name], values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"the event cursors {self._path} cannot be used: {error}") from error

    def _open(self, log: Log) -> sqlite3.Connection:
        try:
            connection = open_writer(self._path, "outbox")
            if connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
                connection.execute("PRAGMA wal_autocheckpoint = 100")
                return connection
            connection.close()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            log.warning("event cursors unreadable", path=str(self._path), error=str(error))
        log.error("event cursors damaged, starting anew", path=str(self._path))
        for companion in _COMPANIONS:
            damaged = self._path.with_name(self._path.name + companion)
            with contextlib.suppress(FileNotFoundError):
                damaged.rename(damaged.with_name(damaged.name + ".damaged"))
        return open_writer(self._path, "outbox")
