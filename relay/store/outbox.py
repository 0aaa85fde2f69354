"""Where each destination stands in each shard's event log: `office/outbox.db`, written by the office alone.

A cursor is moved only after the destination kept the events, so a crash publishes again, with the same ids.
"""

import sqlite3
from pathlib import Path

from relay.errors import ConfigurationError, StorageError
from relay.ports import Log
from relay.store.places import Places
from relay.store.small_file import open_or_anew


class OutboxCursors:
    """EventCursors: the office's own small file; used by one thread."""

    def __init__(self, path: Path, log: Log) -> None:
        """Open or create the file. A damaged one is set aside: everything still in the logs is published again.

        Raise ConfigurationError when the place cannot be used, NewerVersionError.
        """
        self._path = path
        self._places = Places(lambda: self._connection, self._failed)
        try:
            self._connection = open_or_anew(path, "outbox", log, "event cursors")
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"the event cursors {path} cannot be opened: {error}") from error

    def follow(self, shard: int, log: int, last: int) -> None:
        """Say which log a shard has from now on, and the highest number in it. Raise StorageError."""
        self._places.follow(shard, log, last)

    def get(self, shard: int, destination: str) -> int:
        """Return the last sequence number that the destination has, 0 when it has none."""
        return self._places.get(shard, destination)

    def move(self, shard: int, destination: str, seq: int) -> None:
        """Note that a destination has all events up to `seq`; synced on return. Raise StorageError."""
        self._places.move(shard, seq, destination)

    def forget_others(self, destinations: frozenset[str]) -> None:
        """Drop the cursors of destinations that are not configured any more: they hold back no pruning."""
        self._places.forget_others(destinations)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _failed(self, error: sqlite3.Error) -> StorageError:
        return StorageError(f"the event cursors {self._path} cannot be used: {error}")
