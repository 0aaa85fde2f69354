"""Between workers and permits: JSON lines, each an array of notes, each note an array with a word first.

Many notes share a line, because one write and one parse for everything that happened in a turn of the loop is what
keeps a lease cheap. A note that does not fit its form ends the connection; the worker connects and announces anew.

    worker to permits
        ["hello", shard]                            an announcement begins
        ["usage", account, [minute, n, ...]]        recipients committed, by minute since 1970
        ["held", id, account, n]                    a lease that is still open
        ["lane", lane, source, destination, connections, connections a minute, messages a minute]
                                                    gives a lane a number, or other limits, on this connection
        ["holds", lane, n]                          connections it has of a lane
        ["announced"]                               the announcement is complete
        ["take", id, account, n, c, quota, rate]    asks for a lease of n recipients, c of them for the quota
        ["spent", id, minute] / ["unused", id]      reports one
        ["add", account, minute, n]                 recipients committed without a lease
        ["failed", address, user] / ["succeeded", address, user]
        ["query", id, account]                      asks for what counts now
        ["want", lane, n] / ["back", lane, n]       asks for connections, gives them back
        ["messages", lane, n]                       asks to send n messages; a right that is not used at once is lost
        ["forget", lane]                            has nothing of a lane, wants nothing; the number is void
        ["effect", kind, source, destination, account, set, seconds, factor, rule, reply]
                                                    what a rule makes of an answer
        ["delivered", source, destination]          a slowed lane carried mail
        ["volume", id, address, provider, mode, started_ms, percent, engaged]
                                                    asks for room in a warm-up
        ["volume back", day, address, provider]     gives it back
        ["answers", address, provider, attempts, bounces, blocks, complaints]
                                                    how receivers took mail of a warm-up
    permits to worker
        ["hello", epoch]                            first note of every connection
        ["granted", id] / ["refused", id, limit]    limit is "rate" or "quota"
        ["failed", address, user] / ["succeeded", address, user]    what other workers saw
        ["recalled", kind, address, user, age]      what was known before this connection
        ["used", id, n]
        ["connect", lane, n] / ["message", lane, n] grants what was asked for
        ["recall", lane, n]                         asks for connections back, soon
        ["afresh"]                                  all that is in force follows
        ["standing", kind, destination, source, account, set, until_ms, factor, rule, reply]
        ["ended", kind, destination, source, account, set]
        ["room", id, day] / ["full", id, not_before_ms, late]
        ["slow", source, destination, factor]       the part of its limits that a lane may use
"""

from collections.abc import Iterable
from typing import Any

import orjson

LINE_MAX_BYTES = 1024 * 1024
BUFFERED_MAX_BYTES = 4 * 1024 * 1024  # written and not taken by the other side
NOTES_PER_LINE_MAX = 400
NAME_MAX_CHARACTERS = 128

LANE_WORDS = frozenset({"connect", "message", "recall", "afresh", "standing", "ended", "slow"})

Note = list[Any]


class ProtocolError(Exception):
    """The other side sent what this side does not understand."""


def encode(notes: list[Note]) -> bytes:
    """Return notes as lines; each line stays under `LINE_MAX_BYTES`."""
    if len(notes) <= NOTES_PER_LINE_MAX:
        return orjson.dumps(notes) + b"\n"
    starts = range(0, len(notes), NOTES_PER_LINE_MAX)
    return b"".join(orjson.dumps(notes[start : start + NOTES_PER_LINE_MAX]) + b"\n" for start in starts)


def clean(text: str) -> str:
    """Return a name as it travels: bounded, and free of what cannot be encoded."""
    return text[:NAME_MAX_CHARACTERS].encode(errors="replace").decode()


class Lines:
    """Turns what arrives into notes."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterable[Note]:
        """Return the notes of all lines that are complete now. Raise ProtocolError."""
        if b"\n" not in data:
            self._keep(self._rest + data)
            return ()
        *lines, rest = (self._rest + data).split(b"\n")
        self._keep(rest)
        notes: list[Note] = []
        for line in lines:
            notes += _parse(line)
        return notes

    def _keep(self, rest: bytes) -> None:
        if len(rest) > LINE_MAX_BYTES:
            msg = "a line is too long"
            raise ProtocolError(msg)
        self._rest = rest


def _parse(line: bytes) -> list[Note]:
    try:
        notes = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(str(error)) from error
    if not isinstance(notes, list) or not all(isinstance(note, list) and note for note in notes):
        msg = "a line is not an array of notes"
        raise ProtocolError(msg)
    return notes
