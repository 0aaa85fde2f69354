"""The walk through the parts of a message: what content rules refuse, and the few octets they change.

Refused: attachments by name and by leading octets (`attachments`), a Content-Type that is none (MIME-007), a
multipart without its start or end boundary, an inner boundary equal to an outer one (MIME-005), and whatever goes
beyond the limits below. Changed: HTML bodies with instructions for tracking (MIME-011), and labels of parts that say
7bit and hold 8-bit octets (MIME-010). Nothing within multipart/signed or multipart/encrypted is changed (MIME-004),
nor within an attached message. Attached messages may be cut short or malformed, as returned mail often is: there
only attachments are refused.

The cost: one search for each level of nesting, a few microseconds a part. A message of one part is not searched at
all. No recursion beyond `DEPTH_MAX`, no list beyond `PARTS_MAX`, no octets copied but those looked at. Works on
bytes and on memory maps (`relay.mail.reencode` is the helper process for large bodies).
"""

import binascii
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise

from relay.mail.attachments import LEADING_BYTES, ContentRules, disguised, names_of, refused_name, shown
from relay.mail.encode import Edit, Plan, Way, with_encoding
from relay.mail.headers import HEAD_MAX_BYTES, Field
from relay.mail.markup import HTML_MAX_BYTES, clean_part
from relay.mail.mime import DEPTH_MAX, PARTS_MAX, Buffer, find_bytes, find_delimiters
from relay.mail.parameters import Parameters, media_type_fault, read_parameters
from relay.model.refusal import Reason, Refusal
from relay.model.value import dataclass

DECODED_MAX_BYTES = 64 << 20  # attached messages that are encoded, all of a message together
HEADS_MAX_BYTES = 4 << 20  # of all parts together: reading them is what costs most
ENCODED_MESSAGE_MAX_BYTES = 16 << 20  # a larger one is not looked into
CACHED_MAX_BYTES = 512

_HEAD_FIELD = re.compile(
    rb"^content-(type|disposition|transfer-encoding)[ \t]*+:((?:[^\r\n]++|\r\n[ \t])*+)", re.IGNORECASE | re.MULTILINE
)
_ENCODING_FIELD = re.compile(
    rb"^content-transfer-encoding[ \t]*+:(?:[^\r\n]++|\r\n[ \t])*+\r\n", re.IGNORECASE | re.MULTILINE
)
_KIND = re.compile(r"\s*+([^\s;/()]++)\s*+/\s*+([^\s;/()]++)")
_FIRST_DASHES = re.compile(rb"(?:\A|\r\n)--([^\r\n]{1,200}?)[ \t]*+\r\n")
_LABEL_8BIT = b"Content-Transfer-Encoding: 8bit\r\n"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entity:
    """What MIME fields say of a message or part; `kind` is "" where they say nothing, `fault` what is malformed."""

    kind: str = ""
    boundary: bytes = b""
    ambiguous: bool = False  # readers would take different boundaries
    charset: str = "us-ascii"
    encoding: str = "7bit"
    names: tuple[str, ...] = ()
    attachment: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is: levels passed, boundaries around, whether octets may change, whose message it is."""

    depth: int = 0
    outer: tuple[bytes, ...] = ()
    sealed: bool = False
    attached: bool = False


class _RefusedError(Exception):
    """Ends the walk; carries the refusal."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.refusal = Refusal(reason, text)


def inspect(  # noqa: PLR0917 - a body, where it lies, and what is known of it
    fields: list[Field], index: Mapping[bytes, Field], buffer: Buffer, start: int, end: int, rules: ContentRules,
    *, eight_bit: bool, relabel: bool = True,
) -> Plan | Refusal:  # fmt: skip
    """Return what becomes of the message: the same fields and no edits when it stays, or why it is refused.

    `index` has the first field of each name; `eight_bit` says whether the body has such octets; without `relabel`
    no label is changed (somebody else's signature may cover it).
    """
    entity = top_entity(index)
    walker = _Walker(buffer, rules, relabel=eight_bit and relabel)
    try:
        relabelled = walker.entity(entity, entity.kind or "text/plain", start, end, _Place())
    except _RefusedError as refused:
        return refused.refusal
    return Plan(with_encoding(fields, "8bit") if relabelled else fields, walker.edits)


def top_entity(index: Mapping[bytes, Field]) -> Entity:
    """Return what the top header section says."""
    values = tuple(
        () if field is None else (field.value,)
        for field in map(index.get, (b"content-type", b"content-disposition", b"content-transfer-encoding"))
    )
    if not values[0] and not values[1] and not values[2]:
        return _NOTHING
    if sum(len(value) for each in values for value in each) <= CACHED_MAX_BYTES:
        return _cached_entity(*values)
    return read_entity(*values)


