"""Levels of managed addresses: by provider, up with use, down without (POOL-014)."""

import pytest

from relay.schedule.warmup import DAY_MS, Mode, Rules, Schedule, WarmUpState, day_of
from relay.schedule.warmup_book import WarmUpBook
from relay.schedule.warmup_level import QUIET_DAYS, Level, late, moved

START = 20_000 * DAY_MS
MANAGED = WarmUpState(Mode.MANAGED, START)
OURS = "192.0.2.1"
VOLUMES = tuple(10 * 2**day for day in range(10))  # 10, 20, 40 ...
TOP = len(VOLUMES) + 1
RULES = Rules(schedules={"default": Schedule("double", VOLUMES)}, shares={"gmail": 50, "yahoo": 50, "other": 0})


def volume(level):
    return VOLUMES[min(level, len(VOLUMES)) - 1]


def after(at, used, *, today=100, day=None):
    """Return the level of today from that of `day`, by what left on days."""
    return moved(Level(at, today - 1 if day is None else day, 0), today, TOP, lambda on: used.get(on, 0), volume).at


@pytest.mark.parametrize(
    ("used", "wanted"),
    [
        ({99: 80}, 5),  # all of the volume of level 4
        ({99: 40}, 5),  # half of it
        ({99: 39}, 3),  # less, and nothing in the week before
        ({98: 40}, 4),  # a quiet day after a busy one
        ({100 - QUIET_DAYS: 40}, 4),
        ({99 - QUIET_DAYS: 40}, 3),
        ({}, 3),
    ],
)
def test_a_day_moves_a_level_by_one_at_most(used, wanted):
    assert after(4, used) == wanted


def test_levels_end_at_the_first_day_and_above_the_last():
    assert after(1, {}) == 1
    assert after(TOP, {99: 10**6}) == TOP
    assert after(TOP, {}, day=100 - 60) == 1
    assert after(TOP, {}, day=-(10**9)) == 1  # a clock that was far off costs no time
    assert after(5, {}, today=100, day=103) == 5  # one that goes back changes nothing


def test_a_steady_volume_comes_to_rest_where_twice_of_it_is_allowed():
    used, at = {}, 1
    for day in range(100, 200):
        used[day] = min(100, volume(at))
        at = after(at, used, today=day + 1)
        if day > 120:
            assert volume(at) >= 160


def test_a_weekly_newsletter_loses_nothing_between_two():
    used, at = {}, 3
    for week in range(4):
        used[100 + 7 * week] = volume(at)
        at = moved(Level(at, 100 + 7 * week, 0), 107 + 7 * week, TOP, lambda on: used.get(on, 0), volume).at
    assert at == 7


def drained(book, provider, now_ms, wanted=10**6):
    """Take all that a day gives, at most so many; return how many left."""
    left, end_ms = 0, (day_of(now_ms) + 1) * DAY_MS
    while now_ms < end_ms and left < wanted:
        answer = book.take(OURS, MANAGED, provider, now_ms)
        if answer.not_before_ms:
            now_ms = answer.not_before_ms
        else:
            left += 1
    return left


@pytest.mark.req("POOL-014")
def test_warm_for_one_provider_and_cold_for_another_and_cold_again_without_mail():
    book = WarmUpBook(RULES)
    for day in range(5):
        assert drained(book, "gmail", START + day * DAY_MS) == VOLUMES[day] // 2
    assert drained(book, "yahoo", START + 5 * DAY_MS) == VOLUMES[0] // 2
    quiet = [book.level(OURS, "gmail", START, START + day * DAY_MS) for day in range(5, 20)]
    assert quiet == [6, 6, 6, 6, 6, 6, 6, 5, 4, 3, 2, 1, 1, 1, 1]
    assert drained(book, "gmail", START + 20 * DAY_MS) == VOLUMES[0] // 2


def test_the_volume_of_a_day_never_passes_the_level_and_no_level_limits_the_top():
    book = WarmUpBook(RULES)
    book.levels.restore(OURS, "gmail", Level(TOP, day_of(START), START))
    assert drained(book, "gmail", START, wanted=VOLUMES[-1]) == VOLUMES[-1]
    assert book.used(day_of(START), OURS) == VOLUMES[-1]
    assert book.level(OURS, "gmail", START, START + DAY_MS) == TOP  # it was used
    assert book.level(OURS, "gmail", START, START + 30 * DAY_MS) == 1
    assert not late(5, 10)
    assert late(6, 10)


def test_a_restart_knows_levels_and_a_new_warm_up_forgets_them():
    book = WarmUpBook(RULES)
    drained(book, "gmail", START)
    book.levels.move(day_of(START) + 1)
    (row,) = [(address, group, one.at, one.day, one.started_ms) for address, group, one in book.levels.changed()]
    assert row == (OURS, "gmail", 2, day_of(START) + 1, START)
    assert not list(book.levels.changed())
    again = WarmUpBook(RULES)
    again.restore([], [], [row])
    assert again.level(OURS, "gmail", START, START + DAY_MS) == 2
    assert again.level(OURS, "gmail", START + 7, START + DAY_MS) == 1  # it came to the pool again


def test_a_day_of_bad_answers_takes_levels_back_everywhere():
    book = WarmUpBook(RULES)
    for group in ("gmail", "yahoo"):
        book.levels.restore(OURS, group, Level(6, day_of(START), START))
    book.note(day_of(START), OURS, "gmail", attempts=1000, bounces=0, blocks=0, complaints=20)
    ((_, hold),) = book.judge(START)
    assert hold.days == 4
    assert "complained about" in hold.why
    assert [book.level(OURS, group, START, START) for group in ("gmail", "yahoo")] == [2, 2]
    drained(book, "gmail", START)
    assert book.level(OURS, "gmail", START, START + DAY_MS) == 3
