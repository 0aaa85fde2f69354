"""Strict reading of the parameters of MAIL and RCPT (RFC 5321 section 4.1.2 and the extensions named below).

Each keyword has one reader in a table; a keyword whose extension is not offered is unknown (555). Every reader takes
the value as bytes (None: no value) and returns what it is worth, or None when it is malformed (501).
A new extension adds its keyword and its reader here, and a field to what they are gathered in.
"""

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from relay.model.notification import NO_WISHES, NOTIFY_WORDS, DeliverBy, Wishes, decode_xtext, recipient_wishes
from relay.smtp.server import reply
from relay.smtp.server.reply import Reply

DSN: Final = "DSN"
SMTPUTF8: Final = "SMTPUTF8"
FUTURERELEASE: Final = "FUTURERELEASE"
DELIVERBY: Final = "DELIVERBY"
REQUIRETLS: Final = "REQUIRETLS"

ENVELOPE_ID_MAX = 100  # RFC 3461 section 4.4
ORIGINAL_MAX = 500  # RFC 3461 section 4.2

_ASCII_PARAMETER: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?\Z")
_PARAMETER: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\xff]+))?\Z")  # RFC 6531
_XTEXT: Final = re.compile(rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})+\Z")  # RFC 3461 section 4
_SIZE: Final = re.compile(rb"[0-9]{1,20}\Z")  # RFC 1870 section 3
_ORIGINAL: Final = re.compile(rb"([A-Za-z0-9!#$%&'*/?^_`{|}~-]+);(.+)\Z", re.DOTALL)
# utf-8-addr-xtext and utf-8-addr-unitext, RFC 6533 section 3
_UNICODE: Final = re.compile(r"(?:[!-*,-<>-\[\]-~\u0080-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})+\Z")
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-F]+)\}")
_INTERVAL: Final = re.compile(rb"[1-9][0-9]{0,8}\Z")  # RFC 4865 section 4
_UNTIL: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", re.IGNORECASE)
_BY: Final = re.compile(rb"([+-]?[0-9]{1,9});([RrNn])([Tt])?\Z")  # RFC 2852 section 4


@dataclass(slots=True)
class MailParameters:
    """What the parameters of one MAIL command say."""

    size_bytes: int = 0
    smtputf8: bool = False
    ret: str = ""
    envelope_id: str = ""
    hold_seconds: int = 0
    hold_until_ms: int = 0
    deliver_by: DeliverBy | None = None
    requiretls: bool = False

    @property
    def wishes(self) -> Wishes:
        """What was asked for, as the submission carries it."""
        found = Wishes(
            self.ret, self.envelope_id, self.hold_seconds, self.hold_until_ms, self.deliver_by, self.requiretls
        )
        return NO_WISHES if found == NO_WISHES else found


def mail_parameters(text: bytes, offered: frozenset[str]) -> MailParameters | Reply:
    """Read the parameters of MAIL; `offered` are the extensions that this session may use."""
    found = MailParameters()
    seen: set[str] = set()
    for word in text.split(b" "):
        if not word:
            continue
        match = _ASCII_PARAMETER.match(word)
        if match is None:
            return reply.BAD_ARGUMENT
        keyword = match.group(1).upper()
        known = _MAIL.get(keyword)
        if known is None or (known.extension and known.extension not in offered):
            return reply.UNKNOWN_PARAMETER
        if known.once in seen:
            return reply.BAD_ARGUMENT
        seen.add(known.once)
        value = known.read(match.group(2))
        if value is None:
            return known.fault
        if known.field:
            setattr(found, known.field, value)
    return found


def rcpt_parameters(text: bytes, offered: frozenset[str], *, smtputf8: bool) -> str | Reply:
    """Read the parameters of RCPT (RFC 3461 section 4.1 and 4.2) and return them in canonical form, "" for none."""
    found: dict[bytes, Any] = {}
    for word in text.split(b" "):
        if not word:
            continue
        match = (_PARAMETER if smtputf8 else _ASCII_PARAMETER).match(word)
        if match is None:
            return reply.BAD_ARGUMENT
        keyword = match.group(1).upper()
        if keyword not in _RCPT or DSN not in offered:
            return reply.UNKNOWN_PARAMETER
        value = _RCPT[keyword](match.group(2))
        if keyword in found or value is None:
            return reply.BAD_ARGUMENT
        found[keyword] = value
    return recipient_wishes(found.get(b"NOTIFY", ()), found.get(b"ORCPT", ""))


def read_xtext(text: bytes) -> str | None:
    """Return what xtext stands for when that is printable ASCII, else None: it goes into header fields."""
    if not _XTEXT.match(text):
        return None
    decoded = decode_xtext(text.decode("ascii"))
    return decoded if decoded.isascii() and decoded.isprintable() else None


# --- readers -----------------------------------------------------------------------------------------------------


