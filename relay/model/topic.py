"""Topics, their subscriptions, and what is published to them (SNS words: TOPIC-001 to TOPIC-151).

A subscription's life:

    pending     made; gets nothing but the request to confirm it; removed when its token ends
    confirmed   gets notifications
    ended       unsubscribed by its endpoint; gets nothing; its token restores it; removed when the token ends

    pending    --confirm-->      confirmed
    confirmed  --unsubscribe-->  ended
    ended      --confirm-->      confirmed
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

TOKEN_VALID_MS: Final = 2 * 24 * 3600 * 1000  # TOPIC-121
MESSAGE_MAX_BYTES: Final = 262_144
SUBJECT_MAX_CHARS: Final = 100
ATTRIBUTES_MAX: Final = 50


class Protocol(StrEnum):
    """How a subscription is delivered."""

    HTTP = "http"
    HTTPS = "https"
    EMAIL = "email"
    EMAIL_JSON = "email-json"
    QUEUE = "sqs"


WEB: Final = frozenset({Protocol.HTTP, Protocol.HTTPS})
MAIL: Final = frozenset({Protocol.EMAIL, Protocol.EMAIL_JSON})


class SubscriptionState(StrEnum):
    """Where a subscription is in its life."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    ENDED = "ended"


STEPS: Final[Mapping[SubscriptionState, frozenset[SubscriptionState]]] = {
    SubscriptionState.PENDING: frozenset({SubscriptionState.CONFIRMED}),
    SubscriptionState.CONFIRMED: frozenset({SubscriptionState.ENDED}),
    SubscriptionState.ENDED: frozenset({SubscriptionState.CONFIRMED}),
}


class FilterScope(StrEnum):
    """What a filter policy looks at."""

    ATTRIBUTES = "MessageAttributes"
    BODY = "MessageBody"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic; policies are their texts, "" for none. `ended` counts subscriptions that were deleted."""

    account: str
    name: str
    display_name: str = ""
    policy: str = ""
    delivery_policy: str = ""
    signature_version: str = "1"
    ended: int = 0
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription `id` of the topic `topic` of `account`; `owner` is the account that made it.

    `endpoint` has no user and password: they are in `login`, "user:password", "" for none. `token_ms` is when the
    newest token was made, `authenticated` whether it was confirmed by a signed call, `protected` whether only its
    owner may end it. `redrive` is the ARN of a local queue. `secret` signs bodies (TOPIC-114).
    """

    id: str
    account: str
    topic: str
    owner: str
    protocol: Protocol
    endpoint: str
    state: SubscriptionState
    token_ms: int
    created_ms: int
    authenticated: bool = False
    protected: bool = False
    raw: bool = False
    filter_policy: str = ""
    filter_scope: FilterScope = FilterScope.ATTRIBUTES
    delivery_policy: str = ""
    redrive: str = ""
    login: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    @property
    def expires_ms(self) -> int:
        """When its newest token ends."""
        return self.token_ms + TOKEN_VALID_MS


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a message: `type` is `String`, `String.Array`, `Number` or `Binary` (base64)."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published; `by_protocol` has other texts for some protocols (`MessageStructure` `json`)."""

    message: str
    subject: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    by_protocol: Mapping[str, str] = field(default_factory=dict)

    def text_for(self, protocol: Protocol) -> str:
        """Return the text that subscriptions of a protocol get."""
        return self.by_protocol.get(protocol, self.message)
