"""Checks of identities in the catalog: how they stand, which are due, and what a look at DNS makes of them.

`identity.verified` says the same as the VERIFICATION check in every transaction (IDENT-012). A look that moves no
check into another state is kept without a note of change, so that workers keep what they have read; one that does
writes state, note and the mails to the contacts together. An identity without a row has a check that was never
started. DNS is asked by others.
"""

import base64
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from relay.errors import NotFoundError
from relay.model.account import IdentityKind
from relay.model.check import Aspect, Check, CheckState, StateChange
from relay.policy import checks
from relay.policy.checks import Finding
from relay.store.catalog_dkim import DkimKeys
from relay.store.catalog_notices import Notices
from relay.store.catalog_tables import Row, Tables

TOKEN_BYTES = 32  # the TXT value is their base64, as the hosted service's

Write = Callable[[StateChange, str], tuple[bytes, bytes]]
"""Writes the mail that tells a contact of a change: its head, and its body."""


@dataclass(frozen=True, slots=True)
class Look:
    """An identity that was looked at: its checks as they were when DNS was asked, and what was found of each."""

    account: str
    identity: str
    checks: Sequence[Check]
    findings: Mapping[Aspect, Finding]
    mail_from_domain: str = ""


class Checks:
    """Keeps checks. `identity` is always the canonical name of an identity."""

    __slots__ = ("_dkim", "_notices", "_tables")

    def __init__(self, tables: Tables, notices: Notices) -> None:
        self._tables = tables
        self._dkim = DkimKeys(tables)
        self._notices = notices

    def of(self, account: str, identity: str) -> dict[Aspect, Check]:
        """Return the checks of an identity that were ever started."""
        return read_checks(self._tables, account, identity)

    def due(self, now_ms: int, limit: int) -> list[tuple[str, str]]:
        """Return up to `limit` identities (account, name) with something to be looked at in DNS.

        Accounts take turns, so that one with many dead domains does not hold up the others.
        """
        rows = self._tables.rows("due_checks", {"now_ms": now_ms, "limit": limit})
        return [(row[0], row[1]) for row in rows]

    def states(self, aspect: Aspect) -> dict[CheckState, int]:
        """Return how many identities of all accounts are in each state; what was never started is not counted."""
        found = {CheckState(row[0]): row[1] for row in self._tables.rows("count_check_states", {"aspect": aspect})}
        return {state: found.get(state, 0) for state in CheckState if state is not CheckState.NOT_STARTED}

    def failing(self, aspect: Aspect, limit: int) -> list[str]:
        """Return up to `limit` identities of all accounts whose records are not right, those that lost them first."""
        return [row[0] for row in self._tables.rows("failing_checks", {"aspect": aspect, "limit": limit})]

    def start(self, account: str, identity: str, aspects: Iterable[Aspect]) -> None:
        """Start checks, or start them again from the beginning (IDENT-010, MFROM-007): pending, and due at once."""
        now_ms = self._tables.now_ms()
        with self._tables.writing(account):
            before = self._require(account, identity)
            for aspect in aspects:
                checks.require_startable(before.get(aspect))
                put_check(self._tables, account, identity, checks.started(aspect, now_ms))
            give_token(self._tables, account, identity)

    def stop(self, account: str, identity: str, aspect: Aspect) -> None:
        """Stop looking for something nobody wants any more."""
        with self._tables.writing(account):
            check = self._require(account, identity).get(aspect)
            if check is not None:
                put_check(self._tables, account, identity, checks.stopped(check, self._tables.now_ms()))

    def settle(self, looks: Sequence[Look], write: Write, spread: Callable[[], float]) -> list[StateChange]:
        """Keep what looks found, all in one transaction, and return the changes of state.

        A check that was started, stopped, deleted or moved since it was looked at stays as it is now.
        """
        changes: list[StateChange] = []
        now_ms = self._tables.now_ms()
        with self._tables.keeping_notes():
            for look in looks:
                changes += self._settle(look, now_ms, spread)
            for account in {change.account for change in changes}:
                self._tables.run("note_change", {"account": account})
            for change in changes:
                self._tell(change, write)
        return changes

    def _settle(self, look: Look, now_ms: int, spread: Callable[[], float]) -> list[StateChange]:
        changes = []
        stands = self.of(look.account, look.identity)
        for seen in look.checks:
            now = stands.get(seen.aspect)
            finding = look.findings.get(seen.aspect)
            if finding is None or now is None or (now.state, now.since_ms) != (seen.state, seen.since_ms):
                continue
            after = checks.looked(now, finding, now_ms, spread())
            put_check(self._tables, look.account, look.identity, after)
            if seen.aspect is Aspect.DKIM and self._dkim.follow_check(look.account, look.identity, after.state):
                self._tables.run("note_change", {"account": look.account})
            domain = look.mail_from_domain if seen.aspect is Aspect.MAIL_FROM else ""
            if (change := checks.change_of(look.account, look.identity, now, after, domain)) is not None:
                changes.append(change)
        return changes

    def _tell(self, change: StateChange, write: Write) -> None:
        """Put a mail to every contact of the account beside the change (DKIM-011, MFROM-009)."""
        self._notices.tell_contacts(change.account, partial(write, change))

    def _require(self, account: str, identity: str) -> dict[Aspect, Check]:
        if self._tables.row("get_identity", {"account": account, "name": identity}) is None:
            raise NotFoundError(f"Account {account} has no identity {identity}.")
        return self.of(account, identity)


# --- inside a transaction of the caller ------------------------------------------------------------------------


def read_checks(tables: Tables, account: str, identity: str) -> dict[Aspect, Check]:
    """Return the checks of an identity that were ever started."""
    rows = tables.rows("list_checks", {"account": account, "identity": identity})
    return {check.aspect: check for check in map(_check_of, rows)}


def put_check(tables: Tables, account: str, identity: str, check: Check) -> None:
    """Keep how a check stands, and with it whether the identity counts as verified."""
    values = {
        "account": account,
        "identity": identity,
        "aspect": str(check.aspect),
        "state": str(check.state),
        "since_ms": check.since_ms,
        "checked_ms": check.checked_ms,
        "next_ms": check.next_ms,
        "error_type": check.error_type,
        "error_text": check.error_text,
    }
    tables.run("put_check", values)
    if check.aspect is Aspect.VERIFICATION:
        tables.run("verify_identity", {"account": account, "name": identity, "verified": int(check.holds)})


def give_token(tables: Tables, account: str, identity: str) -> None:
    """Give a domain the token of its TXT record, unless it has one (IDENT-016)."""
    row = tables.row("get_identity", {"account": account, "name": identity})
    records = tables.row("get_identity_records", {"account": account, "name": identity})
    if row is not None and row[2] == IdentityKind.DOMAIN and records is not None and not records[0]:
        tables.run("set_txt_token", {"account": account, "name": identity, "token": new_token()})


def new_token() -> str:
    """Return a token that nobody can guess and that says nothing about the identity."""
    return base64.b64encode(secrets.token_bytes(TOKEN_BYTES)).decode("ascii")


def _check_of(row: Row) -> Check:
    aspect, state, since_ms, checked_ms, next_ms, error_type, error_text = row
    return Check(Aspect(aspect), CheckState(state), since_ms, checked_ms, next_ms, error_type, error_text)
