"""A bounded cache of DNS answers; time is passed in.

Bounded by the number of answers, and by what they hold together, since one answer may hold as much as fifty others.
"""

from collections.abc import Hashable
from typing import Final

WEIGHT_EACH: Final = 4  # records that an answer holds on the average, when the cache is full of answers


class AnswerCache:
    """Answers by question until they expire; when full, those asked longest ago go."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._weight_max = entries_max * WEIGHT_EACH
        self._weight = 0
        self._entries: dict[Hashable, tuple[float, object, int]] = {}

    def __len__(self) -> int:
        """Return how many answers are held."""
        return len(self._entries)

    def get(self, question: Hashable, now: float) -> object | None:
        """Return the very object that was put, or None."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        if entry[0] <= now:
            self._drop(question)
            return None
        return entry[1]

    def put(self, question: Hashable, answer: object, until: float, weight: int = 1) -> None:
        """Hold an answer until the clock shows `until`; `weight` is how many records it holds."""
        self._drop(question)
        if weight > self._weight_max:
            return
        while len(self._entries) >= self._entries_max or self._weight + weight > self._weight_max:
            self._drop(next(iter(self._entries)))
        self._entries[question] = (until, answer, weight)
        self._weight += weight

    def _drop(self, question: Hashable) -> None:
        entry = self._entries.pop(question, None)
        if entry is not None:
            self._weight -= entry[2]
