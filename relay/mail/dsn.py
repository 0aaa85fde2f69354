"""Delivery status notifications (RFC 3464) about our own failures: their values, and how they are written.

Written ones are ASCII whatever they report on: UTF-8 addresses as RFC 6533 xtext, UTF-8 header sections in base64.
They carry the header section of the message, cut at `ORIGINAL_MAX_BYTES`; its body only where the caller gives it
(RET=FULL). Those of others are read by `relay.mail.reading.status`.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from relay.mail.headers import Field, parse_head
from relay.mail.trace import format_date

ORIGINAL_MAX_BYTES = 32 * 1024
RECIPIENTS_MAX = 100  # that are read of a report, since each is judged; a return path is that of one recipient anyhow
FIELD_MAX_CHARS = 1000

_UNPRINTABLE = re.compile(r"[^ -~]+")
_NOT_XTEXT = re.compile(r"[^!-*,-<>-\[\]-~]")


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What a report says about one recipient; "" where it says nothing. `diagnostic` is `smtp; 550 ...`.

    `original_address` is read, `original_recipient` written: type and address as the submitter gave them (ORCPT).
    """

    address: str
    action: str = ""
    status: str = ""
    diagnostic: str = ""
    remote_mta: str = ""
    original_address: str = ""
    original_recipient: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A report read or to be written.

    `original` are header fields of the message it is about, maybe none. `envelope_id` is what the submitter gave
    (ENVID); `message_id` our own id of the message. `last_attempt_ms` and `retry_until_ms` are written where they are
    not 0.
    """

    reporting_mta: str
    recipients: tuple[RecipientStatus, ...]
    arrival_date: str = ""
    envelope_id: str = ""
    original: tuple[Field, ...] = ()
    message_id: str = ""
    last_attempt_ms: int = 0
    retry_until_ms: int = 0


# --- writing ---------------------------------------------------------------------------------------------------


def write_report(  # noqa: PLR0917 - the parts of a report
    head: Sequence[str], text: str, report: Report, original_head: bytes, boundary: str, original_body: bytes | None
) -> tuple[bytes, bytes]:
    """Return head and body of a multipart/report. `head` are complete field lines, `text` is for people (ASCII).

    `boundary` must not occur in the parts; a message id does not. With `original_body` the message goes back whole.
    """
    status = (
        "Content-Type: message/delivery-status\r\nContent-Description: Delivery report",
        _status_block(report),
    )
    return multipart_report(head, "delivery-status", text, status, original_head, boundary, original_body)


def multipart_report(  # noqa: PLR0917 - the parts of a report
    head: Sequence[str],
    report_type: str,
    text: str,
    report: tuple[str, str],
    original_head: bytes,
    boundary: str,
    original_body: bytes | None = None,
) -> tuple[bytes, bytes]:
    """Return head and body of a report (RFC 6522): text for people, for programs (label, content), and the original.

    The original is its header section, or the whole message where its body is given and the head is ASCII.
    """
    whole = original_body is not None and original_head.isascii()
    original = _whole_part(original_head, original_body or b"") if whole else _original_part(original_head)
    top = [
        *head,
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={report_type};\r\n\tboundary="{boundary}"',
        *(() if original[1].isascii() else ("Content-Transfer-Encoding: 8bit",)),
    ]
    described = "Content-Type: text/plain; charset=us-ascii\r\nContent-Description: Notification"
    parts = [
        *((label, content.encode("ascii", "replace")) for label, content in ((described, _lines(text)), report)),
        original,
    ]
    body = b"".join(
        b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary.encode(), label.encode(), content) for label, content in parts
    )
    # Field lines of the head may hold a UTF-8 address when the submitter has one.
    return ("\r\n".join(top) + "\r\n\r\n").encode(), body + f"--{boundary}--\r\n".encode()


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _status_block(report: Report) -> str:
    blocks = [[f"Reporting-MTA: dns; {printable(report.reporting_mta)}"]]
    if report.envelope_id:
        blocks[0].append(f"Original-Envelope-Id: {printable(report.envelope_id)}")
    if report.message_id:
        blocks[0].append(f"X-Relay-Message-ID: {printable(report.message_id)}")
    if report.arrival_date:
        blocks[0].append(f"Arrival-Date: {printable(report.arrival_date)}")
    for each in report.recipients:
        lines = [
            *((f"Original-Recipient: {printable(each.original_recipient)}",) if each.original_recipient else ()),
            f"Final-Recipient: {typed_address(each.address)}",
            f"Action: {each.action or 'failed'}",
            f"Status: {each.status or '5.0.0'}",
        ]
        if each.remote_mta:
            lines.append(f"Remote-MTA: dns; {printable(each.remote_mta)}")
        if each.diagnostic:
            lines.append(fold(f"Diagnostic-Code: {printable(each.diagnostic)}"))
        if report.last_attempt_ms:
            lines.append(f"Last-Attempt-Date: {format_date(report.last_attempt_ms)}")
        if report.retry_until_ms:
            lines.append(f"Will-Retry-Until: {format_date(report.retry_until_ms)}")
        blocks.append(lines)
    return "\r\n\r\n".join("\r\n".join(lines) for lines in blocks) + "\r\n"


def printable(text: str) -> str:
    """Return a text as one bounded line of printable ASCII."""
    return _UNPRINTABLE.sub("?", text)[:FIELD_MAX_CHARS]


def fold(line: str) -> str:
    """Fold a field line at blanks so that most of its lines are under 78 characters."""
    lines, current = [], ""
    for word in line.split(" "):
        if current and len(current) + len(word) > 76:  # noqa: PLR2004 - RFC 5322 section 2.1.1
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}" if current else word
    lines.append(current)
    return "\r\n\t".join(each for each in lines if each.strip())


def typed_address(address: str) -> str:
    """Return an address with its type, as fields of reports name it."""
    if address.isascii():
        return f"rfc822; {printable(address)}"
    # utf-8-addr-xtext, RFC 6533 section 3
    return "utf-8; " + _NOT_XTEXT.sub(lambda char: f"\\x{{{ord(char.group()):X}}}", address)


def cut_head(head: bytes, size_max_bytes: int = ORIGINAL_MAX_BYTES) -> bytes:
    """Return a header section of at most `size_max_bytes`, cut between fields where possible (K07)."""
    if len(head) <= size_max_bytes:
        return head
    kept: list[bytes] = []
    size = 2
    fields = parse_head(head, smtputf8=True)
    for field in fields if isinstance(fields, list) else ():
        size += len(field.raw)
        if size > size_max_bytes:
            break
        kept.append(field.raw)
    return b"".join(kept) + b"\r\n"


def _whole_part(head: bytes, body: bytes) -> tuple[str, bytes]:
    coding = "" if body.isascii() else "Content-Transfer-Encoding: 8bit\r\n"
    return f"Content-Type: message/rfc822\r\n{coding}Content-Description: The message", head + body


def _original_part(head: bytes) -> tuple[str, bytes]:
    head = cut_head(head)
    description = "Content-Description: Header section of the message"
    if head.isascii():
        return f"Content-Type: text/rfc822-headers\r\n{description}", head
    coded = base64.encodebytes(head).replace(b"\n", b"\r\n")
    label = f"Content-Type: message/global-headers\r\nContent-Transfer-Encoding: base64\r\n{description}"
    return label, coded


def untyped(value: str) -> str:
    """Return the address of a `type; address` field; brackets around it vanish."""
    kind, separator, address = value.partition(";")
    text = (address if separator else kind).strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if kind.strip().lower() == "utf-8":
        text = re.sub(r"\\x\{([0-9A-Fa-f]{1,6})\}", _character, text)
    return text


def _character(matched: re.Match[str]) -> str:
    number = int(matched.group(1), 16)
    return chr(number) if 0x20 < number < 0x110000 and not 0xD800 <= number < 0xE000 else "?"  # noqa: PLR2004 - Unicode
