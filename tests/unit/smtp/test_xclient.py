"""XCLIENT: the attributes of Postfix's README, in xtext."""

import pytest

from relay.smtp.server import reply
from relay.smtp.server.xclient_attributes import XClient, offer, parse_xclient


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"NAME=spike.example ADDR=168.100.189.2", XClient("168.100.189.2")),
        (b"ADDR=IPV6:2001:DB8:0::1 PROTO=ESMTP HELO=x.example", XClient("2001:db8::1", "x.example", esmtp=True)),
        (b"ADDR=IPV6:::ffff:192.0.2.1", XClient("192.0.2.1")),
        (b"addr=[UNAVAILABLE] name=[TEMPUNAVAIL]", XClient("")),
        (b"LOGIN=user+40example PROTO=SMTP", XClient(login="user@example", esmtp=False)),
        (b"HELO=[UNAVAILABLE] LOGIN=[unavailable]", XClient(helo="", login="")),
        (b"PORT=25 DESTADDR=10.0.0.1 DESTPORT=587 NAME=a+2Bb", XClient()),
    ],
)
def test_attributes(argument, expected):
    assert parse_xclient(argument) == expected


@pytest.mark.parametrize(
    "argument",
    [
        b"", b" ", b"ADDR", b"ADDR=", b"ADDR=1.2.3", b"ADDR=host.example", b"ADDR=fe80::1%25eth0", b"PORT=x",
        b"PORT=65536", b"PROTO=LMTP", b"ADDR=1.2.3.4 ADDR=1.2.3.5", b"FOO=bar", b"HELO=a+20b", b"HELO=a+0Ab",
        b"NAME=a=b", b"NAME=" + b"x" * 256, b"LOGIN=\xff", b"ADDR=1.2.3.4,NAME=x", b"REVERSE_NAME=x",
    ],
)  # fmt: skip
def test_refused(argument):
    assert parse_xclient(argument) is reply.BAD_XCLIENT


def test_the_offer_names_login_only_where_it_is_taken():
    assert offer(login=False) == "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT"
    assert offer(login=True).endswith(" LOGIN")
