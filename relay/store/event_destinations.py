"""Event destinations and topics of identities as whoever publishes reads them: bounded caches of the catalog."""

from collections.abc import Sequence
from pathlib import Path

from relay.model.event_destination import EventDestination
from relay.model.feedback import DEFAULT_FEEDBACK, FeedbackSettings
from relay.store.catalog import CATALOG_FILE
from relay.store.catalog_event_destinations import event_destination_of
from relay.store.catalog_feedback import feedback_of
from relay.store.directory_cache import Cache
from relay.store.directory_file import ReadFile

SETS_MAX = 4096
IDENTITIES_MAX = 4096


class EventDestinationView:
    """The read side; used by one thread. Every call may raise StorageError when the file cannot be read now."""

    def __init__(self, data_dir: Path) -> None:
        self._sets: Cache[tuple[str, str], tuple[EventDestination, ...]] = Cache(SETS_MAX)
        self._feedback: Cache[tuple[str, str], FeedbackSettings] = Cache(IDENTITIES_MAX)
        self._any: bool | None = None
        self._any_notified: bool | None = None
        self._file = ReadFile(data_dir / CATALOG_FILE, "catalog.sql", self._changed)

    def refresh(self) -> bool:
        """Drop what changed since the last call; say whether anything did."""
        return self._file.refresh()

    def any(self) -> bool:
        """Say whether there is any destination at all."""
        if self._any is None:
            self._any = bool(self._file.rows("any_event_destination", {}))
        return self._any

    def of(self, account: str, configuration_set: str) -> Sequence[EventDestination]:
        """Return the destinations of a set, by name; none when it is gone."""
        key = (account, configuration_set)
        found = self._sets.get(key)
        if found is None:
            values = {"account": account, "configuration_set": configuration_set}
            found = tuple(event_destination_of(row) for row in self._file.rows("list_event_destinations", values))
            self._sets.put(key, found)
        return found

    def any_notified(self) -> bool:
        """Say whether any identity has a topic for notifications."""
        if self._any_notified is None:
            self._any_notified = bool(self._file.rows("any_identity_topic", {}))
        return self._any_notified

    def feedback(self, account: str, key: str) -> FeedbackSettings:
        """Return an account's settings about an identity; `key` is that of `relay.policy.feedback.settings_key`."""
        found = self._feedback.get((account, key))
        if found is None:
            rows = self._file.rows("get_identity_feedback", {"account": account, "identity": key})
            found = feedback_of(rows[0]) if rows else DEFAULT_FEEDBACK
            self._feedback.put((account, key), found)
        return found

    def metrics(self) -> frozenset[tuple[str, str, str]]:
        """Return account, set and name of every metrics destination."""
        return frozenset(tuple(row) for row in self._file.rows("metrics_destinations", {}))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _changed(self, _accounts: set[str] | None) -> None:
        self._sets.clear()
        self._feedback.clear()
        self._any = None
        self._any_notified = None
