"""When the socket of a connection is read: not while we are behind with what it brought, nor it with our replies."""

import asyncio

# The loop reads a busy socket again and again before it looks at others: make way after this much.
BURST_BYTES = 128 * 1024


class Reading:
    """One a connection. `resting`: others have their turn; `choked`: the client does not take our replies."""

    __slots__ = ("_burst_bytes", "_paused", "_transport", "choked", "resting")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._burst_bytes = 0
        self._paused = False
        self.choked = self.resting = False

    def tired(self, size_bytes: int) -> bool:
        """Count what was read; True when it is another's turn."""
        self._burst_bytes += size_bytes
        if self._burst_bytes <= BURST_BYTES:
            return False
        self._burst_bytes = 0
        self.resting = True
        return True

    def control(self, *, full: bool) -> None:
        """Read, or do not; `full`: what was read waits for the disk or for an answer."""
        blocked = full or self.resting or self.choked
        if blocked == self._paused or self._transport.is_closing():
            return
        self._paused = blocked
        if blocked:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def to_the_end(self) -> None:
        """Read whatever comes."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
