"""What accounts say about themselves, and the administrator's queue of what they ask for.

A decision, what it changes and the mail that tells the contacts are one transaction: there is never one without the
others (SBX-004, SBX-005, QUOTA-012). How the mail reads is given by the caller.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial

from relay.errors import ConflictError, UsageError
from relay.mail.address import BadAddress, parse_mailbox
from relay.mail.letter import Letter
from relay.model.account import Account, AccountState
from relay.model.finding import Enforcement
from relay.model.review import (
    CONTACTS_MAX,
    INTERNAL_KINDS,
    USE_CASE_MAX_CHARACTERS,
    WEBSITE_URL_MAX_CHARACTERS,
    AccountDetails,
    ContactLanguage,
    MailType,
    Review,
    ReviewKind,
    ReviewState,
)
from relay.policy.quota_rules import Verdict
from relay.store.catalog_accounts import Accounts, checked_quota, checked_rate
from relay.store.catalog_addresses import CHANGED as POOLS_CHANGED
from relay.store.catalog_addresses import allocate
from relay.store.catalog_notices import Notices
from relay.store.catalog_tables import Row, Tables

PAGE_SIZE_MAX = 1000
REASON_MAX_CHARACTERS = 1000
NEWEST = 1 << 62
ADDRESSES_ASKED_MAX = 256

Write = Callable[[Account, str], Letter]
"""Writes a mail about an account, as it is after the change, to one of its contacts."""


class Reviews:
    """Keeps details and requests. Unknown accounts and ids raise UsageError."""

    __slots__ = ("_accounts", "_notices", "_tables")

    def __init__(self, tables: Tables, accounts: Accounts, notices: Notices) -> None:
        self._tables = tables
        self._accounts = accounts
        self._notices = notices

    # --- details -------------------------------------------------------------------------------------------------

    def details(self, account: str) -> AccountDetails | None:
        """Return what an account says about itself, None when it never did."""
        self._tables.require_account(account)
        row = self._tables.row("get_account_details", {"account": account})
        if row is None:
            return None
        mail_type, website_url, use_case, contacts, language = row
        return AccountDetails(
            MailType(mail_type), website_url, use_case, tuple(json.loads(contacts)), ContactLanguage(language)
        )

    def put_details(self, account: str, details: AccountDetails) -> None:
        """Keep details; while production access is under review they cannot be changed."""
        _check(details)
        with self._tables.writing(account):
            self._tables.require_account(account)
            self._put_details(account, details)

    def contacts(self, account: Account) -> tuple[str, ...]:
        """Return where mail about an account goes, each address once."""
        details = self.details(account.account_id)
        named = [account.contact, *(details.contacts if details else ())]
        return tuple(address for address in dict.fromkeys(named) if _is_address(address))

    # --- requests ------------------------------------------------------------------------------------------------

    def request_production(
        self,
        account: str,
        details: AccountDetails,
        *,
        daily_quota: int | None = None,
        send_rate: float | None = None,
    ) -> Review:
        """Ask to leave the sandbox, with other limits if wanted. Raise ConflictError while such a request waits."""
        _check(details)
        with self._tables.writing(account):
            if not self._accounts.require(account).sandbox:
                raise UsageError(f"Account {account} is outside the sandbox already.")
            self._put_details(account, details)
            review_id = self._ask(account, ReviewKind.PRODUCTION, daily_quota, send_rate, details.use_case)
        return self.require(review_id)

    def request_quota(
        self, account: str, *, daily_quota: int | None = None, send_rate: float | None = None, use_case: str = ""
    ) -> Review:
        """Ask for other limits. Raise ConflictError while such a request waits."""
        if daily_quota is None and send_rate is None:
            raise UsageError("Ask for a daily quota, a sending rate or both.")
        if len(use_case) > USE_CASE_MAX_CHARACTERS:
            raise UsageError(f"The use case has at most {USE_CASE_MAX_CHARACTERS} characters.")
        with self._tables.writing(account):
            if self._accounts.require(account).sandbox:
                raise UsageError(
                    f"Account {account} is in the sandbox: ask for production access, and for limits with it."
                )
            review_id = self._ask(account, ReviewKind.QUOTA, daily_quota, send_rate, use_case)
        return self.require(review_id)

    def request_addresses(
        self, account: str, details: AccountDetails, addresses: int, opt_in: str, bounce_process: str
    ) -> Review:
        """Ask for source addresses of one's own (POOL-009). Raise ConflictError while such a request waits."""
        _check(details)
        if not 1 <= addresses <= ADDRESSES_ASKED_MAX:
            raise UsageError(f"Ask for 1 to {ADDRESSES_ASKED_MAX} addresses.")
        for what, text in (("how recipients opt in", opt_in), ("what is done about bounces", bounce_process)):
            if not 1 <= len(text) <= USE_CASE_MAX_CHARACTERS:
                raise UsageError(f"Say {what}, in 1 to {USE_CASE_MAX_CHARACTERS} characters.")
        with self._tables.writing(account):
            self._accounts.require(account)
            self._put_details(account, details)
            review_id = self._ask(
                account,
                ReviewKind.ADDRESSES,
                None,
                None,
                details.use_case,
                addresses=addresses,
                opt_in=opt_in,
                bounce_process=bounce_process,
            )
        return self.require(review_id)

    def get(self, review_id: int) -> Review | None:
        """Return a request, None when there is none."""
        row = self._tables.row("get_review", {"id": review_id})
        return _review_of(row) if row else None

    def require(self, review_id: int) -> Review:
        """Return a request that must exist."""
        review = self.get(review_id)
        if review is None:
            raise UsageError(f"There is no request {review_id}.")
        return review

    def list(
        self,
        account: str | None = None,
        state: ReviewState | None = None,
        *,
        before: int = NEWEST,
        limit: int = PAGE_SIZE_MAX,
    ) -> list[Review]:
        """Return up to `limit` requests (at most 1,000) with an id below `before`, newest first."""
        values = {
            "account": account,
            "state": None if state is None else str(state),
            "before": before,
            "limit": max(1, min(limit, PAGE_SIZE_MAX)),
        }
        return [_review_of(row) for row in self._tables.rows("list_reviews", values)]

    # --- decisions -----------------------------------------------------------------------------------------------

    def grant(
        self,
        review_id: int,
        write: Write,
        *,
        reason: str = "",
        daily_quota: int | None = None,
        send_rate: float | None = None,
        addresses: Sequence[str] = (),
    ) -> Review:
        """Grant a request: the account leaves the sandbox or gets its limits, and its contacts are told.

        Limits given here stand before those asked for; with neither, limits stay as they are. Source addresses come
        from the reserve: those given here, or as many as were asked for.
        """
        review = self._decidable(review_id)
        self._refuse_held(review)
        if addresses and review.kind is not ReviewKind.ADDRESSES:
            raise UsageError(f"Request {review_id} is not for source addresses.")
        quota = review.daily_quota if daily_quota is None else daily_quota
        rate = review.send_rate if send_rate is None else send_rate
        with self._tables.writing(review.account):
            if review.kind is ReviewKind.PRODUCTION:
                self._tables.run("set_sandbox", {"id": review.account, "sandbox": 0})
            if review.kind is ReviewKind.ADDRESSES:
                allocate(self._tables, review.account, "", review.addresses or 1, addresses)
                self._tables.run("note_change", {"account": POOLS_CHANGED})
            limits = {"daily_quota": _optional_quota(quota), "send_rate": _optional_rate(rate)}
            self._tables.run("set_limits", {"id": review.account, **limits})
            self._decide(review, ReviewState.GRANTED, reason, write)
        return self.require(review_id)

    def deny(self, review_id: int, write: Write, *, reason: str = "") -> Review:
        """Refuse a request; the account stays as it is, and its contacts are told why."""
        review = self._decidable(review_id)
        with self._tables.writing(review.account):
            self._decide(review, ReviewState.DENIED, reason, write)
        return self.require(review_id)

    def dismiss(self, review_id: int, reason: str = "") -> Review:
        """Take from the queue what an administrator has looked into; nobody is told (REVIEW-009)."""
        review = self.require(review_id)
        if review.kind is not ReviewKind.INVESTIGATION:
            raise UsageError(f"Request {review_id} is no investigation.")
        with self._tables.keeping_notes():
            self._mark(review, ReviewState.GRANTED, reason)
        return self.require(review_id)

    def pause(self, account: str, write: Write) -> Account:
        """Pause an account and tell its contacts, in one transaction (ERR-004)."""
        with self._tables.writing(account):
            self._accounts.require(account)
            self._pause(account)
            self._tell(account, write)
        return self._accounts.require(account)

    def _pause(self, account: str) -> None:
        values = {"id": account, "state": str(AccountState.PAUSED), "now_ms": self._tables.now_ms()}
        self._tables.run("set_state", values)

    def apply_rule(self, account: str, verdict: Verdict, write: Write) -> Account:
        """Do to an account what a rule says, keep it among the requests, and tell its contacts (QUOTA-013, 014)."""
        asked = {"daily_quota": verdict.daily_quota, "send_rate": verdict.send_rate, "use_case": ""}
        values = {"account": account, "requested": json.dumps(asked), "reason": verdict.reason}
        with self._tables.writing(account):
            self._accounts.require(account)
            if verdict.pause:
                self._pause(account)
            limits = {"daily_quota": checked_quota(verdict.daily_quota), "send_rate": checked_rate(verdict.send_rate)}
            self._tables.run("set_limits", {"id": account, **limits})
            self._tables.run("record_rule", {**values, "now_ms": self._tables.now_ms()})
            self._tell(account, write)
        return self._accounts.require(account)

    def last_rule_ms(self, account: str) -> int:
        """Return when a rule changed an account last, in ms since 1970, 0: never."""
        row = self._tables.row("last_rule", {"account": account})
        return int(row[0]) if row else 0

    # --- parts of transactions -----------------------------------------------------------------------------------

    def _put_details(self, account: str, details: AccountDetails) -> None:
        self._refuse_second(account, ReviewKind.PRODUCTION)
        values = {
            "account": account,
            "mail_type": str(details.mail_type),
            "website_url": details.website_url,
            "use_case": details.use_case,
            "contact_language": str(details.language),
            "contacts": json.dumps(details.contacts),
            "updated_ms": self._tables.now_ms(),
        }
        self._tables.run("put_account_details", values)

    def _ask(
        self,
        account: str,
        kind: ReviewKind,
        daily_quota: int | None,
        send_rate: float | None,
        use_case: str,
        **more: object,
    ) -> int:
        self._refuse_second(account, kind)
        asked: dict[str, object] = {
            "daily_quota": _optional_quota(daily_quota),
            "send_rate": _optional_rate(send_rate),
            "use_case": use_case,
            **more,
        }
        values = {"account": account, "kind": str(kind), "finding": 0, "created_ms": self._tables.now_ms()}
        row = self._tables.row("create_review", {**values, "requested": json.dumps(asked)})
        assert row is not None  # a second one was refused above, in this transaction
        return int(row[0])

    def _refuse_second(self, account: str, kind: ReviewKind) -> None:
        row = self._tables.row("pending_review", {"account": account, "kind": str(kind), "finding": 0})
        if row is not None:
            raise ConflictError(
                f"Request {row[0]} of account {account} is under review; wait until it is granted or denied."
            )

    def _decidable(self, review_id: int) -> Review:
        """Return a request that is granted or denied; what is about a case is decided with the case."""
        review = self.require(review_id)
        if review.finding:
            raise UsageError(
                f"Request {review_id} is about case {review.finding}: decide with `relay reputation accept`, "
                "`extend`, `reject` or `pause`."
            )
        if review.kind in INTERNAL_KINDS:
            raise UsageError(f"Request {review_id} is an investigation: end it with `relay account review dismiss`.")
        return review

    def _refuse_held(self, review: Review) -> None:
        """Raise ConflictError for more quota while a case against the account is open (REVIEW-012)."""
        if review.kind not in {ReviewKind.QUOTA, ReviewKind.PRODUCTION}:
            return
        row = self._tables.row("open_case", {"account": review.account})
        if row is not None:
            raise ConflictError(
                f"Request {review.review_id} is held: account {review.account} has case {row[0]} ({row[1]}). "
                "Close the case first."
            )
        if self._accounts.require(review.account).enforcement is not Enforcement.NONE:
            raise ConflictError(f"Request {review.review_id} is held: account {review.account} is suspended.")

    def _decide(self, review: Review, state: ReviewState, reason: str, write: Write) -> None:
        self._mark(review, state, reason)
        self._tell(review.account, write)

    def _mark(self, review: Review, state: ReviewState, reason: str) -> None:
        if len(reason) > REASON_MAX_CHARACTERS or not reason.isprintable():
            raise UsageError(f"A reason is one line of at most {REASON_MAX_CHARACTERS} characters.")
        values = {"id": review.review_id, "state": str(state), "reason": reason, "now_ms": self._tables.now_ms()}
        if not self._tables.run("decide_review", values):
            raise ConflictError(f"Request {review.review_id} was decided already.")

    def _tell(self, account: str, write: Write) -> None:
        self._notices.tell_contacts(account, partial(write, self._accounts.require(account)))


