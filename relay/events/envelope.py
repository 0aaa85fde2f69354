"""Bodies of notifications and confirmations, as SNS words them (TOPIC-101 to TOPIC-104). Pure.

A body is made of what was fixed when its item was made (text, id, time, signature), so that a retry is the same to
the last byte (TOPIC-105), and of addresses that belong to the subscription.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import orjson

from relay.model.topic import Attribute
from relay.policy.arn import SubscriptionArn, TopicArn
from relay.ports.topics import Signature
from relay.signing.notification import NOTIFICATION, SUBSCRIPTION_CONFIRMATION, UNSUBSCRIBE_CONFIRMATION

AGENT: Final = "Amazon Simple Notification Service Agent"
PLAIN: Final = "text/plain; charset=UTF-8"
_SUBSCRIBED: Final = (
    "You have chosen to subscribe to the topic {arn}.\n"
    "To confirm the subscription, visit the SubscribeURL included in this message."
)
_UNSUBSCRIBED: Final = (
    "You have chosen to deactivate subscription {arn}.\n"
    "To cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
)


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What an item keeps beside its text: fixed when it was made. `url` is where our own pages are."""

    type: str
    topic: str
    timestamp: str
    url: str
    signature: str = ""
    signature_version: str = ""
    cert_url: str = ""
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def as_json(self) -> str:
        """Return it as the attributes of an item."""
        return orjson.dumps(asdict(self)).decode()

    def signed(self, signature: Signature) -> "Letterhead":
        """Return it with a signature."""
        return replace(
            self, signature=signature.text, signature_version=signature.version, cert_url=signature.cert_url
        )


def letterhead_of(attributes: str) -> Letterhead:
    """Return what `as_json` wrote."""
    return Letterhead(**orjson.loads(attributes))


def timestamp(ms: int) -> str:
    """Return a time as bodies have it: `2026-11-26T09:00:00.000Z`."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03}Z"


def notification_fields(topic: TopicArn, key: str, subject: str, message: str, time: str) -> dict[str, str]:
    """Return what is signed of a notification."""
    named = {"Type": NOTIFICATION, "MessageId": key, "TopicArn": str(topic)}
    return {**named, **({"Subject": subject} if subject else {}), "Message": message, "Timestamp": time}


def notification(head: Letterhead, key: str, subject: str, message: str, arn: SubscriptionArn) -> bytes:
    """Return the body of a notification for one subscription."""
    fields: dict[str, Any] = notification_fields(arn.topic, key, subject, message, head.timestamp)
    fields |= _signed(Signature(head.signature, head.signature_version, head.cert_url))
    fields["UnsubscribeURL"] = unsubscribe_url(head.url, arn)
    if head.attributes:
        fields["MessageAttributes"] = head.attributes
    return _written(fields)


def confirmation_fields(head: Letterhead, key: str, arn: SubscriptionArn, token: str) -> dict[str, str]:
    """Return what is signed of a confirmation, which is the rest of it."""
    subscribing = head.type == SUBSCRIPTION_CONFIRMATION
    return {
        "Type": head.type,
        "MessageId": key,
        "Token": token,
        "TopicArn": str(arn.topic),
        "Message": _SUBSCRIBED.format(arn=arn.topic) if subscribing else _UNSUBSCRIBED.format(arn=arn),
        "SubscribeURL": subscribe_url(head.url, arn.topic, token),
        "Timestamp": head.timestamp,
    }


def confirmation(head: Letterhead, key: str, arn: SubscriptionArn, token: str) -> bytes:
    """Return the body of a confirmation."""
    signature = Signature(head.signature, head.signature_version, head.cert_url)
    return _written({**confirmation_fields(head, key, arn, token), **_signed(signature)})


def headers(kind: str, key: str, arn: SubscriptionArn, *, raw: bool = False) -> dict[str, str]:
    """Return the HTTP headers of a post (TOPIC-104)."""
    found = {
        "x-amz-sns-message-type": kind,
        "x-amz-sns-message-id": key,
        "x-amz-sns-topic-arn": str(arn.topic),
    }
    if kind != SUBSCRIPTION_CONFIRMATION:
        found["x-amz-sns-subscription-arn"] = str(arn)
    if raw:
        found["x-amz-sns-rawdelivery"] = "true"
    return {**found, "Content-Type": PLAIN, "User-Agent": AGENT}


def published(attributes: Mapping[str, Attribute]) -> dict[str, dict[str, str]]:
    """Return attributes as bodies have them."""
    return {name: {"Type": one.type, "Value": one.value} for name, one in attributes.items()}


def subscribe_url(url: str, topic: TopicArn, token: str) -> str:
    """Return where a subscription is confirmed (TOPIC-122)."""
    return f"{url}/?Action=ConfirmSubscription&TopicArn={quote(str(topic), safe=':')}&Token={token}"


def unsubscribe_url(url: str, arn: SubscriptionArn) -> str:
    """Return where a subscription is ended (TOPIC-125)."""
    return f"{url}/?Action=Unsubscribe&SubscriptionArn={quote(str(arn), safe=':')}"


def certificate_url(url: str, name: str) -> str:
    """Return where a certificate is found (TOPIC-112)."""
    return f"{url}/SimpleNotificationService-{name}.pem"


def kind_for(*, ended: bool) -> str:
    """Return what a subscription that is not confirmed is sent."""
    return UNSUBSCRIBE_CONFIRMATION if ended else SUBSCRIPTION_CONFIRMATION


def _signed(signature: Signature) -> dict[str, str]:
    return {
        "SignatureVersion": signature.version,
        "Signature": signature.text,
        "SigningCertURL": signature.cert_url,
    }


def _written(fields: Mapping[str, Any]) -> bytes:
    return orjson.dumps(fields)