def _size(value: bytes | None) -> int | None:
    return int(value) if value is not None and _SIZE.match(value) else None


def _body(value: bytes | None) -> bool | None:
    return True if value is not None and value.upper() in (b"7BIT", b"8BITMIME") else None


def _auth(value: bytes | None) -> bool | None:
    return True if value is not None and _XTEXT.match(value) else None


def _flag(value: bytes | None) -> bool | None:
    return True if value is None else None


def _ret(value: bytes | None) -> str | None:
    return value.upper().decode() if value is not None and value.upper() in (b"FULL", b"HDRS") else None


def _envelope_id(value: bytes | None) -> str | None:
    if value is None or len(value) > ENVELOPE_ID_MAX or read_xtext(value) is None:
        return None
    return value.decode("ascii")


def _hold_for(value: bytes | None) -> int | None:
    return int(value) if value is not None and _INTERVAL.match(value) else None


def _hold_until(value: bytes | None) -> int | None:
    if value is None or not _UNTIL.match(value):
        return None
    try:
        return int(dt.datetime.fromisoformat(value.decode().upper()).timestamp() * 1000)
    except ValueError:
        return None


def _by(value: bytes | None) -> DeliverBy | None:
    match = _BY.match(value or b"")
    if match is None:
        return None
    seconds, returns = int(match.group(1)), match.group(2).upper() == b"R"
    if returns and seconds <= 0:  # RFC 2852 section 4: only a notification may be late from the start
        return None
    return DeliverBy(seconds, returns, bool(match.group(3)))


def _notify(value: bytes | None) -> tuple[str, ...] | None:
    words = value.decode("ascii", "replace").upper().split(",") if value is not None else []
    if not words or len(set(words)) != len(words) or not set(words) <= set(NOTIFY_WORDS):
        return None
    if "NEVER" in words and len(words) > 1:  # RFC 3461 section 4.1: alone
        return None
    return tuple(word for word in NOTIFY_WORDS if word in words)


def _original(value: bytes | None) -> str | None:
    match = _ORIGINAL.match(value or b"")
    if value is None or match is None or len(value) > ORIGINAL_MAX:
        return None
    kind, address = match.groups()
    if kind.lower() == b"utf-8":
        return _unicode_original(address)
    return None if read_xtext(address) is None else value.decode("ascii")


def _unicode_original(address: bytes) -> str | None:
    """Return an address of type utf-8 in ASCII: every character beyond it embedded (RFC 6533 section 3)."""
    try:
        text = address.decode("utf-8")
        points = [chr(int(point, 16)) for point in _EMBEDDED.findall(text)]
    except (UnicodeDecodeError, ValueError, OverflowError):
        return None
    if not _UNICODE.match(text) or not all(part.isprintable() for part in (text, *points)):
        return None
    coded = "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in text)
    # Embedded it is longer than it was: what no next hop would take is not taken here.
    return f"utf-8;{coded}" if len(coded) <= ORIGINAL_MAX - len("utf-8;") else None


@dataclass(frozen=True, slots=True)
class _Keyword:
    """How one keyword of MAIL is read. `once`: a second keyword of the same name is a fault."""

    read: Callable[[bytes | None], Any]
    once: str
    field: str = ""
    extension: str = ""
    fault: Reply = reply.BAD_ARGUMENT


_MAIL: Final[dict[bytes, _Keyword]] = {
    b"SIZE": _Keyword(_size, "SIZE", "size_bytes"),  # RFC 1870
    b"BODY": _Keyword(_body, "BODY", fault=reply.UNKNOWN_PARAMETER),  # RFC 6152; BINARYMIME (RFC 3030) is not offered
    b"AUTH": _Keyword(_auth, "AUTH"),  # RFC 4954 section 5
    b"SMTPUTF8": _Keyword(_flag, "SMTPUTF8", "smtputf8", SMTPUTF8),  # RFC 6531
    b"REQUIRETLS": _Keyword(_flag, "REQUIRETLS", "requiretls", REQUIRETLS),  # RFC 8689 section 2
    b"RET": _Keyword(_ret, "RET", "ret", DSN),  # RFC 3461 section 4.3
    b"ENVID": _Keyword(_envelope_id, "ENVID", "envelope_id", DSN),  # RFC 3461 section 4.4
    b"HOLDFOR": _Keyword(_hold_for, "HOLD", "hold_seconds", FUTURERELEASE),  # RFC 4865 section 4: one of the two
    b"HOLDUNTIL": _Keyword(_hold_until, "HOLD", "hold_until_ms", FUTURERELEASE),
    b"BY": _Keyword(_by, "BY", "deliver_by", DELIVERBY),  # RFC 2852 section 4
}
_RCPT: Final[dict[bytes, Callable[[bytes | None], Any]]] = {b"NOTIFY": _notify, b"ORCPT": _original}
