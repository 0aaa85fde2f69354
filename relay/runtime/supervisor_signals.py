"""Signals as something that a selector can wait for: each is a byte to read, and none is lost or acted on between."""

import signal
import socket
from collections.abc import Iterable
from typing import Self

_READ_BYTES = 256


class Signals:
    """What was caught, in order. HUP from the beginning: one that comes during the start is a reload after it."""

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        signal.set_wakeup_fd(self._outer.fileno(), warn_on_full_buffer=False)
        self.catch([signal.SIGHUP])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_about: object) -> None:
        signal.set_wakeup_fd(-1)
        self.leave()

    def catch(self, numbers: Iterable[signal.Signals]) -> None:
        """Note these from now on, instead of what they would do."""
        for number in numbers:
            signal.signal(number, lambda _number, _frame: None)

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._inner.fileno()

    def read(self) -> bytes:
        """Return the numbers of what came since, one octet each."""
        try:
            return self._inner.recv(_READ_BYTES)
        except BlockingIOError:
            return b""

    def leave(self) -> None:
        """Close the sockets; in a child, which goes on with signals of its own."""
        self._inner.close()
        self._outer.close()
