"""How far an address of a managed pool is with one provider: its level follows what really left (POOL-014). Pure.

A level is a day of the schedule; above its last day nothing limits the volume. A day on which at least half of the
level's volume left takes the level a day on. When in a week no day did, each further day takes it a day back. So it
rises with use, one step a day; comes to rest where it allows about twice of what is sent; survives six quiet days
between two newsletters; and is cold again, day by day, with a provider that hears nothing any more.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

QUIET_DAYS = 7
_USED_PARTS = 2
_LOOKED_BACK_DAYS = 400  # after so many silent days any level is the first one


@dataclass(frozen=True, slots=True)
class Level:
    """A level, the day (since 1970) that it is for, and when the warm-up began that it belongs to."""

    at: int
    day: int
    started_ms: int


def moved(level: Level, today: int, top: int, used: Callable[[int], int], volume: Callable[[int], int]) -> Level:
    """Return the level for today, by what left on the days since; `used` by day, `volume` by level."""
    at = level.at
    for day in range(max(level.day, today - _LOOKED_BACK_DAYS), today):
        enough = volume(at)
        week = [_USED_PARTS * used(day - ago) >= enough for ago in range(QUIET_DAYS)]
        if week[0]:
            at = min(top, at + 1)
        elif not any(week):
            at = max(1, at - 1)
    return Level(at, max(level.day, today), level.started_ms)


def late(at: int, days: int) -> bool:
    """Say whether a level is past the first half of the schedule: what has no room waits then (POOL-015)."""
    return at * 2 > days


class Levels:
    """The levels of all addresses of managed pools, by address and group.

    `used` says what left on a day from an address to a group, `volume` what a level allows there, `top` where the
    levels of an address end.
    """

    def __init__(
        self,
        used: Callable[[int, str, str], int],
        volume: Callable[[int, str, str], int],
        top: Callable[[str], int],
    ) -> None:
        self._used = used
        self._volume = volume
        self._top = top
        self._known: dict[tuple[str, str], Level] = {}
        self._changed: set[tuple[str, str]] = set()

    def restore(self, address: str, group: str, level: Level) -> None:
        """Take over what is on disk."""
        self._known[address, group] = level

    def at(self, address: str, group: str, started_ms: int, today: int) -> int:
        """Return the level of today; the first one for a warm-up, or a provider, that begins."""
        known = self._known.get((address, group))
        if known is None or known.started_ms != started_ms:
            known = self._put(address, group, Level(1, today, started_ms))
        elif known.day < today:
            known = self._move(address, group, known, today)
        return known.at

    def move(self, today: int) -> None:
        """Move all, whether anything leaves or not."""
        for (address, group), level in list(self._known.items()):
            if level.day < today:
                self._move(address, group, level, today)

    def _move(self, address: str, group: str, level: Level, today: int) -> Level:
        after = moved(
            level,
            today,
            self._top(address),
            lambda day: self._used(day, address, group),
            lambda at: self._volume(at, address, group),
        )
        return self._put(address, group, after)

    def _put(self, address: str, group: str, level: Level) -> Level:
        self._known[address, group] = level
        self._changed.add((address, group))
        return level

    def all(self) -> Iterator[tuple[str, str, Level]]:
        """Yield address, group and level."""
        for (address, group), level in sorted(self._known.items()):
            yield address, group, level

    def changed(self) -> Iterator[tuple[str, str, Level]]:
        """Yield those that changed since this was asked last."""
        changed, self._changed = self._changed, set()
        for address, group in sorted(changed):
            yield address, group, self._known[address, group]
