"""Opens our SQLite files: settings, schema version, and forward-only migrations.

`PRAGMA user_version` counts the migrations that were applied. An older file is migrated at open, each step in
one transaction; a newer one is refused untouched (F16, F17). The version is also in `PRAGMA application_id`, so that
a damaged number is not mistaken for a newer release.

Settings, with what was measured (10-KB messages in groups of 32, CPU of accept and settle together):
page size 8192: 104 us a message (4096: 125, 16384: 124). `secure_delete` off, because Debian's SQLite has it on
and then overwrites each freed body: 20 us a message. Automatic checkpoints are off: `housekeeping` runs them.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from relay.errors import NewerVersionError, TemporaryError
from relay.store.sql import migrations

PAGE_BYTES: Final = 8192
APPLICATION_ID: Final = 0x524C0000  # plus the version: damage to one of the two numbers shows
WRITE_CACHE_BYTES: Final = 16 * 1024 * 1024
READ_CACHE_BYTES: Final = 2 * 1024 * 1024
PRIMARY_CODE: Final = 0xFF
DAMAGE_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_WAL_KEEP_BYTES: Final = 64 * 1024 * 1024
_STATEMENTS_CACHED: Final = 128
_BUSY_TIMEOUT_SECONDS: Final = 10.0

_WRITER_SETTINGS: Final = (
    f"PRAGMA page_size = {PAGE_BYTES}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 0",
    f"PRAGMA journal_size_limit = {_WAL_KEEP_BYTES}",
    f"PRAGMA cache_size = -{WRITE_CACHE_BYTES // 1024}",
    "PRAGMA trusted_schema = OFF",
)
_READER_SETTINGS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA cache_size = -{READ_CACHE_BYTES // 1024}",
    "PRAGMA trusted_schema = OFF",
)


def open_writer(path: Path, schema: str) -> sqlite3.Connection:
    """Open or create a database of `schema` for its one writer; migrate it when it is older.

    Raise NewerVersionError when it is newer, sqlite3.Error when it cannot be used.
    """
    connection = _connect(path, "rwc")
    try:
        _refuse_newer(connection, schema, path)
        for setting in _WRITER_SETTINGS:
            connection.execute(setting)
        _migrate(connection, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path, schema: str, *, owned: bool = False) -> sqlite3.Connection:
    """Open an existing database for short reads. Raise NewerVersionError, or sqlite3.Error when there is none.

    `owned` says that this process is the writer: such a reader keeps the write-ahead index alive while the
    writer reopens the file after a failed write, so that what failed cannot come back.
    """
    connection = _connect(path, "rw" if owned else "ro")
    try:
        _refuse_newer(connection, schema, path)
        for setting in _READER_SETTINGS:
            connection.execute(setting)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def reading(path: Path, schema: str) -> Iterator[sqlite3.Connection | None]:
    """Open a file for one look, None when it is not there, or is being made just now. Raise TemporaryError."""
    try:
        connection = open_reader(path, schema) if path.is_file() else None
    except sqlite3.Error as error:
        if not path.exists():  # dropped since it was listed
            yield None
            return
        raise TemporaryError(f"{path} cannot be read: {error}") from error
    if connection is None:
        yield None
        return
    try:
        connection.execute("BEGIN")
        yield connection if version_of(connection) else None
    except sqlite3.Error as error:
        raise TemporaryError(f"{path} cannot be read: {error}") from error
    finally:
        connection.close()


def file_uri(path: Path, mode: str) -> str:
    """Return the SQLite URI of a path (`mode`: ro, rw, rwc)."""
    return f"file:{quote(str(path.absolute()))}?mode={mode}"


def is_damage(error: Exception) -> bool:
    """Say whether an error means that a file is damaged, as opposed to locked, full or not there."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    # Without a code the error comes from the binding: text that is none, a number that does not fit.
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & PRIMARY_CODE in DAMAGE_CODES


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many migrations the file has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def raw_text(data: bytes) -> str:
    """Read TEXT that may be damaged; its checksum then fails, instead of the whole query."""
    return data.decode("utf-8", "surrogateescape")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file_uri(path, mode),
        uri=True,
        isolation_level=None,
        check_same_thread=False,  # each is used by one thread at a time; opened before the threads exist
        cached_statements=_STATEMENTS_CACHED,
        timeout=_BUSY_TIMEOUT_SECONDS,
    )
    connection.text_factory = raw_text
    return connection


def _refuse_newer(connection: sqlite3.Connection, schema: str, path: Path) -> None:
    version = version_of(connection)
    known = len(migrations(schema))
    if version > known:
        application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
        if application_id != APPLICATION_ID + version:
            raise sqlite3.DatabaseError(f"{path} is damaged: its two format numbers differ")
        raise NewerVersionError(
            f"{path} was written by a newer release (format {version}, this release knows {known}); "
            "nothing was changed: start the newer release again"
        )


def _migrate(connection: sqlite3.Connection, schema: str) -> None:
    scripts = migrations(schema)
    for number in range(version_of(connection) + 1, len(scripts) + 1):
        # The version is part of the same transaction, so that a crash leaves either the old format or the new.
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{scripts[number - 1]}\nPRAGMA user_version = {number};\n"
            f"PRAGMA application_id = {APPLICATION_ID + number};\nCOMMIT;"
        )
