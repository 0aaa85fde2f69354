"""Removes all rows of an account from a SQLite file of ours: from every table that says whose its rows are.

Statements are made from the schema of the file, as in `scrub` and for the same reason: no table is forgotten.
Source addresses are the relay's: they go back into the reserve. The change log keeps the number of the account, so
that workers drop what they had read.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from relay.errors import StorageError
from relay.store.database import file_uri
from relay.store.scrub import BUSY_SECONDS, tables_of, write_anew
from relay.store.small_file import whole

COLUMNS: Final = ("account", "owner", "other")
KEPT: Final = frozenset({"change"})
GIVEN_BACK: Final = frozenset({"source_address"})


def remove_rows(path: Path, account: str) -> int:
    """Remove an account's rows in one transaction; return how many. Raise StorageError: then none is removed."""
    if not path.is_file():
        return 0
    number = 0
    try:
        with closing(
            sqlite3.connect(file_uri(path, "rw"), uri=True, isolation_level=None, timeout=BUSY_SECONDS)
        ) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA foreign_keys = OFF")  # children go by their own column
            with whole(connection):
                tables = tables_of(connection)
                for table in tables:
                    number += _remove(connection, table.name, table.columns, account)
                if number and any(table.name == "change" for table in tables):
                    connection.execute("INSERT INTO change (account) VALUES (?)", (account,))
            if number:
                write_anew(connection, path)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{path} cannot be written: {error}") from error
    return number


def _remove(connection: sqlite3.Connection, table: str, columns: tuple[str, ...], account: str) -> int:
    if table in KEPT:
        return 0
    if table in GIVEN_BACK:
        back = "UPDATE source_address SET account = '', pool = '', reserve = 1 WHERE account = ?"
        return connection.execute(back, (account,)).rowcount
    whose = ("id",) if table == "account" else tuple(column for column in COLUMNS if column in columns)
    number = 0
    for column in whose:
        statement = f'DELETE FROM "{table}" WHERE "{column}" = ?'  # noqa: S608 - names of its schema
        number += connection.execute(statement, (account,)).rowcount
    return number
