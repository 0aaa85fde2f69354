"""What came back for messages of any shard, kept in the shard of the worker that received it (port `Inbox`)."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from relay.model.message import NewEvent, NewMessage
from relay.ports import Clock, Done, Record, Recorded
from relay.store.jobs import Group
from relay.store.spool import ShardSpool
from relay.store.sql import queries

_WRITE: Final = queries("write.sql")


class ShardInbox:
    """The inbox and the records of one shard, written in its spool's transactions."""

    def __init__(self, spool: ShardSpool, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock

    def keep(self, item_id: str, shard: int, payload: bytes, done: Done) -> None:
        """Write an item for a shard; the same id again changes nothing."""
        self._execute("inbox_put", (item_id, shard, self._clock.now_ms(), payload), done)

    def waiting(self, limit: int) -> Sequence[tuple[str, int, bytes]]:
        """Return items that were not taken over yet, oldest first. Raise TemporaryError."""
        return self._spool.inbox(limit)

    def forget(self, item_id: str, done: Done) -> None:
        """Drop an item that its owner has taken over."""
        self._execute("inbox_remove", (item_id,), done)

    def find(self, message_id_prefix: str) -> Record | None:
        """Return the message whose id starts so. Raise CorruptionError, TemporaryError."""
        trace = self._spool.trace(message_id_prefix)
        if trace is None:
            return None
        deliveries = [delivery for delivery, _attempts in trace.deliveries]
        return Record(trace.message, deliveries, [attempts for _delivery, attempts in trace.deliveries])

    def record(
        self, dedupe_key: str, events: Sequence[NewEvent], messages: Sequence[NewMessage], done: Recorded
    ) -> None:
        """Write events and messages in one transaction, once for each dedupe key."""

        def run(group: Group, _connection: sqlite3.Connection) -> bool:
            if not group.claim(dedupe_key):
                return False
            group.add_events(events)
            for new in messages:
                group.add_message(new)
            return True

        self._spool.submit(run, lambda written, error: done(bool(written), error))

    def _execute(self, name: str, values: tuple[Any, ...], done: Done) -> None:
        def run(_group: Group, connection: sqlite3.Connection) -> None:
            connection.execute(_WRITE[name], values)

        self._spool.submit(run, lambda _result, error: done(error))
