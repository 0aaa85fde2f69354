"""The bytes of a message: CRLF lines, never dot-stuffed, free of bare CR, bare LF and NUL.

A message is its head (header section with the empty line that ends it) and its body. Bodies up to
`MEMORY_BODY_MAX_BYTES` are bytes; larger ones are files that no process ever holds whole in memory.
"""

from relay.model.value import dataclass

MEMORY_BODY_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class BodyFile:
    """A body kept in a file: the `size_bytes` octets that start at `offset_bytes` of `path`."""

    path: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Content:
    """A message as it goes on the wire; `body` is bytes, or a file when it is large."""

    head: bytes
    body: bytes | BodyFile

    @property
    def size_bytes(self) -> int:
        """Size of head and body together, in octets."""
        body = self.body
        return len(self.head) + (len(body) if isinstance(body, bytes) else body.size_bytes)


@dataclass(frozen=True, slots=True)
class BodyFacts:
    """What one pass over the body found; it costs nothing to know these later.

    `sha256_relaxed` is the digest of the body in DKIM's relaxed canonical form (RFC 6376 section 3.4.4);
    `longest_line_bytes` counts without CRLF.
    """

    eight_bit: bool
    longest_line_bytes: int
    sha256_relaxed: bytes
