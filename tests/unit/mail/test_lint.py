"""Advice about messages, by table (DLV-001)."""

import pytest

from relay.mail.lint import linked_domains, links, lint

HEAD = b"From: Ann <ann@shop.example>\r\nTo: Bob <bob@remote.example>\r\nSubject: Hello\r\n"


def rules(content):
    return {(one.rule, one.subject) for one in lint(content)}


def plain(body=b"Hello\r\n", head=HEAD):
    return head + b"\r\n" + body


@pytest.mark.req("DLV-001")
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (plain(), set()),
        (plain(head=HEAD.replace(b"ann@", b"no-reply@")), {("no-reply", "no-reply@shop.example")}),
        (plain(head=HEAD + b"Reply-To: donotreply@shop.example\r\n"), {("no-reply", "donotreply@shop.example")}),
        (plain(head=HEAD.replace(b"shop.example", b"gmail.com")), {("provider-domain", "ann@gmail.com")}),
        (plain(head=HEAD.replace(b"bob@", b"postmaster@")), {("role-recipient", "postmaster@remote.example")}),
        (plain(head=HEAD + b"Cc: abuse+x@remote.example\r\n"), {("role-recipient", "abuse+x@remote.example")}),
        (plain(head=HEAD + b"Content-Type: text/html\r\n"), {("no-text-part", "text/html")}),
        (plain(b"See https://bit.ly/3xyz.\r\n"), {("link-shortener", "bit.ly")}),
        (plain(b"See https://shop.example/a?b=c\r\n"), set()),
    ],
)
def test_advice(content, expected):
    assert rules(content) == expected


def test_an_alternative_has_its_text_part():
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b\r\nContent-Type: text/html\r\n\r\n"
        b'<a href="https://t.co/x">x</a>\r\n--b--\r\n'
    )
    content = plain(body, HEAD + b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="b"\r\n')
    assert rules(content) == {("link-shortener", "t.co")}
    assert links(content) == ["https://t.co/x"]


@pytest.mark.req("REP-022")
def test_domains_of_links_and_images_are_found():
    body = (
        b'<a href="https://www.shop.example/x">x</a><img src="http://cdn.images.example/a.png">'
        b'<img src="cid:1"><table background="http://bg.example/"><a href="http://192.0.2.1/">y</a>'
        b'<a href="http://[2001:db8::1]/">z</a><a href="mailto:ann@mail.example">m</a>\r\n'
    )
    content = plain(body, HEAD + b"Content-Type: text/html\r\n")
    assert linked_domains(content) == ["bg.example", "images.example", "shop.example"]
    assert linked_domains(plain(b"no links\r\n")) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n\r\n",
        b"\xff\x00" * 5000,
        b"From: \xff\r\n\r\nhttp://[::1",
        b"Content-Type: multipart/mixed\r\n\r\n",
    ],
)
def test_no_message_breaks_it(content):
    lint(content)
    links(content)
    linked_domains(content)
