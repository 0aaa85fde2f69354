"""Buckets and authentication failures."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.schedule.throttle import DAY_SECONDS, AuthFailures, FailureLimits, TokenBucket, source_of

SMALL = FailureLimits(entries_max=100, successes_max=50, successes_per_user_max=10)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), max_size=60),
    st.floats(0.1, 50),
)
def test_no_stretch_passes_more_than_rate_burst_and_one_request(script, rate):
    bucket, now = TokenBucket(0.0), 0.0
    passed: list[tuple[float, int]] = []
    for wait, recipients in script:
        now += wait
        if bucket.admits(rate, now):
            bucket.spend(recipients)
            passed.append((now, recipients))
    for first, (begin, _) in enumerate(passed):
        for last in range(first, len(passed)):
            amount = sum(n for _, n in passed[first:last])  # the last request may go into debt
            assert amount <= rate * (passed[last][0] - begin) + max(1.0, rate) + 1e-6


@pytest.mark.req("QUOTA-002")
def test_short_bursts_pass():
    bucket = TokenBucket(0.0)
    assert not bucket.admits(10, 0.0)
    passed = 0
    while bucket.admits(10, 60.0):
        bucket.spend(1)
        passed += 1
    assert passed == 10


def test_a_bucket_does_not_run_backwards():
    bucket = TokenBucket(10.0)
    assert not bucket.admits(1, 5.0)
    assert bucket.admits(1, 6.0)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
        (":" * 500, ":" * 64),
    ],
)
def test_sources(address, source):
    assert source_of(address) == source


def test_ten_a_minute_with_a_delay_from_the_third():
    failures = AuthFailures()
    seen = []
    for second in range(12):
        gate = failures.gate("192.0.2.1", f"u{second}", float(second))
        seen.append((gate.refused, gate.delay_seconds))
        if not gate.refused:
            failures.failed("192.0.2.1", f"u{second}", float(second))
    assert seen == [(False, 0.0)] * 2 + [(False, 1.0)] * 8 + [(True, 0.0)] * 2
    assert not failures.gate("192.0.2.1", "u", 60.0).refused
    assert not failures.gate("192.0.2.2", "u", 11.0).refused


def test_fifty_a_day():
    failures = AuthFailures()
    for minute in range(50):
        assert not failures.gate("192.0.2.1", "", minute * 60.0).refused
        failures.failed("192.0.2.1", "", minute * 60.0)
    assert failures.gate("192.0.2.1", "", 60 * 60.0).refused
    assert failures.gate("192.0.2.1", "", 86_399.0).refused
    assert not failures.gate("192.0.2.1", "", 86_400.0).refused


def test_an_ipv6_network_is_one_source():
    failures = AuthFailures()
    for number in range(10):
        failures.failed(f"2001:db8::{number:x}", "u", 0.0)
    assert failures.gate("2001:db8::ffff", "v", 1.0).refused
    assert not failures.gate("2001:db8:0:1::1", "v", 1.0).refused


def test_a_user_is_delayed_and_never_locked_out():
    failures = AuthFailures()
    for number in range(1000):
        failures.failed(f"198.51.{number // 250}.{number % 250}", "victim", 0.0)
    gate = failures.gate("192.0.2.1", "victim", 1.0)
    assert (gate.refused, gate.delay_seconds) == (False, 1.0)
    assert failures.gate("192.0.2.1", "other", 1.0).delay_seconds == 0
    assert failures.gate("192.0.2.1", "victim", 3600.0).delay_seconds == 0


def test_an_address_with_a_recent_success_is_exempt_from_both():
    failures = AuthFailures()
    failures.succeeded("192.0.2.1", "victim", 0.0)
    for _ in range(100):
        failures.failed("192.0.2.1", "victim", 1.0)
    gate = failures.gate("192.0.2.1", "victim", 2.0)
    assert (gate.refused, gate.delay_seconds) == (False, 0.0)
    assert failures.gate("192.0.2.1", "victim", 86_399.0 / 2).refused is False


def test_an_address_is_recognised_for_a_day_after_a_success():
    failures = AuthFailures()
    failures.succeeded("2001:db8::1", "u", 0.0)
    failures.failed("192.0.2.1", "u", 0.0)
    assert failures.recognises("2001:db8::2", DAY_SECONDS - 1)
    assert not failures.recognises("192.0.2.1", 1.0)
    assert not failures.recognises("2001:db8::1", DAY_SECONDS)


def test_successes_are_news_once_in_ten_minutes():
    failures = AuthFailures()
    assert failures.succeeded("192.0.2.1", "u", 0.0)
    assert not failures.succeeded("192.0.2.1", "u", 599.0)
    assert failures.succeeded("192.0.2.1", "u", 600.0)


def test_a_flood_of_fresh_addresses_does_not_free_a_refused_one():
    failures = AuthFailures(SMALL)
    for _ in range(10):
        failures.failed("192.0.2.1", "u", 0.0)
    for number in range(10_000):
        failures.failed(f"2001:db8:{number:x}::1", f"name{number}", 1.0)
        failures.failed(f"2001:db8:{number:x}::1", f"name{number}", 1.0)
    assert failures.gate("192.0.2.1", "u", 2.0).refused
    assert len(failures) <= 4 * 100 + 50


def test_one_credential_cannot_fill_the_table_of_successes():
    failures = AuthFailures(SMALL)
    failures.succeeded("192.0.2.1", "good", 0.0)
    for number in range(1000):
        failures.succeeded(f"2001:db8:{number:x}::1", "evil", 1.0)
    for _ in range(20):
        failures.failed("192.0.2.1", "good", 2.0)
    assert not failures.gate("192.0.2.1", "good", 3.0).refused


def test_snapshot_carries_everything_over():
    failures, other = AuthFailures(), AuthFailures()
    for number in range(10):
        failures.failed("192.0.2.1", "victim", 50.0 + number)
    failures.succeeded("192.0.2.9", "good", 55.0)
    for row in failures.snapshot(60.0):
        other.restore(*row, 1060.0)
    assert other.gate("192.0.2.1", "x", 1060.0).refused
    assert other.gate("192.0.2.2", "victim", 1060.0).delay_seconds == 1.0
    assert not other.succeeded("192.0.2.9", "good", 1060.0)
    assert not other.gate("192.0.2.1", "x", 1110.5).refused


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=300), st.booleans()), max_size=50))
def test_any_text_will_do(script):
    failures = AuthFailures(SMALL)
    for now, (address, username, succeeded) in enumerate(script):
        failures.gate(address, username, float(now))
        (failures.succeeded if succeeded else failures.failed)(address, username, float(now))


def test_large_limits_are_no_limits():
    failures = AuthFailures(FailureLimits(minute_max=10_000_000, day_max=10_000_000, delay_from=1_000_000))
    for _ in range(3000):
        failures.failed("192.0.2.1", "u", 0.0)
    assert failures.gate("192.0.2.1", "u", 0.0).refused is False
