"""Instructions for tracking in HTML bodies, taken out before delivery (MIME-011).

The attributes `ses:tags` and `ses:no-track` go from tags, the placeholder `{{ses:openTracker}}` from anywhere. Text
that only speaks of them stays. A body is decoded in its declared charset and encoded again; one whose octets do not
fit that charset, or would not come back the same, is left alone (MIME-009). One pass, linear.
"""

import binascii
import re

from relay.mail.encode import base64_lines, quoted_printable
from relay.mail.headers import LINE_MAX_BYTES
from relay.mail.words import CHARSETS

HTML_MAX_BYTES = 4 << 20  # of a message together; what is beyond is no page that anybody reads, and left alone
PLACEHOLDER = "{{ses:openTracker}}"

_WIDE = frozenset(("utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be"))
# A tag that is never closed runs to the end, so that no second search begins inside it.
_TAG = re.compile(r"""<[A-Za-z](?:[^"'>]++|"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))*+(?:>|\Z)""")
_ATTRIBUTE = re.compile(
    r"""("[^"]*+"|'[^']*+')|(?<!\s)\s++ses:(?:tags|no-track)(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'>]++))?+(?=[\s/>])""",
    re.IGNORECASE,
)


def clean_part(raw: bytes, encoding: str, charset: str) -> bytes | None:
    """Return the transferred form of an HTML part without instructions; None when it stays as it is."""
    data = _decode(raw, encoding)
    charset = charset.lower()
    if data is None or (b"ses:" not in data.lower() and charset not in _WIDE):
        return None
    cleaned = _clean(data, charset)
    return None if cleaned is None else _encode(cleaned, encoding)


def _decode(raw: bytes, encoding: str) -> bytes | None:
    if encoding == "base64":
        try:
            return binascii.a2b_base64(raw)
        except binascii.Error:
            return None
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    return raw if encoding in ("7bit", "8bit", "binary") else None


def _encode(data: bytes, encoding: str) -> bytes | None:
    if encoding == "base64":
        return base64_lines(data)
    if encoding == "quoted-printable":
        return quoted_printable(data)
    return data if max(map(len, data.split(b"\r\n"))) <= LINE_MAX_BYTES else None


def _clean(data: bytes, charset: str) -> bytes | None:
    if charset not in CHARSETS and charset not in _WIDE:
        return None
    try:
        text = data.decode(charset)
        if text.encode(charset) != data:
            return None
        cleaned = clean_html(text)
        return None if cleaned == text else cleaned.encode(charset)
    except UnicodeError:
        return None


def clean_html(text: str) -> str:
    """Return HTML without the instructions."""
    return _TAG.sub(_clean_tag, text).replace(PLACEHOLDER, "")


def _clean_tag(tag: re.Match[str]) -> str:
    text = tag.group()
    return _ATTRIBUTE.sub(_without, text) if "ses:" in text.lower() else text


def _without(attribute: re.Match[str]) -> str:
    if attribute.group(1) is not None:
        return attribute.group(1)
    # A line break stays one, so that no line grows.
    text = attribute.group()
    return ("\r\n" if "\r\n" in text else "\n") if "\n" in text else ""
