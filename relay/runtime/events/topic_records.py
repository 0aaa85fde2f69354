"""Records of events for topics, made for the router on its thread; and what happens when a topic cannot be used.

A topic of an identity that is gone or may not be used any more is given up for bounces and complaints (NOTIF-015).
"""

from collections.abc import Callable
from pathlib import Path

from relay.errors import RequestRefusedError
from relay.events.notification import notification
from relay.events.publisher import TopicPublisher
from relay.mail import notices
from relay.mail.letter import Letter, Letterhead
from relay.model.event import LoggedEvent
from relay.model.facts import Facts
from relay.model.feedback import FeedbackKind
from relay.model.topic import Publication
from relay.policy.arn import BadArn, TopicArn, parse_topic_arn
from relay.policy.topic_access import Publisher
from relay.ports import Clock, Log
from relay.ports.events import NewItem
from relay.runtime.topic_requests import parsed_topic_arn
from relay.store.catalog import open_existing_catalog

EVENT_SUBJECT = "Amazon SES Email Event Notification"
_TOPIC_LOST = frozenset({"NotFound", "AuthorizationError"})

GiveUp = Callable[[str, str, LoggedEvent, str, str], None]
"""Gives up a topic: account, key of its settings, the event, the topic's ARN, and why; returns when that is kept."""


class RecordPublisher:
    """Publishes records of events to topics for the router, on its thread (`relay.events.router.Topics`)."""

    def __init__(self, publisher: TopicPublisher, clock: Clock, log: Log, give_up: GiveUp) -> None:
        self._publisher = publisher
        self._clock = clock
        self._log = log
        self._give_up = give_up

    def item(self, topic_arn: str, event: LoggedEvent, facts: Facts) -> NewItem | None:
        """Return what the subscriptions of a topic get of an event; None when nobody gets it.

        A topic that is gone, or whose policy denies it, gets nothing; the latter is counted (TOPIC-143). Raise
        StorageError.
        """
        self._publisher.refresh()
        arn = parse_topic_arn(topic_arn)
        if isinstance(arn, BadArn):
            return None
        try:
            return self.record(arn, event, facts)
        except RequestRefusedError as error:
            if error.code not in _TOPIC_LOST:  # such as a record that is larger than a topic takes
                self._log.warning(
                    "event not published", message_id=event.message_id, topic=topic_arn, reason=str(error)
                )
            return None

    def record(self, arn: TopicArn, event: LoggedEvent, facts: Facts) -> NewItem | None:
        """Return the same, refusals raised: NotFound, AuthorizationError ..."""
        source = f"arn:aws:ses:{arn.region}:{facts.account}:configuration-set/{facts.configuration_set}"
        publication = Publication(event.payload.decode(), EVENT_SUBJECT)
        publisher = Publisher(facts.account, source)
        found = self._publisher.publish(arn, publication, publisher, self._clock.now_ms())
        return found.items[0] if found.items else None

    def notification(self, topic_arn: str, event: LoggedEvent, key: str, *, headers: bool) -> NewItem | None:
        """Return the notification of an event for an identity's topic; None when nobody gets it.

        A topic that is gone or may not be used any more is given up for bounces and complaints of this identity
        (NOTIF-015), here and now, so that the event counts as routed only after that. Raise StorageError.
        """
        self._publisher.refresh()
        mail = event.record["mail"]
        account, now_ms = mail["sendingAccountId"], self._clock.now_ms()
        publication = Publication(notification(event, headers=headers).decode())
        try:
            arn = parsed_topic_arn(topic_arn, self._publisher.rules.region)
            found = self._publisher.publish(arn, publication, Publisher(account, mail["sourceArn"]), now_ms)
        except RequestRefusedError as error:
            kept = event.kind == FeedbackKind.DELIVERY  # such a topic stays as it is
            say = self._log.info if kept else self._log.warning
            say(
                "notification not published",
                message_id=event.message_id,
                kind=event.kind,
                topic=topic_arn,
                reason=str(error),
            )
            if error.code in _TOPIC_LOST and not kept:
                self._give_up(account, key, event, topic_arn, str(error))
            return None
        return found.items[0] if found.items else None


class CatalogGiveUp:
    """Notes in the catalog that a topic is given up, and tells the account's contacts (NOTIF-015)."""

    def __init__(self, data_dir: Path, master: bytes, letterhead: Callable[[], Letterhead], clock: Clock) -> None:
        self._data_dir = data_dir
        self._master = master
        self._letterhead = letterhead
        self._clock = clock

    def __call__(self, account: str, key: str, event: LoggedEvent, topic: str, reason: str) -> None:
        """Do it once; what is set otherwise meanwhile stays. Raise StorageError."""
        letterhead, now_ms = self._letterhead(), self._clock.now_ms()

        def write(recipient: str) -> Letter:
            return notices.topic_given_up(
                letterhead,
                recipient,
                account=account,
                identity=key,
                kind=event.kind,
                topic=topic,
                reason=reason,
                message_id=event.message_id,
                now_ms=now_ms,
            )

        with open_existing_catalog(self._data_dir, self._master) as catalog:
            catalog.feedback.topic_failed(account, key, FeedbackKind(event.kind), topic, write)
