"""Routes events to destinations of configuration sets and topics of identities: the applier `queue`.

An event goes to every enabled destination of its message's set whose types match, as the catalog is when the event
is routed (DEST-001, DEST-005). Of a bounce, complaint or delivery the topic that the sending account chose for the
identity gets a notification, with or without a set (NOTIF-010 to NOTIF-017). What was routed and the place in the log
are one transaction of the queue. Metrics destinations are counted elsewhere (`relay.events.counting`).
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from relay.model.event import LoggedEvent
from relay.model.event_destination import DestinationKind, EventDestination
from relay.model.facts import Facts, configuration_set_of, facts_of
from relay.model.feedback import FeedbackKind, FeedbackSettings
from relay.policy.event_destinations import target_name
from relay.policy.feedback import settings_key
from relay.ports import Clock
from relay.ports.events import NewItem

STREAM: Final = "stream"
BUS: Final = "bus"
_NOTIFIED: Final = frozenset(str(kind) for kind in FeedbackKind)


class Destinations(Protocol):
    """Event destinations as the catalog has them. Calls raise StorageError when it cannot be read now."""

    def refresh(self) -> bool:
        """Drop what changed since the last call; say whether anything did."""
        ...

    def any(self) -> bool:
        """Say whether there is any destination at all."""
        ...

    def of(self, account: str, configuration_set: str) -> Sequence[EventDestination]:
        """Return the destinations of a set; none when it is gone."""
        ...

    def any_notified(self) -> bool:
        """Say whether any identity has a topic."""
        ...

    def feedback(self, account: str, key: str) -> FeedbackSettings:
        """Return an account's settings about an identity, by `settings_key`."""
        ...


class Queue(Protocol):
    """Where what was routed waits."""

    def follow(self, shard: int, log: int, last: int) -> None:
        """Take the events of a log as a shard's from now on."""
        ...

    def place(self, shard: int) -> int:
        """Return up to where a shard's log was routed."""
        ...

    def accept(self, shard: int, seq: int, items: Sequence[NewItem], now_ms: int) -> None:
        """Keep items and move the place; all or nothing."""
        ...


class Topics(Protocol):
    """Publishes records to topics."""

    def item(self, topic_arn: str, event: LoggedEvent, facts: Facts) -> NewItem | None:
        """Return what is to be delivered to a topic's subscriptions; None when it has none or may not be used."""
        ...

    def notification(self, topic_arn: str, event: LoggedEvent, key: str, *, headers: bool) -> NewItem | None:
        """Return the notification of an event for an identity's topic; None when nobody gets it.

        A topic that cannot be published to is given up as NOTIF-015 says; `key` names the account's settings.
        """
        ...


class Router:
    """The applier. `wake` is told, on the applier's thread, which targets have something new."""

    name = "queue"

    def __init__(
        self,
        open_queue: Callable[[], Queue],
        destinations: Destinations,
        clock: Clock,
        wake: Callable[[frozenset[str]], None],
        topics: Topics | None = None,
    ) -> None:
        self._open_queue = open_queue
        self._destinations = destinations
        self._clock = clock
        self._wake = wake
        self._topics = topics
        self._queue: Queue | None = None

    def open(self) -> None:
        """Open the queue. Raise ConfigurationError."""
        self._queue = self._open_queue()

    def follow(self, shard: int, log: int, last: int) -> None:
        """Take the events of a log from now on. Raise StorageError."""
        assert self._queue is not None
        self._queue.follow(shard, log, last)

    def place(self, shard: int) -> int:
        """Return the number of the last event of a shard that was routed."""
        assert self._queue is not None
        return self._queue.place(shard)

    def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        """Route events, all or nothing; those that were routed before are left out. Raise StorageError."""
        assert self._queue is not None
        place = self._queue.place(shard)
        events = [event for event in events if event.seq > place]
        if not events:
            return
        self._destinations.refresh()
        items = [item for event in events for item in self._items(event)] if self._destinations.any() else []
        if self._topics is not None and self._destinations.any_notified():
            items += [item for event in events for item in self._notifications(event, self._topics)]
        self._queue.accept(shard, events[-1].seq, items, self._clock.now_ms())
        if items:
            self._wake(frozenset(target for item in items for target in item.targets))

    def skip(self, shard: int, seq: int) -> None:
        """Move the place past an event that cannot be routed."""
        assert self._queue is not None
        self._queue.accept(shard, seq, (), self._clock.now_ms())

    def close(self) -> None:
        """Do nothing: the queue is closed by whoever empties it."""

    def _notifications(self, event: LoggedEvent, topics: Topics) -> Sequence[NewItem]:
        if event.kind not in _NOTIFIED:
            return ()
        mail = event.outline["mail"]
        account = mail["sendingAccountId"]
        key = settings_key(account, mail["sourceArn"])
        kind, settings = FeedbackKind(event.kind), self._destinations.feedback(account, key)
        topic = settings.topic(kind)
        item = topics.notification(topic, event, key, headers=kind in settings.headers) if topic else None
        return (item,) if item is not None else ()

    def _items(self, event: LoggedEvent) -> Sequence[NewItem]:
        mail = event.outline["mail"]
        name = configuration_set_of(mail)
        if not name:
            return ()
        account = mail["sendingAccountId"]
        targets: list[str] = []
        items: list[NewItem] = []
        for one in self._destinations.of(account, name):
            if not one.wants(event.kind):
                continue
            if one.kind is DestinationKind.TOPIC:
                item = self._topics.item(one.target, event, facts_of(event)) if self._topics else None
                items += [item] if item is not None else []
            elif one.kind is not DestinationKind.METRICS:
                targets.append(
                    f"{STREAM if one.kind is DestinationKind.STREAM else BUS}:{target_name(one.kind, one.target)}"
                )
        if targets:
            items.append(NewItem(event.event_id, event.kind, event.payload, tuple(dict.fromkeys(targets)), account))
        return items
