"""The nouns: what was submitted, what was accepted (Message) and what is to be done (Delivery)."""

from collections.abc import Sequence
from dataclasses import field
from enum import StrEnum

from relay.model.content import BodyFacts, Content
from relay.model.delivery import DeliveryState
from relay.model.dialogue import Dialogue
from relay.model.notification import NO_WISHES, Wishes
from relay.model.value import dataclass

RECIPIENT_INDEX_BITS = 16
RECIPIENTS_HARD_MAX = (1 << RECIPIENT_INDEX_BITS) - 1

WEIGHT_DEFAULT = 10  # of an account, and of a configuration set within its account
WEIGHT_MAX = 1000


class Protocol(StrEnum):
    """The `with` keyword of a Received field (RFC 3848)."""

    SMTP = "SMTP"
    ESMTP = "ESMTP"
    ESMTPS = "ESMTPS"
    ESMTPA = "ESMTPA"
    ESMTPSA = "ESMTPSA"
    UTF8SMTP = "UTF8SMTP"
    UTF8SMTPS = "UTF8SMTPS"
    UTF8SMTPA = "UTF8SMTPA"
    UTF8SMTPSA = "UTF8SMTPSA"
    LOCAL = "LOCAL"

    @property
    def secure(self) -> bool:
        """True when the session was encrypted; what a program on this machine handed over crossed no network."""
        return self in _SECURE


_SECURE = frozenset(
    (
        Protocol.ESMTPS,
        Protocol.ESMTPSA,
        Protocol.UTF8SMTPS,
        Protocol.UTF8SMTPSA,
        Protocol.LOCAL,
    )
)


@dataclass(frozen=True, slots=True)
class Submission:
    """A message a client handed to a door, with its envelope and who sent it; nothing is decided yet.

    `sender` is the MAIL FROM address ("" for the null sender); `principal` the user name that authenticated,
    or "" on a trusted listener; addresses are as given, with the domain in A-label form, lower case.
    `wishes` is what was asked for in parameters of MAIL and RCPT, `operation` the name of what was called (TAG-005).
    """

    account: str
    principal: str
    sender: str
    recipients: tuple[str, ...]
    content: Content
    facts: BodyFacts
    protocol: Protocol
    smtputf8: bool
    source_address: str
    helo: str
    wishes: Wishes = NO_WISHES
    operation: str = "SendSmtpEmail"


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How a message is sent, fixed when it was accepted; empty values: as the relay does by default.

    `mail_from_domain` is the domain of its return paths (MFROM-011), `configuration_set` the set it was sent with,
    `tls_required` that it may leave over TLS only (TLS-004), `pool` the pool of source addresses it leaves from.
    `signing_account` is the account whose identity signs, where that is not the message's own (AUTHZ-019).
    `bulk` says that it waits behind transactional mail; `weight` and `set_weight` are the shares of account and
    configuration set (`relay.schedule.fair`).
    `ret` and `envelope_id` are those of the submission (RFC 3461). `release_ms` is when it may leave (RFC 4865);
    `deliver_by_ms` is the end of its time, and `deliver_by_mode` what follows then: R or N, and T (RFC 2852).
    `engaged` says that its recipients are known to want it: it takes the room of a warm-up first.
    `requiretls` and `tls_relaxed` are the sender's word on TLS: the MAIL parameter and `TLS-Required: No` (RFC 8689).
    """

    mail_from_domain: str = ""
    configuration_set: str = ""
    tls_required: bool = False
    pool: str = ""
    signing_account: str = ""
    bulk: bool = False
    weight: int = WEIGHT_DEFAULT
    set_weight: int = WEIGHT_DEFAULT
    ret: str = ""
    envelope_id: str = ""
    release_ms: int = 0
    deliver_by_ms: int = 0
    deliver_by_mode: str = ""
    requiretls: bool = False
    tls_relaxed: bool = False
    engaged: bool = False


DEFAULT_OPTIONS = SendOptions()


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was accepted once; shared by all its deliveries.

    `key` is unique in its shard. `sender` is where reports go, "" for nobody. `mail_json` is the `mail` object
    of its events (feedback.md section 3), ready to be embedded. Times are milliseconds since 1970.
    """

    key: int
    message_id: str
    account: str
    sender: str
    accepted_ms: int
    expires_ms: int
    size_bytes: int
    smtputf8: bool
    eight_bit: bool
    mail_json: bytes
    options: SendOptions = DEFAULT_OPTIONS


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message for one recipient. `key` is `message.key << 16 | index`; `attempts` counts finished attempts.

    `source` is our address that the last attempt came from, "" before there was one (a retry keeps it).
    `wishes` is what the sender asked for about this recipient (`relay.model.notification`); `delay_told`: a report of
    its delay was written.
    """

    message: Message
    index: int
    recipient: str
    state: DeliveryState = DeliveryState.QUEUED
    attempts: int = 0
    next_ms: int = 0
    last_reply: str = ""
    crashes: int = 0
    source: str = ""
    wishes: str = ""
    delay_told: bool = False

    @property
    def key(self) -> int:
        """Number of this delivery, unique in its shard."""
        return (self.message.key << RECIPIENT_INDEX_BITS) | self.index

    @property
    def domain(self) -> str:
        """The recipient's domain, lower case."""
        return self.recipient.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A fact for the event log: `payload` is one JSON object without a newline; `event_id` never changes.

    `notes` is a JSON object of what the relay knows beside the record and never publishes, empty for nothing
    (`relay.model.event`).
    """

    event_id: str
    kind: str
    message_id: str
    payload: bytes
    notes: bytes = b""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """Everything one accept transaction writes.

    `usage_recipients` is added to the account's usage of the minute of `message.accepted_ms`. Deliveries that
    start in a final state (suppressed recipients) are recorded and never attempted.
    """

    message: Message
    content: Content
    deliveries: Sequence[Delivery]
    events: Sequence[NewEvent] = ()
    usage_recipients: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """Everything one settle transaction writes: the verdict on one delivery and all its effects.

    `attempt` is the JSON record of the attempt, or None when none was made. `messages` are reports to be sent,
    accepted in the same transaction. With `dedupe_key`, a second settlement of the same key changes nothing.
    `source` is our address that the attempt came from; "" leaves what was noted before. `delay_told`: a report of the
    delay is among `messages`, and no other will be written. `dialogue` is what was said in the attempt, None where it
    is not kept.
    """

    delivery: Delivery
    state: DeliveryState
    attempts: int
    next_ms: int
    last_reply: str
    attempt: bytes | None = None
    events: Sequence[NewEvent] = ()
    messages: Sequence[NewMessage] = field(default=())
    dedupe_key: str = ""
    source: str = ""
    delay_told: bool = False
    dialogue: Dialogue | None = None
