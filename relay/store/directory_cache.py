"""A bounded cache with two generations: about as good as least-recently-used, at the cost of a dict."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Holds between half and all of `entries_max` entries that were used last.

    Values are kept until they fall out or are cleared; what was found to be absent is kept as a value of its own.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, entries_max: int) -> None:
        self._half = max(1, entries_max // 2)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return the value of a key, None when it is not here."""
        value = self._young.get(key)
        if value is not None:
            return value
        value = self._old.pop(key, None)
        if value is not None:
            self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value; the older half of the cache is dropped when the younger one is full."""
        if len(self._young) >= self._half and key not in self._young:
            self._old = self._young
            self._young = {}
        self._old.pop(key, None)
        self._young[key] = value

    def drop(self, key: K) -> None:
        """Forget one key."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._young.clear()
        self._old = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class ViewCache(Generic[V]):
    """What was read by account and name; a value holds as long as the *view* it was read under is the same object."""

    __slots__ = ("_entries", "_read")

    def __init__(self, entries_max: int, read: Callable[[str, str], V]) -> None:
        self._entries: Cache[tuple[str, str], tuple[object, V]] = Cache(entries_max)
        self._read = read

    def get(self, view: object, account: str, name: str) -> V:
        """Return the value, read now unless it was read under this view."""
        key = (account, name)
        cached = self._entries.get(key)
        if cached is not None and cached[0] is view:
            return cached[1]
        value = self._read(account, name)
        self._entries.put(key, (view, value))
        return value

    def __len__(self) -> int:
        return len(self._entries)
