"""Notifications of an identity's topics, made from the records of events (feedback.md section 3, NOTIF-012, 014).

Pure. The kind object is that of the event; `mail` says who called instead of what tags there are (TAG-006), and has
headers only where that was asked for.
"""

from typing import Any

import orjson

from relay.model.event import LoggedEvent
from relay.model.feedback import FeedbackKind

_HEADERS = ("headersTruncated", "headers", "commonHeaders")
_TAGGED = {"sourceIp": "ses:source-ip", "callerIdentity": "ses:caller-identity"}
_ORDER = (
    "timestamp",
    "messageId",
    "source",
    "sourceArn",
    "sourceIp",
    "sendingAccountId",
    "callerIdentity",
    "destination",
    *_HEADERS,
)
_BODY = {FeedbackKind.BOUNCE: "bounce", FeedbackKind.COMPLAINT: "complaint", FeedbackKind.DELIVERY: "delivery"}


def notification(event: LoggedEvent, *, headers: bool) -> bytes:
    """Return the notification of an event of one of the three kinds, as JSON without a newline."""
    kind = FeedbackKind(event.kind)
    record, name = event.record, _BODY[FeedbackKind(event.kind)]
    body: dict[str, Any] = dict(record[name])
    remote = event.note.get("remoteMtaIp", "")
    if kind is FeedbackKind.DELIVERY or (kind is FeedbackKind.BOUNCE and remote):
        body["remoteMtaIp"] = remote
    mail = _mail(record["mail"], headers=headers)
    return orjson.dumps({"notificationType": str(kind), "mail": mail, name: body})


def _mail(mail: dict[str, Any], *, headers: bool) -> dict[str, Any]:
    tags = mail["tags"]
    known = {**mail, **{name: (tags.get(tag) or [""])[0] for name, tag in _TAGGED.items()}}
    return {name: known[name] for name in _ORDER if name in known and (headers or name not in _HEADERS)}
