"""The file of the suppression lists as its writers have it: several at a time, and none waits long for another.

SQLite lets one transaction write at a time, and who waits looks again ever less often: an import that takes the next
turn a moment after its last would keep everybody else out. So whoever waits here looks every millisecond, and imports
pause longer than that between two transactions.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from relay.store.catalog_files import (
    BUSY_TIMEOUT_SECONDS,
    CHANGES_KEPT,
    Row,
    Statements,
    load_queries,
    open_for_writing,
    transaction,
)

LOOK_SECONDS = 0.001
RELAY_LIST = "*"  # under this name changes of the relay's list stand in the change log, where others have an account

__all__ = ["LOOK_SECONDS", "RELAY_LIST", "Row", "SuppressionFile"]


class SuppressionFile(Statements):
    """One connection to `suppression.db`, used by one thread."""

    __slots__ = ("connection", "now_ms", "path", "queries")

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        """Open the file, made when it is not there. Raise as `open_for_writing` does."""
        self.path = path
        self.now_ms = now_ms
        self.queries = load_queries("suppression.sql")
        self.connection = open_for_writing(path, self.queries)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextlib.contextmanager
    def writing(self, *changed: str) -> Iterator[None]:
        """Run a block as one transaction, synced at its end, and note whose lists it changed; all or nothing.

        Raise TemporaryError when others hold the file for too long, StorageError when it cannot be written.
        """
        with transaction(self.connection, self.path, self.queries, begin=_begin):
            yield
            self.note(*changed)

    def note(self, *changed: str) -> None:
        """Say inside a transaction whose lists it changes."""
        for name in changed:
            self.run("note_change", {"account": name})
        if changed:
            self.run("prune_changes", {"keep": CHANGES_KEPT})


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to write. Raise sqlite3.OperationalError when others write for ten seconds on end."""
    until = time.monotonic() + BUSY_TIMEOUT_SECONDS
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(LOOK_SECONDS)
            else:
                return
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000):d}")
