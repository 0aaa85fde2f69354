"""New mail beside retries: who goes next, and how much of a bounded place either may take. Pure.

A site that was down has its retries due at once, by the hundred thousand. First attempts must not queue behind them,
nor may a steady stream of first attempts keep the retries from ever being made. So of four turns new mail gets three
while both wait, and neither kind may take more than three quarters of a place with a bound.
"""

from collections import deque
from typing import Final, Generic, TypeVar

FIRSTS_A_RETRY: Final = 3

T = TypeVar("T")


def first_goes(firsts: int, retries: int, since_retry: int) -> bool:
    """Say whether a first attempt goes next; `since_retry`: first attempts that went since the last retry."""
    return firsts > 0 and (retries == 0 or since_retry < FIRSTS_A_RETRY)


def admits(own: int, others: int, most: int) -> bool:
    """Say whether a place for `most` takes one more of a kind that has `own` there, beside `others` of the other."""
    return own + others < most and own < share(most)


def share(most: int) -> int:
    """Return how much of a place for `most` one kind may take: three quarters, rounded up."""
    return most - most // (FIRSTS_A_RETRY + 1)


class Lanes(Generic[T]):
    """Two queues with one way out. The order within each is that of arrival."""

    __slots__ = ("_firsts", "_retries", "_since_retry")

    def __init__(self) -> None:
        self._firsts: deque[T] = deque()
        self._retries: deque[T] = deque()
        self._since_retry = 0

    def __len__(self) -> int:
        return len(self._firsts) + len(self._retries)

    def lane(self, *, first: bool) -> deque[T]:
        """Return the queue of first attempts, or that of retries, to add to, put back to, or look ahead in."""
        return self._firsts if first else self._retries

    def take(self) -> T:
        """Remove and return who goes next. Raise IndexError when nobody waits."""
        if first_goes(len(self._firsts), len(self._retries), self._since_retry):
            self._since_retry += 1
            return self._firsts.popleft()
        self._since_retry = 0
        return self._retries.popleft()
