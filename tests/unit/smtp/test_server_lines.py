"""Command lines as they are cut from a buffer."""

import pytest

from relay.smtp.server import reply
from relay.smtp.server.command import ANY_LINE_MAX_BYTES
from relay.smtp.server.lines import LineReader
from relay.smtp.server.reply import Reply


def _read(*pieces: bytes) -> list[bytes | Reply]:
    lines, buffer, found = LineReader(), bytearray(), []
    for piece in pieces:
        buffer += piece
        while (line := lines.next(buffer)) is not None:
            found.append(line)
    return found


@pytest.mark.parametrize("step", [70_000, 40_000, 1000])
def test_a_line_that_is_too_long_is_told_once_however_it_was_cut(step: int) -> None:
    text = b"A" * 65536 + b"\r\nNOOP\r\n"
    pieces = [text[start : start + step] for start in range(0, len(text), step)]
    assert _read(*pieces) == [reply.LINE_TOO_LONG, b"NOOP"]


def test_the_longest_line_is_one() -> None:
    longest = b"A" * ANY_LINE_MAX_BYTES
    assert _read(longest + b"\r\n") == [longest]
    assert _read(longest, b"\r\n") == [longest]
