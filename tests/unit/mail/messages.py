"""Messages for tests."""

from relay.mail.scan import scan_body
from relay.model.content import Content
from relay.model.message import Message, Protocol, Submission

MESSAGE_ID = "00010193abcdef01-01234567-89ab-4def-8123-456789abcdef-000000"
NOW_MS = 1_795_405_103_000  # Mon, 23 Nov 2026 03:38:23 UTC
DATE = "Mon, 23 Nov 2026 03:38:23 +0000"

HEAD = (
    b"From: App <app@sender.example>\r\n"
    b"To: someone@rcpt.example\r\n"
    b"Subject: A message\r\n of two lines \r\n"
    b"Date: Mon, 23 Nov 2026 01:00:00 +0100\r\n"
    b"Message-ID: <abc.123@sender.example>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"X-Mailer:  app 1.0\r\n"
    b"\r\n"
)


def submission(
    head: bytes = HEAD, body: bytes = b"Hello\r\n", *, smtputf8: bool = False, **changes: object
) -> Submission:
    values: dict[str, object] = {
        "account": "000000000001",
        "principal": "user",
        "sender": "app@sender.example",
        "recipients": ("someone@rcpt.example",),
        "content": Content(head, body),
        "facts": scan_body(body),
        "protocol": Protocol.ESMTPSA,
        "smtputf8": smtputf8,
        "source_address": "192.0.2.1",
        "helo": "client.example",
        **changes,
    }
    return Submission(**values)  # type: ignore[arg-type]


def message(sender: str = "app@sender.example", mail_json: bytes = b"{}") -> Message:
    return Message(1, MESSAGE_ID, "000000000001", sender, NOW_MS, NOW_MS + 1000, 100, False, False, mail_json)
