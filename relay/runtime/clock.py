"""The real clock, protected from jumps (adversarial case: a day back, ten days forward).

`now_ms` follows the wall clock while it moves like the monotonic one. When the wall clock jumps by more than a
minute, `now_ms` goes on steadily for `HOLD_SECONDS` before it believes the new time: no retry gets stuck behind a
clock that went back, and nothing expires in the minute a clock went forward.
"""

import time
from collections.abc import Callable

JUMP_SECONDS = 60.0
HOLD_SECONDS = 600.0


class SteadyClock:
    """Clock of the product (relay.ports.Clock)."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self.monotonic = monotonic
        self._offset = wall() - monotonic()
        self._jumped_at: float | None = None

    def now_ms(self) -> int:
        """Return wall-clock time in milliseconds since 1970, without sudden jumps."""
        monotonic = self.monotonic()
        offset = self._wall() - monotonic
        if abs(offset - self._offset) < JUMP_SECONDS:
            self._offset = offset
            self._jumped_at = None
        elif self._jumped_at is None:
            self._jumped_at = monotonic
        elif monotonic - self._jumped_at >= HOLD_SECONDS:
            self._offset = offset
            self._jumped_at = None
        return int((monotonic + self._offset) * 1000)

    @property
    def jumped(self) -> bool:
        """True while the wall clock shows a time this clock does not believe yet."""
        return self._jumped_at is not None
