"""Publishing to a topic: from one text to items of the queue, one post for each subscription that wants it.

Nothing is sent here. What is returned goes into the queue in the caller's transaction, so that a publication is
whole or not there (TOPIC-138). An item is signed when it is made, once for all subscriptions that get it, and only
when one of them gets signatures; so a retry has the same bytes, also after the certificate was changed (TOPIC-105).
While there is no key (its files are damaged) items are kept without; the courier then signs at each try, and holds
back until it can.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relay.errors import RequestRefusedError
from relay.events import envelope
from relay.events.envelope import Letterhead
from relay.model.topic import (
    ATTRIBUTES_MAX,
    MESSAGE_MAX_BYTES,
    SUBJECT_MAX_CHARS,
    Protocol,
    Publication,
    Subscription,
    SubscriptionState,
    Topic,
)
from relay.policy.arn import SubscriptionArn, TopicArn
from relay.policy.filter_policy import Filtered, filter_of
from relay.policy.topic_access import Publisher, may_publish
from relay.ports.events import NewItem
from relay.ports.topics import UNSIGNED, TopicDirectory, TopicSigner
from relay.signing.notification import NOTIFICATION
from relay.signing.topic_token import Tokens

TARGET: Final = "subscription"
ITEM_KIND: Final = "Notification"
_ATTRIBUTE_NAME_MAX: Final = 256

Count = Callable[[str, Sequence[str]], None]
"""Counts one of a metric with its labels; may be called from any thread."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication came to: its id, and what is to be kept in the queue."""

    message_id: str
    items: Sequence[NewItem]


@dataclass(frozen=True, slots=True)
class PublishRules:
    """What configuration says: our region, and the address of our pages."""

    region: str
    url: str


class TopicPublisher:
    """Publishes; one object for each thread, as the directory it reads. `rules` may be replaced."""

    def __init__(
        self, rules: PublishRules, directory: TopicDirectory, signer: TopicSigner, tokens: Tokens, count: Count
    ) -> None:
        self.rules = rules
        self._directory = directory
        self._signer = signer
        self._tokens = tokens
        self._count = count

    def refresh(self) -> bool:
        """See what changed in the catalog; call it once before a batch. Raise StorageError."""
        return self._directory.refresh()

    def publish(
        self, topic: TopicArn, publication: Publication, publisher: Publisher, now_ms: int, key: str = ""
    ) -> Published:
        """Return what a publication comes to. Raise RequestRefusedError: NotFound, AuthorizationError, ...

        `key` is the id that it gets, a fresh one where it is "".
        A refusal for want of permission is counted (TOPIC-143).
        """
        check_publication(publication)
        found = self._directory.topic(topic.account, topic.name) if topic.region == self.rules.region else None
        if found is None:
            raise RequestRefusedError("NotFound", "Topic does not exist")
        labels = (topic.account, topic.name)
        decision = may_publish(topic, found.policy, publisher, now_ms)
        if not decision.allowed:
            self._count("relay_topic_denied_total", labels)
            raise RequestRefusedError(
                "AuthorizationError", f"Account {publisher.account} may not publish to this topic: {decision}"
            )
        self._count("relay_topic_published_total", labels)
        message_id = key or str(uuid.uuid4())
        wanted = self._by_text(topic, publication)
        items = [self._item(found, topic, publication, message_id, text, to, now_ms) for text, to in wanted.items()]
        return Published(message_id, items)

    def question(self, subscription: Subscription, version: str) -> NewItem:
        """Return the item that asks an endpoint to confirm, or tells it that its subscription ended.

        It is the same each time it is made for the same token, its id too.
        """
        topic = TopicArn(self.rules.region, subscription.account, subscription.topic)
        arn = SubscriptionArn(topic, subscription.id)
        kind = envelope.kind_for(ended=subscription.state is SubscriptionState.ENDED)
        token = self._tokens.token(subscription.id, subscription.token_ms)
        key = str(uuid.uuid5(uuid.UUID(subscription.id), f"{kind}/{subscription.token_ms}"))
        head = Letterhead(kind, str(topic), envelope.timestamp(subscription.token_ms), self.rules.url)
        signature = self._signer.sign(version, envelope.confirmation_fields(head, key, arn, token))
        return self._new_item(subscription.account, key, head.signed(signature), "", b"", (_target(arn),))

    def _by_text(self, topic: TopicArn, publication: Publication) -> Mapping[str, Sequence[Subscription]]:
        """Return who gets which text: protocols may have texts of their own, filters choose."""
        wanted: defaultdict[str, list[Subscription]] = defaultdict(list)
        filtered = Filtered(publication.message, publication.attributes)
        for one in self._directory.confirmed(topic.account, topic.name):
            if not one.filter_policy or filter_of(one.filter_policy, one.filter_scope).takes(filtered):
                wanted[publication.text_for(one.protocol)].append(one)
            else:
                self._count("relay_topic_filtered_total", (topic.account, topic.name, one.id))
        return wanted

    def _item(  # noqa: PLR0917 - what an item is made of
        self,
        topic: Topic,
        arn: TopicArn,
        publication: Publication,
        key: str,
        text: str,
        to: Sequence[Subscription],
        now_ms: int,
    ) -> NewItem:
        time = envelope.timestamp(now_ms)
        attributes = envelope.published(publication.attributes)
        head = Letterhead(NOTIFICATION, str(arn), time, self.rules.url, attributes=attributes)
        signature = UNSIGNED
        if any(is_signed(one) for one in to):
            fields = envelope.notification_fields(arn, key, publication.subject, text, time)
            signature = self._signer.sign(topic.signature_version, fields)
        targets = tuple(_target(SubscriptionArn(arn, one.id)) for one in to)
        return self._new_item(topic.account, key, head.signed(signature), publication.subject, text.encode(), targets)

    @staticmethod
    def _new_item(  # noqa: PLR0917 - the fields of an item
        account: str, key: str, head: Letterhead, subject: str, body: bytes, targets: tuple[str, ...]
    ) -> NewItem:
        return NewItem(key, ITEM_KIND, body, targets, account, subject, head.as_json())


