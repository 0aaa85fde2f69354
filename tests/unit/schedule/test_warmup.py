"""Warm-up: the schedule, its states, the pace within a day, and holds, day by day with a clock that tests move."""

from collections import Counter

import pytest

from relay.schedule.warmup import (
    DAY_MS,
    Mode,
    Rules,
    Schedule,
    Status,
    WarmUpState,
    day_of,
    held_after,
    percent,
    schedule_day,
    status,
)
from relay.schedule.warmup_book import ENGAGED_GRACE_MS, WarmUpBook
from relay.testing.clock import ManualClock

DEFAULT = Schedule()
START = 20_000 * DAY_MS + DAY_MS // 3  # in the morning
AUTO = WarmUpState(Mode.AUTO, START)


@pytest.mark.req("WARM-003")
@pytest.mark.parametrize(
    ("day", "volume"), [(1, 50), (2, 59), (3, 69), (10, 206), (23, 1582), (40, 22807), (44, 42736), (45, 50_000)]
)
def test_the_default_schedule(day, volume):
    assert DEFAULT.allowed(day) == volume


@pytest.mark.req("WARM-002")
@pytest.mark.parametrize(
    ("days", "wanted", "state"),
    [
        (0, 0, "IN_PROGRESS"),
        (1, 2, "IN_PROGRESS"),
        (22, 48, "IN_PROGRESS"),
        (44, 97, "IN_PROGRESS"),
        (45, 100, "DONE"),
    ],
)
def test_the_percentage_rises_by_elapsed_time_alone(days, wanted, state):
    now_ms = START + days * DAY_MS
    assert percent(DEFAULT, AUTO, now_ms) == wanted
    assert status(DEFAULT, AUTO, now_ms) is Status(state)


@pytest.mark.req("WARM-006", "WARM-007", "WARM-008")
@pytest.mark.parametrize(
    ("state", "shown", "day", "wanted"),
    [
        (WarmUpState(Mode.PERCENT, percent=0), 0, 0, "IN_PROGRESS"),
        (WarmUpState(Mode.PERCENT, percent=1), 1, 1, "IN_PROGRESS"),
        (WarmUpState(Mode.PERCENT, percent=50), 50, 23, "IN_PROGRESS"),
        (WarmUpState(Mode.PERCENT, percent=99), 99, 45, "IN_PROGRESS"),
        (WarmUpState(Mode.PERCENT, percent=100), 100, 46, "DONE"),
        (WarmUpState(Mode.OFF), 100, 46, "DONE"),
    ],
)
def test_what_somebody_said_stays(state, shown, day, wanted):
    for now_ms in (START, START + 100 * DAY_MS):
        assert percent(DEFAULT, state, now_ms) == shown
        assert schedule_day(DEFAULT, state, now_ms) == day
        assert status(DEFAULT, state, now_ms) is Status(wanted)


def test_a_clock_that_goes_back_before_the_start_is_the_first_day():
    assert schedule_day(DEFAULT, AUTO, START - 10 * DAY_MS) == 1


