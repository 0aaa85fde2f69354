"""Mail that waits for room in a warm-up: how much, by pool, and whether it can leave within its lifetime. Pure.

A delivery that was put off counts until the time it was put off to; then it asks again. So the number is that of the
deliveries that wait now, whatever became of those before. A pool is told of once in ten minutes.
"""

import heapq

TOLD_MS = 600_000
POOLS_MAX = 1000
WAITING_MAX = 200_000
_DAY_MS = 86_400_000


class Backlog:
    """What waits, by pool. Times are milliseconds since 1970."""

    __slots__ = ("_told", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[str, list[int]] = {}
        self._told: dict[str, int] = {}

    def note(self, pool: str, until_ms: int, now_ms: int) -> int:
        """Count a delivery that waits until a time; return how many of the pool wait."""
        waiting = self._waiting.get(pool)
        if waiting is None:
            if len(self._waiting) >= POOLS_MAX:
                self._waiting.clear()
            waiting = self._waiting[pool] = []
        while waiting and waiting[0] <= now_ms:
            heapq.heappop(waiting)
        if len(waiting) < WAITING_MAX:
            heapq.heappush(waiting, until_ms)
        return len(waiting)

    def total(self, now_ms: int) -> int:
        """Return how many deliveries wait."""
        for waiting in self._waiting.values():
            while waiting and waiting[0] <= now_ms:
                heapq.heappop(waiting)
        return sum(map(len, self._waiting.values()))

    def overdue(self, pool: str, waiting: int, room_a_day: int, lifetime_ms: int, now_ms: int) -> bool:
        """Say whether it is time to tell that more waits than can leave in the lifetime of a message."""
        if waiting <= room_a_day * lifetime_ms / _DAY_MS or now_ms - self._told.get(pool, 0) < TOLD_MS:
            return False
        if len(self._told) >= POOLS_MAX:
            self._told.clear()
        self._told[pool] = now_ms
        return True
