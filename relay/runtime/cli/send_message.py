"""Builds the message of `relay send`: from options, or from a file that is already a message."""

import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, localtime, make_msgid
from pathlib import Path

from relay.errors import UsageError

INPUT_MAX_BYTES = 200 * 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\r|\n")
_FIELD_NAME = re.compile(r"[!-9;-~]+\Z")


@dataclass(frozen=True, slots=True)
class Draft:
    """What to send. `raw` is a whole message from a file, sent as it is; the other parts are ignored then."""

    sender: str
    recipients: tuple[str, ...]
    subject: str = ""
    body: str = ""
    html: str = ""
    attachments: tuple[Path, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes = b""


def parse_header(option: str) -> tuple[str, str]:
    """Return name and value of a `--header "Name: value"` option."""
    name, colon, value = option.partition(":")
    if not colon or not _FIELD_NAME.match(name) or "\n" in value or "\r" in value:
        raise UsageError(f'--header takes one "Name: value" line, not {option!r}.')
    return name, value.strip()


def with_crlf(raw: bytes) -> bytes:
    """Return a message with every kind of line end made CRLF, the last line included (RFC 5321 section 2.3.8)."""
    text = _LINE_END.sub(b"\r\n", raw)
    return text if text.endswith(b"\r\n") else text + b"\r\n"


def render(draft: Draft, number: int, count: int) -> bytes:
    """Return message `number` of `count`, from 1, as it goes on the wire."""
    if draft.raw:
        return draft.raw
    unicode_addresses = not all(address.isascii() for address in (draft.sender, *draft.recipients))
    message = EmailMessage(policy=SMTPUTF8 if unicode_addresses else SMTP)
    given = {name.lower() for name, _ in draft.headers}
    _set_default(message, given, "From", draft.sender)
    _set_default(message, given, "To", ", ".join(draft.recipients))
    _set_default(message, given, "Subject", draft.subject if count == 1 else f"{draft.subject} ({number}/{count})")
    _set_default(message, given, "Date", format_datetime(localtime()))
    _set_default(message, given, "Message-ID", make_msgid(domain=_domain(draft.sender)))
    try:
        for name, value in draft.headers:
            message[name] = value
        _set_content(message, draft)
        return message.as_bytes()
    except (ValueError, UnicodeError, LookupError) as error:
        raise UsageError(f"The message cannot be built: {error}.") from error


def _set_default(message: EmailMessage, given: set[str], name: str, value: str) -> None:
    if name.lower() in given:
        return
    try:
        message[name] = value
    except (ValueError, IndexError, UnicodeError) as error:
        raise UsageError(f"{name} cannot be {value!r}: {error}.") from error


def _domain(sender: str) -> str:
    domain = sender.rpartition("@")[2].strip("<> ")
    return domain if domain.isascii() and domain else "localhost"


def _set_content(message: EmailMessage, draft: Draft) -> None:
    if draft.body or not draft.html:
        message.set_content(draft.body)
    if draft.html and draft.body:
        message.add_alternative(draft.html, subtype="html")
    elif draft.html:
        message.set_content(draft.html, subtype="html")
    for path in draft.attachments:
        main, _, sub = (mimetypes.guess_type(path.name)[0] or "application/octet-stream").partition("/")
        message.add_attachment(read_limited(path), maintype=main, subtype=sub, filename=path.name)


def read_limited(path: Path) -> bytes:
    """Return a file's octets; refuse what no mail could carry."""
    with path.open("rb") as stream:
        data = stream.read(INPUT_MAX_BYTES + 1)
    if len(data) > INPUT_MAX_BYTES:
        raise UsageError(f"{path} is larger than {INPUT_MAX_BYTES // 1024 // 1024} MB.")
    return data


def recipients_of(raw: bytes) -> Sequence[str]:
    """Return the addresses in To, Cc and Bcc of a message file, for an envelope that was not given."""
    from email import message_from_bytes  # noqa: PLC0415
    from email.utils import getaddresses  # noqa: PLC0415

    message = message_from_bytes(raw)
    fields = [str(value) for name in ("to", "cc", "bcc") for value in message.get_all(name, [])]
    return [address for _, address in getaddresses(fields) if address]


def sender_of(raw: bytes) -> str:
    """Return the address in From of a message file, "" when it has none."""
    from email import message_from_bytes  # noqa: PLC0415
    from email.utils import parseaddr  # noqa: PLC0415

    return parseaddr(str(message_from_bytes(raw).get("from", "")))[1]
