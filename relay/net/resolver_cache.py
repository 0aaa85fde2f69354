"""A bounded cache of DNS answers; time is passed in."""

from collections.abc import Hashable


class AnswerCache:
    """Answers by question until they expire; when full, the one asked longest ago goes."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._entries: dict[Hashable, tuple[float, object]] = {}

    def __len__(self) -> int:
        """Return how many answers are held."""
        return len(self._entries)

    def get(self, question: Hashable, now: float) -> object | None:
        """Return the very object that was put, or None."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._entries[question]
            return None
        return entry[1]

    def put(self, question: Hashable, answer: object, until: float) -> None:
        """Hold an answer until the clock shows `until`."""
        if self._entries_max <= 0:
            return
        self._entries.pop(question, None)
        if len(self._entries) >= self._entries_max:
            del self._entries[next(iter(self._entries))]
        self._entries[question] = (until, answer)
