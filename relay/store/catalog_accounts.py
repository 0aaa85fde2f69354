"""Accounts of the catalog: 12 digits, a state, limits, a contact."""

import json
import math
import re
from collections.abc import Iterable, Sequence

from relay.errors import UsageError
from relay.mail.address import BadAddress, parse_mailbox
from relay.model.account import UNLIMITED, Account, AccountState
from relay.model.finding import Enforcement
from relay.model.message import WEIGHT_DEFAULT, WEIGHT_MAX
from relay.policy.suppression import checked_reasons
from relay.store.catalog_tables import Row, Tables

DEFAULT_ACCOUNT = "000000000001"
SANDBOX_DAILY_QUOTA = 200  # SBX-001
SANDBOX_SEND_RATE = 1.0
QUOTA_MAX = 10**12
CONTACT_MAX_CHARACTERS = 320

_ACCOUNT_ID = re.compile(r"[0-9]{12}\Z")


class Accounts:
    """Reads and changes accounts. Unknown ids and values that cannot work raise UsageError."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create(
        self,
        account_id: str,
        *,
        sandbox: bool = False,
        daily_quota: int | None = None,
        send_rate: float | None = None,
        contact: str = "",
    ) -> Account:
        """Add an account. Without limits given a sandbox account gets 200 a day and 1 a second, others none."""
        if not _ACCOUNT_ID.match(account_id):
            raise UsageError(f"An account id has 12 digits, not {account_id!r}.")
        quota = daily_quota if daily_quota is not None else SANDBOX_DAILY_QUOTA if sandbox else UNLIMITED
        rate = send_rate if send_rate is not None else SANDBOX_SEND_RATE if sandbox else UNLIMITED
        values = {
            "id": account_id,
            "sandbox": int(sandbox),
            "daily_quota": checked_quota(quota),
            "send_rate": checked_rate(rate),
            "contact": _checked_contact(contact),
            "created_ms": self._tables.now_ms(),
        }
        with self._tables.writing(account_id):
            if not self._tables.run("create_account", values):
                raise UsageError(f"Account {account_id} exists already.")
        return self.require(account_id)

    def get(self, account_id: str) -> Account | None:
        """Return an account, None when there is none."""
        row = self._tables.row("get_account", {"id": account_id})
        return account_of(row) if row else None

    def require(self, account_id: str) -> Account:
        """Return an account that must exist."""
        account = self.get(account_id)
        if account is None:
            raise UsageError(f"There is no account {account_id}.")
        return account

    def list(self) -> list[Account]:
        """Return all accounts, by id."""
        return [account_of(row) for row in self._tables.rows("list_accounts", {})]

    def set_quota(
        self, account_id: str, *, daily_quota: int | None = None, send_rate: float | None = None
    ) -> Account:
        """Change the limits that are given: recipients in 24 hours, recipients a second; -1 is unlimited."""
        return self._change(
            account_id,
            "set_limits",
            daily_quota=None if daily_quota is None else checked_quota(daily_quota),
            send_rate=None if send_rate is None else checked_rate(send_rate),
        )

    def set_state(self, account_id: str, state: AccountState) -> Account:
        """Enable, pause or close an account; it holds from the next request on."""
        return self._change(account_id, "set_state", state=str(AccountState(state)), now_ms=self._tables.now_ms())

    def set_sandbox(self, account_id: str, *, sandbox: bool) -> Account:
        """Move an account into or out of the sandbox; limits stay as they are."""
        return self._change(account_id, "set_sandbox", sandbox=int(sandbox))

    def set_contact(self, account_id: str, contact: str) -> Account:
        """Change where an account's own mail goes."""
        return self._change(account_id, "set_contact", contact=_checked_contact(contact))

    def set_recipient_check(self, account_id: str, *, on: bool) -> Account:
        """Refuse mail to domains that take none, or accept it and let it bounce (DLV-003)."""
        return self._change(account_id, "set_recipient_check", recipient_check=int(on))

    def set_suppressed_reasons(self, account_id: str, reasons: Iterable[str]) -> Account:
        """Change what puts addresses on an account's suppression list and which entries count; none: not in use."""
        return self._change(
            account_id, "set_suppressed_reasons", suppressed_reasons=json.dumps(checked_reasons(reasons))
        )

    def paused_before(self, until_ms: int) -> Sequence[str]:
        """Return the accounts that enforcement paused before a time; a pause without a beginning begins now."""
        with self._tables.keeping_notes():
            self._tables.run("note_pauses", {"now_ms": self._tables.now_ms()})
        return [row[0] for row in self._tables.rows("paused_before", {"until_ms": until_ms})]

    def closed_before(self, until_ms: int) -> Sequence[str]:
        """Return the accounts that were closed before a time (PRIV-008)."""
        return [row[0] for row in self._tables.rows("closed_before", {"until_ms": until_ms})]

    def set_weight(self, account_id: str, weight: int) -> Account:
        """Change what share of the relay an account has beside others; it holds for mail accepted from now on."""
        return self._change(account_id, "set_weight", weight=checked_weight(weight))

    def _change(self, account_id: str, query: str, **values: object) -> Account:
        with self._tables.writing(account_id):
            if not self._tables.run(query, {"id": account_id, **values}):
                raise UsageError(f"There is no account {account_id}.")
        return self.require(account_id)


def account_of(row: Row) -> Account:
    """Return the account of a row of `get_account`."""
    (account_id, state, sandbox, daily_quota, send_rate, contact, recipient_check, weight, reasons, enforcement,
     fresh_ms) = row  # fmt: skip
    return Account(
        account_id,
        AccountState(state),
        bool(sandbox),
        daily_quota,
        send_rate,
        contact,
        bool(recipient_check),
        weight,
        tuple(json.loads(reasons)),
        Enforcement(enforcement),
        fresh_ms,
    )


def checked_quota(quota: int) -> int:
    """Return a daily quota. Raise UsageError when it cannot be one."""
    if quota != UNLIMITED and not 0 <= quota <= QUOTA_MAX:
        raise UsageError(f"A daily quota is -1 (unlimited) or 0 to {QUOTA_MAX}, not {quota}.")
    return quota


def checked_weight(weight: int) -> int:
    """Return a weight among accounts or among configuration sets. Raise UsageError when it cannot be one."""
    if not 1 <= weight <= WEIGHT_MAX:
        raise UsageError(f"A weight is 1 to {WEIGHT_MAX}, {WEIGHT_DEFAULT} where nothing is said, not {weight}.")
    return weight


def checked_rate(rate: float) -> float:
    """Return a sending rate. Raise UsageError when it cannot be one."""
    if rate != UNLIMITED and not (math.isfinite(rate) and 0 <= rate <= QUOTA_MAX):
        raise UsageError(f"A sending rate is -1 (unlimited) or a number from 0 on, not {rate}.")
    return float(rate)


def _checked_contact(contact: str) -> str:
    if not contact:
        return contact
    parsed = parse_mailbox(contact, smtputf8=False)
    if isinstance(parsed, BadAddress) or len(contact) > CONTACT_MAX_CHARACTERS:
        raise UsageError(f"A contact is a plain address of at most {CONTACT_MAX_CHARACTERS} characters of ASCII.")
    return str(parsed)