def part_entity(head: bytes) -> Entity:
    """Return what the header section of a part says, read leniently: what is no field is passed over."""
    return _cached_head(head) if len(head) <= CACHED_MAX_BYTES else _read_head(head)


def _read_head(head: bytes) -> Entity:
    found: dict[bytes, list[bytes]] = {}
    for name, value in _HEAD_FIELD.findall(head):
        found.setdefault(name.lower(), []).append(value)
    types, dispositions, encodings = (
        tuple(found.get(name, ())) for name in (b"type", b"disposition", b"transfer-encoding")
    )
    return read_entity(types, dispositions, encodings)


def read_entity(types: tuple[bytes, ...], dispositions: tuple[bytes, ...], encodings: tuple[bytes, ...]) -> Entity:
    """Return what fields of these values say; of a repeated one the first counts, for names all do."""
    kind = fault = ""
    parameters: Parameters = {}
    names: list[str] = []
    for position, value in enumerate(types):
        text = _text(value)
        read = read_parameters(text) if ";" in text else {}
        names += names_of(read)
        if position == 0:
            fault = media_type_fault(text)
            matched = _KIND.match(text)
            kind = f"{matched.group(1)}/{matched.group(2)}".lower() if matched else ""
            parameters = read
    for value in dispositions:
        names += names_of(read_parameters(_text(value)))
    boundaries = parameters.get("boundary", [])
    return Entity(
        kind=kind,
        boundary=boundaries[0].encode("utf-8", "surrogateescape") if boundaries else b"",
        ambiguous=len(set(boundaries)) > 1,
        charset=parameters.get("charset", ["us-ascii"])[0].strip().lower(),
        encoding=_encoding(encodings[0]) if encodings else "7bit",
        names=tuple(names),
        attachment=bool(dispositions) and dispositions[0].strip().lower().startswith(b"attachment"),
        fault=fault,
    )


_NOTHING = Entity()
_cached_entity = lru_cache(maxsize=2048)(read_entity)
_cached_head = lru_cache(maxsize=2048)(_read_head)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape").replace("\r\n", "")


def _encoding(value: bytes) -> str:
    return value.partition(b";")[0].partition(b"(")[0].strip().decode("latin-1").lower() or "7bit"


