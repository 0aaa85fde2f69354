"""What permits keeps over restarts: `permits/permits.db`, written by that process alone.

Small facts that are expensive to learn again: what providers asked us to stop, and how much of a day's volume was
given out. Writes are gathered: `write` takes any number of statements and returns after one commit and its sync.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from relay.ports import Log
from relay.store.small_file import OwnedFile
from relay.store.sql import queries

_PERMITS: Final = queries("permits.sql")

Write = tuple[str, tuple[object, ...]]
"""The name of a statement and its values."""


class PermitsFile:
    """The file; used by one thread at a time."""

    def __init__(self, path: Path, log: Log) -> None:
        """Open or create the file; a damaged one is set aside. ConfigurationError when the place cannot be used."""
        self._file = OwnedFile(path, "permits", log, "file of permits")
        self._file.open()

    def read(self, name: str, values: tuple[object, ...] = ()) -> list[Any]:
        """Return the rows of a statement. Raise StorageError."""
        return self._file.run(_PERMITS[name], values)

    def write(self, writes: Sequence[Write]) -> None:
        """Do all or nothing; synced on return. Raise StorageError."""
        with self._file.whole():
            for name, values in writes:
                self._file.run(_PERMITS[name], values)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
