"""A clock that moves only when told."""


class ManualClock:
    """Clock for tests: starts at a fixed instant, `advance` moves both of its hands."""

    def __init__(self, now_ms: int = 1_790_000_000_000, monotonic: float = 1000.0) -> None:
        self._now_ms = now_ms
        self._monotonic = monotonic

    def now_ms(self) -> int:
        """Return wall-clock time in milliseconds since 1970."""
        return self._now_ms

    def monotonic(self) -> float:
        """Return seconds on the clock that never jumps."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now_ms += int(seconds * 1000)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock without letting time pass, as an operator or NTP might."""
        self._now_ms += int(seconds * 1000)
