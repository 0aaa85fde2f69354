"""Mail that the relay writes to submitters about their messages: failures now, other feedback later.

Every such mail is a multipart/report to the message's sender with the null sender as its envelope sender and
`Auto-Submitted: auto-generated` (HDR-021), so that nothing answers it. It holds the header section of the message,
never its body (NOTIF-008). Whether one is to be sent at all (null-sender mail, rate limits, settings) is decided
by the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from relay.mail.dsn import RecipientStatus, Report, fold, printable, write_report
from relay.mail.scan import scan_body
from relay.mail.trace import format_date
from relay.model.content import BodyFacts, Content
from relay.model.message import Message
from relay.model.outcome import Outcome

REPORTED_MAX = 100  # recipients named in one report


class Cause(Enum):
    """Why a report is written."""

    FAILED = "failed"  # a server, or the relay itself, refused the message for good
    EXPIRED = "expired"  # retrying ended
    RETURNED = "returned"  # a bounce came back after the message was delivered


_OPENING = {
    Cause.FAILED: "Your message could not be delivered to the recipients below. It will not be tried again.",
    Cause.EXPIRED: "Your message could not be delivered to the recipients below in the time allowed."
    " It will not be tried again.",
    Cause.RETURNED: "Your message was handed over, and later a report came back that it was not delivered to the"
    " recipients below.",
}
_SUBJECT = {
    Cause.FAILED: "Undelivered mail: delivery failed",
    Cause.EXPIRED: "Undelivered mail: time for delivery is over",
    Cause.RETURNED: "Undelivered mail: returned after delivery",
}


@dataclass(frozen=True, slots=True)
class Feedback:
    """A mail to `recipient`, to be queued with the null sender; `smtputf8` when its address needs that."""

    recipient: str
    content: Content
    facts: BodyFacts
    smtputf8: bool


def status_of(recipient: str, outcome: Outcome, *, expired: bool = False) -> RecipientStatus:
    """Return a failed attempt as a report says it (RFC 3464 section 2.3)."""
    fallback = "5.4.7" if expired else "5.0.0"
    status = outcome.enhanced or fallback
    # Delivery has failed for good, whatever the last reply said: its class becomes 5 (RFC 3463 section 2).
    status = f"5{status[1:]}" if status[:1] in ("2", "4") else status
    diagnostic = f"smtp; {outcome.reply}" if outcome.code else f"x-relay; {outcome.reply}"
    return RecipientStatus(recipient, "failed", status, diagnostic, outcome.remote_host)


def write_feedback(  # noqa: PLR0917 - a report is about this much
    cause: Cause,
    message: Message,
    recipients: Sequence[RecipientStatus],
    original_head: bytes,
    hostname: str,
    report_id: str,
    now_ms: int,
) -> Feedback:
    """Return the mail that tells the sender of `message` about `recipients`; `report_id` is its own message id."""
    named = tuple(recipients[:REPORTED_MAX])
    lines = [_OPENING[cause], ""]
    for each in named:
        lines += [f"    {_shown(each.address)}", *_reason(each), ""]
    if len(recipients) > len(named):
        lines += [f"and {len(recipients) - len(named)} more.", ""]
    lines += [f"Message id: {message.message_id}", f"Accepted:   {format_date(message.accepted_ms)}"]
    lines += ["", f"This report was written by the mail relay at {hostname}."]
    head = [
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: <{message.sender}>",
        f"Subject: {_SUBJECT[cause]}",
        f"Date: {format_date(now_ms)}",
        f"Message-ID: <{report_id}@{hostname}>",
        f"In-Reply-To: <{message.message_id}@{hostname}>",
        "Auto-Submitted: auto-generated",
    ]
    report = Report(hostname, named, format_date(message.accepted_ms), message.message_id)
    top, body = write_report(head, "\n".join(lines), report, original_head, f"report-{report_id}", now_ms)
    return Feedback(message.sender, Content(top, body), scan_body(body), smtputf8=not top.isascii())


def _reason(status: RecipientStatus) -> list[str]:
    host = f" by {printable(status.remote_mta)}" if status.remote_mta else ""
    said = printable(status.diagnostic.partition(";")[2].strip() or status.diagnostic) or "no reason was given"
    return [f"        {line.strip()}" for line in fold(f"refused{host}: {said}").split("\r\n")]


def _shown(address: str) -> str:
    return printable(address) if address.isascii() else address.encode("ascii", "backslashreplace").decode()
