"""How many addresses a managed pool should have, by its volume and by how receivers slow it down (POOL-013). Pure.

A pool grows as soon as its volume needs more, or while receivers defer a good part of its mail; it shrinks slowly, by
one address a day, and only when a whole day was seen.
"""

import math
from collections import deque
from dataclasses import dataclass

HOUR_MS = 3_600_000
DAY_HOURS = 24


@dataclass(frozen=True, slots=True)
class ManagedRules:
    """What sizing goes by. `address_a_day` is what one address should carry; shares are of that."""

    address_a_day: int = 50_000
    grow_share: float = 0.8
    shrink_share: float = 0.4
    deferred_share: float = 0.2
    attempts_min: int = 100  # fewer attempts in an hour say nothing about receivers


class Volume:
    """What a pool sent and how much of it was deferred, by hour, for a day. Counts are totals that only grow."""

    __slots__ = ("_began_ms", "_deferred", "_hours", "_sent", "shrunk_ms")

    def __init__(self, now_ms: int, sent: float, deferred: float) -> None:
        self._began_ms = now_ms
        self._sent, self._deferred = sent, deferred
        self._hours: deque[tuple[int, float, float]] = deque()
        self.shrunk_ms = now_ms

    def note(self, now_ms: int, sent: float, deferred: float) -> None:
        """Take the totals of now."""
        hour = now_ms // HOUR_MS
        more, put_off = max(0.0, sent - self._sent), max(0.0, deferred - self._deferred)
        self._sent, self._deferred = sent, deferred
        if self._hours and self._hours[-1][0] == hour:
            _, before, before_off = self._hours.pop()
            more, put_off = more + before, put_off + before_off
        self._hours.append((hour, more, put_off))
        while self._hours[0][0] <= hour - DAY_HOURS:
            self._hours.popleft()

    @property
    def day(self) -> float:
        """What was sent in the last 24 hours, as far as they were seen."""
        return sum(sent for _, sent, _ in self._hours)

    @property
    def last_hour(self) -> tuple[float, float]:
        """Sent and deferred in the present hour."""
        _, sent, deferred = self._hours[-1]
        return sent, deferred

    def whole_day(self, now_ms: int) -> bool:
        """Say whether a whole day was seen since the start and since the pool last shrank."""
        return now_ms - max(self._began_ms, self.shrunk_ms) >= DAY_HOURS * HOUR_MS


def change(have: int, volume: Volume, rules: ManagedRules, now_ms: int) -> int:
    """Return by how many addresses a pool of `have` should grow (above 0) or shrink (-1), 0 for neither."""
    needed = max(1, math.ceil(volume.day / (rules.grow_share * rules.address_a_day)))
    sent, deferred = volume.last_hour
    if sent + deferred >= rules.attempts_min and deferred > rules.deferred_share * (sent + deferred):
        needed = max(needed, have + 1)
    if needed > have:
        return needed - have
    enough = volume.day <= rules.shrink_share * rules.address_a_day * (have - 1)
    return -1 if have > 1 and enough and volume.whole_day(now_ms) else 0