def simulate(rules, state, days, providers, *, step_seconds=30, wishes=None):
    """Let messages for all providers wait all the time; return what left by day and provider, and most in an hour."""
    clock = ManualClock(now_ms=START)
    book, left, hours = WarmUpBook(rules), Counter(), Counter()
    asleep = dict.fromkeys(providers, 0)
    end_ms = (day_of(START) + days) * DAY_MS
    while clock.now_ms() < end_ms:
        now_ms = clock.now_ms()
        for provider in providers:
            while asleep[provider] <= now_ms and (wishes is None or wishes(now_ms)):
                answer = book.take("192.0.2.1", state, provider, now_ms)
                if answer.not_before_ms:
                    asleep[provider] = answer.not_before_ms
                    break
                if not answer.day:
                    left["free"] += 1
                    asleep[provider] = now_ms + DAY_MS
                    break
                left[answer.day, answer.group] += 1
                hours[answer.group, now_ms // 3_600_000] += 1
        clock.advance(step_seconds)
    return left, hours


@pytest.mark.req("WARM-002", "WARM-003")
def test_45_days_never_pass_the_schedule_and_use_nearly_all_of_it():
    """The figure of the product: never over, and at least 95 % used when there is mail."""
    rules = Rules()
    providers = ["gmail", "outlook", "microsoft365", "yahoo", "mx.example.net"]
    left, _ = simulate(rules, AUTO, 45, providers, step_seconds=120)
    for day in range(1, 46):
        volume = DEFAULT.allowed(day)
        used = {group: left[day_of(START) + day - 1, group] for group in rules.shares}
        assert sum(used.values()) <= volume
        assert sum(used.values()) >= 0.95 * volume, (day, used, volume)
        assert all(used[group] <= rules.share(group, volume) for group in used)
    assert not left["free"]


def test_the_day_after_the_last_one_has_no_limit():
    book = WarmUpBook(Rules())
    assert book.take("192.0.2.1", AUTO, "gmail", START + 45 * DAY_MS).not_before_ms == 0
    assert not list(book.today(START + 45 * DAY_MS))


def test_the_volume_is_spread_over_the_day():
    schedule = Schedule("flat", (24_000,) * 3)
    rules = Rules(schedules={"default": schedule}, shares={"gmail": 100, "other": 0})
    _, hours = simulate(rules, AUTO, 3, ["gmail"])
    whole_days = [count for (_, hour), count in hours.items() if hour // 24 > day_of(START)]
    assert max(whole_days) <= 1000 * 1.1 + 240
    assert len(whole_days) == 48


def test_a_quiet_morning_makes_the_afternoon_fuller_without_a_burst():
    schedule = Schedule("flat", (2400,) * 2)
    rules = Rules(schedules={"default": schedule}, shares={"gmail": 100, "other": 0})
    noon_on = lambda now_ms: now_ms % DAY_MS >= DAY_MS // 2  # noqa: E731 shorter than a function here
    left, hours = simulate(rules, AUTO, 2, ["gmail"], wishes=noon_on)
    assert left[day_of(START) + 1, "gmail"] >= 0.95 * 2400
    assert max(hours.values()) < 2400 / 4


def test_a_provider_without_a_share_gets_nothing_and_nothing_leaves_at_0_percent():
    book = WarmUpBook(Rules(shares={"gmail": 100, "other": 0}))
    tomorrow = (day_of(START) + 1) * DAY_MS
    assert book.take("192.0.2.1", AUTO, "elsewhere", START).not_before_ms == tomorrow
    assert book.take("192.0.2.1", WarmUpState(Mode.PERCENT), "gmail", START).not_before_ms == tomorrow


def test_room_that_comes_back_can_be_used_again():
    rules = Rules(schedules={"default": Schedule("one", (1,))}, shares={"gmail": 100, "other": 0})
    book = WarmUpBook(rules)
    first = book.take("192.0.2.1", AUTO, "gmail", START)
    assert (first.not_before_ms, first.reserve) == (0, 1)
    assert book.take("192.0.2.1", AUTO, "gmail", START).not_before_ms
    book.give_back(first.day, "192.0.2.1", "gmail")
    assert book.take("192.0.2.1", AUTO, "gmail", START).not_before_ms == 0


def test_a_restart_knows_what_left():
    rules = Rules(shares={"gmail": 100, "other": 0})
    book = WarmUpBook(rules)
    book.restore([(day_of(START), "192.0.2.1", "gmail", 50, 0, 0, 0, 0)], [("192.0.2.1", 2, 5, "why")])
    assert book.take("192.0.2.1", AUTO, "gmail", START).not_before_ms
    assert book.hold("192.0.2.1").days == 2
    assert book.take("192.0.2.1", AUTO, "gmail", START + DAY_MS).not_before_ms == 0


@pytest.mark.parametrize(
    ("answers", "days"),
    [
        ((49, 49, 49, 49), 0), ((100, 10, 5, 0), 0), ((100, 11, 0, 0), 1), ((100, 0, 6, 0), 1), ((100, 0, 11, 0), 4),
        ((100, 21, 0, 0), 4), ((100, 0, 0, 2), 0), ((100, 0, 0, 3), 4), ((1000, 0, 0, 3), 0), ((1000, 0, 0, 4), 1),
    ],
)  # fmt: skip
def test_what_sets_a_warm_up_back(answers, days):
    """Attempts, bounces, blocks, complaints."""
    found, why = held_after(Rules(), *answers)
    assert found == days
    assert bool(why) == bool(days)
    assert held_after(Rules(health=False), *answers) == (0, "")


def test_an_unhealthy_day_does_not_count():
    rules = Rules(shares={"gmail": 100, "other": 0})
    book, now_ms = WarmUpBook(rules), START + 9 * DAY_MS
    book.note(day_of(now_ms), "192.0.2.1", "gmail", attempts=100, bounces=0, blocks=8)
    assert [(address, hold.days) for address, hold in book.judge(now_ms)] == [("192.0.2.1", 1)]
    assert not list(book.judge(now_ms))  # once a day
    assert schedule_day(DEFAULT, AUTO, now_ms + DAY_MS, book.held_days("192.0.2.1")) == 10
    assert book.release("192.0.2.1")
    assert book.held_days("192.0.2.1") == 0
    assert not list(book.judge(now_ms))  # what was judged is forgotten
    book.note(day_of(now_ms), "192.0.2.1", "gmail", attempts=50, bounces=0, blocks=8)
    assert [hold.days for _, hold in book.judge(now_ms)] == [4]


def test_engaged_recipients_go_first():
    """Room is kept for engaged mail that found none until it had time to come again, at that provider only."""
    rules = Rules(schedules={"default": Schedule("flat", (100,) * 9)}, shares={"gmail": 50, "other": 50})
    book, cold = WarmUpBook(rules), "192.0.2.1"
    assert book.take(cold, AUTO, "gmail", START).not_before_ms == 0
    again_ms = book.take(cold, AUTO, "gmail", START, engaged=True).not_before_ms
    assert again_ms > START
    after_ms = again_ms + ENGAGED_GRACE_MS
    assert book.take(cold, AUTO, "gmail", again_ms).not_before_ms == after_ms  # there is room, but not for this
    assert book.take(cold, AUTO, "elsewhere", again_ms).not_before_ms == 0
    assert book.take(cold, AUTO, "gmail", again_ms, engaged=True).not_before_ms == 0
    later_ms = after_ms + DAY_MS // 4
    assert book.take(cold, AUTO, "gmail", later_ms).not_before_ms == 0  # nobody came for it any more
    assert not book.take("192.0.2.2", AUTO, "gmail", again_ms).not_before_ms


def test_engaged_recipients_go_first_tomorrow_too_and_wait_for_nobody_once_it_is_set_anew():
    rules = Rules(schedules={"default": Schedule("one", (1,) * 9)}, shares={"gmail": 100, "other": 0})
    book, cold, today = WarmUpBook(rules), "192.0.2.1", day_of(START) * DAY_MS
    tomorrow = today + DAY_MS
    assert book.take(cold, AUTO, "gmail", today).not_before_ms == 0
    assert book.take(cold, AUTO, "gmail", today, engaged=True).not_before_ms == tomorrow
    assert book.take(cold, AUTO, "gmail", tomorrow).not_before_ms == tomorrow + ENGAGED_GRACE_MS
    book.release(cold)
    assert book.take(cold, AUTO, "gmail", tomorrow).not_before_ms == 0
    assert book.take(cold, WarmUpState(Mode.OFF), "gmail", tomorrow).not_before_ms == 0


def test_with_both_kinds_waiting_all_day_engaged_mail_gets_nearly_all_and_no_more_leaves_than_may():
    rules = Rules(schedules={"default": Schedule("flat", (240,) * 3)}, shares={"gmail": 100, "other": 0})
    book, got = WarmUpBook(rules), Counter()
    asleep = {True: START, False: START}
    for now_ms in range(START, START + DAY_MS, 10_000):
        for engaged in (False, True):  # the other mail asks first each time
            while asleep[engaged] <= now_ms:
                asleep[engaged] = book.take("192.0.2.1", AUTO, "gmail", now_ms, engaged=engaged).not_before_ms
                got[engaged] += not asleep[engaged]
    assert got[True] > 200
    assert got[False] <= 3
    assert sum(got.values()) <= 2 * 240


def test_old_days_are_forgotten_and_a_clock_that_goes_back_finds_its_day():
    rules = Rules(schedules={"default": Schedule("one", (1,) * 45)}, shares={"gmail": 100, "other": 0})
    book = WarmUpBook(rules)
    book.take("192.0.2.1", AUTO, "gmail", START)
    book.forget_old(START + 2 * DAY_MS)
    assert book.take("192.0.2.1", AUTO, "gmail", START).not_before_ms
    book.forget_old(START + 20 * DAY_MS)
    assert not list(book.today(START))
