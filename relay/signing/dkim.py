"""DKIM signatures (RFC 6376): relaxed/relaxed, one pass over the header fields, none over the body.

The body's digest comes from the scan at acceptance (`BodyFacts.sha256_relaxed`). Every signed field that a reader
shows is listed once more than it is present ("oversigned"), so that a second From, Subject or Date cannot be put
on top of a signed message (section 8.15). `l=` is never written: it would let anybody append to a body.

Several keys sign the same fields: RSA and Ed25519 side by side (RFC 8463).
"""

import re
from base64 import b64encode
from collections.abc import Sequence

from relay.mail.headers import Field
from relay.ports import SigningKey

# Listed once more than present.
OVERSIGNED = (
    b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"mime-version", b"content-type",
    b"content-transfer-encoding",
)  # fmt: skip
# Listed as often as present (section 5.4.1).
SIGNED = (
    b"sender", b"in-reply-to", b"references", b"content-disposition", b"content-id", b"content-description",
    b"list-id", b"list-help", b"list-post", b"list-owner", b"list-archive", b"list-subscribe", b"list-unsubscribe",
    b"list-unsubscribe-post", b"auto-submitted", b"precedence", b"feedback-id", b"resent-from", b"resent-to",
    b"resent-cc", b"resent-date", b"resent-message-id", b"resent-sender",
)  # fmt: skip
_OVER = frozenset(OVERSIGNED)
_WANTED = frozenset(OVERSIGNED + SIGNED)
SIGNED_FIELDS_MAX = 200  # Resent-* fields may repeat without end
_LINE_MAX_CHARS = 76

_FOLD = re.compile(rb"\r\n")
_BLANKS = re.compile(rb"[ \t]+")


def relaxed_field(key: bytes, raw: bytes) -> bytes:
    """Return a header field in relaxed form with its CRLF (RFC 6376 section 3.4.2); `key` is its lower-case name."""
    value = raw[len(key) + 1 :]
    if b"\x0b" in value or b"\x0c" in value:
        # bytes.split takes these for white space; DKIM does not.
        return key + b":" + _BLANKS.sub(b" ", _FOLD.sub(b"", value)).strip(b" ") + b"\r\n"
    return key + b":" + b" ".join(value.split()) + b"\r\n"


def _select(fields: Sequence[Field]) -> tuple[list[bytes], list[bytes]]:
    """Return the names for h= and the canonical fields, in the order verifiers will take them: bottom up."""
    names: list[bytes] = []
    canonical: list[bytes] = []
    for key, raw in reversed(fields):
        if key in _WANTED:
            names.append(key)
            canonical.append(relaxed_field(key, raw))
            if len(names) >= SIGNED_FIELDS_MAX:
                break
    names.extend(OVERSIGNED)
    return names, canonical


def sign(
    fields: Sequence[Field], body_sha256: bytes, keys: Sequence[SigningKey], now_s: int, *, expire_s: int = 0
) -> bytes:
    """Return one DKIM-Signature field for each key, to be put on top of `fields` unchanged; b"" without keys.

    `now_s` is seconds since 1970; with `expire_s` the signatures end that much later (`x=`, to bound replays).
    Whatever a key's `sign` raises comes through: a message must never leave unsigned in silence.
    """
    if not keys:
        return b""
    names, canonical = _select(fields)
    signed = b"".join(canonical)
    listed = _fold(names)
    digest = b64encode(body_sha256).decode()
    expiry = f" x={now_s + expire_s};" if expire_s else ""
    written: list[bytes] = []
    for key in keys:
        head = (
            f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/relaxed; q=dns/txt;\r\n"
            f"\td={key.domain};\r\n\ts={key.selector};\r\n\tt={now_s};{expiry} h={listed};\r\n"
            f"\tbh={digest};\r\n\tb="
        ).encode("ascii")
        own = relaxed_field(b"dkim-signature", head)[:-2]
        signature = b64encode(key.sign(signed + own))
        lines = [signature[at : at + 72] for at in range(0, len(signature), 72)]
        written.append(head + b"\r\n\t".join(lines) + b"\r\n")
    return b"".join(written)


def _fold(names: Sequence[bytes]) -> str:
    """Return names for h=, joined by colons, on lines under 78 octets."""
    lines: list[str] = []
    line, room = "", _LINE_MAX_CHARS - 40  # the first line starts with t= and x=
    for position, raw in enumerate(names):
        name = raw.decode("ascii") + (":" if position < len(names) - 1 else "")
        if len(line) + len(name) > room:
            lines.append(line)
            line, room = "", _LINE_MAX_CHARS - 8
        line += name
    lines.append(line)
    return "\r\n\t".join(lines)
