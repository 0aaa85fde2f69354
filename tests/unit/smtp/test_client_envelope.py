"""Envelopes as commands, and what a host cannot take."""

import pytest

from relay.model.content import Content
from relay.smtp.client.envelope import Transaction, Unfit, fit, mail_command, rcpt_commands, sound_path
from relay.smtp.client.extensions import Extensions

ASCII = Content(b"Subject: x\r\n\r\n", b"y\r\n")
RAW = Content("Subject: é\r\n\r\n".encode(), b"y\r\n")
FULL = Extensions(eight_bit_mime=True, smtputf8=True, size=True)


@pytest.mark.parametrize(
    ("address", "sound"),
    [
        ("a@b.example", True),
        ('"a b"@b.example', True),
        ('"a\\"b>"@b.example', True),
        ("ä@b.example", True),
        ("a@[192.0.2.1]", True),
        ("a@[IPv6:2001:db8::1]", True),
        ("a.b+c=d/e@b.example", True),
        ("a b@b.example", False),
        ("a>@b.example", False),
        ("<a@b.example", False),
        ('"a"b@b.example', False),
        ('"a@b.example', False),
        ('"a\nb"@b.example', False),
        ("a\r\nDATA@b.example", False),
        ("a@b.example\r\n", False),
        ("a@b.example\n", False),
        ("a@b example", False),
        ("a@b>.example", False),
        ("a\x85@b.example", False),
        ("a", False),
        ("@b.example", False),
        ("a@", False),
        ("", False),
        ("a" * 2000 + "@b.example", False),
    ],
)
def test_sound_path(address, sound):
    assert sound_path(address) is sound


@pytest.mark.parametrize(
    ("transaction", "host", "enhanced"),
    [
        (Transaction("", ("a@b.example",), ASCII), Extensions(), ""),
        (Transaction("a b", ("a@b.example",), ASCII), FULL, "5.1.3"),
        (Transaction("", ("a@b.example", "a>@b.example"), ASCII), FULL, "5.1.3"),
        (Transaction("", ("a@b.example",), ASCII), Extensions(size_max_bytes=5), "5.3.4"),
        (Transaction("", ("a@b.example",), ASCII, eight_bit=True), Extensions(), "5.6.3"),
        (Transaction("", ("a@b.example",), ASCII, eight_bit=True), FULL, ""),
        (Transaction("", ("ä@b.example",), ASCII), Extensions(), "5.6.7"),
        (Transaction("", ("a@b.example",), RAW, smtputf8=True), Extensions(), "5.6.7"),
        (Transaction("", ("a@b.example",), ASCII, smtputf8=True), Extensions(), ""),
    ],
)
def test_fit(transaction, host, enhanced):
    found = fit(transaction, host, None)
    assert (found.enhanced if isinstance(found, Unfit) else "") == enhanced


def test_commands_carry_only_what_the_host_knows():
    transaction = Transaction("s@a.example", ("ä@b.example",), ASCII, eight_bit=True, smtputf8=True)
    assert mail_command(transaction, FULL) == b"MAIL FROM:<s@a.example> SIZE=17 BODY=8BITMIME SMTPUTF8\r\n"
    assert rcpt_commands(transaction, FULL) == [f"RCPT TO:<{one}>\r\n".encode() for one in transaction.recipients]
    plain = fit(Transaction("", ("a@b.example",), ASCII, smtputf8=True), Extensions(), None)
    assert mail_command(plain, Extensions()) == b"MAIL FROM:<>\r\n"
