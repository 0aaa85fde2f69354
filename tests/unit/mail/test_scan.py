"""The body scanner against dkimpy and against itself, split anywhere."""

import hashlib

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.scan import BodyScanner, head_end, relaxed_body, scan_body

PIECES = st.sampled_from(
    [
        b" ",
        b"  ",
        b"\t",
        b" \t ",
        b"\r\n",
        b"\r\n\r\n",
        b" \r\n",
        b"\t\r\n",
        b"a",
        b"word",
        b"\xc3\xbc",
        b".",
        b"x" * 99,
    ]
)
BODIES = st.lists(PIECES, max_size=40).map(lambda pieces: b"".join(pieces) + b"\r\n")
TABLE = [
    (b"", b""),
    (b"\r\n", b""),
    (b"\r\n\r\n\r\n", b""),
    (b" \r\n\t\r\n", b""),
    (b"a\r\n", b"a\r\n"),
    (b"a", b"a\r\n"),
    (b"a \r\n", b"a\r\n"),
    (b" a\t\tb  c\t\r\n\r\n", b" a b c\r\n"),
    (b"\r\n\r\na\r\n \r\n\r\n", b"\r\n\r\na\r\n"),
]


@pytest.mark.parametrize(("body", "canonical"), TABLE)
def test_relaxed(body: bytes, canonical: bytes) -> None:
    assert relaxed_body(body) == canonical
    assert scan_body(body).sha256_relaxed == hashlib.sha256(canonical).digest()


@given(BODIES)
def test_relaxed_like_dkimpy(body: bytes) -> None:
    assert relaxed_body(body) == Relaxed.canonicalize_body(body)


@given(BODIES | st.just(b""), st.lists(st.integers(0, 400), max_size=8))
def test_chunks_tell_the_same_as_the_whole(body: bytes, cuts: list[int]) -> None:
    scanner = BodyScanner()
    last = 0
    for cut in sorted(cut for cut in cuts if cut < len(body)):
        scanner.feed(body[last:cut])
        last = cut
    scanner.feed(body[last:])
    assert scanner.finish() == scan_body(body)


@given(BODIES)
def test_facts(body: bytes) -> None:
    facts = scan_body(body)
    assert facts.eight_bit == any(octet > 127 for octet in body)
    assert facts.longest_line_bytes == max(len(line) for line in body.split(b"\r\n"))


def test_hostile_bodies_stay_cheap() -> None:
    """Megabytes of blanks, of empty lines and of one line keep no state and take no time worth mentioning."""
    for block in (b" " * 65536, b"\r\n" * 32768, b"\t " * 32768, b"x" * 65536, b" \r\n" * 20000):
        scanner = BodyScanner()
        for _ in range(64):
            scanner.feed(block)
        scanner.feed(b"end\r\n")
        assert len(scanner._blank) <= 1
        assert scanner.finish().sha256_relaxed == hashlib.sha256(relaxed_body(block * 64 + b"end\r\n")).digest()


@pytest.mark.parametrize(
    ("data", "end"),
    [(b"", -1), (b"\r\nbody", 2), (b"a: b\r\n\r\nbody", 8), (b"a: b\r\nbody\r\n", -1), (b"\n\n", -1)],
)
def test_head_end(data: bytes, end: int) -> None:
    assert head_end(data) == end
    assert head_end(bytearray(data)) == end
