"""Replies of a remote server, read with limits and doubt.

A reply is untrusted text. It stays bytes until somebody wants to read it, only its first digit decides anything,
and whatever is not a reply (no code, bare LF, endless lines) is a `ReplyError`, which callers take as temporary.
"""

import re

LINE_MAX_BYTES = 4096  # RFC 5321 section 4.5.3.1.5 says 512; some servers put long policy links into theirs
LINES_MAX = 200
REPLY_MAX_BYTES = 64 * 1024
TEXT_MAX_CHARS = 1000
_SHOWN_MAX_BYTES = 100
_CR = 0x0D
_ZERO = ord("0")
_CODES = {b"%d" % code: code for code in range(200, 600)}

_ENHANCED = re.compile(rb"\A([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|\Z)")  # RFC 3463 section 2
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")


class ReplyError(Exception):
    """What arrived is not an SMTP reply; the text says why, in printable ASCII."""


class Reply:
    """One whole reply: `code` is 200 to 599, `lines` are the texts behind the code, as bytes."""

    __slots__ = ("code", "lines")

    def __init__(self, code: int, lines: list[bytes]) -> None:
        self.code = code
        self.lines = lines

    @property
    def enhanced(self) -> str:
        """The enhanced status code, "" when none was given or its class contradicts the reply code."""
        found = _ENHANCED.match(self.lines[-1]) or _ENHANCED.match(self.lines[0])
        if found is None:
            return ""
        code = found[1].decode("ascii")
        return code if ord(code[0]) - _ZERO == self.code // 100 else ""

    @property
    def text(self) -> str:
        """The text as one printable line of at most 1,000 characters, without the enhanced codes."""
        if len(self.lines) == 1:
            return printable(_ENHANCED.sub(b"", self.lines[0], count=1))
        return printable(b" ".join(filter(None, (_ENHANCED.sub(b"", line, count=1) for line in self.lines))))


def printable(raw: bytes) -> str:
    """Return bytes of a stranger as one line of printable ASCII; every other octet becomes its escape."""
    cut = raw[:TEXT_MAX_CHARS]
    if cut.isascii() and (text := cut.decode("ascii")).isprintable():
        return text.strip()
    return _UNPRINTABLE.sub(_escape, cut).decode("ascii")[:TEXT_MAX_CHARS].strip()


def _escape(found: re.Match[bytes]) -> bytes:
    return b" " if found[0] == b"\t" else b"\\x%02x" % found[0][0]


class ReplyReader:
    """Cuts a byte stream into replies. Holds at most one unfinished reply of 64 KiB."""

    __slots__ = ("_buffer", "_code", "_lines", "_size_bytes")

    def __init__(self) -> None:
        self._buffer = b""
        self._clear_lines()

    def _clear_lines(self) -> None:
        self._code = 0
        self._size_bytes = 0
        self._lines: list[bytes] = []

    def clear(self) -> None:
        """Forget everything that was received and not read (RFC 3207 section 4.2)."""
        self._buffer = b""
        self._clear_lines()

    @property
    def pending(self) -> bool:
        """True when something was received and not read."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        """Take bytes from the wire; read them all with `next` before feeding more."""
        self._buffer = self._buffer + data if self._buffer else data

    def next(self) -> Reply | None:
        """Return the next whole reply, or None when more bytes are needed. Raise ReplyError on anything else."""
        while buffer := self._buffer:
            end = buffer.find(b"\n")
            if end < 0:
                if len(buffer) > LINE_MAX_BYTES:
                    raise ReplyError(f"reply line without an end: {_shown(buffer)}")
                return None
            self._buffer = buffer[end + 1 :]
            if end == 0 or buffer[end - 1] != _CR:
                raise ReplyError(f"reply line ends with a bare LF: {_shown(buffer)}")
            reply = self._take_line(buffer[: end - 1])
            if reply is not None:
                return reply
        return None

    def _take_line(self, line: bytes) -> Reply | None:
        number = _CODES.get(line[:3])
        separator = line[3:4]
        if number is None or separator not in b" -" or len(line) > LINE_MAX_BYTES:
            raise ReplyError(f"not an SMTP reply: {_shown(line)}")
        if separator != b"-" and not self._lines:
            return Reply(number, [line[4:]])
        if self._code and number // 100 != self._code // 100:
            raise ReplyError(f"reply changes its mind from {self._code} to {number}: {_shown(line)}")
        self._code = number
        self._size_bytes += len(line)
        if self._size_bytes > REPLY_MAX_BYTES or len(self._lines) >= LINES_MAX:
            raise ReplyError(f"reply too long: {_shown(line)}")
        self._lines.append(line[4:])
        if separator == b"-":
            return None
        reply = Reply(number, self._lines)
        self._clear_lines()
        return reply


def _shown(raw: bytes) -> str:
    return printable(raw[:_SHOWN_MAX_BYTES]) or "(empty line)"
