"""Warm-up of source addresses: how much may leave on which day, and when in the day (WARM-*). Pure.

A schedule is a list of daily volumes of an address; the default rises over 45 days to 50,000 messages, day d allows
ceil(50 x 1000^((d-1)/44)) (WARM-003). Days are calendar days in UTC, the first one is that on which the warm-up
began; it goes on by elapsed time alone, whatever the volume (WARM-002). After the last day nothing limits it.

Each provider may get its share of the day's volume, and all that are not named one share together (decision 19). What
is left of a share is spread over what is left of the day: a quiet morning makes the afternoon fuller, and no instant
sees more than a hundredth of the day at once. All of it can be used until half an hour before midnight.

A hold takes days off the schedule of an address that receivers complain about: the day does not count, or more.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DAYS = 45
VOLUME_FIRST = 50
VOLUME_LAST = 50_000
DAY_MS = 86_400_000
OTHER = "other"
PERCENT_MAX = 100
SHARES: Mapping[str, float] = {"gmail": 40, "outlook": 15, "microsoft365": 10, "yahoo": 15, OTHER: 20}
_RESERVE_MS = 1_800_000
_BURST_PARTS = 100
_SOONEST_MS = 1000


class Status(StrEnum):
    """What SES calls the state of an address's warm-up (WARM-008)."""

    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"
    NOT_APPLICABLE = "NOT_APPLICABLE"


class Mode(StrEnum):
    """How far an address is: all the way, by its age, as far as somebody said, or by what left (`warmup_level`)."""

    OFF = "off"
    AUTO = "auto"
    PERCENT = "percent"
    MANAGED = "managed"


def day_of(now_ms: int) -> int:
    """Return the calendar day in UTC: days since 1970."""
    return now_ms // DAY_MS


def default_volume(day: int) -> int:
    """Return what the default schedule allows on a day from 1 on (WARM-003)."""
    exact: float = VOLUME_FIRST * (VOLUME_LAST / VOLUME_FIRST) ** ((day - 1) / (DAYS - 1))
    return math.ceil(round(exact, 6))  # the last day is 50,000 and not a rounding error more


@dataclass(frozen=True, slots=True)
class Schedule:
    """Daily volumes of an address, from the first day on."""

    name: str = "default"
    volumes: tuple[int, ...] = tuple(default_volume(day) for day in range(1, DAYS + 1))

    @property
    def days(self) -> int:
        """How long it takes."""
        return len(self.volumes)

    def allowed(self, day: int) -> int:
        """Return the volume of a day; the first one's before it, the last one's after it."""
        return self.volumes[min(max(day, 1), self.days) - 1]


@dataclass(frozen=True, slots=True)
class WarmUpState:
    """What is set about an address: how, since when (AUTO), as far as which percentage (PERCENT)."""

    mode: Mode
    started_ms: int = 0
    percent: int = 0


def schedule_day(schedule: Schedule, state: WarmUpState, now_ms: int, held_days: int = 0) -> int:
    """Return the day of the schedule an address is at: 0 when nothing may leave, above its length when it is done.

    Of a managed one it is the furthest that it can be with any provider; where it is, its levels say.
    """
    if state.mode is Mode.OFF:
        return schedule.days + 1
    if state.mode is Mode.PERCENT:
        if state.percent >= PERCENT_MAX:
            return schedule.days + 1
        return math.ceil(state.percent * schedule.days / PERCENT_MAX)
    return max(1, day_of(now_ms) - day_of(state.started_ms) + 1 - held_days)


def percent(schedule: Schedule, state: WarmUpState, now_ms: int, held_days: int = 0) -> int:
    """Return how far a warm-up is, 0 to 100: by elapsed time, or what somebody said (WARM-002, WARM-006)."""
    if state.mode is Mode.PERCENT:
        return min(PERCENT_MAX, max(0, state.percent))
    if state.mode is Mode.OFF:
        return PERCENT_MAX
    day = schedule_day(schedule, state, now_ms, held_days)
    return min(PERCENT_MAX, PERCENT_MAX * (day - 1) // schedule.days)


def status(schedule: Schedule, state: WarmUpState, now_ms: int, held_days: int = 0) -> Status:
    """Return the status of an address: an edited or reset percentage is still in progress (WARM-006, WARM-007)."""
    done = schedule_day(schedule, state, now_ms, held_days) > schedule.days
    return Status.DONE if done else Status.IN_PROGRESS


@dataclass(frozen=True, slots=True)
class Rules:
    """How all addresses are warmed up: schedules by name, which address has which, shares of providers in percent."""

    schedules: Mapping[str, Schedule] = field(default_factory=lambda: {"default": Schedule()})
    schedule_default: str = "default"
    addresses: Mapping[str, str] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    health: bool = True
    bounce_percent: float = 10.0
    block_percent: float = 5.0
    complaint_percent: float = 0.3
    attempts_min: int = 50
    complaints_min: int = 3
    step_back_days: int = 3

    def schedule(self, address: str) -> Schedule:
        """Return the schedule of an address."""
        name = self.addresses.get(address, self.schedule_default)
        return self.schedules.get(name) or Schedule()

    def group(self, provider: str) -> str:
        """Return the group of a provider or site: one with a share of its own, or the others."""
        return provider if provider in self.shares else OTHER

    def share(self, group: str, volume: int) -> int:
        """Return what a group may get of a day's volume of an address: at least one while the address may send."""
        return math.ceil(round(volume * self.shares.get(group, 0.0) / PERCENT_MAX, 6))


class Pace:
    """Spreads what is left over what is left of the day. Tokens gather; no more of them than a burst is kept."""

    __slots__ = ("_stamp_ms", "_tokens")

    def __init__(self, now_ms: int) -> None:
        self._tokens = 1.0
        self._stamp_ms = now_ms

    def take(self, cap: int, used: int, now_ms: int) -> int:
        """Take one; return 0 when it was granted, else when to ask again (milliseconds since 1970)."""
        day_end_ms = (day_of(now_ms) + 1) * DAY_MS
        if used >= cap:
            return day_end_ms
        left_ms = max(_SOONEST_MS, day_end_ms - _RESERVE_MS - now_ms)
        rate = (cap - used) / left_ms
        elapsed = max(0, now_ms - self._stamp_ms)
        self._stamp_ms = now_ms
        self._tokens = min(max(1.0, cap / _BURST_PARTS), self._tokens + elapsed * rate)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0
        return min(day_end_ms, now_ms + max(_SOONEST_MS, math.ceil((1.0 - self._tokens) / rate)))

    def give_back(self) -> None:
        """Return one that was not used."""
        self._tokens += 1.0


def held_after(rules: Rules, attempts: int, bounces: int, blocks: int, complaints: int = 0) -> tuple[int, str]:
    """Return how many days a day's answers take off the schedule, and why: 0 with "" for a healthy day.

    Over a line the day does not count; over twice the line some days more are taken back. One or two complaints are
    no rate yet.
    """
    if not rules.health or attempts < rules.attempts_min:
        return 0, ""
    worst, why = 0.0, ""
    for word, number, line in (
        ("bounced", bounces, rules.bounce_percent),
        ("blocked", blocks, rules.block_percent),
        ("complained about", complaints if complaints >= rules.complaints_min else 0, rules.complaint_percent),
    ):
        rate = PERCENT_MAX * number / attempts
        if rate > line and rate / line > worst:
            worst, why = rate / line, f"{rate:.1f} % of {attempts} {word}, over {line:g} %"
    if not why:
        return 0, ""
    return (1 if worst <= 2 else 1 + rules.step_back_days), why  # noqa: PLR2004 twice the line
