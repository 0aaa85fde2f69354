"""Transfer encodings of parts, changed where a next hop or RFC 5321 demands it, and nowhere else.

Two goals: lines of at most 998 octets (SMTP-024), and a message without 8-bit bytes for a next hop that does not
offer 8BITMIME (MIME-008). The body is read as a tree; each leaf that breaks the goal is encoded by itself, its
charset kept; boundaries and all other bytes stay. Signed and encrypted parts are never altered (MIME-004): then
the answer is `Unconvertible`, and the caller refuses or bounces.

`plan` only reads and decides; `write` streams the result. Both work on memory maps, so that large bodies are
never whole in memory (`relay.mail.reencode` is the helper process for those). A changed message must be signed
after the change.
"""

import base64
import binascii
import re
from collections.abc import Callable
from enum import Enum

from relay.mail.headers import LINE_MAX_BYTES, Field, join_head, parse_head
from relay.mail.mime import (
    DEPTH_MAX,
    PARTS_MAX,
    Buffer,
    MediaType,
    PartSpan,
    find,
    media_type,
    read_part,
    split_parts,
    transfer_encoding,
)
from relay.model.value import dataclass

CHUNK_BYTES = 57 * 1024  # a multiple of 57: whole base64 lines

_EIGHT_BIT = re.compile(rb"[\x80-\xff]")
_LONG_LINE = re.compile(rb"[^\n]{%d}" % (LINE_MAX_BYTES + 2))
_LONG_QP_LINE = re.compile(rb"[^\r\n]{%d,}" % (LINE_MAX_BYTES + 1))
_QP_TOKENS = re.compile(rb"(?:=[0-9A-Fa-f]{2}|[^\r\n]){1,24}")
_NOT_BASE64 = bytes(
    sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
)
_SIGNATURE = re.compile(rb"DKIM-Signature:[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+", re.IGNORECASE)
_SIGNING_DOMAIN = re.compile(rb"[;\s]d=([A-Za-z0-9.-]+);")
_IDENTITY = frozenset(("7bit", "8bit", "binary"))
_SEALED = ("application/pkcs7-", "application/x-pkcs7-", "application/pgp-")
_FRAGMENTS = frozenset(("message/partial", "message/external-body"))
_MESSAGES = frozenset(("message/rfc822", "message/global"))


class Goal(Enum):
    """What the result must keep to."""

    SHORT_LINES = "short-lines"
    SEVEN_BIT = "seven-bit"


class Way(Enum):
    """How the bytes of one region are written."""

    LITERAL = "literal"
    QUOTE = "quote"  # identity to quoted-printable
    BASE64 = "base64"  # identity to base64
    REQUOTE = "requote"  # quoted-printable with 8-bit bytes or long lines, mended
    REWRAP = "rewrap"  # base64 with long lines or stray bytes, mended


@dataclass(frozen=True, slots=True)
class Unconvertible:
    """Why a message cannot be brought to the goal; a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `start` to `end` of the buffer, by `literal` or by an encoding of what is there."""

    start: int
    end: int
    way: Way
    literal: bytes = b""


@dataclass(frozen=True, slots=True)
class Plan:
    """The new top header fields, and the edits of the body in order; no edits: the body stays as it is."""

    fields: list[Field]
    edits: list[Edit]


class _StopError(Exception):
    """Ends planning; its text becomes `Unconvertible`."""


def plan(fields: list[Field], buffer: Buffer, start: int, end: int, goal: Goal) -> Plan | Unconvertible:
    """Decide what to change in the body between two offsets of `buffer` whose header fields are `fields`."""
    planner = _Planner(buffer, goal)
    try:
        changed = planner.entity(fields, media_type(fields), start, end, 0)
    except _StopError as stop:
        return Unconvertible(str(stop))
    if changed is None:
        return Plan(fields, planner.edits)
    if find(changed, b"mime-version") is None:
        changed = [*changed, Field(b"mime-version", b"MIME-Version: 1.0\r\n")]
    return Plan(changed, planner.edits)


