"""Trace fields and dates: what a mail server writes on top of a message (RFC 5321 section 4.4, RFC 5322)."""

import hashlib
import re
import time
from base64 import b64encode
from functools import lru_cache

from relay.model.message import Protocol

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
CLIENT_NAME_MAX_CHARS = 255

_CFWS = rb"(?:[ \t\r\n]++)"
_DATE = re.compile(
    rb"\s*+(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[ \t\r\n]*+,)?\s*+(?:0?[1-9]|[12]\d|3[01])" + _CFWS
    + rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)" + _CFWS
    + rb"(?:19|20|21)\d\d" + _CFWS
    + rb"(?:[01]\d|2[0-3]):[0-5]\d(?::(?:[0-5]\d|60))?+" + _CFWS
    + rb"(?:[+-]\d{4}|UT|GMT|[ECMP][SD]T|[A-IK-Z])\s*+(?:\([^()\\]*+\)\s*+)?\Z",
    re.IGNORECASE,
)  # fmt: skip
_MESSAGE_ID = re.compile(rb"\s*+<[!-;=?-~\x80-\xff]+@[!-;=?-~\x80-\xff]+>\s*+\Z")
MESSAGE_ID_MAX_BYTES = 900


@lru_cache(maxsize=64)
def _format_second(seconds: int) -> str:
    moment = time.gmtime(seconds)
    return (
        f"{_DAYS[moment.tm_wday]}, {moment.tm_mday:02d} {_MONTHS[moment.tm_mon - 1]} {moment.tm_year:04d}"
        f" {moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d} +0000"
    )


def format_date(now_ms: int) -> str:
    """Return an RFC 5322 date in UTC, `Mon, 23 Nov 2026 03:38:23 +0000`, for milliseconds since 1970."""
    return _format_second(now_ms // 1000)


def is_date(value: bytes) -> bool:
    """Say whether a Date field's value is a date that a reader can use."""
    return len(value) <= 200 and _DATE.match(value) is not None  # noqa: PLR2004 - no date is longer


def is_message_id(value: bytes) -> bool:
    """Say whether a Message-ID field's value is one `<left@right>`."""
    return len(value) <= MESSAGE_ID_MAX_BYTES and value.count(b"<") == 1 and _MESSAGE_ID.match(value) is not None


def outgoing_field(name: str, source_address: str, now_ms: int) -> bytes:
    """Return a field that tells when and from which address mail leaves: `YYYY.MM.DD-ADDRESS` (HDR-020)."""
    moment = time.gmtime(now_ms // 1000)
    text = f"{moment.tm_year:04d}.{moment.tm_mon:02d}.{moment.tm_mday:02d}-{source_address}"
    return f"{name}: {text}\r\n".encode("ascii")


@lru_cache(maxsize=4096)
def feedback_id_field(name: str, region: str, account: str, brand: str, key: bytes) -> bytes:
    """Return a feedback id, `1.REGION.OPAQUE:BRAND` (HDR-020).

    The opaque part is a keyed digest of the account: always the same for it, and of no use without the key.
    """
    opaque = b64encode(hashlib.blake2b(account.encode(), key=key, digest_size=32).digest()).decode()
    return f"{name}: 1.{region}.{opaque}:{brand}\r\n".encode("ascii")


def message_id_field(message_id: str, hostname: str) -> bytes:
    """Return a Message-ID field that carries the id of the message (FLOW-003)."""
    return f"Message-ID: <{message_id}@{hostname}>\r\n".encode("ascii")


def received_field(
    message_id: str, hostname: str, protocol: Protocol, now_ms: int, *, client: tuple[str, str] | None = None
) -> bytes:
    """Return our Received field (SMTP-032). `client` is (HELO name, address) when those are to be shown.

    The HELO name is whatever a client said: only characters of host names and literals survive.
    """
    origin = ""
    if client is not None:
        helo, address = (_UNSAFE.sub("?", text[:CLIENT_NAME_MAX_CHARS]) for text in client)
        literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        origin = f"from {helo or 'unknown'} ({literal})\r\n\t" if address else f"from {helo or 'unknown'}\r\n\t"
    stamp = f"id {message_id};\r\n\t{format_date(now_ms)}\r\n"
    return f"Received: {origin}by {hostname} (Relay) with {protocol}\r\n\t{stamp}".encode("ascii", "replace")
