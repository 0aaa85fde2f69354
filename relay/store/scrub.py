"""Takes an address out of a SQLite file of ours: every table, every column.

Statements are made from the schema that the file itself has, and not kept with names in a `.sql` file: so no table
and no column that is added later is forgotten. What becomes of a row is said by table; where nothing is said, another
address stands in the place of the erased one. What is deleted is written over, and the file is written anew (VACUUM)
whenever anything was changed or its octets still have the address: in free pages, or after an earlier run was killed.

SQLite's lock orders this with the process that owns the file.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from relay.errors import StorageError, TemporaryError
from relay.model.erasure import Erasure
from relay.store.database import file_uri, raw_text
from relay.store.small_file import whole
from relay.store.traces import traces

BUSY_SECONDS: Final = 30.0
READERS_SECONDS: Final = 20.0  # they read in short transactions
LOOK_SECONDS: Final = 0.05


class Fate(StrEnum):
    """What becomes of a row that mentions the address."""

    REMOVE = "remove"
    REDACT = "redact"
    KEEP = "keep"  # it is told, and somebody decides


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file: what tells its rows apart, and its columns."""

    name: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]


def found_in(path: Path, erasure: Erasure) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that mention an address, by table; {} for a file that is not there. Raise TemporaryError."""
    if not path.is_file():
        return {}
    try:
        with _opened(path, "ro") as connection:
            found = {}
            for table in tables_of(connection):
                rows = [dict(zip(table.columns, row[1], strict=True)) for row in _rows(connection, table, erasure)]
                if rows:
                    found[table.name] = rows
            return found
    except sqlite3.Error as error:
        raise TemporaryError(f"{path} cannot be read: {error}") from error


def erase_in(
    path: Path,
    erasure: Erasure,
    fates: Mapping[str, Fate],
    *,
    noting: Sequence[str] = (),
    force: bool = False,
) -> dict[str, int]:
    """Erase an address in a file; return how many rows of each table were removed or changed.

    `noting`: statements that end the transaction when anything changed. `force`: write the file anew in any case.
    Raise StorageError.
    """
    if not path.is_file():
        return {}
    counts: dict[str, int] = {}
    try:
        with _opened(path, "rw") as connection:
            connection.execute("PRAGMA secure_delete = ON")
            with whole(connection):
                for table in tables_of(connection):
                    fate = fates.get(table.name, Fate.REDACT)
                    if fate is not Fate.KEEP and (number := _erase(connection, table, erasure, fate)):
                        counts[table.name] = number
                for statement in noting if counts else ():
                    connection.execute(statement)
            if counts or force or traces(path, erasure.address):
                write_anew(connection, path)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"nothing more can be erased in {path}: {error}") from error
    return counts


def write_anew(connection: sqlite3.Connection, path: Path) -> None:
    """Write a file anew, without free pages, and empty its log. Raise StorageError, sqlite3.Error."""
    connection.execute("VACUUM")
    empty_log(connection, path)


def empty_log(connection: sqlite3.Connection, path: Path) -> None:
    """Carry the whole log into the file and cut it to nothing. Raise StorageError when readers stay in the way."""
    deadline = time.monotonic() + READERS_SECONDS
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {int(LOOK_SECONDS * 1000):d}")
    try:
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_SECONDS)
        else:
            return
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience:d}")
    raise StorageError(f"{path} is in use: what was erased may still be in its log. Erase again.")


def tables_of(connection: sqlite3.Connection) -> list[Table]:
    """Return the tables that a file has."""
    rows = connection.execute(
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    found = []
    for name, without_rowid in sorted(rows):
        columns = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (name,)).fetchall()
        keys = tuple(column for column, pk in columns if pk) if without_rowid else ("rowid",)
        found.append(Table(name, keys, tuple(column for column, _ in columns)))
    return found


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file_uri(path, mode), uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    connection.text_factory = raw_text
    with contextlib.closing(connection):
        yield connection


def _rows(
    connection: sqlite3.Connection, table: Table, erasure: Erasure
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Yield key and values of the rows that mention the address."""
    columns, keys = ", ".join(map(_quoted, table.columns)), ", ".join(map(_quoted, table.keys))
    tests = " OR ".join(
        f"instr(lower(CAST({_quoted(column)} AS TEXT)), {form}) > 0"
        for column in table.columns
        for form in ("?1", "?2")
    )
    statement = f"SELECT {keys}, {columns} FROM {_quoted(table.name)} WHERE {tests}"  # noqa: S608 - names of its schema
    plain = erasure.address.lower()
    escaped = orjson.dumps(plain)[1:-1].decode()
    for row in connection.execute(statement, (plain, escaped)).fetchall():
        key, values = row[: len(table.keys)], row[len(table.keys) :]
        if any(_about(erasure, value) for value in values):
            yield key, values


def _erase(connection: sqlite3.Connection, table: Table, erasure: Erasure, fate: Fate) -> int:
    number = 0
    where = " AND ".join(f"{_quoted(key)} IS ?" for key in table.keys)
    remove = f"DELETE FROM {_quoted(table.name)} WHERE {where}"  # noqa: S608 - names of its schema
    for key, values in list(_rows(connection, table, erasure)):
        number += 1
        if fate is Fate.REMOVE:
            connection.execute(remove, key)
            continue
        changed = {
            column: _without(erasure, value)
            for column, value in zip(table.columns, values, strict=True)
            if _about(erasure, value)
        }
        assignments = ", ".join(f"{_quoted(column)} = ?" for column in changed)
        change = f"UPDATE {_quoted(table.name)} SET {assignments} WHERE {where}"  # noqa: S608 - names of its schema
        try:
            connection.execute(change, (*changed.values(), *key))
        except sqlite3.IntegrityError:  # the erased form is there already, from an earlier erasure
            connection.execute(remove, key)
    return number


def _without(erasure: Erasure, value: Any) -> Any:
    erased = erasure.erased(_octets(value))
    return erased if isinstance(value, bytes) else erased.decode("utf-8", "surrogateescape")


def _about(erasure: Erasure, value: Any) -> bool:
    return erasure.is_value(value) if isinstance(value, str) else erasure.mentioned(_octets(value))


def _octets(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else b""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