class _Planner:
    """Walks the tree of parts and collects edits in order."""

    def __init__(self, buffer: Buffer, goal: Goal) -> None:
        self._buffer = buffer
        self._seven_bit = goal is Goal.SEVEN_BIT
        self._parts = 0
        self.edits: list[Edit] = []

    def entity(self, fields: list[Field], kind: MediaType, start: int, end: int, depth: int) -> list[Field] | None:
        """Plan one entity; return its new header fields, None when they stay."""
        name = kind.kind
        if not self._breaks_goal(start, end):
            return self._relabel(fields, name)
        if depth > DEPTH_MAX:
            raise _StopError("parts are nested too deeply")
        if name in ("multipart/signed", "multipart/encrypted") or name.startswith(_SEALED):
            raise _StopError("a signed or encrypted part must not be altered")
        if name in _FRAGMENTS:
            raise _StopError(f"a {name} part must not be encoded")
        if name.startswith("multipart/"):
            self._multipart(fields, kind, start, end, depth)
            return self._relabel(fields, name)
        if name in _MESSAGES and transfer_encoding(fields) in _IDENTITY:
            self._inner(read_part(self._buffer, start, end), MediaType("text/plain"), depth)
            return self._relabel(fields, name)
        return self._leaf(fields, name, start, end)

    def _breaks_goal(self, start: int, end: int) -> bool:
        if self._seven_bit and _EIGHT_BIT.search(self._buffer, start, end):
            return True
        return _has_long_line(self._buffer, start, end)

    def _relabel(self, fields: list[Field], name: str) -> list[Field] | None:
        """A label of 8bit or binary is wrong on what is (or has become) 7-bit (RFC 2045 section 6.2)."""
        if not self._seven_bit or name in ("multipart/signed", "multipart/encrypted"):
            return None
        return with_encoding(fields, "7bit") if transfer_encoding(fields) in ("8bit", "binary") else None

    def _multipart(self, fields: list[Field], kind: MediaType, start: int, end: int, depth: int) -> None:
        if transfer_encoding(fields) not in _IDENTITY:
            raise _StopError("a multipart must not be encoded as a whole")
        span = split_parts(self._buffer, start, end, kind.boundary, PARTS_MAX)
        if span is None:
            raise _StopError("a multipart has no usable boundary, or too many parts")
        # What lies before and after the parts is no content (RFC 2046 section 5.1.1): dropped when it offends.
        if self._breaks_goal(start, span.preamble_end):
            self.edits.append(Edit(start, span.preamble_end, Way.LITERAL))
        inner = MediaType("message/rfc822" if kind.kind == "multipart/digest" else "text/plain")
        for part in span.parts:
            self._inner(part, inner, depth)
        if self._breaks_goal(span.epilogue, end):
            self.edits.append(Edit(span.epilogue, end, Way.LITERAL))

    def _inner(self, part: PartSpan, default: MediaType, depth: int) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise _StopError("too many parts")
        if part.fields is None:
            if self._breaks_goal(part.start, part.end):
                raise _StopError("a part has no proper header section")
            return
        head_breaks = self._breaks_goal(part.start, part.body)
        if head_breaks and self._seven_bit and _EIGHT_BIT.search(self._buffer, part.start, part.body):
            raise _StopError("the header section of a part has 8-bit characters")
        before = len(self.edits)
        changed = self.entity(part.fields, media_type(part.fields, default), part.body, part.end, depth + 1)
        # `parse_head` has folded lines that were too long.
        if changed is not None or head_breaks:
            head = join_head(changed if changed is not None else part.fields)
            self.edits.insert(before, Edit(part.start, part.body, Way.LITERAL, head))

    def _leaf(self, fields: list[Field], name: str, start: int, end: int) -> list[Field] | None:
        encoding = transfer_encoding(fields)
        if encoding in _IDENTITY:
            text = name.startswith(("text/", "message/"))
            self.edits.append(Edit(start, end, Way.QUOTE if text else Way.BASE64))
            return with_encoding(fields, "quoted-printable" if text else "base64")
        if encoding not in ("quoted-printable", "base64"):
            raise _StopError("a part has an unknown transfer encoding")
        self.edits.append(Edit(start, end, Way.REQUOTE if encoding == "quoted-printable" else Way.REWRAP))
        return None


def _has_long_line(buffer: Buffer, start: int, end: int) -> bool:
    """Say whether a line has over 998 octets; the last one may lack its CRLF."""
    found = _LONG_LINE.search(buffer, start, end)
    if found is None:
        return end - max(start, buffer.rfind(b"\n", start, end) + 1) > LINE_MAX_BYTES
    return True


def with_encoding(fields: list[Field], encoding: str) -> list[Field]:
    """Return fields with their Content-Transfer-Encoding set."""
    label = Field(b"content-transfer-encoding", f"Content-Transfer-Encoding: {encoding}\r\n".encode())
    kept = [label if each.key == label.key else each for each in fields]
    return kept if label in kept else [*kept, label]


def write(edits: list[Edit], buffer: Buffer, start: int, end: int, out: Callable[[bytes], object]) -> None:
    """Write the body between two offsets with its edits, in chunks."""
    position = start
    for edit in edits:
        _copy(buffer, position, edit.start, out)
        if edit.way is Way.LITERAL:
            out(edit.literal)
        else:
            _WRITERS[edit.way](buffer, edit.start, edit.end, out)
        position = edit.end
    _copy(buffer, position, end, out)


def _copy(buffer: Buffer, start: int, end: int, out: Callable[[bytes], object]) -> None:
    while start < end:
        stop = min(end, start + CHUNK_BYTES)
        out(buffer[start:stop])
        start = stop


