"""Which effects are in force, and for what: pauses of lanes, suspensions of accounts and sets. Pure.

Workers and permits have one each, and keep them equal. An effect ends by itself; a later one of the same scope
replaces it only when it lasts longer. Their number is bounded: those that end first go first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from relay.model.lane import Lane
from relay.schedule.effects import EffectKind, Standing

STANDINGS_MAX = 5_000
REPLY_CHARACTERS_MAX = 300
_OF_LANE = frozenset({EffectKind.SLOW, EffectKind.PAUSE, EffectKind.SWITCH})


@dataclass(frozen=True, slots=True)
class Scope:
    """What an effect is about: a lane, or an account (and its configuration set) at a destination."""

    kind: EffectKind
    destination: str
    source: str = ""
    account: str = ""
    configuration_set: str = ""


def scope_of(kind: EffectKind, lane: Lane, account: str, configuration_set: str) -> Scope:
    """Return the scope of an effect that an answer on a lane to mail of an account and set asked for."""
    if kind in _OF_LANE:
        return Scope(kind, lane.destination, source=lane.source)
    if kind is EffectKind.SUSPEND_SET:
        return Scope(kind, lane.destination, account=account, configuration_set=configuration_set)
    return Scope(kind, lane.destination, account=account)


class Standings:
    """The effects in force, by destination."""

    __slots__ = ("_by_destination", "_most", "_number")

    def __init__(self, most: int = STANDINGS_MAX) -> None:
        self._by_destination: dict[str, dict[Scope, Standing]] = {}
        self._number = 0
        self._most = most

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[tuple[Scope, Standing]]:
        for scopes in self._by_destination.values():
            yield from scopes.items()

    def put(self, scope: Scope, standing: Standing) -> list[Scope]:
        """Put an effect into force; return those that had to go for it."""
        scopes = self._by_destination.setdefault(scope.destination, {})
        known = scopes.get(scope)
        if known is not None and known.until_ms > standing.until_ms:
            return []
        self._number += known is None
        scopes[scope] = standing
        if self._number <= self._most:
            return []
        gone = sorted(self, key=lambda entry: entry[1].until_ms)[: self._number - self._most]
        for old, _ in gone:
            self.remove(old)
        return [old for old, _ in gone]

    def get(self, scope: Scope) -> Standing | None:
        """Return the effect of a scope."""
        return self._by_destination.get(scope.destination, {}).get(scope)

    def find(self, lane: Lane, account: str, configuration_set: str, now_ms: int) -> Standing | None:
        """Return what keeps mail of an account and set from a lane, the one that ends last; None: nothing."""
        scopes = self._by_destination.get(lane.destination)
        if scopes is None:
            return None
        found = [
            standing
            for scope, standing in scopes.items()
            if standing.until_ms > now_ms and _keeps_back(scope, lane.source, account, configuration_set)
        ]
        return max(found, key=lambda standing: standing.until_ms, default=None)

    def remove(self, scope: Scope) -> bool:
        """End an effect; False when there is none."""
        scopes = self._by_destination.get(scope.destination)
        if scopes is None or scopes.pop(scope, None) is None:
            return False
        self._number -= 1
        if not scopes:
            del self._by_destination[scope.destination]
        return True

    def expire(self, now_ms: int) -> list[Scope]:
        """Forget what ended, and return it."""
        gone = [scope for scope, standing in self if standing.until_ms <= now_ms]
        for scope in gone:
            self.remove(scope)
        return gone


def _keeps_back(scope: Scope, source: str, account: str, configuration_set: str) -> bool:
    match scope.kind:
        case EffectKind.PAUSE | EffectKind.SWITCH:
            return scope.source == source
        case EffectKind.SUSPEND_ACCOUNT:
            return scope.account == account
        case EffectKind.SUSPEND_SET:
            return scope.account == account and scope.configuration_set == configuration_set
        case _:
            return False
