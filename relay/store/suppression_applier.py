"""Carries bounces and complaints into the suppression lists, each exactly once (SUPP-002, SUPP-009, SUPP-020).

It is given every shard's events in order, and writes what they mean together with how far it came, in one
transaction of `suppression.db`: whatever dies when, no address is left out, and no stay is lengthened twice. Workers
see a change at their next message, because it is noted in the same transaction.

Which reasons count is asked of the catalog as it is when the event is applied: a moment after it happened.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import orjson

from relay.errors import StorageError
from relay.model.account import SuppressionReason
from relay.model.event import LoggedEvent
from relay.policy.suppression import fold, reasons_in_use
from relay.policy.suppression_feedback import KINDS, Feedback, feedback_of, trigger_of
from relay.ports import Metrics
from relay.store.catalog import SUPPRESSION_FILE, wall_clock_ms
from relay.store.directory import CatalogDirectory
from relay.store.places import Places
from relay.store.suppression_file import RELAY_LIST, SuppressionFile
from relay.store.suppression_relay_list import Digester, RelayList

TRIGGER_MAX_BYTES = 16 << 10  # of the feedback kept with an entry; one that is longer is not
ACCOUNT_LIST, RELAYS_LIST = "account", "relay"  # labels of the metric


class SuppressionApplier:
    """The applier `suppression` (`relay.ports.Applier`); used by one thread."""

    name = "suppression"

    def __init__(self, data_dir: Path, master_key: bytes, hostname: str, metrics: Metrics) -> None:
        self._data_dir = data_dir
        self._digester = Digester(master_key)
        self._master_key = master_key
        self._hostname = hostname
        self._metrics = metrics

    def open(self) -> None:
        """Open the lists, and the catalog to read. Raise RelayError."""
        self._file = SuppressionFile(self._data_dir / SUPPRESSION_FILE, wall_clock_ms)
        self._places = Places(lambda: self._file.connection, self._failed)
        self._relay_list = RelayList(self._file, self._digester)
        self._directory = CatalogDirectory(self._data_dir, self._master_key)

    def close(self) -> None:
        """Close both."""
        self._directory.close()
        self._file.close()

    def follow(self, shard: int, log: int, last: int) -> None:
        """Apply the events of a log from now on. Raise StorageError."""
        self._places.follow(shard, log, last)

    def place(self, shard: int) -> int:
        """Return the number of the last event of a shard that was applied, 0 for none. Raise StorageError."""
        return self._places.get(shard)

    def skip(self, shard: int, seq: int) -> None:
        """Move the place past an event that cannot be read. Raise StorageError."""
        with self._file.writing():
            self._places.move(shard, seq)

    def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        """Apply events of a shard, in order; those that were applied before are left out. Raise StorageError."""
        self._directory.refresh()
        added: Counter[tuple[str, str]] = Counter()
        with self._file.writing():
            place = self.place(shard)
            changed: set[str] = set()
            for event in events:
                if event.seq > place and event.kind in KINDS:
                    self._apply(event, changed, added)
            self._file.note(*sorted(changed))
            self._places.move(shard, events[-1].seq)
        for (which, reason), amount in added.items():
            self._metrics.count("relay_suppression_added_total", which, reason, amount=amount)

    def _failed(self, error: sqlite3.Error) -> StorageError:
        return StorageError(f"the suppression lists {self._file.path} cannot be used: {error}")

    def _apply(self, event: LoggedEvent, changed: set[str], added: Counter[tuple[str, str]]) -> None:
        feedback = feedback_of(event.kind, event.record, event.note, self._hostname)
        if feedback is None:
            return
        amount, reason = len(feedback.addresses), str(feedback.reason)
        listed = feedback.reason in self._reasons(feedback)
        if listed:
            self._list(event, feedback)
            changed.add(feedback.account)
            added[ACCOUNT_LIST, reason] += amount
        if listed or feedback.reason is SuppressionReason.BOUNCE:  # SUPP-002, SUPP-009
            for address in feedback.addresses:
                self._relay_list.bounced(address, feedback.occurred_ms)
            changed.add(RELAY_LIST)
            added[RELAYS_LIST, reason] += amount

    def _reasons(self, feedback: Feedback) -> Sequence[str]:
        """Return the reasons that put addresses on the account's list, for mail of the feedback's set (SUPP-020)."""
        account = self._directory.account(feedback.account)
        if account is None:
            return ()
        name = feedback.configuration_set
        return reasons_in_use(account, self._directory.configuration_set(account.account_id, name) if name else None)

    def _list(self, event: LoggedEvent, feedback: Feedback) -> None:
        record = orjson.dumps(trigger_of(event.kind, event.record))
        for address in feedback.addresses:
            key = {"account": feedback.account, "folded": fold(address)}
            values = {"address": address, "reason": str(feedback.reason), "updated_ms": feedback.occurred_ms}
            ids = {"message_id": feedback.message_id, "feedback_id": feedback.feedback_id}
            if self._file.run("put_feedback", {**key, **values, **ids}) and len(record) <= TRIGGER_MAX_BYTES:
                self._file.run("put_trigger", {**key, "record": record})
