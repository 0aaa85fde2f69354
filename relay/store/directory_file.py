"""One file of the catalog as a worker reads it: opened when needed, opened again after a fault or a restore."""

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from relay.errors import StorageError
from relay.store.catalog_files import load_queries, open_for_reading

Row = tuple[Any, ...]


class ReadFile:
    """Reads one file and finds out what changed in it.

    `on_change(None)` means that everything may have changed, `on_change(accounts)` that only those have. Faults are
    StorageErrors; the next call opens the file anew.
    """

    __slots__ = (
        "_connection",
        "_cursor",
        "_inode",
        "_looks",
        "_on_change",
        "_path",
        "_path_text",
        "_queries",
        "_seq",
        "_version",
    )

    def __init__(self, path: Path, sql_file: str, on_change: Callable[[set[str] | None], None]) -> None:
        self._path = path
        self._path_text = str(path)
        self._queries = load_queries(sql_file)
        self._on_change = on_change
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._inode = 0
        self._looks = 0
        self._seq = 0
        self._version = -1

    def refuse_newer(self) -> None:
        """Raise NewerVersionError for a file of a newer release; what else is wrong with it is told at its use."""
        with suppress(StorageError):
            open_for_reading(self._path, self._queries).close()

    def refresh(self) -> bool:
        """Compare with the file on disk; say whether something changed (4 us when nothing did)."""
        try:
            if self._cursor is None or self._replaced():
                self._reopen()
                return True
            version = self._cursor.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return False
            changed = self._report_changes()
            self._version = version
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error
        return changed

    def rows(self, query: str, values: Mapping[str, object]) -> list[Row]:
        """Return all rows of a named query."""
        try:
            if self._cursor is None:
                self._reopen()
            assert self._cursor is not None
            return self._cursor.execute(self._queries[query], values).fetchall()
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._cursor = None

    def _replaced(self) -> bool:
        """Look at every 64th call whether a restore put another file in this one's place."""
        self._looks = (self._looks + 1) & 63
        return self._looks == 0 and os.stat(self._path_text).st_ino != self._inode  # noqa: PTH116 three times faster

    def _reopen(self) -> None:
        self.close()
        self._on_change(None)
        connection = open_for_reading(self._path, self._queries)
        self._connection = connection
        self._cursor = connection.cursor()
        self._inode = self._path.stat().st_ino
        self._version = self._cursor.execute("PRAGMA data_version").fetchone()[0]
        self._seq = self._cursor.execute(self._queries["last_change"]).fetchone()[0]

    def _report_changes(self) -> bool:
        """Tell what changed; False when the file was written to without a change that a reader must know."""
        assert self._cursor is not None
        rows = self._cursor.execute(self._queries["changes_since"], {"seq": self._seq}).fetchall()
        if not rows and not self._seq:
            return False
        # The row of our own last look must still be there; else the log was pruned past it, or is another file's.
        if not rows or (self._seq and rows[0][0] != self._seq):
            self._seq = self._cursor.execute(self._queries["last_change"]).fetchone()[0]
            self._on_change(None)
            return True
        accounts = {account for seq, account in rows if seq > self._seq}
        self._seq = rows[-1][0]
        if accounts:
            self._on_change(accounts)
        return bool(accounts)

    def _failed(self, error: Exception) -> StorageError:
        self.close()
        return StorageError(f"{self._path} cannot be read: {error}.")
