"""A message that came back, opened leniently and with bounded work: its header fields, its parts, its first text.

Other than `relay.mail.headers` nothing is refused: a line that is no field is skipped, octets that are no text in the
charset they claim are read as they can be. At most `READ_MAX_BYTES` are looked at, `PARTS_MAX` parts, `DEPTH_MAX`
levels; every step is linear in that.
"""

import binascii
import codecs
import html
import quopri
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from relay.mail.headers import HEAD_MAX_BYTES, Field
from relay.mail.mime import MediaType, find_delimiters, parse_media_type
from relay.mail.words import CHARSETS, decode_words

READ_MAX_BYTES: Final = 1024 * 1024
PARTS_MAX: Final = 50
DEPTH_MAX: Final = 6
FIELDS_MAX: Final = 1000
PART_FIELDS_MAX: Final = 50  # of a part, or a block of a status: they have a dozen
LINES_MAX: Final = 20_000
VALUE_MAX_CHARS: Final = 4000
TEXT_MAX_CHARS: Final = 32 * 1024
_CHARSETS: Final = CHARSETS | {"cp932", "windows-31j", "euc-cn", "cp949", "big5-hkscs", "utf-16"}
_FIELD = re.compile(r"([!-9;-~]{1,200})[ \t]*:(.*)", re.DOTALL)
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_BASE64_JUNK: Final = bytes(octet for octet in range(256) if octet not in _BASE64)
_BREAKING = re.compile(r"<(?:br|/?p|/?div|/?tr|/?li|/?h[1-6]|/?pre|/?table)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_BLANKS = re.compile(r"[^\S\n]+")


@dataclass(frozen=True, slots=True)
class Fields:
    """Header fields in order: lower-case names and unfolded values, as text."""

    items: tuple[tuple[str, str], ...] = ()

    def first(self, name: str) -> str:
        """Return the first value of a field, "" when there is none."""
        return next((value for key, value in self.items if key == name), "")

    def all(self, name: str) -> tuple[str, ...]:
        """Return all values of a field."""
        return tuple(value for key, value in self.items if key == name)

    def has(self, *names: str) -> bool:
        """Say whether there is one of these fields."""
        return any(key in names for key, _ in self.items)

    @property
    def raw(self) -> tuple[Field, ...]:
        """The fields as those of a header section, unfolded."""
        return tuple(Field(key.encode(), f"{key}: {value}\r\n".encode()) for key, value in self.items)

    @property
    def media_type(self) -> MediaType:
        """What Content-Type says, text/plain where it says nothing."""
        return parse_media_type(self.first("content-type").encode("utf-8"))

    @property
    def subject(self) -> str:
        """The subject, decoded."""
        return decode_words(self.first("subject")[:VALUE_MAX_CHARS])


@dataclass(frozen=True)
class Part:
    """A leaf of the message, or a message in it. `raw` is its body as it came."""

    fields: Fields
    raw: bytes = field(repr=False)
    kind: str = "text/plain"

    @cached_property
    def data(self) -> bytes:
        """The octets of the body, their transfer encoding undone."""
        return decoded(self.raw, self.fields.first("content-transfer-encoding").split(";")[0].strip().lower())

    @cached_property
    def text(self) -> str:
        """The body as text, its lines ended by LF, at most `TEXT_MAX_CHARS`; of HTML the visible text."""
        charset = self.fields.media_type.parameters.get("charset", "utf-8")
        text = as_text(self.data[: 4 * TEXT_MAX_CHARS], charset)[:TEXT_MAX_CHARS]
        return visible(text) if self.kind == "text/html" else text


@dataclass(frozen=True)
class Opened:
    """A message: its fields, its leaves in order, and where it was cut."""

    fields: Fields
    parts: tuple[Part, ...]

    def part(self, *kinds: str) -> Part | None:
        """Return the first part of one of these media types."""
        return next((part for part in self.parts if part.kind in kinds), None)

    @cached_property
    def notice(self) -> str:
        """The text for people: plain text before HTML, the first that is not empty."""
        for kind in ("text/plain", "text/html"):
            for part in self.parts:
                if part.kind == kind and part.text.strip():
                    return part.text
        return ""

    @cached_property
    def returned(self) -> Fields:
        """The header fields of the message that came back in a part of its own, maybe none."""
        part = self.part(*MESSAGE_TYPES, *HEAD_TYPES)
        return read_head(part.data)[0] if part is not None else Fields()


MESSAGE_TYPES: Final = ("message/rfc822", "message/global")
HEAD_TYPES: Final = ("text/rfc822-headers", "message/rfc822-headers", "message/global-headers")


def open_message(content: bytes) -> Opened:
    """Return a message of head and body, opened; lines may end as they like."""
    content = content[:READ_MAX_BYTES].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if content.startswith(b"From "):  # a mailbox file's own line
        content = content.partition(b"\n")[2]
    content = content.replace(b"\n", b"\r\n")
    parts: list[Part] = []
    fields = _walk(content, parts, 0)
    return Opened(fields, tuple(parts))


def read_head(content: bytes, fields_max: int = FIELDS_MAX) -> tuple[Fields, int]:
    """Return the header fields at the beginning of octets, and where the body begins."""
    if content.startswith((b"\r\n", b"\n")):
        return Fields(), 2 if content.startswith(b"\r\n") else 1
    end, size = content.find(b"\r\n\r\n", 0, HEAD_MAX_BYTES), 4
    if end < 0:
        end, size = content.find(b"\n\n", 0, HEAD_MAX_BYTES), 2
    if end < 0:
        end, size = min(len(content), HEAD_MAX_BYTES), 0
    return read_fields(content[:end], fields_max), end + size


def read_fields(head: bytes, fields_max: int = FIELDS_MAX) -> Fields:
    """Return the fields of lines; those that are no fields are skipped."""
    items: list[tuple[str, list[str]]] = []
    size = 0
    for ended in head.split(b"\n", LINES_MAX)[:LINES_MAX]:
        line = ended.rstrip(b"\r")
        if not line.strip():
            continue
        if len(items) > fields_max:
            break
        text = as_text(line[: 4 * VALUE_MAX_CHARS], "utf-8")
        if text[:1] in {" ", "\t"}:
            if items and size < VALUE_MAX_CHARS:
                items[-1][1].append(" " + text.strip())
                size += len(text)
            continue
        matched = _FIELD.match(text)
        if matched is not None:
            items.append((matched[1].lower(), [matched[2].strip()]))
            size = len(text)
    return Fields(tuple((key, printable("".join(lines).strip())) for key, lines in items))


def printable(text: str) -> str:
    """Return a text as one bounded line without control characters."""
    text = text[:VALUE_MAX_CHARS]
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _walk(content: bytes, parts: list[Part], depth: int) -> Fields:
    fields, start = read_head(content, PART_FIELDS_MAX if depth else FIELDS_MAX)
    kind = fields.media_type
    if kind.kind.startswith("multipart/") and kind.boundary and depth < DEPTH_MAX:
        found = find_delimiters(content, start, len(content), kind.boundary, PARTS_MAX + 1)
        if found is not None and found.lines:
            ends = [begin for begin, _ in found.lines[1:]]
            if not found.closed:
                ends.append(len(content))
            for (_, begin), end in zip(found.lines, ends, strict=False):
                if len(parts) >= PARTS_MAX:
                    break
                _walk(content[begin : max(begin, end - 2)], parts, depth + 1)
            return fields
    if len(parts) < PARTS_MAX:
        parts.append(Part(fields, content[start:], kind.kind))
    return fields


def decoded(data: bytes, encoding: str) -> bytes:
    """Return octets whose transfer encoding is undone, as far as they can be."""
    if encoding == "base64":
        joined = data.translate(None, _BASE64_JUNK).partition(b"=")[0]
        try:
            return binascii.a2b_base64(joined[: len(joined) - (len(joined) % 4 == 1)] + b"===")
        except binascii.Error:
            return data
    return quopri.decodestring(data) if encoding == "quoted-printable" else data


def as_text(data: bytes, charset: str) -> str:
    """Return octets as text; what is no text in its charset is taken for UTF-8, then for Windows-1252."""
    if data.isascii() and not charset.lower().startswith(("iso-2022", "utf-16")):
        return data.decode("ascii")
    name = charset.strip().strip("'\"").lower()
    for candidate in (name if name in _CHARSETS else "utf-8", "utf-8"):
        try:
            return codecs.decode(data, candidate)
        except (UnicodeDecodeError, LookupError):
            continue
    # Cut inside a character, or broken here and there: UTF-8 when most of it is.
    loose = data.decode("utf-8", "replace")
    return loose if loose.count("\ufffd") * 20 < len(loose) else data.decode("cp1252", "replace")


def visible(text: str) -> str:
    """Return what of HTML is text."""
    text = _without(_without(_without(text, "style"), "script"), "head")
    text = _BREAKING.sub("\n", text)
    return _BLANKS.sub(" ", html.unescape(_TAG.sub("", text)))


def _without(text: str, element: str) -> str:
    """Return HTML without the content of an element; what is not closed ends with the text."""
    kept: list[str] = []
    lower, position = text.lower(), 0
    while (begin := lower.find(f"<{element}", position)) >= 0:
        kept.append(text[position:begin])
        end = lower.find(f"</{element}", begin)
        if end < 0:
            return "".join(kept)
        position = end
    return "".join([*kept, text[position:]])
