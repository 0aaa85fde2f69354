"""Event destinations of configuration sets: what is published where (DEST-*). Values; what may be is in `policy`."""

from dataclasses import dataclass
from enum import StrEnum


class EventType(StrEnum):
    """The ten kinds of event, by the name that API v2 gives them (DEST-002)."""

    SEND = "SEND"
    REJECT = "REJECT"
    BOUNCE = "BOUNCE"
    COMPLAINT = "COMPLAINT"
    DELIVERY = "DELIVERY"
    OPEN = "OPEN"
    CLICK = "CLICK"
    RENDERING_FAILURE = "RENDERING_FAILURE"
    DELIVERY_DELAY = "DELIVERY_DELAY"
    SUBSCRIPTION = "SUBSCRIPTION"

    @property
    def record_kind(self) -> str:
        """The `eventType` of its records (EVT-001)."""
        return RECORD_KINDS[self]

    @property
    def v1_name(self) -> str:
        """The name that API v1 gives it; v1 knows eight of the ten."""
        return _V1_NAMES.get(self, "")


RECORD_KINDS: dict[EventType, str] = {
    EventType.SEND: "Send",
    EventType.REJECT: "Reject",
    EventType.BOUNCE: "Bounce",
    EventType.COMPLAINT: "Complaint",
    EventType.DELIVERY: "Delivery",
    EventType.OPEN: "Open",
    EventType.CLICK: "Click",
    EventType.RENDERING_FAILURE: "Rendering Failure",
    EventType.DELIVERY_DELAY: "DeliveryDelay",
    EventType.SUBSCRIPTION: "Subscription",
}
TYPE_OF_RECORD: dict[str, EventType] = {kind: name for name, kind in RECORD_KINDS.items()}

_V1_NAMES: dict[EventType, str] = {
    EventType.SEND: "send",
    EventType.REJECT: "reject",
    EventType.BOUNCE: "bounce",
    EventType.COMPLAINT: "complaint",
    EventType.DELIVERY: "delivery",
    EventType.OPEN: "open",
    EventType.CLICK: "click",
    EventType.RENDERING_FAILURE: "renderingFailure",
}


class DestinationKind(StrEnum):
    """What a destination is; each has exactly one (DEST-003)."""

    TOPIC = "topic"
    STREAM = "stream"
    METRICS = "metrics"
    BUS = "bus"


class DimensionSource(StrEnum):
    """Where the value of a metric's dimension comes from (DEST-013)."""

    MESSAGE_TAG = "MESSAGE_TAG"
    EMAIL_HEADER = "EMAIL_HEADER"
    LINK_TAG = "LINK_TAG"


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension of a metrics destination; `default` is published where a message has no value."""

    name: str
    source: DimensionSource
    default: str


@dataclass(frozen=True, slots=True)
class EventDestination:
    """A destination of a configuration set.

    `types` are in the order of `EventType`. `target` is the ARN of a topic, stream or bus, "" for metrics, which have
    `dimensions` instead. `role_arn` is kept and told, and means nothing here (DEST-007).
    """

    account: str
    configuration_set: str
    name: str
    enabled: bool
    types: tuple[EventType, ...]
    kind: DestinationKind
    target: str = ""
    role_arn: str = ""
    dimensions: tuple[Dimension, ...] = ()
    created_ms: int = 0

    def wants(self, record_kind: str) -> bool:
        """Say whether records of an `eventType` are published here now (DEST-001, DEST-005)."""
        return self.enabled and TYPE_OF_RECORD.get(record_kind) in self.types
