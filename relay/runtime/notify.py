"""Messages to the service manager: the sd_notify protocol of systemd, without its library.

One datagram of `KEY=value` lines to the socket that `NOTIFY_SOCKET` names; a leading `@` means an abstract
name. Without the variable every call does nothing. Sending never blocks and never fails the relay: a service
manager that does not listen is not our fault.
"""

import socket
import time
from collections.abc import Mapping

_MICROSECONDS = 1_000_000


class Notifier:
    """The line to the service manager; `watchdog_seconds` is how often it wants to hear from us, 0 for never."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self.watchdog_seconds = _watchdog_seconds(environ, pid)
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket = _datagram_socket() if self._address else None
        self._up = False

    def ready(self, status: str) -> None:
        """Say that the start is complete."""
        self._up = True
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that a reload began; `reloaded` ends it (Type=notify-reload wants the monotonic time)."""
        if self._up:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self, status: str) -> None:
        """Say that a reload is over; one during the start does not complete that."""
        self._send(f"READY=1\nSTATUS={status}" if self._up else f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """Say that the relay is going down on purpose."""
        self._up = False
        self._send(f"STOPPING=1\nSTATUS={status}")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        """Say that all is well; left out, the service manager restarts the relay."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket; later calls do nothing."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            return


def _datagram_socket() -> socket.socket:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    notify.setblocking(False)
    return notify


def _address(name: str) -> str:
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else ""


def _watchdog_seconds(environ: Mapping[str, str], pid: int) -> float:
    """Return half the interval the manager set, so that one lost message does no harm (sd_watchdog_enabled(3))."""
    wanted_pid = environ.get("WATCHDOG_PID", "")
    interval = environ.get("WATCHDOG_USEC", "")
    if wanted_pid and wanted_pid != str(pid):
        return 0.0
    if not interval.isdecimal():
        return 0.0
    return int(interval) / _MICROSECONDS / 2
