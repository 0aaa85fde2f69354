"""Only CRLF . CRLF ends a message; everything else is refused once, at the true end (adversarial A05 to A14)."""

from collections.abc import Callable

import pytest

from tests.wire.door import Client, Door

FORMS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\0\r\n", b"\r\n\0.\r\n",
    b"\r\n.\r\r\n",
]  # fmt: skip
SECOND = (
    b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nFrom: evil@example.com\r\n\r\nsmuggled"
)


def _start(client: Client, kind: str) -> None:
    recipient = "postmaster" if kind == "mx" else "b@example.net"
    assert client.say("MAIL FROM:<a@example.com>") == "250 Ok"
    assert client.say(f"RCPT TO:<{recipient}>") == "250 Ok"
    assert client.say("DATA").startswith("354")


@pytest.mark.req("SMTP-023")
@pytest.mark.parametrize("form", FORMS, ids=repr)
@pytest.mark.parametrize("kind", ["trusted", "mx"])
@pytest.mark.parametrize("split", [False, True])
def test_smuggled_end(form: bytes, kind: str, split: bool, door: Door, connect: Callable[..., Client]) -> None:
    client = connect(kind)
    _start(client, kind)
    text = b"From: a@example.com\r\n\r\nfirst" + form + SECOND + b"\r\n.\r\n"
    if split:
        for index in range(0, len(text), 7):
            client.send(text[index : index + 7])
    else:
        client.send(text)
    assert client.reply()[0].startswith(b"554 Transaction failed: Lines must end with CRLF")
    assert client.say("NOOP") == "250 Ok"  # exactly one reply: the next one is the answer to NOOP
    assert door.product.bodies == []
    assert door.product.counts["relay_messages_refused_total", "line_endings"] == 1


@pytest.mark.req("SMTP-023")
@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_smuggled_end_in_a_large_body(form: bytes, door: Door, connect: Callable[..., Client]) -> None:
    """The streaming path refuses the same forms, and leaves no file behind."""
    client = connect("trusted")
    _start(client, "trusted")
    client.send(b"From: a@example.com\r\n\r\n" + b"x" * 998 + (b"\r\n" + b"y" * 998) * 600)
    client.send(form + SECOND + b"\r\n" + (b"z" * 998 + b"\r\n") * 600 + b".\r\n")
    assert client.reply()[0].startswith(b"554 Transaction failed: Lines must end with CRLF")
    assert client.say("NOOP") == "250 Ok"
    assert door.product.bodies == []
    door.wait(lambda: not list(door.incoming.iterdir()))


@pytest.mark.req("SMTP-023")
@pytest.mark.parametrize("copies", [1, 4000])
def test_dots_are_exact(copies: int, door: Door, connect: Callable[..., Client]) -> None:
    """Lines of dots, before and after every kind of boundary, in memory and streamed (A11)."""
    lines = [b".", b"..", b"...", b"a.b", b"", b" .", b".x" * 40, b"x" * 998, b"."] * copies
    body = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
    client = connect("trusted")
    _start(client, "trusted")
    client.send(b"From: a@example.com\r\n\r\n" + stuffed + b".\r\n")
    assert client.reply() == [b"250 Ok id-1"]
    assert door.product.bodies == [body]
    assert door.product.submissions[0].content.head == b"From: a@example.com\r\n\r\n"


@pytest.mark.req("SMTP-023")
def test_stuffed_first_line_of_a_message(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    _start(client, "trusted")
    client.send(b"..x: y\r\n\r\nz\r\n.\r\n")
    assert client.reply() == [b"250 Ok id-1"]
    assert door.product.submissions[0].content.head == b".x: y\r\n\r\n"


@pytest.mark.req("SMTP-025")
def test_everything_in_one_write(door: Door, connect: Callable[..., Client]) -> None:
    """A careless client that sends commands, data and the next message at once gets its replies in order."""
    client = connect("trusted")
    one = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nFrom: a\r\n\r\nx\r\n.\r\n"
    client.send(one * 20 + b"QUIT\r\n")
    expected = b""
    for number in range(1, 21):
        expected += b"250 Ok\r\n250 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n250 Ok id-%d\r\n" % number
    assert client.rest_until_closed() == expected + b"221 Bye\r\n"
    assert len(door.product.bodies) == 20


def test_client_that_talks_before_the_greeting(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted", "connected")
    client.send(b"EHLO x\r\nQUIT\r\n")
    text = client.rest_until_closed()
    assert text.startswith(b"220 ")
    assert text.endswith(b"250 Ok\r\n221 Bye\r\n")


@pytest.mark.req("SMTP-016")
def test_line_limits(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    assert client.say("NOOP " + "x" * 505) == "250 Ok"
    assert client.say("NOOP " + "x" * 506) == "500 Line too long"
    assert client.say("AUTH PLAIN " + "A" * 65536) == "500 Line too long"
    assert client.say("NOOP") == "250 Ok"
    assert client.say(f"MAIL FROM:<{'l' * 65}@example.com>").startswith("553 ")
    assert client.say(f"MAIL FROM:<a@{'d' * 5000}.example>").startswith("5")
    assert client.say(f"MAIL FROM:<a@{'.'.join(['d' * 60] * 4)}.{'e' * 12}>").startswith("553 ")  # path of 257
    assert client.say(f"MAIL FROM:<{'l' * 64}@example.com>") == "250 Ok"
    assert client.say("RCPT TO:<" + "r" * 65 + "@example.com>").startswith("553 ")


@pytest.mark.req("SMTP-013")
def test_long_auth_response_keeps_in_step(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("implicit")
    assert client.say("AUTH PLAIN") == "334 "
    assert client.say("A" * 65536) == "500 Line too long"
    assert client.say("AUTH LOGIN") == "334 VXNlcm5hbWU6"
    client.send(b"YWxp\ncW==\r\n")
    assert client.reply()[0].startswith(b"500 ")
    client.login()


def test_endless_line_ends_the_session(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    try:
        for _ in range(40):
            client.send(b"x" * 65536)
    except OSError:
        return
    assert b"421 Too many errors" in client.rest_until_closed()


@pytest.mark.req("SMTP-025")
def test_junk_commands_end_the_session(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")  # its EHLO is the first
    client.send(b"NOOP\r\n" * 100)
    assert client.rest_until_closed() == b"250 Ok\r\n" * 99 + b"421 Too many commands without a message\r\n"
    door.wait(lambda: door.product.counts.get(("relay_sessions_ended_total", "junk")))
