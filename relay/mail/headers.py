"""A header section as raw fields: byte for byte as it came, checked once, at the speed of C.

Promises: the fields joined are the section; the cost is linear in its size; size and count are bounded. What is
not a header section is refused with the words of HDR-009, HDR-010 and HDR-022, never repaired, with one
exception: a line that is too long is folded at white space.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from relay.model.refusal import Reason, Refusal

HEAD_MAX_BYTES = 256 * 1024
FIELDS_MAX = 2000
LINE_MAX_BYTES = 998  # RFC 5322 section 2.1.1, without CRLF
RECEIVED_MAX = 100  # RFC 5321 section 6.3

# One line break inside a field is folding; "^" keeps the search anchored, so that it stays linear.
_FIELD = re.compile(rb"^(([!-9;-~]++):[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+)", re.MULTILINE)
_NAME = re.compile(rb"[!-9;-~]++\Z")
_FOLD = re.compile(rb"\r\n(?=[ \t])")

# Fields that may occur once (HDR-002), by their lower-case names, with the names that refusals show. DKIM-Signature
# is not among them: every signer adds its own (RFC 6376 section 5.1).
SINGLE_FIELDS: dict[bytes, str] = {
    name.lower().encode(): name
    for name in (  # noqa: SIM905 - lines of words are easier to read
        "Accept-Language acceptLanguage Archived-At Auto-Submitted Bounces-to Comments Content-Alternative"
        " Content-Base Content-Class Content-Description Content-Disposition Content-Duration Content-ID"
        " Content-Language Content-Length Content-Location Content-MD5 Content-Transfer-Encoding Content-Type Date"
        " Delivered-To Disposition-Notification-Options Disposition-Notification-To"
        " DomainKey-Signature Errors-To From Importance In-Reply-To Keywords List-Archive List-Help List-Id"
        " List-Owner List-Post List-Subscribe List-Unsubscribe Message-Context Message-ID MIME-Version Organization"
        " Original-From Original-Message-ID Original-Recipient Original-Subject Precedence Priority References"
        " Reply-To Return-Path Return-Receipt-To Sender Solicitation Sensitivity Subject Thread-Index Thread-Topic"
        " User-Agent VBR-Info"
    ).split()
}


_new = tuple.__new__


class Field(NamedTuple):
    """One header field: its name in lower case, and all its bytes with folding and the final CRLF."""

    key: bytes
    raw: bytes

    @property
    def name(self) -> bytes:
        """The name as it was written."""
        return self.raw[: len(self.key)]

    @property
    def value(self) -> bytes:
        """The value, unfolded, without blanks around it."""
        value = self.raw[len(self.key) + 1 : -2]
        if b"\r" in value:
            value = _FOLD.sub(b"", value)
        return value.strip(b" \t")


def parse_head(head: bytes, *, smtputf8: bool = False) -> list[Field] | Refusal:
    """Return the fields of a header section that ends with its empty line, or why it is refused."""
    if len(head) > HEAD_MAX_BYTES:
        return Refusal(Reason.BAD_HEADER, f"Header section is longer than {HEAD_MAX_BYTES} octets.")
    if not head.isascii():
        refusal = _refuse_eight_bit(head, smtputf8=smtputf8)
        if refusal is not None:
            return refusal
    if b"\0" in head:
        return Refusal(Reason.BAD_HEADER, "Header field contains NUL.")
    found = _FIELD.findall(head)
    if sum([len(raw) for raw, _ in found]) != len(head) - 2 or not head.endswith(b"\r\n"):
        return _diagnose(head)
    if len(found) > FIELDS_MAX:
        return Refusal(Reason.BAD_HEADER, f"Header section has more than {FIELDS_MAX} fields.")
    # tuple.__new__ is three times as fast as Field(): this runs for every field of every message.
    fields = [_new(Field, (name.lower(), raw)) for raw, name in found]
    if len(head) > LINE_MAX_BYTES and max(map(len, head.split(b"\r\n"))) > LINE_MAX_BYTES:
        return _refold(fields)
    return fields


def join_head(fields: Iterable[Field]) -> bytes:
    """Return a header section with the empty line that ends it."""
    return b"".join([raw for _, raw in fields]) + b"\r\n"


def refuse_duplicates(keys: Sequence[bytes]) -> Refusal | None:
    """Refuse a second one of a field that may occur once (HDR-003); `keys` are lower-case names in order."""
    seen: set[bytes] = set()
    for key in keys:
        if key in seen and key in SINGLE_FIELDS:
            return Refusal(Reason.DUPLICATE_HEADER, SINGLE_FIELDS[key])
        seen.add(key)
    return None


def _refuse_eight_bit(head: bytes, *, smtputf8: bool) -> Refusal | None:
    """Refuse raw 8-bit header bytes (HDR-022) unless the transaction is SMTPUTF8 (RFC 6532)."""
    if not smtputf8:
        return Refusal(Reason.BAD_HEADER, "Header field contains raw 8-bit characters; encoded words are required.")
    try:
        head.decode("utf-8")
    except UnicodeDecodeError:
        return Refusal(Reason.BAD_HEADER, "Header field is not valid UTF-8.")
    return None


def _diagnose(head: bytes) -> Refusal:
    """Find the first line that is no field, and say what is wrong with it."""
    if not head.endswith(b"\r\n"):
        return Refusal(Reason.BAD_HEADER, "Header section has no end.")
    first = True
    for line in head[:-2].split(b"\r\n")[:-1]:
        if line[:1] in (b" ", b"\t") and line and not first:
            continue
        if b"\r" in line or b"\n" in line:
            return Refusal(Reason.BAD_LINE_ENDING, "Header field contains a bare CR or LF.")
        first = False
        name, colon, _ = line.partition(b":")
        if colon and not name.strip():
            return Refusal(Reason.BAD_HEADER, "Empty header names are illegal.")
        if not colon:
            return Refusal(Reason.BAD_HEADER, "Header line has no colon.")
        if not _NAME.match(name):
            return Refusal(Reason.BAD_HEADER, "Header name contains an illegal character.")
    return Refusal(Reason.BAD_HEADER, "Header section is malformed.")


def _refold(fields: list[Field]) -> list[Field] | Refusal:
    """Fold lines over 998 octets at white space (HDR-022); refuse those that have none."""
    folded: list[Field] = []
    for field in fields:
        lines = field.raw[:-2].split(b"\r\n")
        if max(map(len, lines)) <= LINE_MAX_BYTES:
            folded.append(field)
            continue
        pieces: list[bytes] = []
        for line in lines:
            broken = _break_line(line)
            if broken is None:
                name = field.name.decode("ascii")[:80]
                return Refusal(Reason.LINE_TOO_LONG, f"Header line of '{name}' is too long and cannot be folded.")
            pieces.extend(broken)
        folded.append(Field(field.key, b"\r\n".join(pieces) + b"\r\n"))
    return folded


def _break_line(line: bytes) -> list[bytes] | None:
    """Break one line at white space into lines of at most 998 octets, none of them blank."""
    pieces: list[bytes] = []
    start, end = 0, len(line)
    while end - start > LINE_MAX_BYTES:
        cut = max(line.rfind(b" ", start + 1, start + LINE_MAX_BYTES + 1), line.rfind(b"\t", start + 1, start + 999))
        if cut < 0 or not line[start:cut].strip(b" \t") or not line[cut:].strip(b" \t"):
            return None
        pieces.append(line[start:cut])
        start = cut
    pieces.append(line[start:])
    return pieces
