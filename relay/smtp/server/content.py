"""What is kept of one message while it arrives, however it is framed: line endings, size, head and body.

`whole` takes a message that fits into memory; a larger one begins with `first` and goes on with `more`, piece by
piece, to a sink. A piece never ends between a CR and its LF. What is not CRLF-clean is refused once, at the end of
the message or of its chunk (SMTP-023, decision 14), and nothing of it is kept.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from relay.mail.scan import BodyScanner, head_end, scan_body
from relay.model.content import MEMORY_BODY_MAX_BYTES, BodyFacts, BodyFile, Content
from relay.model.refusal import Reason, Refusal

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


class Mode(Enum):
    """Where a message goes."""

    MEMORY = 1
    SINK = 2
    DISCARD = 3


class Gathering:
    """Collects one message. `fault` says why it will be refused, if so."""

    __slots__ = ("_body", "_facts", "_head", "_head_max", "_open_sink", "_scanner", "_sink", "_size", "_size_max",
                 "fault", "mode")  # fmt: skip

    def __init__(self, size_max: int, head_max: int, open_sink: Callable[[], BodySink]) -> None:
        self._size_max = size_max
        self._head_max = head_max
        self._open_sink = open_sink
        self._size = 0
        self._head = b""
        self._body = b""
        self._facts: BodyFacts | None = None
        self._scanner: BodyScanner | None = None
        self._sink: BodySink | None = None
        self.fault: Refusal | None = None
        self.mode = Mode.MEMORY

    def sound(self, text: bytes) -> bool:
        """Count a piece of text, without stuffing; False, with the fault set, when it must be refused."""
        # Equal only when every LF follows a CR and every CR comes before a LF. Replacing single octets goes at the
        # speed of memchr, counting or searching CRLF does not.
        if text.replace(b"\r", b"").replace(b"\n", b"\r\n") != text or b"\0" in text:
            self.refuse(BAD_LINE_ENDING)
            return False
        self._size += len(text)
        if self._size > self._size_max:
            self.refuse(TOO_LONG)
            return False
        return True

    def refuse(self, fault: Refusal) -> None:
        """Keep nothing of this message and refuse it at its end; the first fault stands."""
        self.fault = self.fault or fault
        self.mode = Mode.DISCARD
        self._head = self._body = b""
        if self._sink is not None:
            self._sink.abort()
            self._sink = None

    def whole(self, text: bytes) -> None:
        """Take a message that is complete; its text is sound."""
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

    def first(self, text: bytes) -> None:
        """Turn from memory to the sink: the message is too large for memory, so its head must be here by now."""
        end = head_end(text)
        if end < 0 or end > self._head_max:
            self.refuse(HEAD_TOO_LONG)
            return
        self._head = text[:end]
        self._to_sink(text[end:])

    def _to_sink(self, body: bytes) -> None:
        self.mode = Mode.SINK
        self._scanner = BodyScanner()
        self._sink = self._open_sink()
        self._scanner.feed(body)
        self._sink.write(body)

    def more(self, text: bytes) -> None:
        """Take the next piece for the sink."""
        if self._scanner is not None and self._sink is not None:
            self._scanner.feed(text)
            self._sink.write(text)

    def finish(self, done: Callable[[Received | Refusal], None]) -> None:
        """Give the message, or the reason to refuse it, to `done`; call once, when it is complete."""
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
