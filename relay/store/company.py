"""How long a group of writes waits for company before its commit.

A commit costs about the same for one message as for ten. Groups grow by themselves while a sync runs; on a fast disk
with many clients that is not enough, and most of the work goes into commits of one or two. So a group waits a little,
less than a sync takes, but only when the groups before it show that several clients are waiting at once: each
client has at most one message outstanding, so a lone client never makes a group of two and never waits.
"""

from typing import Final

WAIT_MAX_SECONDS: Final = 0.003
BUSY_MESSAGES: Final = 1.15  # messages a group, on average: above it, several clients wait at once
FORGET_SECONDS: Final = 0.02  # a pause as long ends the rush
_WEIGHT: Final = 0.1


class Company:
    """Remembers how full groups were; times are monotonic seconds."""

    __slots__ = ("_ended", "_messages", "_sync_seconds")

    def __init__(self) -> None:
        self._messages = 1.0
        self._sync_seconds = 0.0
        self._ended = 0.0

    def committed(self, messages: int, sync_seconds: float, now: float) -> None:
        """Note a group of so many new messages; groups without any say nothing."""
        self._ended = now
        if messages:
            self._messages += _WEIGHT * (messages - self._messages)
            self._sync_seconds += _WEIGHT * (sync_seconds - self._sync_seconds)

    def wait_seconds(self, now: float) -> float:
        """Return how long the group that begins now should wait; 0.0 for a lone message."""
        if now - self._ended > FORGET_SECONDS:
            self._messages = 1.0
        if self._messages < BUSY_MESSAGES:
            return 0.0
        return min(WAIT_MAX_SECONDS, self._sync_seconds)
