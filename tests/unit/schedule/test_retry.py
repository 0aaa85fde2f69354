"""When a delivery is tried again: FLOW-008 to FLOW-010 and decision 3, by table."""

import random
from collections import Counter

import pytest

from relay.model.delivery import Step
from relay.model.message import Delivery, Message
from relay.model.outcome import Outcome, Stage, Verdict
from relay.schedule.retry import NXDOMAIN_REPLY, SPREAD_MS, RetryPolicy, decide, wait_ms

MINUTE = 60_000
POLICY = RetryPolicy(waits_ms=(MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, 60 * MINUTE))
START = 1_790_000_000_000
MESSAGE = Message(1, "m", "000000000001", "a@b.example", START, START + 14 * 60 * MINUTE, 10, False, False, b"{}")


def delivery(attempts=0, last_reply=""):
    return Delivery(MESSAGE, 0, "user@remote.example", attempts=attempts, last_reply=last_reply)


def outcome(verdict, *, nxdomain=False):
    return Outcome(verdict, Stage.RCPT, 450, "4.2.0", "later", nxdomain=nxdomain)


@pytest.mark.parametrize(
    ("verdict", "step"),
    [
        (Verdict.DELIVERED, Step.ACCEPTED_BY_REMOTE),
        (Verdict.PERMANENT, Step.REFUSED),
        (Verdict.TEMPORARY, Step.DEFERRED),
        (Verdict.UNKNOWN, Step.DEFERRED),
    ],
)
def test_each_verdict_has_one_meaning(verdict, step):
    assert decide(delivery(), outcome(verdict), START, POLICY, 0.5).step is step


@pytest.mark.req("FLOW-010")
@pytest.mark.parametrize(("attempts", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 30), (5, 60), (6, 60), (20, 60)])
def test_waits_grow_and_the_last_one_repeats(attempts, minutes):
    assert wait_ms(POLICY, attempts, 0.5) == minutes * MINUTE


def test_jitter_spreads_waits_by_a_tenth_each_way():
    assert wait_ms(POLICY, 1, 0.0) == 54_000
    assert 65_900 < wait_ms(POLICY, 1, 0.9999) < 66_000


def test_what_failed_at_one_moment_comes_back_spread_out():
    """An outage puts 5,000 deliveries off in the same millisecond: no second after it sees many of them."""
    chance = random.Random(4)
    due = [START] * 5000
    for attempts, seconds_min in enumerate((11, 60, 190, 400)):
        later = []
        for now in due:
            decision = decide(delivery(attempts), outcome(Verdict.TEMPORARY), now, POLICY, chance.random())
            later.append(decision.next_ms)
        due = later
        seconds = Counter(next_ms // 1000 for next_ms in due)
        assert len(seconds) >= seconds_min
        assert max(seconds.values()) < 2 * len(due) / seconds_min


@pytest.mark.req("FLOW-010")
def test_last_attempt_falls_on_the_end_of_the_lifetime_and_then_expires():
    late = MESSAGE.expires_ms - MINUTE
    decision = decide(delivery(attempts=9), outcome(Verdict.TEMPORARY), late, POLICY, 0.5)
    assert (decision.step, decision.next_ms) == (Step.DEFERRED, MESSAGE.expires_ms)
    decision = decide(delivery(attempts=10), outcome(Verdict.TEMPORARY), MESSAGE.expires_ms, POLICY, 0.5)
    assert decision.step is Step.EXPIRED


@pytest.mark.req("FLOW-008", "FLOW-009")
def test_a_missing_domain_is_asked_for_twice():
    first = decide(delivery(), outcome(Verdict.TEMPORARY, nxdomain=True), START, POLICY, 0.5)
    assert (first.step, first.next_ms) == (Step.DEFERRED, START + MINUTE)
    again = delivery(attempts=1, last_reply=first.reply)
    second = decide(again, outcome(Verdict.TEMPORARY, nxdomain=True), START + MINUTE, POLICY, 0.5)
    assert (second.step, second.reply) == (Step.REFUSED, NXDOMAIN_REPLY)


def test_a_missing_domain_is_retried_like_the_hosted_service_when_told_so():
    policy = RetryPolicy(POLICY.waits_ms, nxdomain_bounces=False)
    again = delivery(attempts=1, last_reply=NXDOMAIN_REPLY)
    assert decide(again, outcome(Verdict.TEMPORARY, nxdomain=True), START, policy, 0.5).step is Step.DEFERRED


def test_what_waits_for_room_of_ours_is_no_attempt():
    later = START + 30 * MINUTE
    put_off = Outcome(Verdict.TEMPORARY, Stage.SHAPING, 0, "4.7.0", "no room", local=True, not_before_ms=later)
    decision = decide(delivery(attempts=3), put_off, START, POLICY, 0.5)
    assert (decision.step, decision.counts, decision.next_ms) == (Step.DEFERRED, False, later + SPREAD_MS // 2)
    assert decide(delivery(), put_off, MESSAGE.expires_ms, POLICY, 0.5).step is Step.EXPIRED


def test_a_retry_is_never_before_the_time_that_was_asked_for():
    later = START + 30 * MINUTE
    told = Outcome(Verdict.TEMPORARY, Stage.RCPT, 450, "4.7.1", "slow down", not_before_ms=later)
    assert decide(delivery(), told, START, POLICY, 0.5).next_ms == later
