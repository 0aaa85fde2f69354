"""What permits keeps over restarts: `permits/permits.db`, written by that process alone.

Small facts that are expensive to learn again: what providers asked us to stop, and how much of a day's volume was
given out. Writes are gathered: `write` takes any number of statements and returns after one commit and its sync.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from relay.errors import ConfigurationError, StorageError
from relay.ports import Log
from relay.store.database import open_writer
from relay.store.sql import queries

_COMPANIONS: Final = ("", "-wal", "-shm")
_SCHEMA: Final = "permits"
_PERMITS: Final = queries("permits.sql")

Write = tuple[str, tuple[object, ...]]
"""The name of a statement and its values."""


class PermitsFile:
    """The file; used by one thread at a time."""

    def __init__(self, path: Path, log: Log) -> None:
        """Open or create the file; a damaged one is set aside. ConfigurationError when the place cannot be used."""
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = self._open(log)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"{path} cannot be opened: {error}") from error

    def read(self, name: str, values: tuple[object, ...] = ()) -> list[Any]:
        """Return the rows of a statement. Raise StorageError."""
        try:
            return self._connection.execute(_PERMITS[name], values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"{self._path} cannot be read: {error}") from error

    def write(self, writes: Sequence[Write]) -> None:
        """Do all or nothing; synced on return. Raise StorageError."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for name, values in writes:
                self._connection.execute(_PERMITS[name], values)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise StorageError(f"{self._path} cannot be written: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self, log: Log) -> sqlite3.Connection:
        try:
            connection = open_writer(self._path, _SCHEMA)
            if connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
                connection.execute("PRAGMA wal_autocheckpoint = 100")
                return connection
            connection.close()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            log.warning("the file of permits is unreadable", path=str(self._path), error=str(error))
        log.error("the file of permits is damaged, starting anew", path=str(self._path))
        for companion in _COMPANIONS:
            damaged = self._path.with_name(self._path.name + companion)
            with contextlib.suppress(FileNotFoundError):
                damaged.rename(damaged.with_name(damaged.name + ".damaged"))
        return open_writer(self._path, _SCHEMA)
