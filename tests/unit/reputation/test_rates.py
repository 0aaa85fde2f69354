"""Rates over the representative volume: what counts, what does not, and from where on something follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.reputation.rates import (
    CELL_LONG_MS,
    CELL_SHORT_MS,
    DAY_MS,
    Cell,
    Level,
    Limits,
    Metric,
    Rate,
    begins_anew,
    level,
    rates,
    representative_volume,
)

NOW = 1_790_000_000_000

cells = st.lists(
    st.builds(
        lambda age, sent, bad, reporting, complaints: Cell(NOW - age, sent, min(bad, sent), reporting, complaints),
        st.integers(0, 400 * DAY_MS),
        st.integers(0, 2000),
        st.integers(0, 2000),
        st.integers(0, 2000),
        st.integers(0, 50),
    ),
    max_size=60,
    unique_by=lambda cell: cell.start_ms,
)


@pytest.mark.req("REP-004")
@pytest.mark.parametrize(
    ("in_30_days", "volume"), [(0, 1000), (2999, 1000), (3000, 1000), (3600, 1200), (300_000, 100_000)]
)
def test_the_volume_is_ten_days_of_the_mean_and_a_thousand_at_least(in_30_days, volume):
    assert representative_volume(in_30_days) == volume


@pytest.mark.req("REP-004")
@given(cells)
def test_a_rate_rests_on_the_newest_whole_cells_and_no_more_than_are_needed(found):
    rate = rates(found, NOW).bounce
    newest = sorted(found, key=lambda cell: -cell.start_ms)
    wanted = representative_volume(sum(cell.sent for cell in found if cell.start_ms > NOW - 30 * DAY_MS))
    total = sum(cell.sent for cell in found)
    assert rate.volume <= total
    assert rate.volume >= min(wanted, total)
    taken = [cell for cell in newest if rate.since_ms and cell.start_ms >= rate.since_ms]
    assert sum(cell.sent for cell in taken) == rate.volume
    if taken:
        assert rate.volume - taken[-1].sent < wanted  # without the oldest of them it would be too little


@given(cells)
def test_a_rate_is_a_share_and_none_without_mail(found):
    for metric in Metric:
        rate = rates(found, NOW).of(metric)
        assert (rate.value is None) == (rate.volume == 0)
        assert rate.value is None or 0 <= rate.value <= 1


@given(cells)
def test_the_order_of_cells_does_not_matter(found):
    assert rates(found, NOW) == rates(list(reversed(found)), NOW)


@pytest.mark.req("REP-013")
@given(cells, st.integers(0, 400 * DAY_MS))
def test_after_a_fresh_start_only_later_mail_counts(found, age):
    since = NOW - age
    assert rates(found, NOW, since) == rates([cell for cell in found if cell.start_ms >= since], NOW)


@pytest.mark.req("REP-001", "REP-003")
def test_each_rate_has_its_own_volume():
    found = rates([Cell(NOW - 5, sent=800, hard_bounces=40, reporting=2000, complaints=3)], NOW)
    assert (found.bounce, found.complaint) == (Rate(40, 800, NOW - 5), Rate(3, 2000, NOW - 5))
    assert (found.bounce.value, found.complaint.value) == (0.05, 0.0015)


@pytest.mark.req("REP-006", "REP-007")
@pytest.mark.parametrize(
    ("metric", "bad", "volume", "expected"),
    [
        (Metric.BOUNCE, 499, 499, Level.UNKNOWN),
        (Metric.BOUNCE, 24, 500, Level.FINE),
        (Metric.BOUNCE, 25, 500, Level.REVIEW),
        (Metric.BOUNCE, 49, 500, Level.REVIEW),
        (Metric.BOUNCE, 50, 500, Level.PAUSE),
        (Metric.COMPLAINT, 0, 500, Level.FINE),
        (Metric.COMPLAINT, 1, 1001, Level.FINE),
        (Metric.COMPLAINT, 1, 1000, Level.REVIEW),
        (Metric.COMPLAINT, 4, 1000, Level.REVIEW),
        (Metric.COMPLAINT, 5, 1000, Level.PAUSE),
        (Metric.COMPLAINT, 9, 499, Level.UNKNOWN),
    ],
)
def test_limits_are_reached_by_being_equal_and_by_enough_messages(metric, bad, volume, expected):
    assert level(metric, Rate(bad, volume), Limits()) is expected


@pytest.mark.parametrize(
    ("messages", "age_ms", "anew"),
    [
        (5, CELL_LONG_MS - 1, False),
        (5, CELL_LONG_MS, True),
        (100, CELL_SHORT_MS - 1, False),
        (99, CELL_SHORT_MS, False),
        (100, CELL_SHORT_MS, True),
        (0, -5, False),
    ],
)
def test_a_cell_is_a_quarter_of_an_hour_or_a_hundred_messages_in_a_minute(messages, age_ms, anew):
    assert begins_anew(NOW, messages, NOW + age_ms) is anew
