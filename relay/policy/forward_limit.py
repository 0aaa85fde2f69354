"""How much mail to a return path is forwarded to the sender: automatic replies, what nobody can read (NOTIF-002).

Whoever got a message knows its return path, and can write to it as often as he likes, each time something else. What
is beyond the bound is taken and dropped; a bounce or a complaint of the same recipient counts all the same, once.
"""

from collections import OrderedDict
from typing import Final

FORWARDS_MAX: Final = 10  # a day, of one recipient's answers to one message
WINDOW_MS: Final = 86_400_000
KNOWN_MAX: Final = 10_000


class ForwardLimit:
    """Counts what is forwarded by message and recipient; of those that are too many, the oldest are forgotten."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, int], tuple[int, int]] = OrderedDict()

    def admits(self, prefix: str, index: int, now_ms: int) -> bool:
        """Count one more answer; say whether it may be forwarded."""
        begun_ms, count = self._counts.pop((prefix, index), (now_ms, 0))
        if not 0 <= now_ms - begun_ms < WINDOW_MS:
            begun_ms, count = now_ms, 0
        self._counts[prefix, index] = (begun_ms, count + 1)
        if len(self._counts) > KNOWN_MAX:
            self._counts.popitem(last=False)
        return count < FORWARDS_MAX
