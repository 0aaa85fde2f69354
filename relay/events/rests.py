"""How targets have failed lately, and what that means for when and how much is sent to them (DEST-011). Pure.

After `FAILURES` failed tries in a row a target rests, each time longer. Of the posts that are new one goes out when
a rest ends; those that failed before keep to their courier's policy, or, where that has no end (a patient courier),
wait for the end of a rest as well. Only the failure of a post that is new makes the rest of new ones longer: posts
that a working target never takes are in nobody's way.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from relay.ports.events import Courier, Gathering, GatheringCourier, TargetState

FAILURES: Final = 3
REST_FIRST_SECONDS: Final = 1.0
REST_MAX_SECONDS: Final = 60.0
_RESTS_MAX: Final = 16


@dataclass(slots=True)
class _Rest:
    """`until_ms` nothing new goes out, `tried_until_ms` nothing of a patient courier that was tried before."""

    failures: int = 0
    rests: int = 0
    until_ms: int = 0
    tried_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """What to read from the queue: so many posts together with the looks before, so many of them tried before."""

    limit: int
    tried_max: int | None = None
    fresh: bool = True


class Rests:
    """Those of all targets; a target is in it while its last try failed. `jitter` gives numbers from 0 to 1."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._rests: dict[str, _Rest] = {}

    def __contains__(self, target: str) -> bool:
        return target in self._rests

    def clear(self) -> None:
        """Give every target a fresh chance."""
        self._rests.clear()

    def count(self, targets: Iterable[str]) -> int:
        """Return how many of some targets failed lately."""
        return sum(name in self._rests for name in targets)

    def worked(self, target: str) -> None:
        """Note that a target took something."""
        self._rests.pop(target, None)

    def failed(self, target: str, failures: int, now_ms: int, *, fresh: bool, at_once: bool) -> float | None:
        """Note failures, of new posts too when `fresh`; return the seconds of the rest that begins, None without one.

        `at_once`: it rests after the first.
        """
        rest = self._rests.setdefault(target, _Rest())
        rest.failures += failures
        if rest.failures < FAILURES and not at_once:
            return None
        if (rest.until_ms if fresh else rest.tried_until_ms) > now_ms:
            return None  # it was on its way when the rest began
        seconds = min(REST_FIRST_SECONDS * 2.0**rest.rests, REST_MAX_SECONDS) * (0.8 + 0.4 * self._jitter())
        rest.rests = min(rest.rests + 1, _RESTS_MAX)
        rest.tried_until_ms = now_ms + int(seconds * 1000)
        if fresh or not rest.until_ms:
            rest.until_ms = rest.tried_until_ms
        return seconds

    def due_ms(self, state: TargetState, courier: Courier | GatheringCourier, now_ms: int) -> int | None:
        """Return when a target is to be served next, None when nothing waits."""
        rest = self._rests.get(state.name, _Rest())
        if not state.waiting:
            return None
        if isinstance(courier, GatheringCourier):
            return max(rest.until_ms, _full_ms(state, courier.gathering(state.name), now_ms))
        tried_until = rest.tried_until_ms if courier.patient(state.name) else 0
        fresh = max(rest.until_ms, state.fresh_due_ms) if state.fresh_due_ms is not None else None
        tried = max(tried_until, state.tried_due_ms) if state.tried_due_ms is not None else None
        return min((due for due in (fresh, tried) if due is not None), default=None)

    def looks(self, target: str, courier: Courier, now_ms: int, *, fresh: int, again: int) -> Sequence[Look]:
        """Return what may be sent beside so many new posts and so many tried before, which are on their way.

        Those tried before get half of the places; while the target rests, one that is new gets a place of its own.
        """
        rest = self._rests.get(target)
        parallel = courier.parallel(target)
        room = parallel - fresh - again
        if room <= 0:
            return ()
        if rest is None or rest.failures < FAILURES:
            return (Look(room, tried_max=max(1, parallel // 2) - again),)
        if courier.patient(target):
            room = 1 if rest.tried_until_ms <= now_ms and not again else 0
        tried = Look(room, fresh=False)
        return (Look(1, tried_max=0), tried) if rest.until_ms <= now_ms and not fresh else (tried,)


def _full_ms(state: TargetState, gathering: Gathering, now_ms: int) -> int:
    """Return when a batch is to go: now when it is full, else when its first has waited long enough."""
    if state.waiting_bytes + state.waiting >= gathering.size_bytes or state.waiting >= gathering.count:
        return now_ms
    return (state.oldest_ms or now_ms) + int(gathering.age_seconds * 1000)
