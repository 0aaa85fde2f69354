"""What an event says, as values: for whoever routes, counts or acts on it. Shapes of feedback.md section 3.

These are records that the relay itself wrote, so what is not in one is our fault and raises KeyError, TypeError or
ValueError. Records that may be anybody's are read by `relay.model.search`.
"""

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
    body = record[name] if listed else record.get(name, {})
    tags = {tag: tuple(values) for tag, values in mail.get("tags", {}).items()}
    accepted_ms = milliseconds(mail["timestamp"])
    return Facts(
        kind=event.kind,
        message_id=event.message_id,
        account=mail["sendingAccountId"],
        configuration_set=configuration_set_of(mail),
        identity_arn=mail.get("sourceArn", ""),
        source=mail.get("source", ""),
        tags=tags,
        recipients=_recipients(body, listed) or tuple(mail["destination"]),
        at_ms=milliseconds(body["timestamp"]) if "timestamp" in body else accepted_ms,
        accepted_ms=accepted_ms,
        bounce_type=body.get("bounceType", ""),
        sub_type=body.get("bounceSubType") or body.get("complaintSubType") or "",
        feedback_id=body.get("feedbackId", ""),
    )


def _recipients(body: Mapping[str, Any], listed: str) -> tuple[str, ...]:
    found = body.get(listed, ()) if listed else ()
    return tuple(each if isinstance(each, str) else each["emailAddress"] for each in found)


def configuration_set_of(mail: Mapping[str, Any]) -> str:
    """Return the configuration set of the `mail` object of a record, "" for none."""
    return next(iter(mail.get("tags", {}).get(CONFIGURATION_SET, ())), "")


def milliseconds(text: str) -> int:
    """Return a timestamp of ours as milliseconds since 1970."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
