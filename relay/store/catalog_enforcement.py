"""What enforcement takes from accounts and their sets, and the event log of an account that says so.

A pause lasts while a finding says so (`catalog_findings`); a suspension lasts until somebody ends it (REVIEW-011).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.errors import ConflictError
from relay.mail.letter import Letter
from relay.model.finding import Enforcement
from relay.store.catalog_accounts import Accounts
from relay.store.catalog_notices import Notices
from relay.store.catalog_tables import Tables

EVENTS_KEPT = 1000
PAUSED_EVENT = "SES sending paused"  # REVIEW-005
SUSPENDED_EVENT = "SES sending suspended"
NOBODY = "nobody@relay.invalid"  # whom a copy of a notice is to when there is no contact


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """A line of an account's event log."""

    event_id: int
    created_ms: int
    name: str
    text: str


class AccountEnforcement:
    """Takes sending away and gives it back. Unknown accounts raise UsageError."""

    __slots__ = ("_accounts", "_notices", "_tables")

    def __init__(self, tables: Tables, accounts: Accounts, notices: Notices) -> None:
        self._tables = tables
        self._accounts = accounts
        self._notices = notices

    def events(self, account: str, limit: int = 100) -> Sequence[AccountEvent]:
        """Return the newest lines of an account's event log, newest first."""
        self._tables.require_account(account)
        rows = self._tables.rows("account_events", {"account": account, "limit": min(limit, EVENTS_KEPT)})
        return [AccountEvent(*row) for row in rows]

    def suspend(self, account: str, write: Callable[[str], Letter]) -> None:
        """Suspend an account for good, whatever becomes of its cases, and tell its contacts (REVIEW-011)."""
        with self._tables.writing(account):
            self._accounts.require(account)
            self._suspend(account, Enforcement.SUSPENDED)
            self._notices.tell_contacts(account, write)
            self.note(account, SUSPENDED_EVENT, write)

    def reinstate(self, account: str) -> Enforcement:
        """End a suspension; return what is left: a pause, where a case says so."""
        with self._tables.writing(account):
            if self._accounts.require(account).enforcement is not Enforcement.SUSPENDED:
                raise ConflictError(f"Account {account} is not suspended.")
            self._suspend(account, Enforcement.NONE)
            self.follow(account, "")
        return self._accounts.require(account).enforcement

    # --- parts of transactions -----------------------------------------------------------------------------------

    def follow(self, account: str, configuration_set: str) -> None:
        """Let an account or set be paused while one of its findings says so, and no longer."""
        values = {"account": account, "configuration_set": configuration_set}
        row = self._tables.row("has_paused_finding", values)
        taken = Enforcement.PAUSED if row is not None and row[0] else Enforcement.NONE
        query = "enforce_set" if configuration_set else "enforce_account"
        self._tables.run(query, {**values, "enforcement": str(taken), "now_ms": self._tables.now_ms()})

    def _suspend(self, account: str, taken: Enforcement) -> None:
        values = {"account": account, "enforcement": str(taken), "now_ms": self._tables.now_ms()}
        self._tables.run("suspend_account", values)

    def note(self, account: str, name: str, write: Callable[[str], Letter]) -> None:
        """Write a line of an account's event log, with a copy of the notice to its contact."""
        contact = self._accounts.require(account).contact
        text = write(contact or NOBODY)[1].decode("utf-8", "replace")
        values = {"account": account, "now_ms": self._tables.now_ms(), "name": name, "text": text}
        self._tables.run("add_account_event", values)
        self._tables.run("drop_account_events", {"account": account, "keep": EVENTS_KEPT})