def read_contacts(given: Sequence[str]) -> tuple[str, ...]:
    """Return contacts in the form they are kept in. Raise UsageError for what is no address, and for too many."""
    contacts = []
    for text in dict.fromkeys(part.strip() for one in given for part in one.split(",")):
        parsed = parse_mailbox(text, smtputf8=False)
        if isinstance(parsed, BadAddress):
            raise UsageError(f"{text[:80]!r} is no address for a contact: {parsed.text}.")
        contacts.append(str(parsed))
    if len(contacts) > CONTACTS_MAX:
        raise UsageError(f"There are at most {CONTACTS_MAX} contacts, not {len(contacts)}.")
    return tuple(contacts)


def _check(details: AccountDetails) -> None:
    url = details.website_url
    if not url.startswith(("http://", "https://")) or len(url) > WEBSITE_URL_MAX_CHARACTERS or not url.isprintable():
        raise UsageError(
            f"A website URL begins with https:// or http:// and has at most {WEBSITE_URL_MAX_CHARACTERS} characters, "
            "such as https://www.example.com."
        )
    if not 1 <= len(details.use_case) <= USE_CASE_MAX_CHARACTERS:
        raise UsageError(f"The use case has 1 to {USE_CASE_MAX_CHARACTERS} characters.")
    if details.contacts != read_contacts(details.contacts):
        raise UsageError("A contact is a plain address, each given once.")


def _is_address(text: str) -> bool:
    """Say whether mail can go there: contacts of an earlier release may be anything."""
    return not isinstance(parse_mailbox(text, smtputf8=False), BadAddress)


def _optional_quota(quota: int | None) -> int | None:
    return None if quota is None else checked_quota(quota)


def _optional_rate(rate: float | None) -> float | None:
    return None if rate is None else checked_rate(rate)


def _review_of(row: Row) -> Review:
    review_id, account, kind, state, created_ms, requested, reason, decided_ms, finding = row
    asked = json.loads(requested)
    return Review(
        review_id,
        account,
        ReviewKind(kind),
        ReviewState(state),
        created_ms,
        asked["daily_quota"],
        asked["send_rate"],
        asked["use_case"],
        reason,
        decided_ms,
        asked.get("addresses"),
        asked.get("opt_in", ""),
        asked.get("bounce_process", ""),
        finding,
        asked.get("root_cause", ""),
        asked.get("changes", ""),
        asked.get("prevention", ""),
    )
