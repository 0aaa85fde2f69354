"""Cutting command lines from what arrived: only CRLF ends a line, and no line grows without bound.

A line that holds another CR, LF or NUL is refused whole, and so is one that is too long: what belongs to it, up to
the next CRLF, is skipped and never executed.
"""

from relay.smtp.server import reply
from relay.smtp.server.command import ANY_LINE_MAX_BYTES
from relay.smtp.server.reply import Reply

SKIP_MAX_BYTES = 1 << 20  # how much of one endless line is read before the session ends


class LineReader:
    """Reads lines from the front of a session's buffer; `skipping` while the rest of a refused one is awaited."""

    __slots__ = ("_reason", "_skipped_bytes", "skipping")

    def __init__(self) -> None:
        self._reason = reply.BAD_LINE
        self._skipped_bytes = 0
        self.skipping = False

    def next(self, buffer: bytearray) -> bytes | Reply | None:
        """Return the next line without its CRLF, the reply that refuses it, or None when no more can be read now.

        TOO_MANY_ERRORS is the reply to a line that does not end: then the session does.
        """
        while True:
            end = buffer.find(b"\r\n")
            if end < 0:
                return self._unfinished(buffer) if buffer else None
            if not self.skipping:
                line = bytes(buffer[:end])
                del buffer[: end + 2]
                if b"\r" in line or b"\n" in line or b"\0" in line:
                    return reply.BAD_LINE
                return line if end <= ANY_LINE_MAX_BYTES else reply.LINE_TOO_LONG  # however it was cut on its way
            del buffer[: end + 2]
            # A client for which LF ends a line counts this remainder as another line, hence the reply of its own.
            told = end > 0 or self._skipped_bytes > 0
            self.skipping, self._skipped_bytes = False, 0
            if told:
                return self._reason

    def _unfinished(self, buffer: bytearray) -> Reply | None:
        """Keep an unfinished line within bounds.

        A bare LF is answered at once, so that a client that knows no CRLF is told; the rest up to the next CRLF
        still belongs to that line and is never executed.
        """
        answer: Reply | None = None
        if not self.skipping and b"\n" in buffer:
            answer = self._reason = reply.BAD_LINE
            self.skipping = True
        elif not self.skipping and len(buffer) > ANY_LINE_MAX_BYTES:
            self.skipping, self._reason = True, reply.LINE_TOO_LONG
        if self.skipping:
            kept = 1 if buffer.endswith(b"\r") else 0
            self._skipped_bytes += len(buffer) - kept
            del buffer[: len(buffer) - kept]
        return reply.TOO_MANY_ERRORS if self._skipped_bytes > SKIP_MAX_BYTES else answer
