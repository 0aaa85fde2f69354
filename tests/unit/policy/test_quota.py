"""The rolling window, against a naive model that remembers every recipient."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.policy.quota import WINDOW_SECONDS, QuotaWindow, first_minute

START_MS = 1_790_000_000_000


def minute_at(seconds, offset=0.0):
    return int((START_MS / 1000 + seconds + offset) // 60)


@pytest.mark.req("QUOTA-001")
def test_window_rolls_and_is_not_a_calendar_day():
    window = QuotaWindow()
    for hour in range(24):
        now = hour * 3600.0
        assert window.admits(1, 24, now)
        window.hold(1, 1)
        window.commit(1, minute_at(now), 1, now)
    assert not window.admits(1, 24, 23.9 * 3600)
    assert window.admits(1, 24, 24 * 3600)
    assert not window.admits(2, 24, 24 * 3600)
    assert window.used(25 * 3600) == 22


def test_held_counts_until_given_back():
    window = QuotaWindow()
    window.hold(1, 5)
    assert window.used(0) == 5
    window.give_back(1, 5)
    assert window.used(0) == 0
    assert window.empty


def test_announcement_after_a_restart_counts_by_age():
    window = QuotaWindow()
    now_minute = START_MS // 60_000
    window.announce(1, {now_minute - 1441: 100, now_minute - 1439: 10, now_minute: 1}, 2, 0.0, START_MS)
    assert window.used(0.0) == 13
    assert window.used(120.0) == 3
    assert first_minute(START_MS) == now_minute - 1440


def test_announcement_of_a_known_shard_adds_only_what_was_missed():
    window = QuotaWindow()
    window.hold(1, 3)
    window.commit(1, minute_at(0), 3, 0.0)
    window.hold(1, 4)
    window.announce(1, {minute_at(0): 5}, 0, 1.0, START_MS + 1000)
    assert window.used(1.0) == 5
    window.announce(1, {minute_at(0): 5}, 1, 1.0, START_MS + 1000)
    assert window.used(1.0) == 6


def test_expired_leases_count_until_the_shard_says_what_became_of_them():
    window = QuotaWindow()
    window.hold(1, 3)
    window.expire_lease(1, 3, 300.0)
    assert window.used(300.0) == 3
    window.announce(1, {minute_at(0): 1}, 0, 301.0, START_MS + 301_000)
    assert window.used(301.0) == 1


@pytest.mark.parametrize("jump", [-86_400.0, 864_000.0])
def test_a_jump_of_the_wall_clock_forgives_nothing_and_ends(jump):
    window = QuotaWindow()
    window.note(1, minute_at(0), 10, 0.0)
    window.announce(1, {minute_at(0): 10}, 0, 60.0, START_MS + int(jump * 1000))
    assert window.used(60.0) == 10
    assert window.used(WINDOW_SECONDS - 1.0) == 10
    assert window.used(2 * WINDOW_SECONDS + 120.0) == 0


steps = st.lists(
    st.tuples(
        st.sampled_from(["spend", "spend", "spend", "unused", "crash", "wait"]),
        st.integers(1, 3),
        st.integers(1, 40),
        st.floats(0, 30_000),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(1, 100))
def test_never_over_whatever_happens(script, limit):
    """Shards crash and lose reports; permits restarts; no stretch of 24 hours ever has more than the limit."""
    window, now = QuotaWindow(), 0.0
    committed: list[tuple[float, int]] = []
    durable: dict[int, dict[int, int]] = {1: {}, 2: {}, 3: {}}
    for action, shard, recipients, wait, flag in script:
        if action == "wait":
            now += wait
        elif action == "crash":
            if flag:
                window = QuotaWindow()
            for number in (1, 2, 3) if flag else (shard,):
                kept = {m: n for m, n in durable[number].items() if m >= first_minute(START_MS + int(now * 1000))}
                window.announce(number, kept, 0, now, START_MS + int(now * 1000))
        elif window.admits(recipients, limit, now):
            window.hold(shard, recipients)
            if action == "unused":
                window.give_back(shard, recipients)
                continue
            minute = minute_at(now)
            durable[shard][minute] = durable[shard].get(minute, 0) + recipients
            committed.append((now, recipients))
            if flag:
                window.commit(shard, minute, recipients, now)
        for end, _ in committed:
            assert sum(n for at, n in committed if end - WINDOW_SECONDS < at <= end) <= limit


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 20_000), st.integers(1, 9)), max_size=80), st.integers(1, 60))
def test_exact_to_a_minute_and_a_half_without_faults(script, limit):
    window, now = QuotaWindow(), 0.0
    committed: list[tuple[float, int]] = []
    for wait, recipients in script:
        now += wait
        exact = sum(n for at, n in committed if at > now - WINDOW_SECONDS)
        strict = sum(n for at, n in committed if at > now - WINDOW_SECONDS - 90)
        assert exact <= window.used(now) <= strict
        if window.admits(recipients, limit, now):
            window.hold(1, recipients)
            window.commit(1, minute_at(now), recipients, now)
            committed.append((now, recipients))
