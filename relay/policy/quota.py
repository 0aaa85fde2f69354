"""The rolling 24-hour quota, counted in minutes and never over (QUOTA-001).

A window belongs to one account and adds up what several shards accepted. What counts:

- *counts*: recipients that were committed, by shard and by the wall-clock minute they were committed in. The minute
  is a label that names the same amount in a shard's file and here; it says nothing about age.
- *held*: leases that were granted and not yet reported. They count like commits, because they may be ones.

Age is measured on the monotonic clock: a count stops counting 24 hours after the last addition to it. A wall clock
that jumps therefore forgives nothing; it only matters for what is read from disk before anything was known. Every
rounding is to the strict side and less than a minute and a half.
"""

from collections.abc import Mapping
from dataclasses import dataclass

WINDOW_SECONDS = 86_400
MINUTE_SECONDS = 60
WINDOW_MINUTES = WINDOW_SECONDS // MINUTE_SECONDS
_UNREPORTED = -1  # stands for the minute of expired leases

MinuteCounts = Mapping[int, int]
"""Recipients committed, by minutes since 1970."""


@dataclass(slots=True)
class _Count:
    """Recipients of one shard and minute, and the monotonic instant they stop counting at."""

    recipients: int
    expires: float


def first_minute(now_ms: int) -> int:
    """Return the first minute that may still count at `now_ms`."""
    return now_ms // 60_000 - WINDOW_MINUTES


class QuotaWindow:
    """What one account used in the past 24 hours. Times are monotonic seconds unless they say otherwise."""

    __slots__ = ("_counts", "_expiry", "_held", "_total")

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], _Count] = {}
        self._held: dict[int, int] = {}
        self._total = 0  # of counts and held
        self._expiry = float("inf")  # nothing expires before

    def used(self, now: float) -> int:
        """Return the recipients that count now, those of open leases included."""
        if now >= self._expiry:
            self._expire(now)
        return self._total

    @property
    def empty(self) -> bool:
        """True when nothing is counted or held."""
        return not self._counts and not any(self._held.values())

    def admits(self, recipients: int, limit: int, now: float) -> bool:
        """Say whether `recipients` more stay within `limit` (recipients in 24 hours)."""
        return self.used(now) + recipients <= limit

    def hold(self, shard: int, recipients: int) -> None:
        """Count a lease that was granted to a shard."""
        self._held[shard] = self._held.get(shard, 0) + recipients
        self._total += recipients

    def give_back(self, shard: int, recipients: int) -> None:
        """Stop counting a lease that came to nothing."""
        self._held[shard] -= recipients
        self._total -= recipients

    def commit(self, shard: int, minute: int, recipients: int, now: float) -> None:
        """Turn a held lease into a count of `minute`."""
        self.give_back(shard, recipients)
        self.note(shard, minute, recipients, now)

    def note(self, shard: int, minute: int, recipients: int, now: float) -> None:
        """Count recipients that were committed just now and not held."""
        self._add(shard, minute, recipients, now + WINDOW_SECONDS)

    def expire_lease(self, shard: int, recipients: int, now: float) -> None:
        """Count a lease that nobody reported, until its shard announces what became of it."""
        self.commit(shard, _UNREPORTED, recipients, now)

    def announce(self, shard: int, counts: MinuteCounts, held: int, now: float, now_ms: int) -> None:
        """Take over what a shard says: its committed recipients by minute and the sum of its open leases.

        Leases known so far, open or expired, are forgotten: each is now announced as held or counted, or it will
        never be committed. Counts known so far are never lowered: what is missing was committed without a report.
        """
        self._total += held - self._held.get(shard, 0)
        self._held[shard] = held
        unreported = self._counts.pop((shard, _UNREPORTED), None)
        if unreported is not None:
            self._total -= unreported.recipients
        for minute, recipients in counts.items():
            known = self._counts.get((shard, minute))
            missing = recipients - (known.recipients if known else 0)
            if missing > 0:
                self._add(shard, minute, missing, now + _remaining_seconds(minute, now_ms))

    def _add(self, shard: int, minute: int, recipients: int, expires: float) -> None:
        count = self._counts.get((shard, minute))
        if count is None:
            count = self._counts[shard, minute] = _Count(0, expires)
        count.recipients += recipients
        count.expires = max(count.expires, expires)
        self._expiry = min(self._expiry, expires)
        self._total += recipients

    def _expire(self, now: float) -> None:
        for key in [key for key, count in self._counts.items() if count.expires <= now]:
            self._total -= self._counts.pop(key).recipients
        self._expiry = min((count.expires for count in self._counts.values()), default=float("inf"))


def _remaining_seconds(minute: int, now_ms: int) -> float:
    """Return how long a minute still counts: until 24 hours after its end; a minute to come counts from now on."""
    end_age = now_ms / 1000 - (minute + 1) * MINUTE_SECONDS
    return max(0.0, WINDOW_SECONDS - max(0.0, end_age))