def _chunk_end(buffer: Buffer, start: int, end: int) -> int:
    """Return where a chunk ends: after a line end where there is one in reach."""
    if end - start <= CHUNK_BYTES:
        return end
    return buffer.rfind(b"\n", start, start + CHUNK_BYTES) + 1 or start + CHUNK_BYTES


def _quote(buffer: Buffer, start: int, end: int, out: Callable[[bytes], object]) -> None:
    while start < end:
        stop = _chunk_end(buffer, start, end)
        coded = binascii.b2a_qp(buffer[start:stop], quotetabs=False, istext=True)
        # Soft breaks come as LF or CRLF, by the first line end of the chunk.
        out(coded.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        if stop < end and not coded.endswith(b"\n"):
            out(b"=\r\n")
        start = stop


def _base64(buffer: Buffer, start: int, end: int, out: Callable[[bytes], object]) -> None:
    while start < end:
        stop = min(end, start + CHUNK_BYTES)
        out(base64_lines(buffer[start:stop]))
        start = stop


def quoted_printable(data: bytes) -> bytes:
    """Return octets as quoted-printable lines; line breaks stay line breaks unless some are no CRLF."""
    pieces: list[bytes] = []
    if b"\n" in data.replace(b"\r\n", b"") or b"\r" in data.replace(b"\r\n", b""):
        coded = binascii.b2a_qp(data, quotetabs=False, istext=False)
        return coded.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    _quote(data, 0, len(data), pieces.append)
    return b"".join(pieces)


def base64_lines(data: bytes) -> bytes:
    """Return octets as base64 lines that end with CRLF."""
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def _requote(buffer: Buffer, start: int, end: int, out: Callable[[bytes], object]) -> None:
    while start < end:
        stop = _chunk_end(buffer, start, end)
        if stop < end and buffer[stop - 1 : stop] != b"\n":
            stop -= 2 if buffer[stop - 2 : stop - 1] == b"=" else 0  # do not cut an escape
            stop -= 1 if buffer[stop - 1 : stop] == b"=" else 0
        chunk = _EIGHT_BIT.sub(lambda byte: b"=%02X" % byte.group()[0], buffer[start:stop])
        chunk = _LONG_QP_LINE.sub(lambda line: b"=\r\n".join(_QP_TOKENS.findall(line.group())), chunk)
        out(chunk)
        if stop < end and not chunk.endswith(b"\n"):
            out(b"=\r\n")
        start = stop


def _rewrap(buffer: Buffer, start: int, end: int, out: Callable[[bytes], object]) -> None:
    held = b""
    while start < end:
        stop = min(end, start + CHUNK_BYTES)
        held += buffer[start:stop].translate(None, _NOT_BASE64)
        whole = len(held) - len(held) % 76
        out(b"".join([held[at : at + 76] + b"\r\n" for at in range(0, whole, 76)]))
        held = held[whole:]
        start = stop
    if held:
        out(held + b"\r\n")


_WRITERS: dict[Way, Callable[[Buffer, int, int, Callable[[bytes], object]], None]] = {
    Way.QUOTE: _quote,
    Way.BASE64: _base64,
    Way.REQUOTE: _requote,
    Way.REWRAP: _rewrap,
}


def convert(fields: list[Field], body: bytes, goal: Goal) -> tuple[list[Field], bytes] | Unconvertible:
    """Return new fields and body of a message that is whole in memory; the same objects when nothing changes."""
    planned = plan(fields, body, 0, len(body), goal)
    if isinstance(planned, Unconvertible):
        return planned
    if not planned.edits:
        return planned.fields, body
    pieces: list[bytes] = []
    write(planned.edits, body, 0, len(body), pieces.append)
    return planned.fields, b"".join(pieces)


def strip_own_signatures(head: bytes) -> tuple[bytes, list[str]]:
    """Return a head without the signatures that we put above our Received field, and the domains they name.

    Signatures of others stand below it and stay: whether they survive the conversion is not ours to decide.
    """
    domains: list[str] = []
    position = 0
    while True:
        found = _SIGNATURE.match(head, position)
        if found is None:
            return head[position:], domains
        domain = _SIGNING_DOMAIN.search(found.group())
        if domain:
            domains.append(domain.group(1).decode("ascii"))
        position = found.end()


def downgrade(head: bytes, body: bytes) -> tuple[bytes, bytes] | Unconvertible:
    """Return head and body without 8-bit bytes, for a next hop without 8BITMIME; sign the result afterwards.

    `head` must be without our own signatures, which the change breaks. An SMTPUTF8 header section cannot be
    converted (RFC 6531 section 3.2).
    """
    fields = parse_head(head)
    if not isinstance(fields, list):
        return Unconvertible(fields.text)
    converted = convert(fields, body, Goal.SEVEN_BIT)
    if isinstance(converted, Unconvertible):
        return converted
    return join_head(converted[0]), converted[1]
