"""Where each destination stands in each shard's event log: `office/outbox.db`, written by the office alone.

A cursor is moved only after the destination kept the events, so a crash publishes again, with the same ids.
"""

from pathlib import Path

from relay.ports import Log
from relay.store.places import Places
from relay.store.small_file import OwnedFile


class OutboxCursors:
    """EventCursors: the office's own small file; used by one thread."""

    def __init__(self, path: Path, log: Log) -> None:
        """Open or create the file. A damaged one is set aside: everything still in the logs is published again.

        Raise ConfigurationError when the place cannot be used, NewerVersionError.
        """
        self._file = OwnedFile(path, "outbox", log, "event cursors")
        self._file.open()
        self._places = Places(lambda: self._file.connection, self._file.failed)

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
        self._file.close()
