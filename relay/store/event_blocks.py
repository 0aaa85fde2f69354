"""Blocks of events: some events in order, compressed together, as the archive of events keeps them. Pure.

A block is a raw deflate stream that may be ended by a flush alone, so that later events of a block are appended to
what is on disk. Inside, an event is three lines: a JSON list of its facts, its notes, its record. A record repeats
the `mail` object of its message; where an earlier event of the block is of the same message, the part of the record
that both share is left out, and the list says where it is found. An erased event has null in the place of its list.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import orjson

from relay.errors import CorruptionError
from relay.model.event import LoggedEvent
from relay.model.message import NewEvent

INDEX_BITS: Final = 7
EVENTS_MAX: Final = 1 << INDEX_BITS
BLOCK_BYTES: Final = 128 * 1024  # of a block before compression, reached by its last event
DECODED_MAX: Final = 64 * 1024 * 1024
LEVEL: Final = 3  # half the time of level 6, a tenth more octets
_MAIL: Final = b',"mail":'
_MAIL_END: Final = b'}},"'  # of its tags and of itself, before the part that the record's kind has
_SHARED_MIN: Final = 64
_RAW_DEFLATE: Final = -15


class Archived(NamedTuple):
    """An event in the archive, and when it happened (milliseconds since 1970)."""

    time_ms: int
    event: LoggedEvent


class BlockWriter:
    """Compresses the events of one block, some at a time."""

    def __init__(self) -> None:
        self.events = 0
        self._bytes = 0
        self._stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW_DEFLATE)
        self._records: dict[str, tuple[int, bytes]] = {}

    @property
    def full(self) -> bool:
        """True when the next event belongs to another block."""
        return self.events >= EVENTS_MAX or self._bytes >= BLOCK_BYTES

    def add(self, time_ms: int, event: LoggedEvent) -> bytes:
        """Add an event; return what is to be appended to the block now, which may be nothing."""
        record = event.payload
        facts: list[object] = [event.shard, event.seq, time_ms, event.event_id, event.kind, event.message_id]
        earlier = self._records.get(event.message_id)
        if earlier is None:
            self._records[event.message_id] = (self.events, record)
        else:
            begin, source, size = _shared(record, earlier[1])
            if size >= _SHARED_MIN:
                facts += [earlier[0], begin, source, size]
                record = record[:begin] + record[begin + size :]
        self.events += 1
        text = b"%b\n%b\n%b\n" % (orjson.dumps(facts), event.event.notes, record)
        self._bytes += len(text)
        return self._stream.compress(text)

    def skip(self) -> bytes:
        """Add the place of an event that was erased; return as `add`."""
        self.events += 1
        return self._stream.compress(b"null\n\n\n")

    def flush(self) -> bytes:
        """Return the rest of what was added."""
        return self._stream.flush(zlib.Z_SYNC_FLUSH)


def encoded(events: Iterable[Archived | None]) -> bytes:
    """Return a whole block; None keeps the place of an event that was erased."""
    writer = BlockWriter()
    parts = [writer.skip() if one is None else writer.add(*one) for one in events]
    return b"".join(parts) + writer.flush()


def decoded(data: bytes) -> Iterator[Archived | None]:
    """Yield the events of a block in order, None for an erased one. Raise CorruptionError."""
    stream = zlib.decompressobj(_RAW_DEFLATE)
    try:
        text = stream.decompress(data, DECODED_MAX)
    except zlib.error as error:
        raise CorruptionError(f"a block of events is damaged: {error}") from error
    lines = text.split(b"\n")
    records: list[bytes] = []
    for at in range(0, len(lines) - 3, 3):
        try:
            facts = orjson.loads(lines[at])
            if facts is None:
                records.append(b"")
                yield None
                continue
            shard, seq, time_ms, event_id, kind, message_id, *shared = facts
            record = lines[at + 2]
            if shared:
                earlier, begin, source, size = shared
                record = record[:begin] + records[earlier][source : source + size] + record[begin:]
        except (ValueError, TypeError, IndexError) as error:
            raise CorruptionError(f"a block of events is damaged: {error}") from error
        records.append(record)
        event = NewEvent(event_id, kind, message_id, record, lines[at + 1])
        yield Archived(time_ms, LoggedEvent(shard, seq, event))


def _shared(record: bytes, earlier: bytes) -> tuple[int, int, int]:
    """Return a common beginning of the `mail` objects of two records: where it is in each, and its size."""
    begin, source = record.find(_MAIL) + len(_MAIL), earlier.find(_MAIL) + len(_MAIL)
    low, high = 0, min(len(record) - begin, len(earlier) - source)
    for size in (high, earlier.rfind(_MAIL_END) - source):  # all that is left, or all of the earlier `mail` object
        if 0 < size <= high and record[begin : begin + size] == earlier[source : source + size]:
            return begin, source, size
    while high - low > 1:
        middle = (low + high) // 2
        if record[begin + low : begin + middle] == earlier[source + low : source + middle]:
            low = middle
        else:
            high = middle
    return begin, source, low
