"""Addresses that are verified by a mailed link, and the links (IDENT-017 to IDENT-019, IDENT-027).

A link is a token of 128 random bits; only its hash is kept, and the token itself in the one mail that carries it. It
works once, for 24 hours, until a newer link for the same address voids it. How many links a day go to one mailbox is
limited, whatever its identities are called, so that nobody is pestered. An ordinary identity, its check, its link
and its mail are written in one transaction; of a custom mail only link and mail are, and the identity appears when
the link is used. Looking at a link changes nothing.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from relay.errors import AlreadyExistsError, LimitExceededError, RequestRefusedError, TemporaryError, UsageError
from relay.mail.letter import Letter
from relay.model.account import AccountState, IdentityKind
from relay.model.check import Aspect, Check, CheckState, StateChange
from relay.model.verification import (
    ACCOUNT_LINKS_MAX,
    LIMITED_MS,
    LINK_VALID_MS,
    MAILBOX_LINKS_MAX,
    MAILBOX_LINKS_OF_ALL_MAX,
    TOKEN_BYTES,
    VerificationLink,
    VerificationTemplate,
    mailbox_of,
)
from relay.store.catalog_identities import canonical_name, require_holdable, require_room
from relay.store.catalog_notices import Notices
from relay.store.catalog_tables import Tables

LINKS_KEPT_MS = 30 * 24 * 3600 * 1000  # after their end, so that a custom mail's late reader finds the failure page
EXPIRED_BATCH = 100

Request = Callable[[str, str, int], Letter]
"""(address, token, expires_ms): the mail that carries a link."""
Tell = Callable[[str, StateChange], Letter]
"""(contact, change): the mail to a contact about an address."""


class Verifications:
    """Makes and uses links. Names that cannot be, or are not there, raise UsageError."""

    __slots__ = ("_notices", "_tables")

    def __init__(self, tables: Tables, notices: Notices) -> None:
        self._tables = tables
        self._notices = notices

    def create(self, account: str, address: str, request: Request, *, own_names: Sequence[str] = ()) -> str:
        """Add an address identity, pending, and mail its link; return the name it is kept under.

        `own_names` are the relay's, which only the default account may send from. Raise LimitExceededError beyond
        10,000 identities (IDENT-023).
        """
        kept = _address(address)
        require_holdable(account, kept, own_names)
        self._tables.require_account(account)
        now_ms = self._tables.now_ms()
        values = {"account": account, "name": kept, "kind": str(IdentityKind.ADDRESS), "created_ms": now_ms}
        with self._tables.writing(account):
            if not self._tables.run("create_identity", values):
                raise AlreadyExistsError(
                    f"Identity {kept} of account {account} exists already; while it is not verified, `relay identity "
                    f"resend {kept}` mails a new link."
                )
            require_room(self._tables, account)
            self._mail_link(account, kept, request, now_ms)
        return kept

    def resend(self, account: str, address: str, request: Request) -> str:
        """Mail a new link for an address that is not verified; older ones are void (IDENT-018)."""
        kept = _address(address)
        now_ms = self._tables.now_ms()
        with self._tables.writing(account):
            row = self._tables.row("get_identity", {"account": account, "name": kept})
            if row is None:
                raise UsageError(f"Account {account} has no identity {kept}.")
            if row[3]:
                raise UsageError(f"{kept} is verified already.")
            self._mail_link(account, kept, request, now_ms)
        return kept

    def send_custom(
        self,
        account: str,
        address: str,
        template: VerificationTemplate,
        request: Request,
        *,
        own_names: Sequence[str] = (),
    ) -> str:
        """Mail a link in the words of a template; the identity appears once it is used (IDENT-027)."""
        kept = _address(address)
        require_holdable(account, kept, own_names)
        row = self._tables.row("get_account", {"id": account})
        if row is None:
            raise UsageError(f"There is no account {account}.")
        if AccountState(row[1]) is not AccountState.ENABLED:
            raise RequestRefusedError("SendingPausedException", f"Account {account} is {row[1]}; it sends no mail.")
        if row[2]:
            raise RequestRefusedError(
                "ProductionAccessNotGranted",
                f"Account {account} is in the sandbox; custom verification mails need production access.",
            )
        now_ms = self._tables.now_ms()
        with self._tables.writing(account):
            require_room(self._tables, account, more=1)
            self._add_link(account, kept, request, now_ms, template)
        return kept

    def settle(self, account: str, address: str) -> None:
        """Void the links of an address that was verified in another way, and their mail."""
        kept = _address(address)
        now_ms = self._tables.now_ms()
        values = {"account": account, "address": kept, "now_ms": now_ms}
        with self._tables.writing(account):
            self._tables.run("void_requests", values)
            self._tables.run("void_links", values)
            self._set_check(account, kept, CheckState.SUCCESS, now_ms)

    def look(self, token: str) -> VerificationLink | None:
        """Return what a link is for, usable or not any more; None when there never was such a link."""
        values = {"token_hash": token_hash(token), "now_ms": self._tables.now_ms()}
        row = self._tables.row("get_link", values)
        if row is None:
            return None
        account, address, template, success_url, failure_url, usable = row
        return VerificationLink(account, address, template, success_url, failure_url, bool(usable))

    def confirm(self, token: str, tell: Tell) -> VerificationLink | None:
        """Use a link: its address is verified from the next request on. Not usable, or None: nothing happened."""
        link = self.look(token)
        if link is None or not link.usable:
            return link
        now_ms = self._tables.now_ms()
        account, address = link.account, link.address
        with self._tables.writing(account):
            used = self._tables.run("use_link", {"token_hash": token_hash(token), "now_ms": now_ms})
            if used and self._has_identity(link, now_ms):
                self._tables.run("verify_identity", {"account": account, "name": address, "verified": 1})
                self._set_check(account, address, CheckState.SUCCESS, now_ms)
                if not link.template:
                    self._tell(account, address, CheckState.SUCCESS, tell)
                return link
        return VerificationLink(account, address, link.template, link.success_url, link.failure_url, usable=False)

    def expire(self, tell: Tell) -> int:
        """Fail addresses whose link nobody used in time, drop links that ended long ago; return how many failed."""
        now_ms = self._tables.now_ms()
        failed = 0
        for token, account, address, template in self._tables.rows(
            "expired_links", {"now_ms": now_ms, "limit": EXPIRED_BATCH}
        ):
            values = {"account": account, "address": address, "token_hash": token, "now_ms": now_ms}
            with self._tables.writing(account):
                if self._tables.run("close_link", values) and not template:
                    ended = self._tables.run("fail_address_check", values)
                    failed += ended
                    if ended:
                        self._tell(account, address, CheckState.FAILED, tell)
        before = {"before_ms": now_ms - LINKS_KEPT_MS}
        row = self._tables.row("old_links", before)
        if row is not None and row[0]:
            with self._tables.writing(""):
                self._tables.run("prune_links", before)
        return failed

    def state(self, account: str, address: str) -> Check | None:
        """Return how the verification of an address stands, None when none was ever begun."""
        row = self._tables.row("get_address_check", {"account": account, "address": address})
        return None if row is None else Check(Aspect.VERIFICATION, CheckState(row[0]), row[1], row[2])

    def _mail_link(self, account: str, address: str, request: Request, now_ms: int) -> None:
        self._set_check(account, address, CheckState.PENDING, now_ms)
        self._add_link(account, address, request, now_ms, None)

    def _add_link(
        self, account: str, address: str, request: Request, now_ms: int, template: VerificationTemplate | None
    ) -> None:
        mailbox = self._require_few(account, address, now_ms)
        token, expires_ms = secrets.token_urlsafe(TOKEN_BYTES), now_ms + LINK_VALID_MS
        values = {
            "token_hash": token_hash(token),
            "account": account,
            "address": address,
            "mailbox": mailbox,
            "now_ms": now_ms,
            "template": template.name if template else "",
            "success_url": template.success_url if template else "",
            "failure_url": template.failure_url if template else "",
            "created_ms": now_ms,
            "expires_ms": expires_ms,
        }
        self._tables.run("void_requests", values)
        self._tables.run("void_links", values)
        self._tables.run("add_link", values)
        head, body = request(address, token, expires_ms)
        signed_by = template.from_address if template else ""
        if not self._notices.add(account, address, head, body, signed_by=signed_by, created_ms=now_ms):
            raise TemporaryError(f"Too many mails of account {account} wait to be sent; try again later.")

    def _require_few(self, account: str, address: str, now_ms: int) -> str:
        """Return the mailbox of an address. Raise LimitExceededError when too many links went there or elsewhere."""
        mailbox = mailbox_of(address)
        values = {"account": account, "mailbox": mailbox, "since_ms": now_ms - LIMITED_MS}
        for name, most, what in (
            ("links_to_mailbox", MAILBOX_LINKS_MAX, f"to {address}"),
            ("links_to_mailbox_of_all", MAILBOX_LINKS_OF_ALL_MAX, f"to {address}"),
            ("links_of_account", ACCOUNT_LINKS_MAX, f"by account {account}"),
        ):
            count, first_ms = self._tables.row(name, values) or (0, 0)
            if count >= most:
                again = datetime.fromtimestamp((first_ms + LIMITED_MS) // 1000 + 1, UTC).strftime(
                    "%Y-%m-%dT%H:%M:%SZ"
                )
                raise LimitExceededError(
                    f"{count} verification links were mailed {what} within 24 hours, and no more are; the newest "
                    f"goes on working, and another may be asked for from {again} on."
                )
        return mailbox

    def _has_identity(self, link: VerificationLink, now_ms: int) -> bool:
        """Say whether the identity is there; of a custom mail it is made now."""
        key = {"account": link.account, "name": link.address}
        if link.template:
            self._tables.run("create_identity", {**key, "kind": str(IdentityKind.ADDRESS), "created_ms": now_ms})
        return self._tables.row("get_identity", key) is not None

    def _set_check(self, account: str, address: str, state: CheckState, now_ms: int) -> None:
        values = {"account": account, "address": address, "state": str(state), "now_ms": now_ms}
        self._tables.run("set_address_check", values)

    def _tell(self, account: str, address: str, state: CheckState, tell: Tell) -> None:
        change = StateChange(account, address, Aspect.VERIFICATION, state)
        self._notices.tell_contacts(account, lambda contact: tell(contact, change))


def token_hash(token: str) -> bytes:
    """Return what is kept of a token; 128 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _address(name: str) -> str:
    kept, kind = canonical_name(name)
    if kind is not IdentityKind.ADDRESS:
        raise UsageError(f"{kept} is a domain; links are mailed to addresses.")
    return kept
