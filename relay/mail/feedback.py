"""Mail that the relay writes to submitters about their messages: failures, and what else they asked to be told of.

Every such mail is a multipart/report to the message's sender with the null sender as its envelope sender and
`Auto-Submitted: auto-generated` (HDR-021), so that nothing answers it. It holds the header section of the message
(NOTIF-008), and its body only when the submitter asked for that, of a failure (RET=FULL). Whether one is to be sent
at all (null-sender mail, rate limits, what was asked for) is decided by the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from relay.mail.dsn import RecipientStatus, Report, fold, printable, write_report
from relay.mail.scan import scan_body
from relay.mail.trace import format_date
from relay.model.content import BodyFacts, Content
from relay.model.message import Message
from relay.model.notification import decode_xtext, original_recipient
from relay.model.outcome import Outcome

REPORTED_MAX = 100  # recipients named in one report


class Cause(Enum):
    """Why a report is written."""

    FAILED = "failed"  # a server, or the relay itself, refused the message for good
    EXPIRED = "expired"  # retrying ended
    RETURNED = "returned"  # a bounce came back after the message was delivered
    DELAYED = "delayed"  # it was not delivered yet, and is tried further
    RELAYED = "relayed"  # it was handed to a host that will report nothing more
    DELIVERED = "delivered"  # it reached its recipient

    @property
    def failure(self) -> bool:
        """True when nothing more will be tried."""
        return self in (Cause.FAILED, Cause.EXPIRED, Cause.RETURNED)


_OPENING = {
    Cause.FAILED: "Your message could not be delivered to the recipients below. It will not be tried again.",
    Cause.EXPIRED: "Your message could not be delivered to the recipients below in the time allowed."
    " It will not be tried again.",
    Cause.RETURNED: "Your message was handed over, and later a report came back that it was not delivered to the"
    " recipients below.",
    Cause.DELAYED: "Your message could not be delivered to the recipients below yet. You need not send it again: it"
    " will be tried further.",
    Cause.RELAYED: "Your message was handed to the mail systems of the recipients below, which do not report on what"
    " becomes of it.",
    Cause.DELIVERED: "Your message was delivered to the recipients below.",
}
_SUBJECT = {
    Cause.FAILED: "Undelivered mail: delivery failed",
    Cause.EXPIRED: "Undelivered mail: time for delivery is over",
    Cause.RETURNED: "Undelivered mail: returned after delivery",
    Cause.DELAYED: "Delayed mail: not delivered yet",
    Cause.RELAYED: "Delivery report: handed over",
    Cause.DELIVERED: "Delivery report: delivered",
}


@dataclass(frozen=True, slots=True)
class Feedback:
    """A mail to `recipient`, to be queued with the null sender; `smtputf8` when its address needs that."""

    recipient: str
    content: Content
    facts: BodyFacts
    smtputf8: bool


def status_of(recipient: str, outcome: Outcome, cause: Cause = Cause.FAILED, wishes: str = "") -> RecipientStatus:
    """Return an attempt as a report says it (RFC 3464 section 2.3); `wishes` are those of the recipient."""
    action, kind, fallback = _ACTIONS[cause]
    # Delivery has failed for good, or has not failed, whatever the last reply said: so says the class of the status
    # (RFC 3463 section 2).
    status = f"{kind}{outcome.enhanced[1:]}" if outcome.enhanced else fallback
    diagnostic = f"smtp; {outcome.reply}" if outcome.code else f"x-relay; {outcome.reply}"
    return RecipientStatus(
        recipient, action, status, diagnostic, outcome.remote_host, original_recipient=original_field(wishes)
    )


_ACTIONS = {
    Cause.FAILED: ("failed", "5", "5.0.0"),
    Cause.EXPIRED: ("failed", "5", "5.4.7"),
    Cause.RETURNED: ("failed", "5", "5.0.0"),
    Cause.DELAYED: ("delayed", "4", "4.4.7"),
    Cause.RELAYED: ("relayed", "2", "2.0.0"),
    Cause.DELIVERED: ("delivered", "2", "2.0.0"),
}


def original_field(wishes: str) -> str:
    """Return the Original-Recipient field of ORCPT: its xtext decoded (RFC 3461 section 6.3)."""
    kind, _, address = original_recipient(wishes).partition(";")
    if not address:
        return ""
    return f"{kind}; {address if kind.lower() == 'utf-8' else decode_xtext(address)}"


def write_feedback(  # noqa: PLR0917 - a report is about this much
    cause: Cause,
    message: Message,
    recipients: Sequence[RecipientStatus],
    original_head: bytes,
    hostname: str,
    report_id: str,
    now_ms: int,
    original_body: bytes | None = None,
) -> Feedback:
    """Return the mail that tells the sender of `message` about `recipients`; `report_id` is its own message id.

    The message goes back whole where its body is given, it failed and RET=FULL asked for it (RFC 3461 section 4.3).
    """
    named = tuple(recipients[:REPORTED_MAX])
    lines = [_OPENING[cause], ""]
    for each in named:
        lines += [f"    {_shown(each.address)}", *_reason(each, cause), ""]
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
    report = Report(
        hostname,
        named,
        format_date(message.accepted_ms),
        decode_xtext(message.options.envelope_id),
        message_id=message.message_id,
        last_attempt_ms=now_ms,
        retry_until_ms=message.expires_ms if cause is Cause.DELAYED else 0,
    )
    whole = cause.failure and message.options.ret == "FULL" and original_head
    returned = original_body if whole else None
    top, body = write_report(head, "\n".join(lines), report, original_head, f"report-{report_id}", returned)
    return Feedback(message.sender, Content(top, body), scan_body(body), smtputf8=not top.isascii())


def _reason(status: RecipientStatus, cause: Cause) -> list[str]:
    host = f" by {printable(status.remote_mta)}" if status.remote_mta else ""
    verb = "refused" if cause.failure else _ACTIONS[cause][0]
    said = printable(status.diagnostic.partition(";")[2].strip() or status.diagnostic) or "no reason was given"
    return [f"        {line.strip()}" for line in fold(f"{verb}{host}: {said}").split("\r\n")]


def _shown(address: str) -> str:
    return printable(address) if address.isascii() else address.encode("ascii", "backslashreplace").decode()
