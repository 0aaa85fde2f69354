"""One pass over a message as it arrives: where the head ends, and what is worth knowing about the body.

`BodyScanner` takes a body in chunks split anywhere; `scan_body` does the same for a body that is whole in memory.
Both expect CRLF line endings without bare CR or LF (the SMTP engine refuses the rest before it comes here) and
give the same `BodyFacts`. No step works line by line in Python: everything is a handful of calls on whole blocks.

The relaxed form of a body (RFC 6376 section 3.4.4): runs of blanks and tabs become one blank, those at line ends
go, empty lines at the end go, and a body that is left with anything ends with one CRLF.
"""

import hashlib
from io import BytesIO

from relay.model.content import BodyFacts

_CRLF = b"\r\n"
_EMPTY_LINES = _CRLF * 4096
_EMPTY_SHA256 = hashlib.sha256(b"").digest()


def head_end(data: bytes | bytearray) -> int:
    """Return where the header section with its empty line ends in `data`, or -1 when it does not end there.

    A message that starts with CRLF has no header fields: its head is that empty line.
    """
    if data.startswith(_CRLF):
        return 2
    end = data.find(b"\r\n\r\n")
    return end + 4 if end >= 0 else -1


def _reduce(block: bytes) -> bytes:
    """Reduce runs of blanks and tabs to one blank and drop those before CRLF; each step is one pass in C.

    Halving runs takes as many passes as a run has binary digits, so hostile runs cost no more than log n passes.
    """
    if b"\t" in block:
        block = block.replace(b"\t", b" ")
    if b" " not in block:  # encoded attachments: one search for one octet is all they cost
        return block
    while b"  " in block:
        block = block.replace(b"  ", b" ")
    if b" \r\n" in block:
        block = block.replace(b" \r\n", _CRLF)
    return block


def relaxed_body(body: bytes) -> bytes:
    """Return a whole body in DKIM's relaxed canonical form; most bodies come back unchanged, not copied."""
    block = _reduce(body)
    if block.endswith(_CRLF) and not block.endswith(b"\r\n\r\n") and block != _CRLF:
        return block
    block = block.rstrip(b"\r\n ")
    return block + _CRLF if block else b""


def _longest_line(body: bytes) -> int:
    # BytesIO cuts lines with memchr; bytes.split compares octet by octet.
    lines = BytesIO(body).readlines()
    if not lines:
        return 0
    return max(max(map(len, lines)) - 2, 0 if body.endswith(b"\n") else len(lines[-1]))


def scan_body(body: bytes) -> BodyFacts:
    """Return the facts of a body that is whole in memory."""
    return BodyFacts(
        eight_bit=not body.isascii(),
        longest_line_bytes=_longest_line(body),
        sha256_relaxed=hashlib.sha256(relaxed_body(body)).digest(),
    )


class BodyScanner:
    """Finds the facts of a body that arrives in chunks; keeps a few bytes of state whatever the body holds."""

    __slots__ = ("_blank", "_digest", "_eight_bit", "_empty_lines", "_held", "_line", "_longest", "_started")

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._started = False  # something was hashed
        self._empty_lines = 0  # line ends not hashed yet: they count only when something follows
        self._blank = b""  # a blank not hashed yet, for the same reason
        self._held = b""  # a CR whose LF is in the next chunk
        self._eight_bit = False
        self._line = 0
        self._longest = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk of the body."""
        block = self._held + chunk if self._held else chunk
        self._held = b""
        if block.endswith(b"\r"):
            self._held = b"\r"
            block = block[:-1]
        if not block:
            return
        if not self._eight_bit and not block.isascii():
            self._eight_bit = True
        self._measure(block)
        self._hash(block)

    def _measure(self, block: bytes) -> None:
        lengths = list(map(len, BytesIO(block).readlines()))
        lengths[0] += self._line
        self._line = 0 if block.endswith(b"\n") else lengths.pop()
        self._longest = max(self._longest, self._line, max(lengths, default=2) - 2)

    def _hash(self, block: bytes) -> None:
        reduced = _reduce(self._blank + block)
        kept = reduced.rstrip(b"\r\n ")
        tail = reduced[len(kept) :]
        ends = tail.count(_CRLF)
        self._blank = b" " if tail.endswith(b" ") else b""
        if not kept:
            self._empty_lines += ends
            return
        while self._empty_lines > 0:
            self._digest.update(_EMPTY_LINES[: 2 * self._empty_lines])
            self._empty_lines -= 4096
        self._digest.update(kept)
        self._started = True
        self._empty_lines = ends

    def finish(self) -> BodyFacts:
        """Return the facts; call once, after the last chunk."""
        if self._started:
            self._digest.update(_CRLF)
        digest = self._digest.digest() if self._started else _EMPTY_SHA256
        return BodyFacts(self._eight_bit, self._longest, digest)
