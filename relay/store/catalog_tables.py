"""What all parts of the catalog write with: one connection, its statements, the sealer and the clock."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from relay.errors import UsageError
from relay.signing.keys import KeyKind, generate
from relay.signing.secrets import Sealer
from relay.store.catalog_files import Queries, Row, Statements, transaction

__all__ = ["Row", "Tables"]


@dataclass(frozen=True, slots=True)
class Tables(Statements):
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

    def require_account(self, account: str) -> None:
        """Raise UsageError when there is no such account."""
        if self.row("get_account", {"id": account}) is None:
            raise UsageError(f"There is no account {account}.")
