"""Replies of strangers: what is one, what is none, what they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.outcome import Stage, Verdict
from relay.smtp.client import extensions
from relay.smtp.client.answer import from_reply
from relay.smtp.client.reply import LINES_MAX, Reply, ReplyError, ReplyReader, printable


def read(data):
    reader = ReplyReader()
    reader.feed(data)
    replies = []
    while (reply := reader.next()) is not None:
        replies.append((reply.code, reply.lines))
    return replies


@pytest.mark.parametrize(
    ("data", "replies"),
    [
        (b"250 ok\r\n", [(250, [b"ok"])]),
        (b"250\r\n", [(250, [b""])]),
        (b"250-a\r\n250 b\r\n354 go\r\n", [(250, [b"a", b"b"]), (354, [b"go"])]),
        (b"250-a\r\n251 b\r\n", [(251, [b"a", b"b"])]),
        (b"250-a\r\n250\r\n", [(250, [b"a", b""])]),
        (b"250 half", []),
        (b"", []),
    ],
)
def test_replies(data, replies):
    assert read(data) == replies


@pytest.mark.parametrize(
    "data",
    [
        b"250 bare lf\n",
        b"\n",
        b"\r\n",
        b"25\r\n",
        b"2500 x\r\n",
        b"250_x\r\n",
        b"150 x\r\n",
        b"650 x\r\n",
        b"abc x\r\n",
        b"250-a\r\n550 b\r\n",
        b"250-a\r\nb\r\n",
        b"\xb2\xb5\xb0 x\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"220-" + b"x" * 5000,
        b"220 " + b"x" * 5000 + b"\r\n",
        b"220-x\r\n" * (LINES_MAX + 1),
        (b"220-" + b"x" * 4000 + b"\r\n") * 20,
    ],
)
def test_what_is_no_reply(data):
    with pytest.raises(ReplyError) as caught:
        read(data)
    assert str(caught.value).isprintable()


@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes_in_any_pieces_are_bounded_and_agree(data, size):
    def run(pieces):
        reader = ReplyReader()
        found = []
        try:
            for piece in pieces:
                reader.feed(piece)
                while (reply := reader.next()) is not None:
                    found.append((reply.code, reply.lines))
        except ReplyError:
            found.append("error")
        return found

    assert run([data]) == run([data[at : at + size] for at in range(0, len(data), size)])


@pytest.mark.parametrize(
    ("code", "lines", "enhanced", "text"),
    [
        (250, [b"2.1.5 ok"], "2.1.5", "ok"),
        (550, [b"5.1.1 no", b"5.1.1 such user"], "5.1.1", "no such user"),
        (550, [b"4.1.1 lies"], "", "lies"),
        (550, [b"5.1.1"], "5.1.1", ""),
        (550, [b"5.1234.1 x"], "", "5.1234.1 x"),
        (450, [b"sp\xc3\xa4ter\x1b[1m\x00\ttab"], "", "sp\\xc3\\xa4ter\\x1b[1m\\x00 tab"),
        (550, [b"bare\rcr"], "", "bare\\x0dcr"),
    ],
)
def test_enhanced_codes_and_text(code, lines, enhanced, text):
    reply = Reply(code, lines)
    assert (reply.enhanced, reply.text) == (enhanced, text)


@given(st.binary(max_size=5000))
def test_printable(data):
    text = printable(data)
    assert text.isprintable()
    assert text.isascii()
    assert len(text) <= 1000


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (250, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (354, Verdict.TEMPORARY),
        (451, Verdict.TEMPORARY),
        (499, Verdict.TEMPORARY),
        (550, Verdict.PERMANENT),
        (599, Verdict.PERMANENT),
    ],
)
@pytest.mark.req("FLOW-008", "FLOW-009")
def test_only_the_first_digit_decides(code, verdict):
    assert from_reply(Reply(code, [b"x"]), Stage.RCPT).verdict is verdict


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"MX.Test. hello", b"PIPELINING", b"size 1000", b"8BITMIME"], ("mx.test", True, True, 1000)),
        ([b"", b"SIZE", b"SIZE=77"], ("", False, True, 77)),
        ([b"x", b"SIZE -1"], ("x", False, True, 0)),
        ([b"x", b"SIZE " + b"9" * 50], ("x", False, True, 0)),
        ([b"x", b"", b"   ", b"\xff\xfe"], ("x", False, False, 0)),
    ],
)
def test_extensions(lines, expected):
    found = extensions.parse(Reply(250, lines))
    assert (found.name, found.pipelining, found.size, found.size_max_bytes) == expected


def test_authentication_mechanisms_in_old_and_new_form():
    found = extensions.parse(Reply(250, [b"x", b"AUTH=LOGIN", b"AUTH plain CRAM-MD5"]))
    assert found.auth == {"LOGIN", "PLAIN", "CRAM-MD5"}
