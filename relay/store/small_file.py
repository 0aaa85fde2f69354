"""Small SQLite files that one process owns and can do without: begun anew when damaged, written all or nothing.

Damage shows when a file is opened, or later, when a damaged page is read. Either way the file is set aside as
`*.damaged` with one error in the log, and an empty one takes its place: at once, or with the next use after the one
that failed. What a writer keeps in memory about rows of a file is void after an error.
A process that reads such a file and keeps it open notices that it was replaced (`KeptReader`).
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from relay.errors import ConfigurationError, StorageError
from relay.ports import Log
from relay.store.database import DAMAGE_CODES, PRIMARY_CODE, open_reader, open_writer

Values = Sequence[Any] | Mapping[str, Any]

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
    _set_aside(path, log, what)
    return open_writer(path, schema)


def _set_aside(path: Path, log: Log, what: str) -> None:
    log.error(f"{what} damaged, starting anew", path=str(path))  # noqa: G004
    for companion in _COMPANIONS:
        damaged = path.with_name(path.name + companion)
        with contextlib.suppress(FileNotFoundError):
            damaged.rename(damaged.with_name(damaged.name + ".damaged"))


class SmallFile:
    """An open file, for one thread at a time; `what` names it in errors. All calls raise StorageError.

    As it is, for files that are opened for each look (`own_checks`, `snds`): their damage is met at the next one.
    """

    def __init__(self, connection: sqlite3.Connection | None, what: str) -> None:
        self._connection = connection
        self._what = what

    @property
    def connection(self) -> sqlite3.Connection:
        """The open file."""
        if self._connection is None:
            raise StorageError(f"{self._what} is not open")
        return self._connection

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Run a block as one transaction, synced at its end."""
        try:
            with whole(self.connection):
                yield
        except sqlite3.Error as error:
            raise self.failed(error) from error

    def run(self, statement: str, values: Values = ()) -> list[Any]:
        """Return the rows of a statement."""
        try:
            return self.connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self.failed(error) from error

    def failed(self, error: sqlite3.Error) -> StorageError:
        """Return what to raise for an error of the file."""
        return StorageError(f"{self._what} cannot be used: {error}")

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class OwnedFile(SmallFile):
    """One that its writer keeps open, begun anew when damage shows. `what` names it in the log, too."""

    def __init__(
        self, path: Path, schema: str, log: Log, what: str, *, checkpoint_pages: int = CHECKPOINT_PAGES
    ) -> None:
        super().__init__(None, f"the {what} {path}")
        self.path = path
        self._schema = schema
        self._log = log
        self._name = what
        self._checkpoint_pages = checkpoint_pages
        self._is_damaged = False

    def open(self) -> None:
        """Open or create the file. Raise ConfigurationError when the place cannot be used, NewerVersionError."""
        try:
            self._connection = self._opened()
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"{self._what} cannot be opened: {error}") from error

    @property
    def connection(self) -> sqlite3.Connection:
        """The open file; a new one after damage was found."""
        found = super().connection
        if not self._is_damaged:
            return found
        try:
            return self._begun_anew(found)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{self._what} cannot be begun anew: {error}") from error

    def failed(self, error: sqlite3.Error) -> StorageError:
        """Return what to raise for an error of the file, which is begun anew with its next use if it is damaged."""
        self._is_damaged = self._is_damaged or _shows_damage(error)
        return super().failed(error)

    def _opened(self) -> sqlite3.Connection:
        pages = self._checkpoint_pages
        return open_or_anew(self.path, self._schema, self._log, self._name, checkpoint_pages=pages)

    def _begun_anew(self, damaged: sqlite3.Connection) -> sqlite3.Connection:
        damaged.close()
        if self.path.exists():  # not when a try before this one came so far
            _set_aside(self.path, self._log, self._name)
        self._connection = opened = self._opened()
        self._is_damaged = False
        return opened


class KeptReader:
    """A small file of another process, opened with the first question, and again after a fault or when replaced."""

    def __init__(self, path: Path, schema: str, what: str) -> None:
        self._path = path
        self._schema = schema
        self._what = what
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)

    def run(self, statement: str, values: Values = ()) -> list[Any]:
        """Return the rows of a statement, none while there is no file. Raise StorageError."""
        try:
            found = self._path.stat()
            if (found.st_dev, found.st_ino) != self._file or self._connection is None:
                self.close()
                self._connection = open_reader(self._path, self._schema)
                self._file = (found.st_dev, found.st_ino)
            return self._connection.execute(statement, values).fetchall()
        except FileNotFoundError:
            self.close()
            return []
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise StorageError(f"the {self._what} {self._path} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _shows_damage(error: sqlite3.Error) -> bool:
    """Say whether an error in the midst of work means damage; one without a code is a fault of ours."""
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE in DAMAGE_CODES


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
