"""Receiving one message after 354: the true end of data, and dot-unstuffing.

The end is CRLF "." CRLF and nothing else (RFC 5321 section 4.1.1.4). What is not CRLF-clean is read to that end and
then refused once (SMTP-023, decision 14), so no other sequence can ever end one message and begin another.

Messages whose body fits into memory stay in the session's buffer until the end is there: one `find` and a few
`replace`s, whatever the number of lines. Larger ones go piece by piece to a sink. A piece never ends
inside a possible end of data, hence every CRLF and every stuffed dot lies whole inside one piece.
"""

from relay.model.content import MEMORY_BODY_MAX_BYTES
from relay.smtp.server.content import Gathering, Mode

END_OF_DATA = b"\r\n.\r\n"
_PARTIAL_ENDS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
# A stuffed line has at least four octets for three of text: no body that fits grows beyond this.
_MEMORY_MAX_BYTES = MEMORY_BODY_MAX_BYTES * 4 // 3 + 16


class DataStage:
    """Takes one message from the front of the session's buffer and hands its text to `gathering`."""

    __slots__ = ("_at_start", "_gathering", "_searched", "taken_bytes")

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering
        self._at_start = True
        self._searched = 0
        self.taken_bytes = 0

    def feed(self, buffer: bytearray) -> bool:
        """Consume what can be consumed; True when the end of data was among it (what follows it stays)."""
        if self._at_start:
            if len(buffer) < 3 and b".\r\n".startswith(buffer):  # noqa: PLR2004 - length of the shortest end
                return False
            self._at_start = False
            if buffer.startswith(b".\r\n"):  # the CRLF of the DATA line is the first half of the end
                del buffer[:3]
                self._take_whole(b"")
                return True
        end = buffer.find(END_OF_DATA, self._searched)
        if end >= 0:
            text = bytes(buffer[: end + 2])
            del buffer[: end + 5]
            self._last(text)
            return True
        self._more(buffer)
        return False

    def _last(self, text: bytes) -> None:
        self.taken_bytes += len(text)
        if self._gathering.mode is Mode.MEMORY:
            self._take_whole(text[1:] if text.startswith(b".") else text)
        elif self._gathering.mode is Mode.SINK:
            self._take_piece(text)

    def _more(self, buffer: bytearray) -> None:
        if self._gathering.mode is Mode.MEMORY and len(buffer) <= _MEMORY_MAX_BYTES:
            self._searched = max(len(buffer) - 4, 0)
            return
        self._searched = 0
        kept = next((len(part) for part in _PARTIAL_ENDS if buffer.endswith(part)), 0)
        piece = bytes(memoryview(buffer)[: len(buffer) - kept])
        del buffer[: len(buffer) - kept]
        self.taken_bytes += len(piece)
        if self._gathering.mode is Mode.MEMORY:
            self._spill(piece[1:] if piece.startswith(b".") else piece)
        elif self._gathering.mode is Mode.SINK:
            self._take_piece(piece)

    def _take_whole(self, raw: bytes) -> None:
        text = _unstuffed(raw)
        if self._gathering.sound(text):
            self._gathering.whole(text)

    def _spill(self, piece: bytes) -> None:
        text = _unstuffed(piece)
        if self._gathering.sound(text):
            self._gathering.first(text)

    def _take_piece(self, piece: bytes) -> None:
        text = _unstuffed(piece)
        if self._gathering.sound(text):
            self._gathering.more(text)


def _unstuffed(text: bytes) -> bytes:
    """Take the stuffed dots out; which CR and LF belong together stays as it was."""
    return text.replace(b"\r\n.", b"\r\n") if b"\r\n." in text else text
