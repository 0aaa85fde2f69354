"""What was learnt about single addresses: broken TLS, no EHLO, no pipelining, a recent failure. Bounded, forgets."""

from dataclasses import dataclass

ADDRESSES_MAX = 10_000
HABIT_SECONDS = 3600.0
FAILED_SECONDS = 60.0


@dataclass(slots=True)
class Habits:
    """Until when (monotonic seconds) each of these is assumed of an address."""

    clear_until: float = 0.0
    untested_until: float = 0.0
    helo_until: float = 0.0
    unpipelined_until: float = 0.0
    failed_until: float = 0.0


class HostMemory:
    """Habits by address and port; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._habits: dict[tuple[str, int], Habits] = {}

    def of(self, address: str, port: int) -> Habits:
        """Return the habits of an address, to be read."""
        return self._habits.get((address, port), _NONE)

    def learn(self, address: str, port: int) -> Habits:
        """Return the habits of an address, to be changed."""
        habits = self._habits.pop((address, port), None) or Habits()
        if len(self._habits) >= ADDRESSES_MAX:
            del self._habits[next(iter(self._habits))]
        self._habits[address, port] = habits
        return habits


_NONE = Habits()
