"""The two files that commands write while workers read them: opening, migrations, transactions, change log.

Writers use one immediate transaction for each change and wait for each other; readers never wait (WAL). Every
transaction notes the accounts it touched in the `change` table of its file, so that a reader that sees a new
`PRAGMA data_version` drops only what belongs to them. A connection must not be carried across a fork.
"""

import contextlib
import errno
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from relay.errors import ConfigurationError, CorruptionError, NewerVersionError, StorageError, TemporaryError

BUSY_TIMEOUT_SECONDS = 10.0
CHANGES_KEPT = 10_000
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

Queries = dict[str, str]
Row = tuple[Any, ...]


class Statements:
    """The named statements of an open file; whoever writes with it has these three."""

    __slots__ = ()
    connection: sqlite3.Connection
    path: Path
    queries: Queries

    def run(self, query: str, values: Mapping[str, object]) -> int:
        """Run a named statement inside a transaction; return the number of rows it changed."""
        return self.connection.execute(self.queries[query], values).rowcount

    def rows(self, query: str, values: Mapping[str, object]) -> list[Row]:
        """Return all rows of a named query."""
        with translated(self.path):
            return self.connection.execute(self.queries[query], values).fetchall()

    def row(self, query: str, values: Mapping[str, object]) -> Row | None:
        """Return the first row of a named query, None when there is none."""
        found = self.rows(query, values)
        return found[0] if found else None


def load_queries(file_name: str) -> Queries:
    """Return the statements of a `.sql` file of this package, by name."""
    text = resources.files("relay.store").joinpath(file_name).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def open_for_writing(path: Path, queries: Queries) -> sqlite3.Connection:
    """Open a file, made when it does not exist (mode 0600, directory 0700), and bring it up to date.

    Raise NewerVersionError when a newer release wrote it, ConfigurationError when it cannot be opened at all,
    TemporaryError when another command holds it for too long.
    """
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        _make_or_check(path)
    except OSError as error:
        raise ConfigurationError(f"Cannot open {path}: {error.strerror}. Check the owner and mode of it.") from error
    with translated(path):
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        try:
            _migrate(connection, path, queries)
        except BaseException:
            connection.close()
            raise
    return connection


def _make_or_check(path: Path) -> None:
    """Make a file that is not there; of one that is, look at its rights without opening it.

    Closing a descriptor of a file gives up every lock that this process holds on it (fcntl(2)). Where SQLite has the
    file open in this process already, others would then take it for closed, and remove its log under it.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # another command was first
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        return
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def open_for_reading(path: Path, queries: Queries) -> sqlite3.Connection:
    """Open an existing file for short reads. Raise StorageError when it is not there or cannot be read."""
    with reading(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=0.2,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA query_only = 1")
            connection.execute("PRAGMA cache_size = -4096")
            _require_version(connection, path, queries)
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, with a sentence for the operator."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            msg = f"{path} is in use by another command; try again."
            raise TemporaryError(msg) from error
        if code in _BROKEN:
            raise CorruptionError(f"{path} is damaged ({error}); restore it from your backup.") from error
        raise StorageError(f"{path} cannot be written: {error}.") from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into a StorageError: what cannot be read now may come back."""
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be read: {error}.") from error


def begin_immediate(connection: sqlite3.Connection) -> None:
    """Begin to write, after whoever writes now."""
    connection.execute("BEGIN IMMEDIATE")


@contextlib.contextmanager
def transaction(
    connection: sqlite3.Connection,
    path: Path,
    queries: Queries,
    account: str = "",
    *,
    begin: Callable[[sqlite3.Connection], object] = begin_immediate,
) -> Iterator[None]:
    """Run one write transaction on behalf of an account, and note the change; all or nothing, synced.

    Without an account nothing is noted, and workers keep what they have read.
    """
    with translated(path):
        begin(connection)
        try:
            yield
            if account:
                connection.execute(queries["note_change"], {"account": account})
                connection.execute(queries["prune_changes"], {"keep": CHANGES_KEPT})
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _newest(queries: Queries) -> int:
    return sum(1 for name in queries if name.startswith("migration_"))


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(connection: sqlite3.Connection, path: Path, queries: Queries) -> None:
    version, known = _version(connection), _newest(queries)
    if version > known:
        raise NewerVersionError(
            f"{path} was written by a newer release of Relay (format {version}, this release knows {known}); nothing "
            "was changed: start the newer release again, or restore the backup made before it."
        )


def _require_version(connection: sqlite3.Connection, path: Path, queries: Queries) -> None:
    _refuse_newer(connection, path, queries)
    if _version(connection) < _newest(queries):
        raise StorageError(f"{path} has not been brought up to date yet.")


def _migrate(connection: sqlite3.Connection, path: Path, queries: Queries) -> None:
    newest = _newest(queries)
    _refuse_newer(connection, path, queries)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = 1")
    if _version(connection) == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(_version(connection) + 1, newest + 1):
            for statement in queries[f"migration_{number}"].split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
