"""Reading the structure of a message without changing or copying it: media types and parts, by offsets.

Lenient, linear for each level of nesting, and bounded: at most `DEPTH_MAX` levels and `PARTS_MAX` parts. Works on
bytes and on memory maps alike.
"""

import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.mail.headers import HEAD_MAX_BYTES, Field, parse_head

Buffer = bytes | mmap.mmap

DEPTH_MAX = 40  # MIME-005 asks for 20
PARTS_MAX = 5000
PARAMETERS_MAX = 100
BOUNDARY_MAX_CHARS = 2048

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


def split_parts(
    buffer: Buffer, start: int, end: int, boundary: bytes, parts_max: int = PARTS_MAX
) -> MultipartSpan | None:
    """Return the parts between `start` and `end`; None when there is no delimiter line or there are too many."""
    if not boundary:
        return None
    first, opened = -1, -1
    parts: list[PartSpan] = []
    position = start
    while True:
        line = _next_delimiter(buffer, position, end, b"--" + boundary, start)
        if line is None:
            break
        at, after, closing = line
        if opened >= 0:
            parts.append(read_part(buffer, opened, max(opened, at - 2)))
            if len(parts) > parts_max:
                return None
        else:
            first = at
        if closing:
            return MultipartSpan(first, parts, after)
        opened = position = after
    if opened < 0:
        return None
    # The end boundary is missing: the last part runs to the end.
    return MultipartSpan(first, [*parts, read_part(buffer, opened, end)], end)


def _next_delimiter(
    buffer: Buffer, position: int, end: int, dashes: bytes, floor: int
) -> tuple[int, int, bool] | None:
    """Return (start, end, whether it is the last) of the next delimiter line (RFC 2046 section 5.1.1)."""
    while True:
        at = buffer.find(dashes, position, end)
        if at < 0:
            return None
        position = at + len(dashes)
        if at > floor and buffer[max(floor, at - 2) : at] != b"\r\n":
            continue
        closing = buffer[position : min(position + 2, end)] == b"--"
        rest_start = position + 2 if closing else position
        line_end = buffer.find(b"\r\n", rest_start, end)
        after = end if line_end < 0 else line_end + 2
        rest_end = end if line_end < 0 else line_end
        if rest_end - rest_start > 1000 or buffer[rest_start:rest_end].strip(b" \t"):  # noqa: PLR2004 - padding only
            continue
        return at, after, closing


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