def check_publication(publication: Publication) -> None:
    """Raise RequestRefusedError `InvalidParameter` for what cannot be published (TOPIC-150)."""
    for text in (publication.message, *publication.by_protocol.values()):
        if not text:
            raise _invalid("Message is empty")
        if _size(text) > MESSAGE_MAX_BYTES:
            raise _invalid(f"Message is longer than {MESSAGE_MAX_BYTES} bytes")
    subject = publication.subject
    if len(subject) > SUBJECT_MAX_CHARS or not subject.isprintable() or subject != subject.lstrip():
        raise _invalid(f"Subject is one line of at most {SUBJECT_MAX_CHARS} characters that does not begin blank")
    if len(publication.attributes) > ATTRIBUTES_MAX:
        raise _invalid(f"a message has at most {ATTRIBUTES_MAX} attributes")
    for name, one in publication.attributes.items():
        if not name or len(name) > _ATTRIBUTE_NAME_MAX or not name.isprintable():
            raise _invalid("an attribute has a name of 1 to 256 characters")
        if one.type.partition(".")[0] not in {"String", "Number", "Binary"} or not one.value:
            raise _invalid("an attribute is of type String, String.Array, Number or Binary and has a value")
    if sum(len(name) + _size(one.value) for name, one in publication.attributes.items()) > MESSAGE_MAX_BYTES:
        raise _invalid("the attributes are too long")


def _invalid(reason: str) -> RequestRefusedError:
    return RequestRefusedError("InvalidParameter", f"Invalid parameter: {reason}")


def _size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise _invalid("a text has half of a surrogate pair") from None


def is_signed(one: Subscription) -> bool:
    """Say whether a subscription gets notifications in the envelope, and so with a signature."""
    return one.protocol is Protocol.EMAIL_JSON or (one.protocol is not Protocol.EMAIL and not one.raw)


def _target(arn: SubscriptionArn) -> str:
    return f"{TARGET}:{arn}"
