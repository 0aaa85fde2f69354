"""Receiving one message after 354: the true end of data, dot-unstuffing, line endings, size, head and body.

The end is CRLF "." CRLF and nothing else (RFC 5321 section 4.1.1.4). What is not CRLF-clean is read to that end and
then refused once (SMTP-023, decision 14), so no other sequence can ever end one message and begin another.

Messages whose body fits into memory stay in the session's buffer until the end is there: one `find` and a few
`replace`s, whatever the number of lines. Larger ones go piece by piece to a sink. A piece never ends
inside a possible end of data, hence every CRLF and every stuffed dot lies whole inside one piece.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from relay.mail.scan import BodyScanner, head_end, scan_body
from relay.model.content import MEMORY_BODY_MAX_BYTES, BodyFacts, BodyFile, Content
from relay.model.refusal import Reason, Refusal

END_OF_DATA = b"\r\n.\r\n"
_PARTIAL_ENDS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
# A stuffed line has at least four octets for three of text: no body that fits grows beyond this.
_MEMORY_MAX_BYTES = MEMORY_BODY_MAX_BYTES * 4 // 3 + 16

BAD_LINE_ENDING = Refusal(Reason.BAD_LINE_ENDING, "Lines must end with CRLF, and hold no other CR, LF or NUL.")
TOO_LONG = Refusal(Reason.MESSAGE_TOO_LONG)
HEAD_TOO_LONG = Refusal(Reason.BAD_HEADER, "Header section is too large.")
RECEIVE_FAILED = Refusal(Reason.RECEIVE_FAILED)

Received = tuple[Content, BodyFacts]


class BodySink(Protocol):
    """Where a large body goes while it arrives. After an abort or a failure nothing of it remains."""

    def write(self, chunk: bytes) -> None:
        """Take the next piece; must not block, failures are told by `finish`."""
        ...

    def finish(self, done: Callable[[BodyFile | Refusal], None]) -> None:
        """Complete the body; `done` is called once, perhaps from inside the call."""
        ...

    def abort(self) -> None:
        """Drop the body, also when it was complete; the `done` of `finish` is called no more."""
        ...


class _Mode(Enum):
    MEMORY = 1
    SINK = 2
    DISCARD = 3


class DataStage:
    """Takes one message from the front of the session's buffer. `fault` says why it will be refused, if so."""

    __slots__ = (
        "_at_start", "_body", "_facts", "_head", "_head_max", "_mode", "_open_sink", "_scanner", "_searched",
        "_sink", "_size", "_size_max", "fault", "taken_bytes",
    )  # fmt: skip

    def __init__(self, size_max: int, head_max: int, open_sink: Callable[[], BodySink]) -> None:
        self._size_max = size_max
        self._head_max = head_max
        self._open_sink = open_sink
        self._mode = _Mode.MEMORY
        self._at_start = True
        self._searched = 0
        self._size = 0
        self._head = b""
        self._body = b""
        self._facts: BodyFacts | None = None
        self._scanner: BodyScanner | None = None
        self._sink: BodySink | None = None
        self.fault: Refusal | None = None
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
        if self._mode is _Mode.MEMORY:
            self._take_whole(text[1:] if text.startswith(b".") else text)
        elif self._mode is _Mode.SINK:
            self._take_piece(text)

    def _more(self, buffer: bytearray) -> None:
        if self._mode is _Mode.MEMORY and len(buffer) <= _MEMORY_MAX_BYTES:
            self._searched = max(len(buffer) - 4, 0)
            return
        self._searched = 0
        kept = next((len(part) for part in _PARTIAL_ENDS if buffer.endswith(part)), 0)
        piece = bytes(memoryview(buffer)[: len(buffer) - kept])
        del buffer[: len(buffer) - kept]
        self.taken_bytes += len(piece)
        if self._mode is _Mode.MEMORY:
            self._spill(piece[1:] if piece.startswith(b".") else piece)
        elif self._mode is _Mode.SINK:
            self._take_piece(piece)

    def _clean(self, text: bytes) -> bytes | None:
        """Return the text without stuffing; None, with the fault set, when it must be refused."""
        # Equal only when every LF follows a CR and every CR comes before a LF. Replacing single octets goes at the
        # speed of memchr, counting or searching CRLF does not.
        if text.replace(b"\r", b"").replace(b"\n", b"\r\n") != text or b"\0" in text:
            self.refuse(BAD_LINE_ENDING)
            return None
        if b"\r\n." in text:
            text = text.replace(b"\r\n.", b"\r\n")
        self._size += len(text)
        if self._size > self._size_max:
            self.refuse(TOO_LONG)
            return None
        return text

    def refuse(self, fault: Refusal) -> None:
        """Keep nothing of this message and refuse it at its end; the first fault stands."""
        self.fault = self.fault or fault
        self._mode = _Mode.DISCARD
        self._head = self._body = b""
        if self._sink is not None:
            self._sink.abort()
            self._sink = None

    def _take_whole(self, raw: bytes) -> None:
        text = self._clean(raw)
        if text is None:
            return
        end = head_end(text)
        head, body = (text + b"\r\n", b"") if end < 0 else (text[:end], text[end:])
        if len(head) > self._head_max:
            self.refuse(HEAD_TOO_LONG)
            return
        self._head = head
        if len(body) > MEMORY_BODY_MAX_BYTES:
            self._to_sink(body)
            return
        self._body = body
        self._facts = scan_body(body)

    def _spill(self, piece: bytes) -> None:
        """Turn from memory to the sink: the message is too large for memory, so its head must be here by now."""
        text = self._clean(piece)
        if text is None:
            return
        end = head_end(text)
        if end < 0 or end > self._head_max:
            self.refuse(HEAD_TOO_LONG)
            return
        self._head = text[:end]
        self._to_sink(text[end:])

    def _to_sink(self, body: bytes) -> None:
        self._mode = _Mode.SINK
        self._scanner = BodyScanner()
        self._sink = self._open_sink()
        self._scanner.feed(body)
        self._sink.write(body)

    def _take_piece(self, piece: bytes) -> None:
        text = self._clean(piece)
        if text is None or self._scanner is None or self._sink is None:
            return
        self._scanner.feed(text)
        self._sink.write(text)

    def finish(self, done: Callable[[Received | Refusal], None]) -> None:
        """Give the message, or the reason to refuse it, to `done`; call once, after `feed` returned True."""
        if self.fault is not None:
            done(self.fault)
            return
        if self._sink is None or self._scanner is None:
            done((Content(self._head, self._body), self._facts or scan_body(self._body)))
            return
        facts, head = self._scanner.finish(), self._head

        def finished(result: BodyFile | Refusal) -> None:
            done(result if isinstance(result, Refusal) else (Content(head, result), facts))

        self._sink.finish(finished)

    def abort(self) -> None:
        """Drop everything, a body already complete too: the client is gone, or nobody wants the message."""
        self.refuse(RECEIVE_FAILED)
