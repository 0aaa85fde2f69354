"""Complaints in the form of feedback loops (RFC 5965, "ARF"), written; `relay.mail.classify` reads them.

Written ones carry the header section of the message, never its body, and name the recipients openly.
"""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from relay.mail.dsn import multipart_report, printable, typed_address
from relay.mail.feedback import Feedback
from relay.mail.scan import scan_body
from relay.mail.trace import format_date
from relay.model.content import Content
from relay.model.message import Message

USER_AGENT = "Relay-Mailbox-Simulator/1.0"


@dataclass(frozen=True, slots=True)
class ComplaintReport:
    """Who complained of a message: `feedback_type` is one of RFC 5965 section 7.3, `arrived_ms` when it came."""

    recipients: tuple[str, ...]
    feedback_type: str
    arrived_ms: int


def write_complaint(  # noqa: PLR0917 - a report is about this much
    message: Message, report: ComplaintReport, original_head: bytes, hostname: str, report_id: str, now_ms: int
) -> Feedback:
    """Return the report that a mailbox provider would send to the sender of `message`."""
    head = [
        f"From: <{report.recipients[0]}>",
        f"To: <{message.sender}>",
        "Subject: Complaint about a message",
        f"Date: {format_date(now_ms)}",
        f"Message-ID: <{report_id}@{hostname}>",
        "Auto-Submitted: auto-generated",
    ]
    named = "".join(f"    {printable(each)}\n" for each in report.recipients)
    text = (
        "This is a report about a message that these recipients called unsolicited:\n\n"
        f"{named}\nMessage id: {message.message_id}\n"
    )
    lines = [
        f"Feedback-Type: {report.feedback_type}",
        f"User-Agent: {USER_AGENT}",
        "Version: 1",
        f"Original-Mail-From: <{printable(message.sender)}>",
        *(f"Original-Rcpt-To: {typed_address(each)}" for each in report.recipients),
        f"Arrival-Date: {format_date(report.arrived_ms)}",
        f"Reporting-MTA: dns; {hostname}",
    ]
    part = ("Content-Type: message/feedback-report", "\r\n".join(lines) + "\r\n")
    top, body = multipart_report(head, "feedback-report", text, part, original_head, f"report-{report_id}")
    return Feedback(message.sender, Content(top, body), scan_body(body), smtputf8=not top.isascii())


def date_ms(text: str) -> int:
    """Return the date of a report's field in milliseconds since 1970, 0 when it is none."""
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1000)
    except (ValueError, OverflowError, TypeError):
        return 0
