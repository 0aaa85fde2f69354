"""Topics and subscriptions as the process `events` reads them (port `TopicDirectory`): from caches by account.

One object for each thread: a connection belongs to the thread that opened it. What changes in the catalog is dropped
at the next `refresh`; the caches are bounded.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from relay.model.topic import Subscription, SubscriptionState, Topic
from relay.signing.secrets import Sealer
from relay.store.catalog_subscriptions import PAGE_SIZE_MAX, subscription_of
from relay.store.catalog_topics import topic_of
from relay.store.directory_file import ReadFile

ACCOUNTS_MAX: Final = 1000
SUBSCRIPTIONS_MAX: Final = 20_000
_Kept = TypeVar("_Kept")


class CatalogTopics:
    """Reads topics and subscriptions."""

    def __init__(self, catalog_file: Path, master_key: bytes) -> None:
        self._file = ReadFile(catalog_file, "catalog.sql", self._changed)
        self._sealer = Sealer(master_key)
        self._topics: dict[str, dict[str, Topic | None]] = {}
        self._confirmed: dict[str, dict[str, Sequence[Subscription]]] = {}
        self._by_id: dict[str, Subscription | None] = {}
        self._held = 0

    def refresh(self) -> bool:
        """Drop what changed since the last call; say whether anything did."""
        return self._file.refresh()

    def topic(self, account: str, name: str) -> Topic | None:
        """Return a topic, None when there is none."""
        return self._of(self._topics, account, name, self._read_topic)

    def confirmed(self, account: str, topic: str) -> Sequence[Subscription]:
        """Return the confirmed subscriptions of a topic."""
        return self._of(self._confirmed, account, topic, self._read_confirmed)

    def subscription(self, subscription_id: str) -> Subscription | None:
        """Return a subscription in any state, None when there is none."""
        if subscription_id not in self._by_id:
            rows = self._file.rows("get_subscription", {"id": subscription_id})
            self._make_room(1)
            self._by_id[subscription_id] = subscription_of(rows[0], self._sealer) if rows else None
        return self._by_id[subscription_id]

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._file.close()

    def _of(
        self, cache: dict[str, dict[str, _Kept]], account: str, name: str, read: Callable[[str, str], _Kept]
    ) -> _Kept:
        of_account = cache.setdefault(account, {})
        if name not in of_account:
            found = read(account, name)
            if len(cache) > ACCOUNTS_MAX:
                self._changed(None)
                of_account = cache.setdefault(account, {})
            of_account[name] = found
        return of_account[name]

    def _read_topic(self, account: str, name: str) -> Topic | None:
        self._make_room(1)
        rows = self._file.rows("get_topic", {"account": account, "name": name})
        return topic_of(rows[0]) if rows else None

    def _read_confirmed(self, account: str, topic: str) -> Sequence[Subscription]:
        found: list[Subscription] = []
        after = ""
        while True:
            values = {"account": account, "topic": topic, "after": after, "limit": PAGE_SIZE_MAX}
            page = [
                subscription_of(row, self._sealer) for row in self._file.rows("list_subscriptions_of_topic", values)
            ]
            found += (one for one in page if one.state is SubscriptionState.CONFIRMED)
            if len(page) < PAGE_SIZE_MAX:
                break
            after = page[-1].id
        self._make_room(1 + len(found))
        return tuple(found)

    def _make_room(self, more: int) -> None:
        if self._held + more > SUBSCRIPTIONS_MAX:
            self._changed(None)
        self._held += more

    def _changed(self, accounts: set[str] | None) -> None:
        """Drop what belongs to some accounts, or everything."""
        if accounts is None:
            self._topics.clear()
            self._confirmed.clear()
            self._held = 0
        for account in accounts or ():
            self._topics.pop(account, None)
            self._confirmed.pop(account, None)
        self._by_id.clear()