class _Walker:
    """Looks at each part once, in order; `edits` are what is to change."""

    def __init__(self, buffer: Buffer, rules: ContentRules, *, relabel: bool) -> None:
        self._buffer = buffer
        self._rules = rules
        self._relabel = relabel
        self._parts = 0
        self._decoded = 0
        self._heads = 0
        self._html = 0
        self.edits: list[Edit] = []

    def entity(self, entity: Entity, kind: str, start: int, end: int, place: _Place) -> bool:
        """Look at one entity; return whether its label must become 8bit."""
        self._check_head(entity, place)
        if kind.startswith("multipart/"):
            sealed = place.sealed or kind in ("multipart/signed", "multipart/encrypted")
            inner = _Place(place.depth, place.outer, sealed, place.attached)
            found = self._multipart(entity, kind, start, end, inner)
            return self._relabel and found and entity.encoding == "7bit" and not sealed
        if kind in ("message/rfc822", "message/global"):
            self._message(entity, start, end, place)
        else:
            self._leaf(entity, kind, start, end, place)
        if not self._relabel or entity.encoding != "7bit" or place.sealed or place.attached:
            return False
        return self._has_eight_bit(start, end)

    def _check_head(self, entity: Entity, place: _Place) -> None:
        if not place.attached:
            if entity.fault:
                raise _RefusedError(Reason.BAD_STRUCTURE, entity.fault)
            if entity.ambiguous:
                raise _RefusedError(Reason.BAD_STRUCTURE, "Content-Type has several boundaries.")
        if place.depth > DEPTH_MAX:
            raise _RefusedError(Reason.BAD_STRUCTURE, f"Parts are nested deeper than {DEPTH_MAX} levels.")
        if entity.names:
            name = refused_name(entity.names, self._rules)
            if name:
                raise _RefusedError(Reason.ATTACHMENT, f"Illegal filename '{name}'.")

    def _multipart(self, entity: Entity, kind: str, start: int, end: int, place: _Place) -> bool:
        """Look at every part; return whether any has (or is now labelled as having) 8-bit octets."""
        boundary, lenient = entity.boundary, place.attached
        if not boundary:
            # Lenient readers take the first line with dashes; what they find there is looked at, not refused.
            dashes = _FIRST_DASHES.search(self._buffer[start : min(end, start + 4096)])
            if dashes is None:
                return False
            boundary, lenient = dashes.group(1), True
        if boundary in place.outer:
            if lenient:
                return False
            raise _RefusedError(Reason.BAD_STRUCTURE, "Boundary of an inner multipart equals that of an outer one.")
        found = find_delimiters(self._buffer, start, end, boundary)
        if found is None:
            raise _RefusedError(Reason.BAD_STRUCTURE, f"Message has more than {PARTS_MAX} parts.")
        if not lenient and not found.closed:
            raise _RefusedError(Reason.BAD_STRUCTURE, f"Missing {'end' if found.lines else 'start'} boundary")
        lines = found.lines if found.closed else [*found.lines, (end + 2, end)]
        default = "message/rfc822" if kind == "multipart/digest" else "text/plain"
        inner = _Place(place.depth + 1, (*place.outer, boundary), place.sealed, place.attached)
        labelled = False
        for (_, opened), (at, _) in pairwise(lines):
            labelled |= self._part(opened, max(opened, at - 2), default, inner)
        return labelled

    def _part(self, start: int, end: int, default: str, place: _Place) -> bool:
        """Look at one part; return whether it is labelled as 8-bit, now or before."""
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise _RefusedError(Reason.BAD_STRUCTURE, f"Message has more than {PARTS_MAX} parts.")
        head, body = self._head(start, end)
        self._heads += len(head)
        if self._heads > HEADS_MAX_BYTES:
            text = f"Header sections of parts are longer than {HEADS_MAX_BYTES} octets together."
            raise _RefusedError(Reason.BAD_STRUCTURE, text)
        entity = part_entity(head)
        before = len(self.edits)
        if self.entity(entity, entity.kind or default, body, end, place):
            self.edits.insert(before, Edit(start, body, Way.LITERAL, _relabelled(head)))
            return True
        return entity.encoding in ("8bit", "binary")

    def _head(self, start: int, end: int) -> tuple[bytes, int]:
        """Return the header section of the part with its empty line, and where the body begins."""
        if self._buffer[start : min(start + 2, end)] == b"\r\n":
            return b"\r\n", start + 2
        blank = find_bytes(self._buffer, b"\r\n\r\n", start, min(end, start + HEAD_MAX_BYTES))
        if blank >= 0:
            return self._buffer[start : blank + 4], blank + 4
        if end - start >= HEAD_MAX_BYTES:
            text = f"Header section of a part is longer than {HEAD_MAX_BYTES} octets."
            raise _RefusedError(Reason.BAD_STRUCTURE, text)
        return self._buffer[start:end] + b"\r\n\r\n", end

    def _message(self, entity: Entity, start: int, end: int, place: _Place) -> None:
        """Look into an attached message, decoded when it is encoded; nothing in it changes."""
        inside = _Place(place.depth + 1, place.outer, sealed=True, attached=True)
        if entity.encoding not in ("base64", "quoted-printable"):
            self._attached(start, end, inside)
            return
        if end - start > ENCODED_MESSAGE_MAX_BYTES:
            return
        self._decoded += end - start
        if self._decoded > DECODED_MAX_BYTES:
            raise _RefusedError(Reason.BAD_STRUCTURE, "Attached messages are encoded too often.")
        data = self._buffer[start:end]
        try:
            data = binascii.a2b_base64(data) if entity.encoding == "base64" else binascii.a2b_qp(data)
        except binascii.Error:
            return
        outside, self._buffer = self._buffer, data
        self._attached(0, len(data), inside)
        self._buffer = outside

    def _attached(self, start: int, end: int, place: _Place) -> None:
        if start < end:
            head, body = self._head(start, end)
            entity = part_entity(head)
            self.entity(entity, entity.kind or "text/plain", body, end, place)

    def _leaf(self, entity: Entity, kind: str, start: int, end: int, place: _Place) -> None:
        text = kind.startswith("text/") and not entity.names and not entity.attachment
        if not text:
            raw = self._buffer[start : min(end, start + 2 * LEADING_BYTES)]
            what = disguised(raw, entity.encoding, self._rules)
            if what:
                name = f" of '{shown(entity.names[0])}'" if entity.names else ""
                raise _RefusedError(Reason.ATTACHMENT, f"Illegal file content{name}: {what}.")
        elif kind == "text/html" and not place.sealed and self._html + end - start <= HTML_MAX_BYTES:
            self._html += end - start
            raw = self._buffer[start:end]
            cleaned = clean_part(raw, entity.encoding, entity.charset)
            if cleaned is not None:
                if not raw.endswith(b"\r\n"):
                    cleaned = cleaned.removesuffix(b"\r\n")
                self.edits.append(Edit(start, end, Way.LITERAL, cleaned))

    def _has_eight_bit(self, start: int, end: int) -> bool:
        return any(
            not self._buffer[at : min(end, at + _BLOCK_BYTES)].isascii() for at in range(start, end, _BLOCK_BYTES)
        )


def _relabelled(head: bytes) -> bytes:
    """Return the header section of a part with its label set to 8bit."""
    changed, count = _ENCODING_FIELD.subn(_LABEL_8BIT, head, count=1)
    return changed if count else _LABEL_8BIT + head
