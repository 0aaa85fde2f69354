"""What an event says, as values: for whoever routes, counts or acts on it. Shapes of feedback.md section 3.

These are records that the relay itself wrote, so what is not in one is our fault and raises KeyError, TypeError or
ValueError. Records that may be anybody's are read by `relay.model.search`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

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
_REPORTED = ("Bounce", "Complaint")
CONFIGURATION_SET = "ses:configuration-set"


class Facts(NamedTuple):
    """The facts of one event; "" or an empty tuple where the record has none.

    `recipients` are those it is about: of the report, or all of the message where the kind names none. `at_ms` is
    when it happened, `accepted_ms` when the message was accepted. `sub_type` is bounceSubType or complaintSubType.
    `tags` are those of the record itself: nobody changes them.
    """

    kind: str
    message_id: str
    account: str
    configuration_set: str
    identity_arn: str
    source: str
    tags: Mapping[str, Sequence[str]]
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
    record = event.outline
    mail = record["mail"]
    kind = event.kind
    name, listed = _BODIES[kind]
    body = record[name] if listed else record.get(name, {})
    tags = mail.get("tags", {})
    accepted_ms = milliseconds(mail["timestamp"])
    facts = Facts(
        kind,
        event.message_id,
        mail["sendingAccountId"],
        _first(tags.get(CONFIGURATION_SET)),
        mail.get("sourceArn", ""),
        mail.get("source", ""),
        tags,
        (_recipients(body[listed]) if listed in body else ()) or tuple(mail["destination"]),
        milliseconds(body["timestamp"]) if "timestamp" in body else accepted_ms,
        accepted_ms,
    )
    if kind not in _REPORTED:
        return facts
    return facts._replace(
        bounce_type=body.get("bounceType", ""),
        sub_type=body.get("bounceSubType") or body.get("complaintSubType") or "",
        feedback_id=body.get("feedbackId", ""),
    )


def _recipients(listed: Sequence[Any]) -> tuple[str, ...]:
    return tuple([each if isinstance(each, str) else each["emailAddress"] for each in listed])


def _first(values: Sequence[str] | None) -> str:
    return values[0] if values else ""


def configuration_set_of(mail: Mapping[str, Any]) -> str:
    """Return the configuration set of the `mail` object of a record, "" for none."""
    return _first(mail.get("tags", {}).get(CONFIGURATION_SET))


def milliseconds(text: str) -> int:
    """Return a timestamp of ours, such as 2026-11-26T01:02:03.004Z, as milliseconds since 1970."""
    return _second_of(text[:19]) * 1000 + int(text[20:23] or "0")


@lru_cache(maxsize=256)
def _second_of(text: str) -> int:
    """Return the second of a time such as 2026-11-26T01:02:03, since 1970. Raise ValueError."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
