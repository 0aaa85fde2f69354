"""The suppression list of the whole relay: for how long an address stays on it (SUPP-002, SUPP-003).

Each hard bounce of an address, from mail of any account, lengthens its stay by a step. A stay is remembered for a
while after its end, so that the next bounce goes on from there; one that comes later begins anew.
"""

from dataclasses import dataclass

DAY_MS = 86_400_000
STAYS_DAYS = (1, 2, 4, 8, 14)  # SUPP-003
REMEMBERED_MS = 30 * DAY_MS


@dataclass(frozen=True, slots=True)
class Stay:
    """An address on the list: the step of `STAYS_DAYS` it is at, its last bounce, and its end (ms since 1970)."""

    step: int
    bounced_ms: int
    until_ms: int

    def listed(self, now_ms: int) -> bool:
        """Say whether the address is on the list now."""
        return now_ms < self.until_ms


def stay_after(previous: Stay | None, bounced_ms: int) -> Stay:
    """Return the stay that a bounce gives, the first of an address or one more.

    Logs of several shards are read side by side, so that an older bounce may come after a younger one: it lengthens
    the stay, and never brings its end nearer.
    """
    again = previous is not None and bounced_ms <= previous.until_ms + REMEMBERED_MS
    step = min(previous.step + 1, len(STAYS_DAYS) - 1) if again and previous is not None else 0
    last_ms = max(bounced_ms, previous.bounced_ms) if previous is not None else bounced_ms
    return Stay(step, last_ms, last_ms + STAYS_DAYS[step] * DAY_MS)
