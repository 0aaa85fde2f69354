"""Topics of the catalog: kept, listed, removed (TOPIC-150, TOPIC-151).

What a value may be is checked by whoever calls (`relay.runtime.topic_requests`); here it is stored as it is given.
Errors have the names of the API.
"""

from relay.errors import RequestRefusedError
from relay.model.topic import SubscriptionState, Topic
from relay.store.catalog_tables import Row, Tables

TOPICS_MAX = 100_000  # of one account
PAGE_SIZE_MAX = 1000


class Topics:
    """Makes, changes, lists and deletes topics."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create(self, wanted: Topic) -> tuple[Topic, bool]:
        """Add a topic; one of this name is left as it is. Return the topic, and whether it is new."""
        with self._tables.writing(wanted.account):
            self._tables.require_account(wanted.account)
            found = self.get(wanted.account, wanted.name)
            if found is not None:
                return found, False
            row = self._tables.row("count_topics", {"account": wanted.account})
            if row is not None and row[0] >= TOPICS_MAX:
                raise RequestRefusedError("TopicLimitExceeded", f"The account has {TOPICS_MAX} topics already.")
            self._tables.run("create_topic", {**_values(wanted), "created_ms": self._tables.now_ms()})
        return self.require(wanted.account, wanted.name), True

    def get(self, account: str, name: str) -> Topic | None:
        """Return a topic, None when there is none of this name."""
        row = self._tables.row("get_topic", {"account": account, "name": name})
        return topic_of(row) if row else None

    def require(self, account: str, name: str) -> Topic:
        """Return a topic that must exist."""
        found = self.get(account, name)
        if found is None:
            raise no_topic()
        return found

    def list(self, account: str, *, after: str = "", limit: int = PAGE_SIZE_MAX) -> list[Topic]:
        """Return up to `limit` topics (at most 1,000) that follow `after`, by name."""
        self._tables.require_account(account)
        size = max(1, min(limit, PAGE_SIZE_MAX))
        rows = self._tables.rows("list_topics", {"account": account, "after": after, "limit": size})
        return [topic_of(row) for row in rows]

    def update(self, changed: Topic) -> Topic:
        """Replace what a topic is set to; it holds from the next publication on."""
        with self._tables.writing(changed.account):
            if not self._tables.run("update_topic", _values(changed)):
                raise no_topic()
        return self.require(changed.account, changed.name)

    def delete(self, account: str, name: str) -> bool:
        """Remove a topic with its subscriptions; say whether there was one."""
        with self._tables.writing(account):
            return bool(self._tables.run("delete_topic", {"account": account, "name": name}))

    def counts(self, account: str, name: str) -> dict[SubscriptionState, int]:
        """Return how many subscriptions a topic has in each state."""
        rows = self._tables.rows("count_subscriptions", {"account": account, "topic": name})
        found = {SubscriptionState(state): int(count) for state, count in rows}
        return {state: found.get(state, 0) for state in SubscriptionState}


def topic_of(row: Row) -> Topic:
    """Return the topic of a row of `get_topic`."""
    return Topic(*row)


def no_topic() -> RequestRefusedError:
    """Return the error about a topic that is not there (TOPIC-151)."""
    return RequestRefusedError("NotFound", "Topic does not exist")


def _values(one: Topic) -> dict[str, object]:
    return {
        "account": one.account,
        "name": one.name,
        "display_name": one.display_name,
        "policy": one.policy,
        "delivery_policy": one.delivery_policy,
        "signature_version": one.signature_version,
    }
