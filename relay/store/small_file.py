"""Small SQLite files that one process owns and can do without: opened anew when damaged, written all or nothing."""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from relay.errors import StorageError
from relay.ports import Log
from relay.store.database import open_writer

CHECKPOINT_PAGES: Final = 100
EXAMINED_BYTES_MAX: Final = 256 * 1024 * 1024  # a larger file would hold up the start; damage shows when it is read
_COMPANIONS: Final = ("", "-wal", "-shm")


def open_or_anew(
    path: Path, schema: str, log: Log, what: str, *, checkpoint_pages: int = CHECKPOINT_PAGES
) -> sqlite3.Connection:
    """Open or create a file of `schema` for its one writer; a damaged one is set aside as `*.damaged`.

    `what` names it in the log. Raise OSError or sqlite3.Error when the place cannot be used, NewerVersionError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        connection = open_writer(path, schema)
        if path.stat().st_size > EXAMINED_BYTES_MAX or (
            connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        ):
            connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages:d}")
            return connection
        connection.close()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        log.warning(f"{what} unreadable", path=str(path), error=str(error))  # noqa: G004 - few fixed names
    log.error(f"{what} damaged, starting anew", path=str(path))  # noqa: G004
    for companion in _COMPANIONS:
        damaged = path.with_name(path.name + companion)
        with contextlib.suppress(FileNotFoundError):
            damaged.rename(damaged.with_name(damaged.name + ".damaged"))
    return open_writer(path, schema)


@contextlib.contextmanager
def whole(connection: sqlite3.Connection) -> Iterator[None]:
    """Run a block as one transaction, synced at its end; nothing of it stays when the block or the commit fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


class SmallFile:
    """An open file and its named statements; `what` names it in errors, which are StorageError. For one thread."""

    __slots__ = ("_queries", "_what", "connection")

    def __init__(self, connection: sqlite3.Connection, statements: Mapping[str, str], what: str) -> None:
        self.connection = connection
        self._queries = statements
        self._what = what

    def run(self, name: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        """Run a named statement; return its rows."""
        try:
            return self.connection.execute(self._queries[name], values).fetchall()
        except sqlite3.Error as error:
            raise self.failed(error) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Run a block as one transaction, synced at its end, all or nothing."""
        try:
            with whole(self.connection):
                yield
        except sqlite3.Error as error:
            raise self.failed(error) from error

    def failed(self, error: sqlite3.Error) -> StorageError:
        """Return what an error of SQLite is to whoever asked."""
        return StorageError(f"{self._what} cannot be used: {error}")

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
