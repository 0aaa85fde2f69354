"""Automatic replies as a mailbox writes them while its owner is away (RFC 3834)."""

from relay.mail.dsn import fold, printable
from relay.mail.feedback import Feedback
from relay.mail.scan import scan_body
from relay.mail.submitted import submitted_value
from relay.mail.trace import format_date, is_message_id
from relay.model.content import Content
from relay.model.message import Message

_TEXT = "I am out of the office and will read your message when I am back.\r\n"
SUBJECT_MAX_CHARS = 500


def write_auto_reply(  # noqa: PLR0917 - who, to whom, when
    message: Message, author: str, recipient: str, hostname: str, reply_id: str, now_ms: int
) -> Feedback:
    """Return the reply of `author` to `recipient`; its envelope sender is to be null (RFC 3834 section 3.3)."""
    original = submitted_value(message.mail_json, "message-id").strip()
    if not is_message_id(original.encode("utf-8", "replace")) or not original.isascii():
        original = f"<{message.message_id}@{hostname}>"
    subject = printable(submitted_value(message.mail_json, "subject"))[:SUBJECT_MAX_CHARS].strip()
    head = [
        f"From: <{author}>",
        f"To: <{recipient}>",
        fold(f"Subject: Auto: {subject}".rstrip()),
        f"Date: {format_date(now_ms)}",
        f"Message-ID: <{reply_id}@{hostname}>",
        f"In-Reply-To: {original}",
        f"References: {original}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
    ]
    top = ("\r\n".join(head) + "\r\n\r\n").encode()
    body = _TEXT.encode()
    return Feedback(recipient, Content(top, body), scan_body(body), smtputf8=not top.isascii())
