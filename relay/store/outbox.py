"""Where each destination stands in each shard's event log: `office/outbox.db`, written by the office alone.

A cursor is moved only after the destination kept the events, so a crash publishes again, with the same ids.
"""

import sqlite3
from pathlib import Path
from typing import Any, Final

from relay.errors import ConfigurationError, StorageError
from relay.ports import Log
from relay.store.small_file import open_or_anew
from relay.store.sql import queries

_OUTBOX: Final = queries("outbox.sql")


class OutboxCursors:
    """EventCursors: the office's own small file; used by one thread."""

    def __init__(self, path: Path, log: Log) -> None:
        """Open or create the file. A damaged one is set aside: everything still in the logs is published again.

        Raise ConfigurationError when the place cannot be used, NewerVersionError.
        """
        self._path = path
        try:
            self._connection = open_or_anew(path, "outbox", log, "event cursors")
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
