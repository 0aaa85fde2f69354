"""A plain letter of the relay's own to a contact of an account."""

import secrets
from collections.abc import Sequence
from textwrap import wrap

from relay.mail.trace import format_date
from relay.model.content import Content

WIDTH = 76


def account_letter(
    hostname: str, recipient: str, subject: str, paragraphs: Sequence[str], *, now_ms: int, unique: str
) -> Content:
    """Return a letter in ASCII, to be queued with the null sender; `unique` makes its Message-ID one of its own."""
    head = (
        f"From: Mail Relay <postmaster@{hostname}>\r\n"
        f"To: <{recipient}>\r\n"
        f"Subject: {_plain(subject)}\r\n"
        f"Date: {format_date(now_ms)}\r\n"
        f"Message-ID: <{unique}@{hostname}>\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    )
    lines = [line for paragraph in paragraphs for line in (*(wrap(_plain(paragraph), WIDTH) or [""]), "")]
    body = "".join(f"{line}\r\n" for line in lines)
    return Content(head.encode("ascii", "replace"), body.encode("ascii", "replace"))


def new_unique() -> str:
    """Return what makes a Message-ID one of its own."""
    return secrets.token_hex(12)


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
