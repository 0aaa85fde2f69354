"""What an operator does to the queue, as steps of the table in `relay.model.delivery`.

Each operation takes the keys of some deliveries and returns those that it changed; a delivery whose state has no such
step, or is not among the states that the operator chose by, is left as it is. A few statements whatever the number.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import orjson

from relay.errors import CorruptionError, UsageError
from relay.model.delivery import OPEN_STATES, DeliveryState, Step, after
from relay.model.message import RECIPIENT_INDEX_BITS
from relay.store.jobs import Group
from relay.store.records import CODES, message_of, message_row
from relay.store.sql import queries

KEYS_MAX: Final = 1000
NO_END: Final = 0

_WRITE: Final = queries("write.sql")
_STEPS: Final = frozenset({Step.HOLD, Step.RELEASE, Step.DELETE, Step.QUARANTINE})

Operation = Callable[[Group, sqlite3.Connection], list[int]]
States = frozenset[DeliveryState]


def step(keys: Sequence[int], what: Step, now_ms: int, states: States = OPEN_STATES) -> Operation:
    """Return the operation that takes `what` on deliveries in one of `states`."""
    if what not in _STEPS:
        raise UsageError(f"{what.value} is not a step that an operator can take")

    def run(group: Group, connection: sqlite3.Connection) -> list[int]:
        changed = _step(connection, _json(keys), what, now_ms, states)
        if what is Step.DELETE:
            for key in changed:
                group.free(key >> RECIPIENT_INDEX_BITS)
        if what is Step.RELEASE:
            connection.execute(_WRITE["let_go"], (_json(changed),))
        return changed

    return run


def hold(
    keys: Sequence[int], now_ms: int, states: States = OPEN_STATES, *, until_ms: int = NO_END, rule: int = 0
) -> Operation:
    """Return the operation that holds deliveries until a time; by a standing rule, those that no operator let go."""

    def run(_group: Group, connection: sqlite3.Connection) -> list[int]:
        wanted = _json(keys)
        if rule:
            (wanted,) = connection.execute(_WRITE["except_let_go"], (wanted, rule)).fetchone()
        changed = _step(connection, wanted, Step.HOLD, now_ms, states)
        held = _json(changed)
        if until_ms or rule:
            connection.execute(_WRITE["put_holds"], (held, until_ms, rule))
        else:
            connection.execute(_WRITE["drop_holds"], (held,))
        return changed

    return run


def end_holds(now_ms: int, limit: int) -> Operation:
    """Return the operation that releases deliveries whose hold has ended; it returns their keys, all that ended."""

    def run(_group: Group, connection: sqlite3.Connection) -> list[int]:
        (ended,) = connection.execute(_WRITE["holds_ended"], (now_ms, limit)).fetchone()
        return _set_free(connection, ended, now_ms)

    return run


def end_rule(rule: int, now_ms: int, limit: int) -> Operation:
    """Return the operation that releases deliveries which a rule holds; it returns their keys."""

    def run(_group: Group, connection: sqlite3.Connection) -> list[int]:
        (held,) = connection.execute(_WRITE["held_by_rule"], (rule, limit)).fetchone()
        return _set_free(connection, held, now_ms)

    return run


def retry(keys: Sequence[int], now_ms: int, states: States = OPEN_STATES) -> Operation:
    """Return the operation that makes queued deliveries due now."""

    def run(_group: Group, connection: sqlite3.Connection) -> list[int]:
        queued = CODES[DeliveryState.QUEUED]
        if DeliveryState.QUEUED not in states:
            return []
        return _keys(connection, "step", (_json(keys), queued, queued, now_ms))

    return run


def move(keys: Sequence[int], pool: str, states: States = OPEN_STATES) -> Operation:
    """Return the operation that has the messages of deliveries leave from another pool of source addresses.

    The options of a message are shared by its deliveries: all that are still open move. It returns their keys.
    """

    def run(_group: Group, connection: sqlite3.Connection) -> list[int]:
        moved: list[int] = []
        for row in connection.execute(_WRITE["messages_of"], (_json(keys), _bits(states))).fetchall():
            try:
                message = message_of(row)
            except CorruptionError:
                continue
            values = message_row(replace(message, options=replace(message.options, pool=pool)))
            connection.execute(_WRITE["set_options"], (message.key, values[9], values[8]))
            rows = connection.execute(_WRITE["delivery_keys"], (message.key,)).fetchall()
            moved += [key for key, code in rows if (_OPEN_BITS >> code) & 1]
        connection.execute(_WRITE["forget_source"], (_json(moved),))
        return moved

    return run


def _set_free(connection: sqlite3.Connection, keys: str, now_ms: int) -> list[int]:
    _step(connection, keys, Step.RELEASE, now_ms, frozenset({DeliveryState.HELD}))
    connection.execute(_WRITE["drop_holds"], (keys,))
    ended: list[int] = orjson.loads(keys)
    return ended


def _step(connection: sqlite3.Connection, keys: str, what: Step, now_ms: int, states: States) -> list[int]:
    changed: dict[int, None] = {}  # in order, each once: a step may lead to a state that it can be taken from
    for state in sorted(states):
        then = after(state, what)
        if then is not None:
            next_ms = now_ms if then is DeliveryState.QUEUED else None
            changed |= dict.fromkeys(_keys(connection, "step", (keys, CODES[state], CODES[then], next_ms)))
    return list(changed)


def _keys(connection: sqlite3.Connection, name: str, values: Sequence[object]) -> list[int]:
    return [key for (key,) in connection.execute(_WRITE[name], tuple(values)).fetchall()]


def _json(keys: Sequence[int]) -> str:
    return orjson.dumps(list(keys)).decode()


def _bits(states: States) -> int:
    return sum(1 << CODES[state] for state in states)


_OPEN_BITS: Final = _bits(OPEN_STATES)
