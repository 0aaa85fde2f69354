"""What an operator does to the queue, as steps of the table in `relay.model.delivery`."""

import sqlite3
from collections.abc import Callable
from typing import Final

from relay.errors import UsageError
from relay.model.delivery import DeliveryState, Step, after
from relay.model.message import RECIPIENT_INDEX_BITS, RECIPIENTS_HARD_MAX
from relay.store.jobs import Group
from relay.store.records import CODES, STATES
from relay.store.sql import queries

_WRITE: Final = queries("write.sql")
_STEPS: Final = frozenset({Step.HOLD, Step.RELEASE, Step.DELETE, Step.QUARANTINE})

Target = int | str
Operation = Callable[[Group, sqlite3.Connection], list[int]]


def step(target: Target, what: Step, now_ms: int) -> Operation:
    """Return the operation that takes `what` on a delivery (its key) or on all of a message (its id).

    It returns the keys of the deliveries that changed; those whose state has no such step are left as they are.
    """
    if what not in _STEPS:
        raise UsageError(f"{what.value} is not a step that an operator can take")

    def run(group: Group, connection: sqlite3.Connection) -> list[int]:
        changed = []
        for key, code in _targets(connection, target):
            state = after(STATES[code], what)
            if state is None:
                continue
            next_ms = now_ms if state is DeliveryState.QUEUED else None
            connection.execute(_WRITE["set_state"], (key, CODES[state], next_ms))
            if state is DeliveryState.DELETED:
                group.free(key >> RECIPIENT_INDEX_BITS)
            changed.append(key)
        return changed

    return run


def retry(target: Target, now_ms: int) -> Operation:
    """Return the operation that makes queued deliveries due now; it returns their keys."""

    def run(_group: Group, connection: sqlite3.Connection) -> list[int]:
        queued = CODES[DeliveryState.QUEUED]
        keys = [key for key, code in _targets(connection, target) if code == queued]
        for key in keys:
            connection.execute(_WRITE["set_state"], (key, queued, now_ms))
        return keys

    return run


def _targets(connection: sqlite3.Connection, target: Target) -> list[tuple[int, int]]:
    if isinstance(target, int):
        rows = connection.execute(_WRITE["delivery_state"], (target,)).fetchall()
        return [(target, code) for (code,) in rows]
    found = connection.execute(_WRITE["message_key"], (target,)).fetchone()
    if found is None:
        return []
    rows = connection.execute(_WRITE["delivery_keys"], found).fetchmany(RECIPIENTS_HARD_MAX + 1)
    return [(key, code) for key, code in rows]
