"""When a check is looked at, and what a look makes of it (IDENT-009 to 012, DKIM-011, MFROM-006 and 007).

The table of `relay.model.check` says which state follows; here are the times. A timed state ends 72 hours after it
began. Between looks the wait grows with the age of the state, so that nothing but `since_ms` must be remembered.
DNS that gives no answer moves nothing but the end of the 72 hours; what was found after they are over still counts.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from relay.errors import UsageError
from relay.model.check import TIMED, Aspect, Check, CheckState, ErrorType, StateChange, Step, after

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
TIME_LIMIT_MS = 72 * HOUR_MS
PENDING_WAIT_MIN_MS = 30 * SECOND_MS
PENDING_WAIT_MAX_MS = 15 * MINUTE_MS
FAILURE_WAIT_MIN_MS = 2 * MINUTE_MS
FAILURE_WAIT_MAX_MS = 30 * MINUTE_MS
SUCCESS_WAIT_MS = 6 * HOUR_MS
UNANSWERED_WAIT_MS = 20 * MINUTE_MS  # a proven check that DNS gave no answer for
AGE_DIVISOR = 4  # the wait is a quarter of the age of the state
SPREAD_SHARE = 0.2  # waits vary by a tenth in both directions, so that looks do not come in waves


class Result(StrEnum):
    """What a look found out."""

    FOUND = "found"
    MISSING = "missing"
    NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a look at one aspect; `error_type` and a sentence say what is wrong, "" when it was found."""

    result: Result
    error_type: ErrorType | str = ""
    text: str = ""


def started(aspect: Aspect, now_ms: int) -> Check:
    """Return a check that begins now and is looked at at once."""
    return Check(aspect, CheckState.PENDING, now_ms, next_ms=now_ms)


def vouched(aspect: Aspect, now_ms: int) -> Check:
    """Return a check that an operator vouches for: it holds, and DNS is not asked until it is started again."""
    return Check(aspect, CheckState.SUCCESS, now_ms)


def stopped(check: Check, now_ms: int) -> Check:
    """Return a check that nobody wants any more."""
    return Check(check.aspect, CheckState.NOT_STARTED, now_ms)


def is_vouched(check: Check) -> bool:
    """Return whether a check holds without being looked at."""
    return check.state is CheckState.SUCCESS and not check.next_ms


def require_startable(check: Check | None) -> None:
    """Raise UsageError where the table does not let a check start."""
    if check is not None and after(check.state, Step.START) is None:
        raise UsageError(f"The {check.aspect} check cannot be started while it is {check.state}.")


def looked(check: Check, finding: Finding, now_ms: int, spread: float) -> Check:
    """Return the check after a look; `spread` from 0 to 1 varies the wait for the next one.

    A check that is not looked at by itself (not started, failed, vouched for) only takes on what was found: a
    vouched one that is found is looked at from then on, one that is missing stays as it is.
    """
    if check.state in (CheckState.NOT_STARTED, CheckState.FAILED):
        return check
    if is_vouched(check) and finding.result is not Result.FOUND:
        return check
    state = _next_state(check, finding, now_ms)
    since_ms = check.since_ms if state is check.state else now_ms
    made = replace(
        check,
        state=state,
        since_ms=since_ms,
        checked_ms=now_ms,
        error_type=str(finding.error_type),
        error_text=finding.text,
    )
    return replace(made, next_ms=_next_look(made, finding, now_ms, spread))


def _next_state(check: Check, finding: Finding, now_ms: int) -> CheckState:
    if finding.result is Result.FOUND:
        return after(check.state, Step.FOUND) or check.state
    state = check.state
    if finding.result is Result.MISSING:
        state = after(state, Step.MISSING) or state
    # A state that begins with this look has all its time before it.
    if state is check.state and now_ms >= ends_ms(check) > 0:
        state = after(state, Step.TIME_OVER) or state
    return state


def _next_look(check: Check, finding: Finding, now_ms: int, spread: float) -> int:
    if check.state is CheckState.FAILED:
        return 0
    wait_ms = _wait(check, finding, now_ms) * (1 - SPREAD_SHARE / 2 + SPREAD_SHARE * spread)
    next_ms = now_ms + int(wait_ms)
    end = ends_ms(check)
    return min(next_ms, end) if end > now_ms else next_ms


def _wait(check: Check, finding: Finding, now_ms: int) -> float:
    if check.state is CheckState.SUCCESS:
        return SUCCESS_WAIT_MS if finding.result is Result.FOUND else UNANSWERED_WAIT_MS
    wait_ms = (now_ms - check.since_ms) / AGE_DIVISOR
    if check.state is CheckState.PENDING:
        return min(max(wait_ms, PENDING_WAIT_MIN_MS), PENDING_WAIT_MAX_MS)
    return min(max(wait_ms, FAILURE_WAIT_MIN_MS), FAILURE_WAIT_MAX_MS)


def ends_ms(check: Check) -> int:
    """Return when a timed state is over, 0 for states without an end (IDENT-010, IDENT-011)."""
    return check.since_ms + TIME_LIMIT_MS if check.state in TIMED else 0


def change_of(account: str, identity: str, before: Check, now: Check, domain: str = "") -> StateChange | None:
    """Return what is to be told when a look moved a check into another state, else None."""
    if before.state is now.state:
        return None
    return StateChange(
        account,
        identity,
        now.aspect,
        now.state,
        ends_ms(now),
        now.error_text,
        domain,
        before=before.state,
        at_ms=now.since_ms,
    )
