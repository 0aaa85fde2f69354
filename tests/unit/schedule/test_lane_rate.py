"""Rates by the minute: never more than the limit in any sixty seconds, whatever is asked when."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.schedule.lane_rate import HOLD_SECONDS, MinuteRate, capacity


@given(
    st.integers(1, 2000),
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 100), st.floats(0, HOLD_SECONDS)), min_size=1, max_size=80),
)
def test_no_minute_has_more_than_the_limit(limit, requests):
    rate, now, used = MinuteRate(0.0), 0.0, []
    for pause, wanted, late in requests:
        now += pause
        count = min(wanted, rate.available(limit, now))
        rate.take(count)
        used += [now + late] * count
    used.sort()
    for first, begin in enumerate(used):
        assert sum(1 for at in used[first:] if at < begin + 60.0) <= limit


@pytest.mark.parametrize(("limit", "seconds"), [(6, 600), (60, 600), (1200, 120), (1, 1000)])
def test_nearly_all_of_it_is_given_to_who_always_asks(limit, seconds):
    rate, given_out = MinuteRate(0.0), 0
    for step in range(int(seconds / 0.02)):
        count = rate.available(limit, step * 0.02)
        rate.take(count)
        given_out += count
    assert given_out >= int(0.97 * limit * seconds / 60)


def test_a_new_rate_is_empty_and_says_when_the_first_comes():
    rate = MinuteRate(100.0)
    assert rate.available(6, 100.0) == 0
    at = rate.next_at(6)
    assert rate.available(6, at - 0.01) == 0
    assert rate.available(6, at) == 1
    assert MinuteRate(0.0).next_at(0) == math.inf


def test_what_is_kept_is_half_a_second_s_worth_and_at_least_one():
    assert capacity(6) == 1.0
    assert capacity(6100) == 50.0
    rate = MinuteRate(0.0)
    assert rate.available(6100, 3600.0) == 50


def test_a_clock_that_stands_or_goes_back_gives_nothing():
    rate = MinuteRate(10.0)
    assert rate.available(60, 12.0) == 1
    rate.take(1)
    assert rate.available(60, 5.0) == 0
