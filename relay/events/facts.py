"""What an event says, as values: for whoever routes, counts or acts on it. Pure; shapes of feedback.md section 3."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay.model.event import LoggedEvent

_BODIES = {
    "Bounce": ("bounce", "bouncedRecipients"),
    "Complaint": ("complaint", "complainedRecipients"),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
    "Delivery": ("delivery", "recipients"),
    "Reject": ("reject", ""),
    "Open": ("open", ""),
    "Click": ("click", ""),
    "Send": ("send", ""),
    "Subscription": ("subscription", ""),
    "Rendering Failure": ("failure", ""),
}
CONFIGURATION_SET = "ses:configuration-set"


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one event; "" or an empty tuple where the record has none.

    `recipients` are those it is about: of the report, or all of the message where the kind names none. `at_ms` is
    when it happened, `accepted_ms` when the message was accepted. `sub_type` is bounceSubType or complaintSubType.
    """

    kind: str
    message_id: str
    account: str
    configuration_set: str
    identity_arn: str
    source: str
    tags: Mapping[str, tuple[str, ...]]
    recipients: tuple[str, ...]
    at_ms: int
    accepted_ms: int
    bounce_type: str = ""
    sub_type: str = ""
    feedback_id: str = ""

    @property
    def identity(self) -> str:
        """The identity's name, from its ARN."""
        return self.identity_arn.partition(":identity/")[2]

    @property
    def outgoing_ip(self) -> str:
        """The address of ours that the message was sent from, "" before one was used (TAG-005)."""
        return next(iter(self.tags.get("ses:outgoing-ip", ())), "")


def facts_of(event: LoggedEvent) -> Facts:
    """Return the facts of an event of ours."""
    record = event.record
    mail = record["mail"]
    name, listed = _BODIES[event.kind]
    body = record[name]
    tags = {tag: tuple(values) for tag, values in mail["tags"].items()}
    accepted_ms = _ms(mail["timestamp"])
    return Facts(
        kind=event.kind,
        message_id=mail["messageId"],
        account=mail["sendingAccountId"],
        configuration_set=next(iter(tags.get(CONFIGURATION_SET, ())), ""),
        identity_arn=mail["sourceArn"],
        source=mail["source"],
        tags=tags,
        recipients=_recipients(body, listed) or tuple(mail["destination"]),
        at_ms=_ms(body["timestamp"]) if "timestamp" in body else accepted_ms,
        accepted_ms=accepted_ms,
        bounce_type=body.get("bounceType", ""),
        sub_type=body.get("bounceSubType") or body.get("complaintSubType") or "",
        feedback_id=body.get("feedbackId", ""),
    )


def _recipients(body: Mapping[str, Any], listed: str) -> tuple[str, ...]:
    found = body.get(listed, ()) if listed else ()
    return tuple(each if isinstance(each, str) else each["emailAddress"] for each in found)


def _ms(text: str) -> int:
    """Return a timestamp of ours as milliseconds since 1970."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
