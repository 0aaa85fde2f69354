"""The line between the supervisor and one child: JSON objects, one a packet, with file descriptors beside them.

A SEQPACKET socket pair keeps packets whole and ties descriptors (SCM_RIGHTS) to the packet they came with; end of
file means that the other side is gone. Sending never waits: a peer that does not read is hung, and the ping that
it does not answer says so. A whole configuration travels as a memory file, because it may be larger than a packet.
"""

import array
import json
import os
import pickle
import socket
from typing import Any

from relay.ports import Json

PACKET_MAX_BYTES = 64 * 1024
DESCRIPTORS_MAX = 200  # the kernel takes 253 in one packet (SCM_MAX_FD)
_INT_BYTES = array.array("i").itemsize


class Channel:
    """One end of the line. All calls return at once."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Return both ends of a new line."""
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        return cls(first), cls(second)

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def send(self, message: Json, descriptors: list[int] | None = None) -> bool:
        """Send one packet; False when the other side is gone or its queue is full."""
        ancillary = []
        if descriptors:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        try:
            self._socket.sendmsg([json.dumps(message).encode()], ancillary)
        except OSError:
            return False
        return True

    def receive(self) -> tuple[Json, list[int]] | None:
        """Return the next packet and its descriptors, None at end of file. BlockingIOError when none waits.

        A packet that is not a JSON object counts as the end: only our own code is at the other side.
        """
        room = socket.CMSG_SPACE(DESCRIPTORS_MAX * _INT_BYTES)
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(PACKET_MAX_BYTES, room)
        except ConnectionError:
            return None
        descriptors = _descriptors(ancillary)
        message = _parse(data)
        if message is None:
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        return message, descriptors


def to_memory_file(value: object) -> int:
    """Write a value into a memory file and return its descriptor, which the caller closes."""
    descriptor = os.memfd_create("relay-configuration", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        pickle.dump(value, file)
    return descriptor


def from_memory_file(descriptor: int) -> Any:
    """Read a value that our own supervisor wrote, and close the descriptor."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return pickle.load(file)  # noqa: S301 (written by our parent process, over a private socket pair)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _INT_BYTES])
    for descriptor in found:
        os.set_inheritable(descriptor, False)
    return list(found)


def _parse(data: bytes) -> Json | None:
    if not data:
        return None
    try:
        message = json.loads(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
