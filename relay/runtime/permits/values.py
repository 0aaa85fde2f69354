"""Values as they travel in notes: checked where they arrive, so that nothing odd becomes a limit."""

from relay.model.lane import Lane
from relay.runtime.permits.protocol import ProtocolError
from relay.schedule.effects import EffectKind, Standing
from relay.schedule.lane_book import Limits
from relay.schedule.standings import REPLY_CHARACTERS_MAX, Scope

_MAX_INT = 2**53
_NAME_CHARACTERS_MAX = 4096


def count(value: object) -> int:
    """Return a whole number from 0. Raise ProtocolError."""
    if not isinstance(value, int) or not 0 <= value <= _MAX_INT:
        raise ProtocolError(f"not a count: {value!r}")
    return value


def name(value: object) -> str:
    """Return a text of a bounded length. Raise ProtocolError."""
    if not isinstance(value, str) or len(value) > _NAME_CHARACTERS_MAX:
        raise ProtocolError(f"not a name: {value!r}"[:200])
    return value


def real(value: object) -> float:
    """Return a number from 0. Raise ProtocolError."""
    if not isinstance(value, int | float) or not 0 <= value <= _MAX_INT:
        raise ProtocolError(f"not a number: {value!r}")
    return float(value)


def lane(source: object, destination: object) -> Lane:
    """Return a lane. Raise ProtocolError."""
    return Lane(name(source), name(destination))


def limits(connections: object, connections_per_minute: object, messages_per_minute: object) -> Limits:
    """Return limits. Raise ProtocolError."""
    return Limits(count(connections), count(connections_per_minute), count(messages_per_minute))


def scope_fields(scope: Scope) -> tuple[str, str, str, str, str]:
    """Return a scope as it travels and as it is kept."""
    return scope.kind.value, scope.destination, scope.source, scope.account, scope.configuration_set


def scope(kind: object, destination: object, source: object, account: object, configuration_set: object) -> Scope:
    """Return a scope. Raise ProtocolError or ValueError."""
    return Scope(EffectKind(name(kind)), name(destination), name(source), name(account), name(configuration_set))


def standing_fields(standing: Standing) -> tuple[int, float, str, str]:
    """Return what is in force, without its kind, as it travels and as it is kept."""
    return standing.until_ms, standing.factor, standing.rule, standing.reply


def standing(kind: object, until_ms: object, factor: object, rule: object, reply: object) -> Standing:
    """Return what is in force. Raise ProtocolError or ValueError."""
    reply = name(reply)[:REPLY_CHARACTERS_MAX]
    return Standing(EffectKind(name(kind)), count(until_ms), name(rule), reply, real(factor))
