"""When a check is looked at, and what a look makes of it (IDENT-009 to 012, DKIM-011, MFROM-006 and 007)."""

from dataclasses import replace

import pytest

from relay.model.check import Aspect, Check, CheckState, ErrorType
from relay.policy import checks
from relay.policy.checks import HOUR_MS, MINUTE_MS, SECOND_MS, Finding, Result

NOW = 1_790_000_000_000
FOUND = Finding(Result.FOUND)
MISSING = Finding(Result.MISSING, ErrorType.HOST_NOT_FOUND, "It does not exist.")
UNKNOWN = Finding(Result.NO_ANSWER, ErrorType.DNS_SERVER_ERROR, "No answer.")
PENDING, SUCCESS, FAILED, TEMPORARY, NOT_STARTED = (
    CheckState.PENDING,
    CheckState.SUCCESS,
    CheckState.FAILED,
    CheckState.TEMPORARY_FAILURE,
    CheckState.NOT_STARTED,
)

TABLE = (
    # state, its age in hours, what was found, the state after
    (PENDING, 0, FOUND, SUCCESS),
    (PENDING, 0, MISSING, PENDING),
    (PENDING, 0, UNKNOWN, PENDING),
    (PENDING, 71.9, MISSING, PENDING),
    (PENDING, 72, MISSING, FAILED),
    (PENDING, 72, UNKNOWN, FAILED),
    (PENDING, 100, FOUND, SUCCESS),
    (SUCCESS, 0, FOUND, SUCCESS),
    (SUCCESS, 1000, UNKNOWN, SUCCESS),
    (SUCCESS, 1000, MISSING, TEMPORARY),
    (TEMPORARY, 0, MISSING, TEMPORARY),
    (TEMPORARY, 71.9, UNKNOWN, TEMPORARY),
    (TEMPORARY, 72, MISSING, FAILED),
    (TEMPORARY, 72, UNKNOWN, FAILED),
    (TEMPORARY, 72, FOUND, SUCCESS),
    (FAILED, 1, FOUND, FAILED),
    (NOT_STARTED, 1, FOUND, NOT_STARTED),
)


def check(state, hours=0.0, next_ms=1):
    return Check(Aspect.DKIM, state, NOW - int(hours * HOUR_MS), next_ms=next_ms)


@pytest.mark.parametrize(("state", "hours", "finding", "expected"), TABLE)
@pytest.mark.req("IDENT-010", "IDENT-011", "MFROM-006", "MFROM-007")
def test_states(state, hours, finding, expected):
    before = check(state, hours)
    after = checks.looked(before, finding, NOW, 0.5)
    assert after.state is expected
    assert after.since_ms == (before.since_ms if expected is state else NOW)
    if state in (FAILED, NOT_STARTED):
        assert after == before
        return
    assert (after.error_type, after.error_text) == (finding.error_type, finding.text)
    assert after.checked_ms == NOW
    assert (after.next_ms > NOW) is (expected is not FAILED)
    change = checks.change_of("a", "x.example", before, after)
    assert (change is None) is (expected is state)
    if change:
        assert (change.before, change.state, change.at_ms) == (state, expected, NOW)
        assert change.until_ms == (NOW + 72 * HOUR_MS if expected is TEMPORARY else 0)


WAITS = (
    (PENDING, 0, MISSING, 30 * SECOND_MS),
    (PENDING, 1 / 60, UNKNOWN, 30 * SECOND_MS),
    (PENDING, 10 / 60, MISSING, 150 * SECOND_MS),
    (PENDING, 1, MISSING, 15 * MINUTE_MS),
    (PENDING, 48, MISSING, 15 * MINUTE_MS),
    (PENDING, 0, FOUND, 6 * HOUR_MS),
    (SUCCESS, 9, FOUND, 6 * HOUR_MS),
    (SUCCESS, 9, UNKNOWN, 20 * MINUTE_MS),
    (SUCCESS, 9, MISSING, 2 * MINUTE_MS),
    (TEMPORARY, 1, MISSING, 15 * MINUTE_MS),
    (TEMPORARY, 24, UNKNOWN, 30 * MINUTE_MS),
)


@pytest.mark.parametrize(("state", "hours", "finding", "wait_ms"), WAITS)
def test_waits_vary_by_a_tenth_around(state, hours, finding, wait_ms):
    before = check(state, hours)
    waits = [checks.looked(before, finding, NOW, spread).next_ms - NOW for spread in (0.0, 0.5, 1.0)]
    assert waits == pytest.approx([0.9 * wait_ms, wait_ms, 1.1 * wait_ms], abs=2)


def test_a_look_is_due_at_the_very_end_of_the_72_hours():
    before = check(PENDING, 72 - 1 / 60)
    after = checks.looked(before, MISSING, NOW, 0.5)
    assert after.next_ms == NOW + MINUTE_MS == checks.ends_ms(before)
    assert checks.looked(after, MISSING, after.next_ms, 0.5).state is FAILED


def test_a_whole_life_takes_a_bounded_number_of_looks():
    now, life, looks = NOW, checks.started(Aspect.DKIM, NOW), 0
    assert life.next_ms == NOW
    while life.next_ms:
        now, looks = life.next_ms, looks + 1
        life = checks.looked(life, MISSING, now, 0.5)
    assert (life.state, now) == (FAILED, NOW + 72 * HOUR_MS)
    assert 280 < looks < 320


def test_what_an_operator_vouches_for_is_never_lost_and_joins_when_found():
    vouched = checks.vouched(Aspect.DKIM, NOW)
    assert checks.is_vouched(vouched)
    for finding in (MISSING, UNKNOWN):
        assert checks.looked(vouched, finding, NOW + 1000 * HOUR_MS, 0.5) == vouched
    found = checks.looked(vouched, FOUND, NOW + HOUR_MS, 0.5)
    assert found == replace(vouched, checked_ms=NOW + HOUR_MS, next_ms=NOW + 7 * HOUR_MS)


def test_stopping_and_starting():
    stopped = checks.stopped(check(SUCCESS), NOW)
    assert (stopped.state, stopped.next_ms) == (NOT_STARTED, 0)
    for state in CheckState:
        checks.require_startable(check(state))
    checks.require_startable(None)
