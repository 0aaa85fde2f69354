"""The ledger of leases."""

import pytest

from relay.policy.leases import LEASE_SECONDS, Grant, Ledger

NOW_MS = 1_790_000_000_000
MINUTE = NOW_MS // 60_000
A = "000000000001"


def take(ledger, lease_id, recipients=1, *, quota=-1, rate=-1, now=0.0, shard=1):
    return ledger.take(shard, lease_id, A, recipients, counted=recipients, daily_quota=quota, rate=rate, now=now)


@pytest.mark.req("QUOTA-002")
def test_debt_lets_one_large_request_through_and_is_paid_back():
    ledger = Ledger(0.0)
    assert take(ledger, 1, rate=2, now=0.0) is Grant.RATE
    assert take(ledger, 2, 20, rate=2, now=0.5) is Grant.GRANTED
    assert take(ledger, 3, rate=2, now=9.9) is Grant.RATE
    assert take(ledger, 4, rate=2, now=10.5) is Grant.GRANTED


def test_a_request_over_the_quota_costs_no_rate():
    ledger = Ledger(0.0)
    assert take(ledger, 1, 5, quota=1, rate=1, now=1.0) is Grant.QUOTA
    assert take(ledger, 2, 1, quota=1, rate=1, now=1.0) is Grant.GRANTED


def test_zero_is_a_limit():
    ledger = Ledger(0.0)
    assert take(ledger, 1, quota=0, now=100.0) is Grant.QUOTA
    assert take(ledger, 1, rate=0, now=100.0) is Grant.RATE


def test_unused_gives_quota_and_rate_back():
    ledger = Ledger(0.0)
    assert take(ledger, 1, 1, quota=1, rate=1, now=1.0) is Grant.GRANTED
    ledger.unused(1, 1)
    ledger.unused(1, 1)
    assert take(ledger, 2, 1, quota=1, rate=1, now=1.0) is Grant.GRANTED
    assert ledger.used(A, 1.0) == 1


def test_unreported_leases_expire_to_spent_and_late_reports_change_nothing():
    ledger = Ledger(0.0)
    take(ledger, 1, 3, quota=10)
    ledger.sweep(LEASE_SECONDS)
    ledger.unused(1, 1)
    ledger.spent(1, 1, MINUTE, LEASE_SECONDS)
    assert ledger.used(A, LEASE_SECONDS) == 3
    assert ledger.used(A, LEASE_SECONDS + 86_400) == 0


def test_announcement_replaces_leases():
    ledger = Ledger(0.0)
    take(ledger, 1, 3)
    take(ledger, 2, 4)
    take(ledger, 1, 5, shard=2)
    ledger.announce(1, {}, {2: (A, 4)}, 1.0, NOW_MS)
    assert ledger.used(A, 1.0) == 9
    ledger.unused(1, 2)
    assert ledger.used(A, 1.0) == 5
    assert ledger.announced == {1}


def test_accounts_with_nothing_to_remember_are_forgotten():
    ledger = Ledger(0.0)
    take(ledger, 1, rate=1, now=5.0)
    ledger.spent(1, 1, MINUTE, 5.0)
    ledger.sweep(100.0)
    assert ledger.used(A, 100.0) == 1
    ledger.sweep(5.0 + 86_400)
    assert not ledger._accounts
    assert take(ledger, 2, rate=1, now=90_000.0) is Grant.GRANTED


@pytest.mark.req("QUOTA-003")
def test_recipients_that_do_not_count_in_the_day_count_against_the_rate():
    ledger = Ledger(0.0)

    def simulated(lease_id, now):
        return ledger.take(1, lease_id, A, 5, counted=0, daily_quota=1, rate=1, now=now)

    assert take(ledger, 1, 1, quota=1, rate=1, now=1.0) is Grant.GRANTED
    assert take(ledger, 2, 1, quota=1, rate=1, now=2.0) is Grant.QUOTA
    assert simulated(3, 2.0) is Grant.GRANTED
    assert simulated(4, 3.0) is Grant.RATE
    assert ledger.used(A, 3.0) == 1
    ledger.unused(1, 3)
    assert ledger.used(A, 3.0) == 1
    assert simulated(5, 3.0) is Grant.GRANTED
