"""DNS answers as bytes: cut down to what anybody needs before they are parsed.

A message may hold 64 KiB of records, which take a tenth of a second to parse; nobody has a use for more than a few
hundred. Of mail exchangers the most preferred stay, so that a cut never makes a domain look dead. Pure.
"""

import struct

RECORDS_MAX = 200  # of each section
ALIASES_MAX = 20  # more than any chain that is followed
_HEADER_BYTES = 12
_QUESTION_REST_BYTES = 4
_RECORD_REST_BYTES = 10
_LABELS_MAX = 128  # RFC 1035 section 2.3.4: 255 octets
_JUMPS_MAX = 16
_POINTER = 0xC0
_CNAME, _MX, _RRSIG = 5, 15, 46
_LAST = 1 << 16

_Record = tuple[int, int, int, int, int]  # rank, where its owner, its type and its data begin, size of the data


def trimmed(wire: bytes) -> bytes:
    """Return a message with at most `RECORDS_MAX` records a section; what is broken comes back as a bare header."""
    if len(wire) < _HEADER_BYTES:
        return wire
    questions, *counts = struct.unpack_from("!HHHH", wire, 4)
    if max(counts) <= RECORDS_MAX:
        return wire
    try:
        position = _HEADER_BYTES
        for _ in range(questions):
            position = _after_name(wire, position) + _QUESTION_REST_BYTES
        if counts[0] > RECORDS_MAX:
            return _best(wire, position, counts[0])
        return _beginning(wire, position, counts)
    except (IndexError, struct.error):
        return wire[:_HEADER_BYTES]


def _beginning(wire: bytes, position: int, counts: list[int]) -> bytes:
    """Return the message up to the first section that is too long, and of that the beginning."""
    kept = [0, 0, 0]
    for section, count in enumerate(counts):
        kept[section] = min(count, RECORDS_MAX)
        for _ in range(kept[section]):
            *_, data, size = _record(wire, position, 0)
            position = data + size
        if kept[section] < count:
            break
    return wire[:6] + struct.pack("!HHH", *kept) + wire[_HEADER_BYTES:position]


def _best(wire: bytes, question_end: int, count: int) -> bytes:
    """Return the message with the best of its answers, and without what is beside them."""
    records: list[_Record] = []
    position, aliases = question_end, 0
    for _ in range(count):
        record = _record(wire, position, aliases)
        aliases += record[0] < 0
        position = record[3] + record[4]
        records.append(record)
    records.sort(key=_rank)  # stable: those of one rank stay in their order
    best = b"".join(_plain(wire, record) for record in records[:RECORDS_MAX])
    kept = struct.pack("!HHH", min(count, RECORDS_MAX), 0, 0)
    return wire[:6] + kept + wire[_HEADER_BYTES:question_end] + best


def _rank(record: _Record) -> int:
    return record[0]


def _record(wire: bytes, owner: int, aliases: int) -> _Record:
    """Read where a record is; aliases rank first, mail exchangers by their preference, signatures last."""
    start = _after_name(wire, owner)
    (kind,) = struct.unpack_from("!H", wire, start)
    data = start + _RECORD_REST_BYTES
    (size,) = struct.unpack_from("!H", wire, data - 2)
    if data + size > len(wire):
        raise IndexError
    rank = 0
    if kind == _CNAME:
        rank = -1 if aliases < ALIASES_MAX else _LAST
    elif kind == _MX:
        (rank,) = struct.unpack_from("!H", wire, data)
    elif kind == _RRSIG:
        rank = _LAST
    return rank, owner, start, data, size


def _plain(wire: bytes, record: _Record) -> bytes:
    """Return a record without pointers into what may be gone."""
    _, owner, start, data, size = record
    (kind,) = struct.unpack_from("!H", wire, start)
    content = wire[data : data + size]
    if kind == _CNAME:
        content = _name(wire, data)
    elif kind == _MX:
        content = wire[data : data + 2] + _name(wire, data + 2)
    return _name(wire, owner) + wire[start : start + 8] + struct.pack("!H", len(content)) + content


def _name(wire: bytes, position: int) -> bytes:
    labels = bytearray()
    jumps = 0
    for _ in range(_LABELS_MAX):
        size = wire[position]
        while size >= _POINTER:
            jumps += 1
            if jumps > _JUMPS_MAX:
                raise IndexError
            position = (size & ~_POINTER) << 8 | wire[position + 1]
            size = wire[position]
        labels += wire[position : position + 1 + size]
        position += 1 + size
        if not size:
            return bytes(labels)
    raise IndexError


def _after_name(wire: bytes, position: int) -> int:
    for _ in range(_LABELS_MAX):
        size = wire[position]
        if size >= _POINTER:  # RFC 1035 section 4.1.4: the end of a name
            return position + 2
        position += 1 + size
        if not size:
            return position
    raise IndexError
