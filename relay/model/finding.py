"""Findings: what is held against how an account sends, from its opening to its end, as a table (REVIEW-001).

A finding is a case: it puts its subject, an account or one of its configuration sets, *under review*, during which
sending goes on. At the end of the review the subject is free again, paused, or waits for an administrator, who may
decide at any time. Only an administrator ends a pause; a closed finding stays closed, and a new one is opened when
the cause comes again. The subject itself is as bad as the worst of its open findings.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

TEXT_MAX_CHARACTERS = 2000
SAMPLE_MAX_BYTES = 256 * 1024


class FindingKind(StrEnum):
    """What a finding is about (REP-017 to REP-030, DNSBL-005)."""

    BOUNCE_RATE = "bounce-rate"
    COMPLAINT_RATE = "complaint-rate"
    ANTI_SPAM_ORGANIZATION = "anti-spam-organization"
    LISTBOMBING = "listbombing"
    DIRECT_FEEDBACK = "direct-feedback"
    DOMAIN_BLOCKLIST = "domain-blocklist"
    INTERNAL_REVIEW = "internal-review"
    MAILBOX_PROVIDER = "mailbox-provider"
    RECIPIENT_FEEDBACK = "recipient-feedback"
    RELATED_ACCOUNT = "related-account"
    SPAMTRAP = "spamtrap"
    VULNERABLE_SITE = "vulnerable-site"
    COMPROMISED_CREDENTIALS = "compromised-credentials"
    SENDING_PATTERN = "sending-pattern"
    OTHER = "other"


class FindingState(StrEnum):
    """Where a finding stands (REP-008)."""

    UNDER_REVIEW = "under review"
    PENDING_DECISION = "pending end of review decision"
    PENDING_PAUSE = "pending sending pause"
    PAUSED = "sending paused"
    CLOSED = "closed"


class FindingStep(StrEnum):
    """What can happen to a finding. The last four are an administrator's."""

    HEALED = "healed"
    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    UNRESOLVED_MANUAL = "unresolved, an administrator decides on the pause"
    ASKS = "an administrator decides on the end"
    WORSE = "too bad to wait for the end"
    RENEW = "renew"
    ACCEPT = "accept"
    EXTEND = "extend"
    PAUSE = "pause"
    ASK_PAUSE = "propose a pause"


_S, _T = FindingState, FindingStep

TRANSITIONS: dict[FindingState, dict[FindingStep, FindingState]] = {
    _S.UNDER_REVIEW: {
        _T.HEALED: _S.CLOSED,
        _T.RESOLVED: _S.CLOSED,
        _T.UNRESOLVED: _S.PAUSED,
        _T.UNRESOLVED_MANUAL: _S.PENDING_PAUSE,
        _T.ASKS: _S.PENDING_DECISION,
        _T.WORSE: _S.PAUSED,
        _T.RENEW: _S.UNDER_REVIEW,
        _T.ACCEPT: _S.CLOSED,
        _T.EXTEND: _S.UNDER_REVIEW,
        _T.PAUSE: _S.PAUSED,
        _T.ASK_PAUSE: _S.PENDING_PAUSE,
    },
    _S.PENDING_DECISION: {
        _T.ACCEPT: _S.CLOSED,
        _T.EXTEND: _S.UNDER_REVIEW,
        _T.PAUSE: _S.PAUSED,
        _T.ASK_PAUSE: _S.PENDING_PAUSE,
    },
    _S.PENDING_PAUSE: {_T.ACCEPT: _S.CLOSED, _T.EXTEND: _S.UNDER_REVIEW, _T.PAUSE: _S.PAUSED},
    _S.PAUSED: {_T.ACCEPT: _S.CLOSED, _T.EXTEND: _S.UNDER_REVIEW},
    _S.CLOSED: {},
}

_SEVERITY = (_S.UNDER_REVIEW, _S.PENDING_DECISION, _S.PENDING_PAUSE, _S.PAUSED)


def after(state: FindingState, step: FindingStep) -> FindingState | None:
    """Return the state that `step` leads to, or None where the table has no such way."""
    return TRANSITIONS[state].get(step)


def worst(states: Iterable[FindingState]) -> FindingState | None:
    """Return the state that counts for a subject with findings in these states, None when none is open."""
    open_ones = [state for state in states if state is not FindingState.CLOSED]
    return max(open_ones, key=_SEVERITY.index, default=None)


class Enforcement(StrEnum):
    """What the relay has taken from a subject; no switch of the subject's own undoes it (PAUSE-007)."""

    NONE = "none"
    PAUSED = "paused"
    SUSPENDED = "suspended"  # for good: no account answers its way out of it (REVIEW-011)


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about an account, or about one of its sets. Times are ms since 1970, 0: never.

    `ends_ms` is the end of the review; what came before `evidence_from_ms` counts no more. `evidence` counts reports
    since then beside what it was opened for. `below_ms` is since when the rate that caused it is below its limit.
    `manual`: an administrator decides at the end. `cause` tells the account what was found, `note` the administrator
    alone; a related account is named in `about`.
    """

    finding_id: int
    account: str
    configuration_set: str
    kind: FindingKind
    state: FindingState
    opened_ms: int
    changed_ms: int
    ends_ms: int
    evidence_from_ms: int
    evidence: int = 0
    below_ms: int = 0
    manual: bool = False
    cause: str = ""
    note: str = ""
    about: str = ""
    reason: str = ""

    @property
    def open(self) -> bool:
        """True until it is closed."""
        return self.state is not FindingState.CLOSED
