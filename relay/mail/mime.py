"""Reading the structure of a message without changing or copying it: media types and parts, by offsets.

Lenient, linear for each level of nesting, and bounded: at most `DEPTH_MAX` levels and `PARTS_MAX` parts. Works on
bytes and on memory maps alike.
"""

import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from relay.mail.headers import HEAD_MAX_BYTES, Field, parse_head

Buffer = bytes | mmap.mmap

DEPTH_MAX = 40  # MIME-005 asks for 20
PARTS_MAX = 5000
PARAMETERS_MAX = 100
BOUNDARY_MAX_CHARS = 2048
LOOKALIKES_MAX = 20_000  # lines that begin like a delimiter and are none
_BLOCK_BYTES = 1 << 20
_PADDING_MAX_BYTES = 1002

_WORD = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]"
_TYPE = re.compile(rf"\s*+({_WORD}++)\s*+/\s*+({_WORD}++)")
_PARAMETER = re.compile(rf';\s*+({_WORD}++)\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^\s;"]++)', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MediaType:
    """A Content-Type: `kind` is "text/plain" in lower case, `parameters` by lower-case name, first one counts."""

    kind: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def boundary(self) -> bytes:
        """The boundary of a multipart, b"" when it has none that can be used."""
        text = self.parameters.get("boundary", "")
        return text.encode("latin-1", "replace") if len(text) <= BOUNDARY_MAX_CHARS else b""


PLAIN = MediaType("text/plain")


def find(fields: Sequence[Field], key: bytes) -> Field | None:
    """Return the first field named `key` (lower case)."""
    return next((each for each in fields if each.key == key), None)


def media_type(fields: Sequence[Field], default: MediaType = PLAIN) -> MediaType:
    """Return the media type that header fields declare; `default` when they declare none."""
    declared = find(fields, b"content-type")
    return default if declared is None else parse_media_type(declared.value)


def parse_media_type(value: bytes) -> MediaType:
    """Return a Content-Type value; text/plain when it is malformed (RFC 2045 section 5.2)."""
    text = value.decode("latin-1")
    matched = _TYPE.match(text)
    if matched is None:
        return PLAIN
    parameters: dict[str, str] = {}
    for parameter in _PARAMETER.finditer(text, matched.end()):
        name, content = parameter.group(1).lower(), parameter.group(2)
        if content.startswith('"'):
            content = _QUOTED_PAIR.sub(r"\1", content[1:-1])
        parameters.setdefault(name, content)
        if len(parameters) >= PARAMETERS_MAX:
            break
    return MediaType(f"{matched.group(1)}/{matched.group(2)}".lower(), parameters)


def transfer_encoding(fields: Sequence[Field]) -> str:
    """Return the Content-Transfer-Encoding in lower case, 7bit when none is declared (RFC 2045 section 6.1)."""
    declared = find(fields, b"content-transfer-encoding")
    if declared is None:
        return "7bit"
    return declared.value.partition(b";")[0].partition(b"(")[0].strip().decode("latin-1").lower() or "7bit"


@dataclass(frozen=True, slots=True)
class PartSpan:
    """Where an inner part lies: its head from `start`, its body from `body` to `end` (its last CRLF left out)."""

    start: int
    body: int
    end: int
    fields: list[Field] | None  # None when the part's head is no header section


@dataclass(frozen=True, slots=True)
class MultipartSpan:
    """The parts of a multipart body: `preamble_end` is its first delimiter, `epilogue` follows its last."""

    preamble_end: int
    parts: list[PartSpan]
    epilogue: int


def find_bytes(buffer: Buffer, needle: bytes, start: int, end: int) -> int:
    """Return where `needle` begins between two offsets, -1 when nowhere.

    A memory map compares octet by octet at every place (quadratic for a hostile needle), so it is searched block by
    block with the linear search of bytes; small blocks first, because most delimiters are near.
    """
    if isinstance(buffer, bytes):
        return buffer.find(needle, start, end)
    step = 4096
    while start < end:
        found = buffer[start : min(end, start + step + len(needle) - 1)].find(needle)
        if found >= 0:
            return start + found
        start += step
        step = min(4 * step, _BLOCK_BYTES)
    return -1


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The delimiter lines of a multipart: (start, end) of each; `closed` when the last is the end boundary."""

    lines: list[tuple[int, int]]
    closed: bool


def find_delimiters(
    buffer: Buffer, start: int, end: int, boundary: bytes, lines_max: int = PARTS_MAX + 1
) -> Delimiters | None:
    """Return the delimiter lines between two offsets (RFC 2046 section 5.1.1), nothing behind the end boundary.

    None when there are more than `lines_max`, or so many lines that only look like one that a reader is to be kept
    busy: both cost time.
    """
    dashes = b"--" + boundary
    lines: list[tuple[int, int]] = []
    position, alike = start, 0
    while True:
        at = find_bytes(buffer, dashes, position, end)
        if at < 0:
            return Delimiters(lines, closed=False)
        position = at + len(dashes)
        if at == start or buffer[max(start, at - 2) : at] == b"\r\n":
            line = buffer[position : min(position + _PADDING_MAX_BYTES, end)]
            rest, found, _ = line.partition(b"\r\n")
            closing = rest.startswith(b"--")
            padding = rest[2:] if closing else rest
            if (found or position + len(line) == end) and not padding.strip(b" \t"):
                position += len(rest) + len(found)
                lines.append((at, position))
                if closing:
                    return Delimiters(lines, closed=True)
                if len(lines) > lines_max:
                    return None
                continue
        alike += 1
        if alike > LOOKALIKES_MAX:
            return None


def split_parts(
    buffer: Buffer, start: int, end: int, boundary: bytes, parts_max: int = PARTS_MAX
) -> MultipartSpan | None:
    """Return the parts between `start` and `end`; None when there is no delimiter line or there are too many."""
    if not boundary:
        return None
    found = find_delimiters(buffer, start, end, boundary, parts_max + 1)
    if found is None or not found.lines:
        return None
    lines = found.lines if found.closed else [*found.lines, (end + 2, end)]  # else the last part runs to the end
    parts = [read_part(buffer, opened, max(opened, min(end, at - 2))) for (_, opened), (at, _) in pairwise(lines)]
    if len(parts) > parts_max:
        return None
    return MultipartSpan(lines[0][0], parts, lines[-1][1])


def read_part(buffer: Buffer, start: int, end: int) -> PartSpan:
    """Return the head and body of the part (or inner message) between two offsets."""
    if buffer[start : min(start + 2, end)] == b"\r\n":
        return PartSpan(start, start + 2, end, [])
    blank = buffer.find(b"\r\n\r\n", start, min(end, start + HEAD_MAX_BYTES))
    if blank < 0:
        fields = parse_head(buffer[start:end] + b"\r\n\r\n") if end - start < HEAD_MAX_BYTES else None
        return PartSpan(start, end, end, fields if isinstance(fields, list) else None)
    fields = parse_head(buffer[start : blank + 4], smtputf8=True)
    return PartSpan(start, blank + 4, end, fields if isinstance(fields, list) else None)
