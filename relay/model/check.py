"""The life of what is looked for in DNS: an identity's records, DKIM keys, MAIL FROM domain (IDENT-009 to 012).

One table for all three. A check is *not started* until somebody asks for it; *pending* while its records are looked
for, 72 hours at most; then *success* or *failed*. Records that vanish make a *temporary failure*, which is looked at
for 72 hours and ends in success or failed. A failed check is over until it is started again. DNS that gives no answer
is no finding: it moves nothing but the end of the 72 hours.
"""

from dataclasses import dataclass
from enum import StrEnum


class Aspect(StrEnum):
    """What of an identity is looked for."""

    VERIFICATION = "VERIFICATION"
    DKIM = "DKIM"
    MAIL_FROM = "MAIL_FROM"


class CheckState(StrEnum):
    """State of a check, in the words of the v2 API (IDENT-009)."""

    NOT_STARTED = "NOT_STARTED"
    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TEMPORARY_FAILURE = "TEMPORARY_FAILURE"


class Step(StrEnum):
    """What can happen to a check."""

    START = "start"
    FOUND = "found"
    MISSING = "missing"
    TIME_OVER = "time over"
    STOP = "stop"


TRANSITIONS: dict[CheckState, dict[Step, CheckState]] = {
    CheckState.NOT_STARTED: {Step.START: CheckState.PENDING},
    CheckState.PENDING: {
        Step.START: CheckState.PENDING,
        Step.FOUND: CheckState.SUCCESS,
        Step.MISSING: CheckState.PENDING,
        Step.TIME_OVER: CheckState.FAILED,
        Step.STOP: CheckState.NOT_STARTED,
    },
    CheckState.SUCCESS: {
        Step.START: CheckState.PENDING,
        Step.FOUND: CheckState.SUCCESS,
        Step.MISSING: CheckState.TEMPORARY_FAILURE,
        Step.STOP: CheckState.NOT_STARTED,
    },
    CheckState.TEMPORARY_FAILURE: {
        Step.START: CheckState.PENDING,
        Step.FOUND: CheckState.SUCCESS,
        Step.MISSING: CheckState.TEMPORARY_FAILURE,
        Step.TIME_OVER: CheckState.FAILED,
        Step.STOP: CheckState.NOT_STARTED,
    },
    CheckState.FAILED: {Step.START: CheckState.PENDING, Step.STOP: CheckState.NOT_STARTED},
}

HOLDING = frozenset({CheckState.SUCCESS, CheckState.TEMPORARY_FAILURE})  # what was proven counts (IDENT-012)
TIMED = frozenset({CheckState.PENDING, CheckState.TEMPORARY_FAILURE})  # over after 72 hours


class ErrorType(StrEnum):
    """Why a record was not found, in the words of the v2 API (IDENT-013)."""

    HOST_NOT_FOUND = "HOST_NOT_FOUND"
    TYPE_NOT_FOUND = "TYPE_NOT_FOUND"
    INVALID_VALUE = "INVALID_VALUE"
    DNS_SERVER_ERROR = "DNS_SERVER_ERROR"
    SERVICE_ERROR = "SERVICE_ERROR"


@dataclass(frozen=True, slots=True)
class Check:
    """A check as it stands. `since_ms` is when the state began, `next_ms` when to look again (0: not at all).

    `error_type` is one of IDENT-013's words or "", `error_text` a sentence for the sender.
    """

    aspect: Aspect
    state: CheckState
    since_ms: int
    checked_ms: int = 0
    next_ms: int = 0
    error_type: str = ""
    error_text: str = ""

    @property
    def holds(self) -> bool:
        """True while what the check proves may be relied on."""
        return self.state in HOLDING


@dataclass(frozen=True, slots=True)
class StateChange:
    """A check that came to another state by what DNS answered: what contacts are told (DKIM-011, MFROM-009).

    `domain` is the MAIL FROM domain, for that aspect. `until_ms` is when a state that has an end becomes FAILED, 0
    for others; `error_text` says what is wrong, or is "".
    """

    account: str
    identity: str
    aspect: Aspect
    state: CheckState
    until_ms: int = 0
    error_text: str = ""
    domain: str = ""
    before: CheckState = CheckState.NOT_STARTED
    at_ms: int = 0


def after(state: CheckState, step: Step) -> CheckState | None:
    """Return the state that `step` leads to, or None where the table has no such way."""
    return TRANSITIONS[state].get(step)
