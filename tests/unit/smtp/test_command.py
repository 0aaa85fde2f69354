"""Command arguments, as a table."""

import ipaddress

import pytest

from relay.smtp.server.command import MailFrom, RcptTo, in_networks, parse_hello, parse_mail, parse_path, parse_rcpt
from relay.smtp.server.reply import Reply

OFFERED = frozenset({"SMTPUTF8"})

LONG = "l" * 64


@pytest.mark.req("SMTP-014", "SMTP-017")
@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"FROM:<a@example.com>", MailFrom("a@example.com")),
        (b"FROM: <a@example.com>", MailFrom("a@example.com")),
        (b"FROM:a@example.com", MailFrom("a@example.com")),
        (b"FROM:  a@example.com  SIZE=10", MailFrom("a@example.com", 10)),
        (b"from:<A@EXAMPLE.COM>", MailFrom("A@example.com")),
        (b"FROM:<>", MailFrom("")),
        (b"FROM:<> SIZE=5 BODY=8bitmime SMTPUTF8", MailFrom("", 5, smtputf8=True)),
        (b"FROM:<a@example.com> AUTH=e+3Dmc2@example.com BODY=7BIT", MailFrom("a@example.com")),
        (b'FROM:<"a > b"@example.com>', MailFrom('"a > b"@example.com')),
        (b"FROM:<@relay.example:a@example.com>", MailFrom("a@example.com")),
        (b"FROM:<" + LONG.encode() + b"@example.com>", MailFrom(f"{LONG}@example.com")),
        ("FROM:<ü@bücher.example> SMTPUTF8".encode(), MailFrom("ü@xn--bcher-kva.example", smtputf8=True)),
    ],
)
def test_senders(argument: bytes, expected: MailFrom) -> None:
    assert parse_mail(argument, OFFERED) == expected


@pytest.mark.req("SMTP-015", "SMTP-016")
@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        (b"", b"501 Syntax: MAIL FROM:<address>"),
        (b"<a@example.com>", b"501 Syntax: MAIL FROM:<address>"),
        (b"FROM :<a@example.com>", b"501 Syntax: MAIL FROM:<address>"),
        (b"FROM:", b"553 <> Invalid email address"),
        (b"FROM:<a>", b"553 <a> Invalid email address"),
        (b"FROM:<a@example.com.>", b"553 <a@example.com.> Invalid email address"),
        (b"FROM:<a@exa_mple.com>", b"553 <a@exa_mple.com> Invalid email address"),
        (b"FROM:<a@127.0.0.1>", b"553 <a@127.0.0.1> Invalid email address"),
        (
            b"FROM:<l" + LONG.encode() + b"@example.com>",
            b"553 <l" + LONG.encode() + b"@example.com> Invalid email address",
        ),
        (b"FROM:<a@example.com>SIZE=1", b"553 <a@example.com>SIZE=1> Invalid email address"),
        (b"FROM:<a@example.com> SIZE", b"501 Syntax error in parameters or arguments"),
        (b"FROM:<a@example.com> SIZE=1 SIZE=2", b"501 Syntax error in parameters or arguments"),
        (b"FROM:<a@example.com> SIZE=" + b"9" * 21, b"501 Syntax error in parameters or arguments"),
        (b"FROM:<a@example.com> SMTPUTF8=1", b"501 Syntax error in parameters or arguments"),
        (b"FROM:<a@example.com> BODY=BINARYMIME", b"555 Parameter not recognized or not implemented"),
        (b"FROM:<a@example.com> ENVID=x", b"555 Parameter not recognized or not implemented"),
        (b"FROM:<a@example.com> =x", b"501 Syntax error in parameters or arguments"),
        ("FROM:<ü@example.com>".encode(), b"553 <?@example.com> Invalid email address"),
        ("FROM:<a@b\u3002example> SMTPUTF8".encode(), b"553 <a@b?example> Invalid email address"),
        ("FROM:<a\u200d@example.com> SMTPUTF8".encode(), b"553 <a?@example.com> Invalid email address"),
    ],
)
def test_refused_senders(argument: bytes, reply: bytes) -> None:
    answer = parse_mail(argument, OFFERED)
    assert isinstance(answer, Reply)
    assert answer.plain == reply + b"\r\n"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"TO:<b@example.com>", "b@example.com"),
        (b"TO: b@example.com ", "b@example.com"),
        (b"TO:<PostMaster>", "PostMaster@relay.example"),
        (b'TO:<"very.long quoted"@example.com>', '"very.long quoted"@example.com'),
        (b'TO:<"a\\"b"@example.com>', '"a\\"b"@example.com'),
        (b'TO:<"a@b"@example.com>', '"a@b"@example.com'),
    ],
)
def test_recipients(argument: bytes, expected: str) -> None:
    assert parse_rcpt(argument, OFFERED, smtputf8=False, hostname="Relay.example") == RcptTo(expected)


@pytest.mark.parametrize(
    "argument",
    [
        b"TO:<>", b"TO:<b@example.com", b"TO:b@example.com>", b"TO:<b@example.com>x",
        b"TO:<b@example.com,c@example.com>",
        b"TO:<b@example.com:25>", b"TO:<b@[1.2.3.4]>", b"TO:<b@(c)example.com>", b"TO:<b@ example.com>",
        b"TO:<.b@example.com>",
        b"TO:<b..c@example.com>", b"TO:<@a.example>", b"TO:<@a.example,b@example.com>", b"TO:<|/bin/sh>", b"TO:<b%c>",
        b'TO:<"b@example.com>', b"TO:<b@-example.com>", b"TO:<b@example..com>", b"TO:<b\t@example.com>",
        b"TO:<b@xn--.example>",
    ],
)  # fmt: skip
@pytest.mark.req("SMTP-015")
def test_refused_recipients(argument: bytes) -> None:
    answer = parse_rcpt(argument, OFFERED, smtputf8=False, hostname="relay.example")
    assert isinstance(answer, Reply)
    assert answer.code == 553
    assert answer.plain.endswith(b"> address unknown\r\n")


def test_hostile_paths_are_read_in_no_time() -> None:
    for path in (b'"' * 500, b'"\\' * 400, b"a." * 200, b"@a" * 300, b"<" * 500, b'"a"' * 300 + b"@"):
        assert parse_path(path, smtputf8=True) is None
        assert isinstance(parse_rcpt(b"TO:<" + path, OFFERED, smtputf8=True, hostname="h"), Reply)


def test_hello() -> None:
    assert parse_hello(b" client.example ") == "client.example"
    assert parse_hello(b"[127.0.0.1]") == "[127.0.0.1]"
    for bad in (b"", b" ", b"a b", b"\xff", b"x" * 256, b"a\x1b[0m"):
        assert parse_hello(bad) is None


def test_networks() -> None:
    networks = tuple(ipaddress.ip_network(text) for text in ("127.0.0.0/8", "2001:db8::/32"))
    assert in_networks("127.1.2.3", networks)
    assert in_networks("::ffff:127.0.0.1", networks)
    assert in_networks("2001:db8::1%eth0", networks)
    assert not in_networks("10.0.0.1", networks)
    assert not in_networks("not an address", networks)
    assert not in_networks("127.0.0.1", ())
