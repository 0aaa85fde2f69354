"""Header sections of feedback that goes on to a sender (NOTIF-007, NOTIF-008)."""

import orjson

from relay.mail.headers import Field, join_head, parse_head
from relay.model.refusal import Refusal


def forwarded_head(head: bytes, hostname: str) -> bytes:
    """Return the header section of a report with its author replaced by the relay's mailer-daemon (NOTIF-007).

    The author of the report stays readable as X-Original-From. A section that cannot be read stays as it is.
    """
    fields = parse_head(head, smtputf8=True)
    if isinstance(fields, Refusal):
        return head
    author = b"From: Mail Delivery System <MAILER-DAEMON@%b>\r\n" % hostname.encode()
    kept = [field for field in fields if field.key not in (b"from", b"sender", b"x-original-from")]
    reporters = [Field(b"x-original-from", b"X-Original-" + field.raw) for field in fields if field.key == b"from"][
        :1
    ]
    return join_head([Field(b"from", author), *reporters, *kept])


def submitted_head(mail_json: bytes) -> bytes:
    """Return the submitted header section, rebuilt from the `mail` object of a message; empty without one."""
    if not mail_json:
        return b""
    lines = [f"{each['name']}: {each['value']}\r\n" for each in orjson.loads(mail_json).get("headers", ())]
    return "".join(lines).encode()
