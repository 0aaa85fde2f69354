"""Dot-stuffing and the end of data (RFC 5321 section 4.5.2), whole or in blocks."""

END = b".\r\n"


def stuffed(head: bytes, body: bytes) -> bytes:
    """Return a whole message as it follows a 354, with its final dot."""
    head = head.replace(b"\r\n.", b"\r\n..")
    if head.startswith(b"."):
        head = b"." + head
    stuffed_body = body.replace(b"\r\n.", b"\r\n..")
    if body.startswith(b".") and (not head or head.endswith(b"\r\n")):
        stuffed_body = b"." + stuffed_body
    last = body or head
    return b"".join((head, stuffed_body, END if not last or last.endswith(b"\r\n") else b"\r\n.\r\n"))


class DotStuffer:
    """Stuffs a message that comes in blocks; remembers the two octets that a border may have cut."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def block(self, data: bytes) -> bytes:
        """Return a block, stuffed."""
        if not data:
            return b""
        out = data.replace(b"\r\n.", b"\r\n..")
        if self._tail == b"\r\n" and data.startswith(b"."):
            out = b"." + out
        elif self._tail.endswith(b"\r") and data.startswith(b"\n."):
            out = b"\n." + out[1:]
        self._tail = (self._tail + data[-2:])[-2:]
        return out

    def end(self) -> bytes:
        """Return what ends the data."""
        return END if self._tail == b"\r\n" else b"\r\n.\r\n"
