"""What a message that arrives at a return path is: bounce, delay, success, complaint, auto-reply, or none of these.

Reads the standard forms: RFC 3464 reports, RFC 5965 feedback reports (ARF), RFC 3834 marks of automatic replies.
Which message it is about is told by the return path it came to; the message id here is only what the report says,
and proves nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.mail.dsn import (
    RECIPIENTS_MAX,
    REPORT_MAX_BYTES,
    REPORT_PARTS_MAX,
    RecipientStatus,
    Report,
    decoded,
    read_blocks,
    read_report,
    untyped,
)
from relay.mail.headers import Field
from relay.mail.mime import find, media_type, read_part, split_parts, transfer_encoding
from relay.mail.replies import UNDETERMINED, Bounce, bounce_of, delay_type_of, judge_reply
from relay.model.ids import is_message_id

COMPLAINT_TYPES = frozenset(("abuse", "auth-failure", "fraud", "not-spam", "other", "virus"))
_REPLY_CODE = re.compile(r"(?:^|[;\s])([245]\d\d)(?:[ -]|$)")
_OUR_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d{6}")
_AUTO_SUBJECT = re.compile(
    r"\s*(?:auto(?:matic)?[- :]?(?:reply|response|replied)|out of (?:the )?office)", re.IGNORECASE
)
_AUTO_MARKS = (b"x-autoreply", b"x-autorespond", b"x-autoresponse")


__all__ = ["Bounce", "Classification", "Complaint", "bounce_of", "bounce_of_recipient", "classify", "delay_type_of"]


@dataclass(frozen=True, slots=True)
class Complaint:
    """A feedback report (RFC 5965); "" and empty where it says nothing."""

    feedback_type: str
    user_agent: str = ""
    arrival_date: str = ""
    recipients: tuple[str, ...] = ()
    original: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Classification:
    """What a message is. `kind`: bounce, delay, complaint, auto-reply, success or none; `rule` says what decided."""

    kind: str
    rule: str
    message_id: str = ""
    recipients: tuple[RecipientStatus, ...] = ()
    bounce: Bounce | None = None
    report: Report | None = field(default=None, repr=False)
    complaint: Complaint | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, object]:
        """Return the object that `relay classify` prints."""
        return {
            "kind": self.kind,
            "messageId": self.message_id or None,
            "recipients": [
                {
                    "emailAddress": each.address,
                    "status": each.status or None,
                    "diagnosticCode": each.diagnostic or None,
                }
                for each in self.recipients
            ],
            "bounceType": self.bounce.bounce_type if self.bounce else None,
            "bounceSubType": self.bounce.bounce_sub_type if self.bounce else None,
            "complaintFeedbackType": self.complaint.feedback_type or None if self.complaint else None,
            "rule": self.rule,
        }


def classify(content: bytes) -> Classification:
    """Return what a whole message (head and body, CRLF lines) is; over 1 MiB only its head is looked at."""
    if b"\r\n" not in content[:REPORT_MAX_BYTES]:
        content = content[: 2 * REPORT_MAX_BYTES].replace(b"\n", b"\r\n")  # a file of lines that end as files do
    top = read_part(content, 0, len(content))
    if top.fields is None:
        return Classification("none", "no header section")
    if len(content) <= REPORT_MAX_BYTES and media_type(top.fields).kind == "multipart/report":
        complaint = _read_complaint(content)
        if complaint is not None:
            return _of_complaint(complaint)
        report = read_report(content)
        if report is not None:
            return _of_report(report)
    rule = _auto_rule(top.fields)
    if rule:
        return Classification("auto-reply", rule, _original_id(top.fields))
    return Classification("none", "no standard form")


def bounce_of_recipient(status: RecipientStatus) -> Bounce:
    """Return the bounce kind of one recipient of a report, by its diagnostic and its status."""
    code = _REPLY_CODE.search(status.diagnostic)
    return judge_reply(int(code.group(1)) if code else 0, status.status, status.diagnostic)


def _of_report(report: Report) -> Classification:
    message_id = _original_id(report.original)
    for kind, actions in (("bounce", ("failed", "")), ("delay", ("delayed",))):
        chosen = tuple(each for each in report.recipients if each.action in actions)
        if chosen:
            bounce = _worst(chosen) if kind == "bounce" else None
            return Classification(kind, f"RFC 3464 {kind}", message_id, chosen, bounce, report)
    if all(each.action in ("delivered", "relayed", "expanded") for each in report.recipients):
        return Classification("success", "RFC 3464 success", message_id, report.recipients, None, report)
    return Classification("none", "RFC 3464 with an unknown action", message_id, report.recipients, None, report)


def _worst(recipients: Sequence[RecipientStatus]) -> Bounce:
    """One report, one kind: a permanent failure stands before a transient one, that before an unknown one."""
    kinds = [bounce_of_recipient(each) for each in recipients]
    for wanted in ("Permanent", "Transient"):
        for kind in kinds:
            if kind.bounce_type == wanted:
                return kind
    return UNDETERMINED


def _of_complaint(complaint: Complaint) -> Classification:
    recipients = tuple(RecipientStatus(address) for address in complaint.recipients)
    message_id = _original_id(complaint.original)
    return Classification("complaint", "RFC 5965", message_id, recipients, None, None, complaint)


def _read_complaint(content: bytes) -> Complaint | None:
    top = read_part(content, 0, len(content))
    kind = media_type(top.fields or [])
    if kind.parameters.get("report-type", "").lower() != "feedback-report":
        return None
    span = split_parts(content, top.body, len(content), kind.boundary, REPORT_PARTS_MAX)
    about: dict[str, str] = {}
    addresses: tuple[str, ...] = ()
    original: tuple[Field, ...] = ()
    for part in span.parts if span else ():
        if part.fields is None:
            continue
        name = media_type(part.fields).kind
        data = decoded(content[part.body : part.end], transfer_encoding(part.fields))
        if name == "message/feedback-report" and not about:
            about = (read_blocks(data) or [{}])[0]
            addresses = _complained(data)
        elif name in ("message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers"):
            original = original or tuple(read_part(data, 0, len(data)).fields or ())
    if "feedback-type" not in about:
        return None
    feedback_type = about["feedback-type"].lower()
    return Complaint(
        feedback_type if feedback_type in COMPLAINT_TYPES else "other",
        about.get("user-agent", ""),
        about.get("arrival-date") or about.get("received-date", ""),
        addresses,
        original,
    )


def _complained(data: bytes) -> tuple[str, ...]:
    """Return the Original-Rcpt-To values; they may repeat (RFC 5965 section 3.2)."""
    fields = read_part(data.strip(b"\r\n") + b"\r\n\r\n", 0, len(data) + 4).fields or []
    values = [each.value.decode("utf-8", "replace") for each in fields if each.key == b"original-rcpt-to"]
    return tuple(dict.fromkeys(untyped(value) for value in values[:RECIPIENTS_MAX]))


def _original_id(fields: Sequence[Field]) -> str:
    """Return the message id of ours that header fields carry, in Message-ID or in Received (SMTP-032)."""
    for key in (b"message-id", b"received", b"in-reply-to", b"references"):
        for each in fields:
            found = _OUR_ID.search(each.value.decode("latin-1")) if each.key == key else None
            if found and is_message_id(found.group()):
                return found.group()
    return ""


def _auto_rule(fields: Sequence[Field]) -> str:
    """Say which mark of an automatic reply a message bears (RFC 3834 section 5), "" for none."""
    submitted = find(fields, b"auto-submitted")
    if submitted is not None and not submitted.value.lower().startswith(b"no"):
        return "RFC 3834 Auto-Submitted"
    for key in _AUTO_MARKS:
        if find(fields, key) is not None:
            return key.decode("ascii").title()
    precedence = find(fields, b"precedence")
    if precedence is not None and precedence.value.lower().strip() == b"auto_reply":
        return "Precedence auto_reply"
    subject = find(fields, b"subject")
    if subject is not None and _AUTO_SUBJECT.match(subject.value.decode("latin-1")):
        return "subject of an automatic reply"
    return ""
