"""What a worker committed in the past day, by account and minute since 1970; permits hears it on every connection.

Age is measured on the monotonic clock, so a wall clock that jumps forgets nothing.
"""

from dataclasses import dataclass

from relay.policy.leases import Usage
from relay.policy.quota import WINDOW_SECONDS
from relay.runtime.permits.protocol import Note

_KEPT_SECONDS = WINDOW_SECONDS + 60


@dataclass(slots=True)
class _Tallied:
    """Recipients committed in one minute; `stamp` is the monotonic time of the last addition."""

    recipients: int
    stamp: float


class Tally:
    """Counts of one worker. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._accounts: dict[str, dict[int, _Tallied]] = {}

    def begin(self, usage: Usage, now: float) -> None:
        """Take over what the shard has."""
        for account, minutes in usage.items():
            self._accounts[account] = {minute: _Tallied(count, now) for minute, count in minutes.items()}

    def add(self, account: str, minute: int, recipients: int, now: float) -> None:
        """Count a commit."""
        minutes = self._accounts.setdefault(account, {})
        tallied = minutes.get(minute)
        if tallied is not None:
            tallied.recipients += recipients
            tallied.stamp = now
            return
        minutes[minute] = _Tallied(recipients, now)
        # Once a minute and account, the oldest go; the clock that never jumps says which are old.
        while (oldest := next(iter(minutes))) != minute and minutes[oldest].stamp < now - _KEPT_SECONDS:
            del minutes[oldest]

    def notes(self, now: float) -> list[Note]:
        """Return what permits is told; what counts no more is forgotten."""
        found: list[Note] = []
        for account in list(self._accounts):
            minutes = self._accounts[account]
            kept = {minute: one for minute, one in minutes.items() if one.stamp >= now - _KEPT_SECONDS}
            if kept:
                self._accounts[account] = kept
                found.append(
                    ["usage", account, [n for minute, one in kept.items() for n in (minute, one.recipients)]]
                )
            else:
                del self._accounts[account]
        return found
