"""A rate by the minute, kept exactly: in any sixty seconds at most the limit is used. Pure.

What is taken here is used elsewhere within `HOLD_SECONDS`, or never. Tokens come at `limit / 61` a second and at most
half a second's worth of them is kept, but at least one. So in any minute at most `limit * 60.5 / 61` new ones and
what was kept are used: the limit, in whole tokens, and never a burst of more than a second's worth.
"""

import math

HOLD_SECONDS = 0.5
_SPREAD_SECONDS = 61.0
_EPSILON = 1e-9


def capacity(limit: float) -> float:
    """Return how many tokens are kept at most."""
    return max(1.0, limit / _SPREAD_SECONDS * HOLD_SECONDS)


class MinuteRate:
    """The tokens of one rate; the limit may differ from call to call. Times are monotonic seconds."""

    __slots__ = ("_tokens", "stamp")

    def __init__(self, since: float) -> None:
        """Begin without a token at `since`: nothing is known about what was used before. `stamp`: last looked at."""
        self._tokens = 0.0
        self.stamp = since

    def available(self, limit: float, now: float) -> int:
        """Return how many whole tokens there are."""
        self._refill(limit, now)
        return int(self._tokens + _EPSILON)

    def take(self, count: int) -> None:
        """Use tokens that are available."""
        self._tokens -= count

    def next_at(self, limit: float) -> float:
        """Return when there is a whole token, as things are; infinity without a limit above 0."""
        if limit <= 0:
            return math.inf
        return self.stamp + max(0.0, 1.0 - self._tokens) * _SPREAD_SECONDS / limit

    def _refill(self, limit: float, now: float) -> None:
        elapsed = max(0.0, now - self.stamp)
        self.stamp = max(self.stamp, now)
        self._tokens = min(capacity(limit), self._tokens + elapsed * limit / _SPREAD_SECONDS)
