"""Findings of the catalog: what is held against accounts and their sets, from the opening to the end.

A step, the pause or its end, the notice to the contacts and the line of the account's event log are one transaction
(REVIEW-004, REVIEW-005). What an account answers, and what the relay proposes, waits in the administrator's queue of
requests (`catalog_reviews`) under the number of the finding.

It is long because all parts of such a transaction stand together.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from relay.errors import ConflictError, UsageError
from relay.mail.finding_letters import News
from relay.mail.letter import Letter
from relay.model.finding import (
    SAMPLE_MAX_BYTES,
    TEXT_MAX_CHARACTERS,
    Finding,
    FindingKind,
    FindingState,
    FindingStep,
    after,
)
from relay.model.review import USE_CASE_MAX_CHARACTERS, ReviewKind, ReviewState
from relay.reputation.findings import METRICS, handling
from relay.store.catalog_accounts import Accounts
from relay.store.catalog_enforcement import PAUSED_EVENT, AccountEnforcement
from relay.store.catalog_notices import Notices
from relay.store.catalog_tables import Row, Tables

PAGE_SIZE_MAX = 1000
NEWEST = 1 << 62
LINKS_MAX = 100

Tell = Callable[[Finding, News, str, str], Letter]
"""Writes to a contact (the last value) what happened to a finding, and why."""

_NEWS = {
    FindingState.UNDER_REVIEW: News.EXTENDED,
    FindingState.PENDING_DECISION: News.PENDING,
    FindingState.PENDING_PAUSE: News.PENDING,
    FindingState.PAUSED: News.PAUSED,
    FindingState.CLOSED: News.CLOSED,
}


@dataclass(frozen=True, slots=True)
class NewFinding:
    """A finding to be opened. `manual` None: as its kind is handled. `paused`: without a review (REVIEW-003)."""

    account: str
    kind: FindingKind
    period_ms: int
    configuration_set: str = ""
    cause: str = ""
    note: str = ""
    about: str = ""
    manual: bool | None = None
    paused: bool = False


class Findings:
    """Opens findings and leads them to their end. Unknown accounts, sets and numbers raise UsageError."""

    __slots__ = ("_accounts", "_enforcement", "_notices", "_tables")

    def __init__(self, tables: Tables, accounts: Accounts, notices: Notices, enforcement: AccountEnforcement) -> None:
        self._tables = tables
        self._accounts = accounts
        self._notices = notices
        self._enforcement = enforcement

    # --- reading -------------------------------------------------------------------------------------------------

    def get(self, finding_id: int) -> Finding | None:
        """Return a finding, None when there is none."""
        row = self._tables.row("get_finding", {"id": finding_id})
        return _finding_of(row) if row else None

    def require(self, finding_id: int) -> Finding:
        """Return a finding that must exist."""
        finding = self.get(finding_id)
        if finding is None:
            raise UsageError(f"There is no case {finding_id}.")
        return finding

    def list(
        self,
        account: str | None = None,
        configuration_set: str | None = None,
        *,
        closed: bool = False,
        before: int = NEWEST,
        limit: int = PAGE_SIZE_MAX,
    ) -> list[Finding]:
        """Return up to `limit` findings (at most 1,000) below `before`, newest first; closed ones only when asked."""
        values = {
            "account": account,
            "configuration_set": configuration_set,
            "closed": int(closed),
            "before": before,
            "limit": max(1, min(limit, PAGE_SIZE_MAX)),
        }
        return [_finding_of(row) for row in self._tables.rows("list_findings", values)]

    def fresh_start_ms(self, account: str, configuration_set: str = "") -> int:
        """Return from when on rates of an account or set count, 0: from the beginning (REP-013)."""
        row = self._tables.row("get_fresh_start", {"account": account, "configuration_set": configuration_set})
        return int(row[0] or 0) if row else 0

    def answered(self, account: str) -> frozenset[int]:
        """Return the findings that an account asked to have looked at again."""
        return frozenset(row[0] for row in self._tables.rows("answered_findings", {"account": account}))

    def watched_sets(self, limit: int = 10_000) -> Sequence[tuple[str, str]]:
        """Return the sets with reputation metrics, with their accounts (REP-011)."""
        return [(row[0], row[1]) for row in self._tables.rows("watched_sets", {"limit": limit})]

    # --- opening and steps ---------------------------------------------------------------------------------------

    def open(self, new: NewFinding, tell: Tell) -> Finding:
        """Open a finding: its subject is under review, or paused at once; the contacts are told."""
        with self._tables.writing(new.account):
            return self._open(new, tell)

    def step(
        self, finding_id: int, step: FindingStep, tell: Tell, *, reason: str = "", period_ms: int = 0
    ) -> Finding:
        """Let something happen to a finding, with all that follows. Raise ConflictError where it cannot.

        With EXTEND and RENEW the review ends `period_ms` from now. With EXTEND only what comes later counts: reports,
        or rates from now on.
        """
        with self._changing(finding_id) as finding:
            return self._step(finding, step, tell, _checked_text(reason), period_ms)

    def note_below(self, finding_id: int, below_ms: int) -> None:
        """Keep since when the rate of a finding is below its limit."""
        with self._tables.keeping_notes():
            self._tables.run("note_below", {"id": finding_id, "below_ms": below_ms})

    def put_evidence(self, finding_id: int, evidence: int) -> None:
        """Keep how many reports there were since they count; never fewer than before."""
        values = {"id": finding_id, "evidence": evidence, "now_ms": self._tables.now_ms()}
        with self._tables.keeping_notes():
            self._tables.run("put_evidence", values)

    def report(self, finding_id: int) -> Finding:
        """Count one more report of what a finding is about."""
        with self._tables.keeping_notes():
            if not self.require(finding_id).open:
                raise ConflictError(f"Case {finding_id} is closed; open a new one.")
            self._tables.run("add_evidence", {"id": finding_id, "now_ms": self._tables.now_ms()})
        return self.require(finding_id)

    def fresh_start(self, account: str, configuration_set: str = "") -> int:
        """Let rates count only messages from now on; return that time (REP-013)."""
        with self._tables.writing(account):
            return self._fresh_start(account, configuration_set)

    # --- the account's answer ------------------------------------------------------------------------------------

    def answer(self, finding_id: int, root_cause: str, changes: str, prevention: str) -> int:
        """Ask for another look at a finding (REVIEW-006); return the number of the request.

        Raise UsageError when one of the three answers is missing, ConflictError while one waits.
        """
        finding = self.require(finding_id)
        if not finding.open:
            raise ConflictError(f"Case {finding_id} is closed.")
        for what, text in (
            ("what the root cause was", root_cause),
            ("what was changed already", changes),
            ("why that keeps it from coming again", prevention),
        ):
            if not 1 <= len(text.strip()) <= USE_CASE_MAX_CHARACTERS:
                raise UsageError(f"Say {what}, in 1 to {USE_CASE_MAX_CHARACTERS} characters.")
        asked = {"root_cause": root_cause, "changes": changes, "prevention": prevention}
        return self._ask(finding.account, ReviewKind.APPEAL, finding_id, asked)

    def reject(self, finding_id: int, reason: str, tell: Tell) -> Finding:
        """Turn the account's answer down, with the reason; it may answer again (REVIEW-007)."""
        if not reason.strip():
            raise UsageError("Say why the answer is not enough; the account is told.")
        with self._changing(finding_id) as finding:
            if not self._decide(finding_id, ReviewState.DENIED, _checked_text(reason), ReviewKind.APPEAL):
                raise ConflictError(f"No answer of the account waits in case {finding_id}.")
            self._notices.tell_contacts(finding.account, partial(tell, finding, News.REJECTED, reason))
        return finding

    def investigate(self, account: str, reason: str, finding_id: int = 0) -> int | None:
        """Put something into the administrator's queue (REVIEW-009); None while the same waits there."""
        try:
            kind = ReviewKind.PAUSE if finding_id else ReviewKind.INVESTIGATION
            return self._ask(account, kind, finding_id, {"use_case": _checked_text(reason)})
        except ConflictError:
            return None

    # --- samples, links ------------------------------------------------------------------------------------------

    def put_sample(self, finding_id: int, message: bytes) -> None:
        """Keep a message that shows the problem, for the account to see until the case is closed (REVIEW-010)."""
        if not 1 <= len(message) <= SAMPLE_MAX_BYTES:
            raise UsageError(f"A sample has 1 to {SAMPLE_MAX_BYTES} bytes, not {len(message)}.")
        with self._tables.keeping_notes():
            finding = self.require(finding_id)
            if not handling(finding.kind).sample:
                raise UsageError(f"A sample in a case of kind {finding.kind} would show who complained, or a trap.")
            if not finding.open:
                raise ConflictError(f"Case {finding_id} is closed.")
            self._tables.run("put_sample", {"id": finding_id, "sample": message})

    def sample(self, finding_id: int) -> bytes | None:
        """Return the sample of a case, None when there is none."""
        self.require(finding_id)
        row = self._tables.row("get_sample", {"id": finding_id})
        return row[0] if row else None

    def link(self, account: str, other: str) -> None:
        """Say that two accounts belong together: a pause of one is held against the other (REP-026)."""
        if account == other:
            raise UsageError("An account is not linked to itself.")
        with self._tables.keeping_notes():
            for one in (account, other):
                self._tables.require_account(one)
                if len(self.links(one)) >= LINKS_MAX:
                    raise UsageError(f"Account {one} is linked to {LINKS_MAX} others already.")
            self._tables.run("link_accounts", {"account": account, "other": other})

    def unlink(self, account: str, other: str) -> None:
        """Say that two accounts do not belong together."""
        with self._tables.keeping_notes():
            if not self._tables.run("unlink_accounts", {"account": account, "other": other}):
                raise UsageError(f"Account {account} is not linked to {other}.")

    def links(self, account: str) -> Sequence[str]:
        """Return the accounts that belong to one."""
        return [row[0] for row in self._tables.rows("linked_accounts", {"account": account})]

    # --- parts of transactions -----------------------------------------------------------------------------------

    @contextmanager
    def _changing(self, finding_id: int) -> Iterator[Finding]:
        """Run a block as one transaction about a finding as it is by then: somebody else may have closed it."""
        with self._tables.writing(self.require(finding_id).account):
            yield self.require(finding_id)

    def _open(self, new: NewFinding, tell: Tell) -> Finding:
        self._accounts.require(new.account)
        if new.configuration_set:
            values = {"account": new.account, "name": new.configuration_set}
            if self._tables.row("get_configuration_set", values) is None:
                raise UsageError(f"Account {new.account} has no configuration set {new.configuration_set}.")
        now_ms = self._tables.now_ms()
        manual = handling(new.kind).manual if new.manual is None else new.manual
        row = self._tables.row(
            "open_finding",
            {
                "account": new.account,
                "configuration_set": new.configuration_set,
                "kind": str(new.kind),
                "state": str(FindingState.PAUSED if new.paused else FindingState.UNDER_REVIEW),
                "now_ms": now_ms,
                "ends_ms": now_ms + new.period_ms,
                "manual": int(manual),
                "cause": _checked_text(new.cause),
                "note": _checked_text(new.note),
                "about": new.about,
            },
        )
        assert row is not None  # the statement returns the number it gave out
        finding = self.require(row[0])
        if new.paused:
            self._paused(finding, new.cause, tell)
        else:
            self._notices.tell_contacts(finding.account, partial(tell, finding, News.OPENED, ""))
        return finding

    def _step(self, finding: Finding, step: FindingStep, tell: Tell, reason: str, period_ms: int) -> Finding:
        state = after(finding.state, step)
        if state is None:
            raise ConflictError(f"Case {finding.finding_id} is {finding.state}: {step} is not possible.")
        now_ms = self._tables.now_ms()
        changed = replace(finding, state=state, changed_ms=now_ms, reason=reason)
        if step in {FindingStep.EXTEND, FindingStep.RENEW}:
            changed = replace(changed, ends_ms=now_ms + period_ms, below_ms=0)
        if step is FindingStep.EXTEND:
            changed = replace(changed, evidence_from_ms=now_ms, evidence=0)
            if finding.kind in METRICS:
                self._fresh_start(finding.account, finding.configuration_set)
        self._tables.run(
            "change_finding",
            {
                "id": changed.finding_id,
                "state": str(changed.state),
                "now_ms": now_ms,
                "ends_ms": changed.ends_ms,
                "evidence_from_ms": changed.evidence_from_ms,
                "evidence": changed.evidence,
                "below_ms": changed.below_ms,
                "reason": changed.reason,
            },
        )
        if step in {FindingStep.EXTEND, FindingStep.PAUSE} or state is FindingState.CLOSED:
            self._decide_waiting(finding.finding_id, reason, paused=step is FindingStep.PAUSE)
        if state is FindingState.PAUSED:
            self._paused(changed, reason, tell)
            return changed
        self._enforcement.follow(finding.account, finding.configuration_set)
        self._notices.tell_contacts(finding.account, partial(tell, changed, _news(step, state), reason))
        return changed

    def _paused(self, finding: Finding, reason: str, tell: Tell) -> None:
        """Enforce a pause: the flag, the mails, the account's event log, findings about linked accounts."""
        self._enforcement.follow(finding.account, finding.configuration_set)
        write = partial(tell, finding, News.PAUSED, reason)
        self._notices.tell_contacts(finding.account, write)
        self._enforcement.note(finding.account, PAUSED_EVENT, write)
        if finding.configuration_set or finding.kind is FindingKind.RELATED_ACCOUNT:
            return  # a set is no account, and what follows from a link goes no further
        for other in self.links(finding.account):
            known = self.list(other, "")
            if not any(one.kind is FindingKind.RELATED_ACCOUNT and one.about == finding.account for one in known):
                period_ms = max(0, finding.ends_ms - finding.opened_ms)
                new = NewFinding(other, FindingKind.RELATED_ACCOUNT, period_ms, about=finding.account)
                self._tables.run("note_change", {"account": other})
                self._open(new, tell)

    def _fresh_start(self, account: str, configuration_set: str) -> int:
        now_ms = self._tables.now_ms()
        values = {"account": account, "configuration_set": configuration_set, "now_ms": now_ms}
        if not self._tables.run("fresh_start_of_set" if configuration_set else "fresh_start_of_account", values):
            what = f"configuration set {configuration_set}" if configuration_set else "such account"
            raise UsageError(f"There is no {what}.")
        return now_ms

    def _ask(self, account: str, kind: ReviewKind, finding_id: int, asked: dict[str, str]) -> int:
        values = {"account": account, "kind": str(kind), "finding": finding_id}
        requested = {"daily_quota": None, "send_rate": None, "use_case": "", **asked}
        with self._tables.keeping_notes():
            self._tables.require_account(account)
            values |= {"created_ms": self._tables.now_ms(), "requested": json.dumps(requested)}
            row = self._tables.row("create_review", values)
        if row is None:
            raise ConflictError(f"An answer waits in case {finding_id} already; wait until it was looked at.")
        return int(row[0])

    def _decide_waiting(self, finding_id: int, reason: str, *, paused: bool) -> None:
        """Decide what waits about a finding: the account's answer, and what the relay proposed itself."""
        granted, denied = ReviewState.GRANTED, ReviewState.DENIED
        self._decide(finding_id, denied if paused else granted, reason, ReviewKind.APPEAL)
        self._decide(finding_id, granted if paused else denied, reason, ReviewKind.PAUSE)

    def _decide(self, finding_id: int, state: ReviewState, reason: str, kind: ReviewKind) -> int:
        values = {
            "finding": finding_id,
            "state": str(state),
            "reason": reason,
            "now_ms": self._tables.now_ms(),
            "kind": str(kind),
        }
        return self._tables.run("decide_of_finding", values)


def _news(step: FindingStep, state: FindingState) -> News:
    return News.RENEWED if step is FindingStep.RENEW else _NEWS[state]


def _checked_text(text: str) -> str:
    if len(text) > TEXT_MAX_CHARACTERS or not text.isprintable():
        raise UsageError(f"A text about a case is one line of at most {TEXT_MAX_CHARACTERS} characters.")
    return text


def _finding_of(row: Row) -> Finding:
    (finding_id, account, configuration_set, kind, state, opened_ms, changed_ms, ends_ms, evidence_from_ms, evidence,
     below_ms, manual, cause, note, about, reason) = row  # fmt: skip
    return Finding(
        finding_id,
        account,
        configuration_set,
        FindingKind(kind),
        FindingState(state),
        opened_ms,
        changed_ms,
        ends_ms,
        evidence_from_ms,
        evidence,
        below_ms,
        bool(manual),
        cause,
        note,
        about,
        reason,
    )
