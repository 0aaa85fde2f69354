"""Receiving one message by BDAT (RFC 3030): chunks of counted octets instead of a final dot.

What a chunk holds is never looked at for commands: exactly its octets are consumed, whatever becomes of them, also
when the command was out of place or the message is refused already. The line endings of decision 14 hold over the
joined text: a chunk may end in a CR when the next one begins with its LF. Bodies over 256 KiB go to the sink.
"""

import re
from dataclasses import dataclass
from typing import Final

from relay.model.content import MEMORY_BODY_MAX_BYTES
from relay.smtp.server.content import BAD_LINE_ENDING, TOO_LONG, Gathering, Mode
from relay.smtp.server.reply import Reply

# Eleven digits are no chunk: no client has as much to send, and none is waited for.
_SYNTAX: Final = re.compile(rb"([0-9]{1,10})(?: +([Ll][Aa][Ss][Tt]))? *\Z")


@dataclass(frozen=True, slots=True)
class Bdat:
    """A BDAT command: the octets that follow its line, and whether they are the last ones of the message."""

    size_bytes: int
    last: bool


def parse_bdat(argument: bytes) -> Bdat | None:
    """Read the argument of BDAT (RFC 3030 section 2), None when it is malformed."""
    found = _SYNTAX.match(argument)
    return Bdat(int(found.group(1)), found.group(2) is not None) if found else None


class ChunkStage:
    """Takes the chunks of one message from the front of the session's buffer and hands their text to `gathering`."""

    __slots__ = ("_carry", "_gathering", "_held", "_left_bytes", "_open_line", "last", "taken_bytes")

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering
        self._held = bytearray()
        self._carry = b""  # a CR whose LF may begin the next piece
        self._left_bytes = 0
        self._open_line = False
        self.last = False
        self.taken_bytes = 0

    def begin(self, command: Bdat, size_max: int) -> None:
        """Expect a chunk; one that makes the message too large is consumed and not kept."""
        self._left_bytes = command.size_bytes
        self.last = command.last
        if self.taken_bytes + command.size_bytes > size_max:
            self._gathering.refuse(TOO_LONG)
            self._held.clear()

    def feed(self, buffer: bytearray) -> bool:
        """Consume what belongs to this chunk; True when it is complete (what follows it stays)."""
        size = min(self._left_bytes, len(buffer))
        if size:
            piece = bytes(memoryview(buffer)[:size])
            del buffer[:size]
            self._left_bytes -= size
            self.taken_bytes += size
            self._take(piece)
        return not self._left_bytes

    def _take(self, piece: bytes) -> None:
        gathering = self._gathering
        if gathering.mode is Mode.DISCARD:
            return
        piece = self._carry + piece
        self._carry = b"\r" if piece.endswith(b"\r") else b""
        if self._carry:
            piece = piece[:-1]
        if not piece:
            return
        if not gathering.sound(piece):
            self._held.clear()
            return
        self._open_line = not piece.endswith(b"\n")
        if gathering.mode is Mode.SINK:
            gathering.more(piece)
            return
        self._held += piece
        if len(self._held) > MEMORY_BODY_MAX_BYTES:
            gathering.first(bytes(self._held))
            self._held.clear()

    def complete(self) -> None:
        """Finish the text after the last chunk; a last line without CRLF gets one, as DATA would have needed it."""
        gathering = self._gathering
        if gathering.mode is Mode.DISCARD:
            return
        if self._carry:
            gathering.refuse(BAD_LINE_ENDING)
            return
        end = b"\r\n" if self._open_line else b""
        if gathering.mode is Mode.MEMORY:
            gathering.whole(bytes(self._held) + end)
        elif end:
            gathering.more(end)


class SkipStage:
    """Consumes a chunk that came out of place, and then gives `answer`: the client sends it without waiting."""

    __slots__ = ("_left_bytes", "answer", "taken_bytes")

    def __init__(self, size_bytes: int, answer: Reply) -> None:
        self._left_bytes = size_bytes
        self.answer = answer
        self.taken_bytes = 0

    def feed(self, buffer: bytearray) -> bool:
        """Consume what belongs to the chunk; True when it is complete."""
        size = min(self._left_bytes, len(buffer))
        del buffer[:size]
        self._left_bytes -= size
        self.taken_bytes += size
        return not self._left_bytes
