"""Bounce and complaint rates of an account or configuration set, over its representative volume. Pure.

Messages are counted in *cells*: the time of the first one, how many were sent, and what became of them, whenever it
becomes known. So a late bounce counts in the volume that its message was in. A cell holds the mail of a quarter of an
hour at most, and of a minute when that is a hundred messages or more (`begins_anew`); the representative volume is
whole cells, and so at most one cell larger than asked for.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from relay.model.value import dataclass

CELL_MESSAGES = 100
CELL_SHORT_MS = 60_000
CELL_LONG_MS = 15 * 60_000
DAY_MS = 86_400_000
MEAN_DAYS = 30
BOUNCE_GOAL = 0.05  # rates that nobody should reach, and the one that is advised (STAT-008, DLV-002)
BOUNCE_ADVICE = 0.02
COMPLAINT_GOAL = 0.001
VOLUME_MIN = 1000
VOLUME_DAYS = 10


class Metric(StrEnum):
    """A rate that sending is judged by."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"


@dataclass(frozen=True, slots=True)
class Cell:
    """Messages sent from `start_ms` on, to one recipient each.

    `sent` were accepted for others than the account's own names, and `hard_bounces` of them bounced for good
    (REP-001, REP-002); `reporting` were delivered to providers that report complaints, and `complaints` were
    reported (REP-003).
    """

    start_ms: int
    sent: int = 0
    hard_bounces: int = 0
    reporting: int = 0
    complaints: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """What a rate is and rests on: `bad` of `volume` messages, sent from `since_ms` on (REP-005)."""

    bad: int = 0
    volume: int = 0
    since_ms: int = 0

    @property
    def value(self) -> float | None:
        """The share, 0 to 1, None where nothing was sent."""
        return min(1.0, self.bad / self.volume) if self.volume else None


@dataclass(frozen=True, slots=True)
class Rates:
    """Both rates of a subject."""

    bounce: Rate
    complaint: Rate

    def of(self, metric: Metric) -> Rate:
        """Return one of them."""
        return self.bounce if metric is Metric.BOUNCE else self.complaint


@dataclass(frozen=True, slots=True)
class Limits:
    """From which rate on a subject is under review, and from which it may be paused (REP-006).

    Nothing follows from fewer than `volume_min` messages (REP-007).
    """

    bounce_review: float = 0.05
    bounce_pause: float = 0.10
    complaint_review: float = 0.001
    complaint_pause: float = 0.005
    volume_min: int = 500

    def review(self, metric: Metric) -> float:
        """Return the rate from which a review begins."""
        return self.bounce_review if metric is Metric.BOUNCE else self.complaint_review

    def pause(self, metric: Metric) -> float:
        """Return the rate from which sending may be paused."""
        return self.bounce_pause if metric is Metric.BOUNCE else self.complaint_pause


class Level(StrEnum):
    """What a rate comes to."""

    UNKNOWN = "unknown"  # too few messages to say anything
    FINE = "fine"
    REVIEW = "review"
    PAUSE = "pause"


def begins_anew(start_ms: int, messages: int, moment_ms: int) -> bool:
    """Say whether a message of `moment_ms` no longer belongs to the cell of `start_ms` that holds `messages`."""
    age_ms = moment_ms - start_ms
    return age_ms >= CELL_LONG_MS or (messages >= CELL_MESSAGES and age_ms >= CELL_SHORT_MS)


def rates(cells: Iterable[Cell], now_ms: int, since_ms: int = 0) -> Rates:
    """Return both rates of cells (in any order), of which those before `since_ms` do not count (REP-013)."""
    counted = sorted((cell for cell in cells if cell.start_ms >= since_ms), key=lambda cell: -cell.start_ms)
    return Rates(
        _rate(counted, now_ms, lambda cell: cell.sent, lambda cell: cell.hard_bounces),
        _rate(counted, now_ms, lambda cell: cell.reporting, lambda cell: cell.complaints),
    )


def representative_volume(last_30_days: int) -> int:
    """Return how many messages represent an account that sent so many in 30 days (REP-004)."""
    return max(VOLUME_MIN, VOLUME_DAYS * last_30_days // MEAN_DAYS)


def _rate(cells: Sequence[Cell], now_ms: int, sent: Callable[[Cell], int], bad: Callable[[Cell], int]) -> Rate:
    recent = sum(sent(cell) for cell in cells if cell.start_ms > now_ms - MEAN_DAYS * DAY_MS)
    wanted = representative_volume(recent)
    volume, found, since_ms = 0, 0, 0
    for cell in cells:
        if volume >= wanted:
            break
        volume, found = volume + sent(cell), found + bad(cell)
        since_ms = cell.start_ms if sent(cell) else since_ms
    return Rate(found, volume, since_ms)


def level(metric: Metric, rate: Rate, limits: Limits) -> Level:
    """Return what a rate comes to by the limits."""
    if rate.volume < limits.volume_min or rate.value is None:
        return Level.UNKNOWN
    if rate.value >= limits.pause(metric):
        return Level.PAUSE
    return Level.REVIEW if rate.value >= limits.review(metric) else Level.FINE
