"""How much of its limits a lane may use: cut in fractions when a provider asks for it, raised again in steps. Pure.

A cut holds until its time is over. Then the factor rises by a tenth of the whole a step: every `RISE_SECONDS` while
mail is delivered, every `IDLE_SECONDS` without any. Answers that come within `SPACING_SECONDS` of a cut are about
what was sent before it, so they prolong it and cut no further.
"""

FACTOR_MIN = 0.02
SPACING_SECONDS = 5.0
RISE_SECONDS = 15.0
IDLE_SECONDS = 60.0
STEP = 0.1


class LaneFactor:
    """The factor of one lane. Times are monotonic seconds."""

    __slots__ = ("_cut_at", "_delivered", "_step_at", "until", "value")

    def __init__(self, now: float) -> None:
        self.value = 1.0
        self.until = now
        self._cut_at = now - SPACING_SECONDS
        self._step_at = now
        self._delivered = False

    @property
    def whole(self) -> bool:
        """True when nothing is cut any more."""
        return self.value >= 1.0

    def cut(self, factor: float, seconds: float, now: float) -> bool:
        """Multiply by `factor` (0 to 1), for `seconds`; return True when the value changed."""
        self.until = max(self.until, now + seconds)
        self._step_at = self.until
        if now - self._cut_at < SPACING_SECONDS:
            return False
        self._cut_at = now
        before, self.value = self.value, max(FACTOR_MIN, min(1.0, self.value * factor))
        return self.value != before

    def restore(self, value: float, until: float, now: float) -> None:
        """Take over a cut that was made before; what rose since counts as risen without mail."""
        self.value = max(FACTOR_MIN, min(1.0, value))
        self.until = self._step_at = until
        while now - self._step_at >= IDLE_SECONDS and not self.whole:
            self._rise(self._step_at + IDLE_SECONDS)

    def delivered(self) -> None:
        """Note that the lane carries mail."""
        self._delivered = True

    def rise(self, now: float) -> bool:
        """Go a step up when it is time for one; return True when the value changed."""
        if self.whole or now < self.until:
            self._delivered = False
            return False
        if now - self._step_at < (RISE_SECONDS if self._delivered else IDLE_SECONDS):
            return False
        self._rise(now)
        return True

    def _rise(self, at: float) -> None:
        self._step_at = at
        self._delivered = False
        self.value = min(1.0, round(self.value + STEP, 6))
