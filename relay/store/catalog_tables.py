"""What all parts of the catalog write with: one connection, its statements, the sealer and the clock."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.errors import UsageError
from relay.signing.keys import KeyKind, generate
from relay.signing.secrets import Sealer
from relay.store.catalog_files import Queries, transaction, translated

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """An open catalog file; `new_key` makes private keys, `dkim_zone` is where the relay publishes them, or ""."""

    connection: sqlite3.Connection
    path: Path
    queries: Queries
    sealer: Sealer
    master_key: bytes
    now_ms: Callable[[], int]
    new_key: Callable[[KeyKind], bytes] = generate
    dkim_zone: str = ""

    def writing(self, account: str) -> AbstractContextManager[None]:
        """Run a block as one transaction on behalf of an account."""
        return transaction(self.connection, self.path, self.queries, account)

    def keeping_notes(self) -> AbstractContextManager[None]:
        """Run a block as one transaction that changes nothing workers read, unless the block itself says so."""
        return transaction(self.connection, self.path, self.queries)

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

    def require_account(self, account: str) -> None:
        """Raise UsageError when there is no such account."""
        if self.row("get_account", {"id": account}) is None:
            raise UsageError(f"There is no account {account}.")
