"""Dot-stuffing, whole and over the borders of blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.client.body import DotStuffer, stuffed

ALPHABET = st.lists(st.sampled_from([b".", b"\r\n", b"a", b"..", b"\r\n.", b"x.y"]), max_size=30).map(b"".join)


def unstuff(wire):
    """An independent reading: lines up to the lone dot, one leading dot removed (RFC 5321 section 4.5.2)."""
    lines = wire.split(b"\r\n")
    end = lines.index(b".")
    assert lines[end + 1 :] == [b""]
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines[:end])


def whole(text):
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"


@pytest.mark.parametrize(
    ("head", "body", "wire"),
    [
        (b"A: b\r\n\r\n", b".\r\n..\r\n.x\r\n", b"A: b\r\n\r\n..\r\n...\r\n..x\r\n.\r\n"),
        (b"A: b\r\n\r\n", b"", b"A: b\r\n\r\n.\r\n"),
        (b"A: b\r\n\r\n", b"no end", b"A: b\r\n\r\nno end\r\n.\r\n"),
        (b"", b".", b"..\r\n.\r\n"),
        (b"", b"", b".\r\n"),
        (b".A: b\r\n\r\n", b"x\r\n", b"..A: b\r\n\r\nx\r\n.\r\n"),
    ],
)
def test_stuffed(head, body, wire):
    assert stuffed(head, body) == wire


@given(ALPHABET)
def test_a_reader_gets_back_what_was_sent(body):
    assert unstuff(stuffed(b"H: v\r\n\r\n", body)) == b"H: v\r\n\r\n" + whole(body)


@given(ALPHABET, st.lists(st.integers(1, 5), min_size=1, max_size=10))
def test_blocks_give_the_same_bytes(body, sizes):
    text = b"H: v\r\n\r\n" + body
    stuffer = DotStuffer()
    out, at, turn = b"", 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        out += stuffer.block(text[at : at + size])
        at += size
        turn += 1
    assert out + stuffer.end() == stuffed(b"H: v\r\n\r\n", body)
