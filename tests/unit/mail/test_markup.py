"""Instructions for tracking: what goes, what stays, charsets and transfer encodings kept, linear time."""

import base64
import binascii
import time

import pytest

from relay.mail.markup import clean_html, clean_part


@pytest.mark.req("MIME-011")
@pytest.mark.parametrize(
    ("html", "cleaned"),
    [
        ('<a ses:tags="a:b;c:d;" href="x">y</a>', '<a href="x">y</a>'),
        ("<a href=x SES:NO-TRACK>y</a>", "<a href=x>y</a>"),
        ("<a href=x ses:no-track/>", "<a href=x/>"),
        ("<a ses:tags='a' ses:no-track href=x>", "<a href=x>"),
        ("<a ses:tags=a:b href=x>", "<a href=x>"),
        ('<a\r\n  ses:tags = "a"\r\n  href="x">', '<a\r\n\r\n  href="x">'),
        ("<p>{{ses:openTracker}}</p>{{ses:openTracker}}", "<p></p>"),
        ('<a title="write ses:tags=x here" href=y>ses:tags="a" ses:no-track</a>',) * 2,
        ("<a ses:tagsx=1 xses:tags=2>",) * 2,
        ("plain", "plain"),
    ],
)
def test_instructions_go_and_all_else_stays(html, cleaned):
    assert clean_html(html) == cleaned


MARKED = "<p>Grüße</p>\r\n<a ses:no-track href='x?a=b'>z</a>\r\n"
CLEAN = "<p>Grüße</p>\r\n<a href='x?a=b'>z</a>\r\n"


@pytest.mark.req("MIME-009", "MIME-011")
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252", "utf-16"])
def test_charset_and_encoding_are_kept(charset):
    data, expected = MARKED.encode(charset), CLEAN.encode(charset)
    coded = base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert base64.b64decode(clean_part(coded, "base64", charset)) == expected
    coded = binascii.b2a_qp(data, istext=False).replace(b"\n", b"\r\n")
    assert binascii.a2b_qp(clean_part(coded, "quoted-printable", charset)) == expected
    if charset != "utf-16":
        assert clean_part(data, "8bit", charset) == expected


@pytest.mark.req("MIME-009")
@pytest.mark.parametrize(
    ("data", "charset"),
    [(MARKED.encode("latin-1"), "utf-8"), (MARKED.encode(), "us-ascii"), (MARKED.encode(), "no-such"),
     (b"\x1b(B" + MARKED.encode("ascii", "replace"), "iso-2022-jp"), (b"<p>nothing</p>", "utf-8")],
)  # fmt: skip
def test_what_does_not_fit_its_charset_stays(data, charset):
    assert clean_part(data, "8bit", charset) is None
    assert clean_part(base64.encodebytes(data), "base64", charset) is None


def test_unknown_encodings_and_lines_that_would_grow_stay():
    assert clean_part(MARKED.encode(), "x-odd", "utf-8") is None
    assert clean_part(b"!", "base64", "utf-8") is None
    assert clean_part(b"<a ses:no-track>" + b"x" * 1000, "7bit", "utf-8") is None


@pytest.mark.parametrize(
    "html",
    ['<a "' * 60_000, "<a ses:tags='" * 20_000, "<a" + " " * 250_000 + "ses:", "<a" + " ses:tags" * 30_000,
     "<" * 250_000, "<a '\"" * 50_000, "{{ses:openTracker}}" * 13_000],
    ids=range(7),
)  # fmt: skip
def test_hostile_html_takes_linear_time(html):
    begun = time.process_time()
    clean_html(html)
    assert time.process_time() - begun < 10  # linear; what is not takes minutes
