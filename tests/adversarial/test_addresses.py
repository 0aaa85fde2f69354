"""Section D: nobody relays through us, and no address means something else to the next parser."""

import smtplib

import pytest

from tests.adversarial.wire import Wire, message, open_listener, settled, with_mark
from tests.product import Product, eventually

RELAY_FORMS = [
    "victim@remote.example", "victim%remote.example@relay.example", "victim%remote.example@bounce.relay.example",
    '"victim@remote.example"@relay.example', '"victim%remote.example"@relay.example',
    "remote.example!victim@relay.example", "remote.example!victim", "victim@remote.example@relay.example",
    "@relay.example:victim@remote.example", "@relay.example,@bounce.relay.example:victim@remote.example",
    "@remote.example:postmaster@elsewhere.example", "victim@[127.0.0.1]", "victim@[IPv6:::1]", "victim@127.0.0.1",
    "victim@localhost", "victim@relay.example.", "victim@remote.example:25", "victim", '"victim"',
    "postmaster@remote.example", "abuse@remote.example", "postmaster%remote.example@relay.example",
    "postmaster@relay.example@remote.example", "postmaster@relay.example,victim@remote.example",
    "postmaster@sub.relay.example", "postmaster+victim@relay.example", "POSTMASTER@relay.example.remote.example",
    "relay.example!victim@bounce.relay.example",
]  # fmt: skip

MALFORMED = [
    "", "@", "a@", "@remote.example", "a b@remote.example", "a@remote example", "a@remote..example",
    "a@.remote.example",
    "a@remote.example.", ".a@remote.example", "a.@remote.example", "a..b@remote.example", "a@-remote.example",
    "a@remote-.example", "a@remote_x.example", "a@b@remote.example", "a@remote.example,b@remote.example",
    "a@remote.example;b@remote.example", "(comment)a@remote.example", "a@remote.example(comment)",
    '"a@remote.example',
    '"a"b@remote.example', "a\\@remote.example", "Name <a@remote.example>", "<a@remote.example>",
    "a@remote.example:25",
    "a@300.300.300.300", "a@12345", "a@[remote.example]", "a" * 65 + "@remote.example", "a@" + "d" * 64 + ".example",
    "a@" + ".".join(["d" * 60] * 5), "a" * 5000 + "@remote.example", "a@xn--.example", "a@xn--a-.example",
    "a@remote.example\t", "a\x01@remote.example", "a\x7f@remote.example", "a\x1b[0m@remote.example",
]  # fmt: skip

# Look-alikes and characters nobody sees; offered with SMTPUTF8, where raw UTF-8 is legal.
ODD_UNICODE = [
    "a@\uff52emote.example", "\uff41@remote.example", "a@remote\u3002example", "a@remote\uff0eexample",
    "a@re\u00admote.example", "a\u00ad@remote.example", "a\u200b@remote.example", "a\u200d@remote.example",
    "a@re\u200dmote.example", "a\u202e@remote.example", "a@\u202eremote.example", "e\u0301@remote.example",
    "a@e\u0301.example", "a@\u212aremote.example", "a\u2028@remote.example", "a\u00a0b@remote.example",
    "a@\u2460.example", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16") + "\u200d@remote.example",
]  # fmt: skip


@pytest.mark.req("SMTP-002", "SMTP-003")
def test_no_form_relays_without_a_password(product, receiver):
    """D01 to D09, D24: not on the mx listener, not in clear, not inside TLS, not from this machine."""
    for batch in range(0, len(RELAY_FORMS), 15):  # the twentieth error would end a session
        clear, mx = Wire(product.port), Wire(product.mx_port)
        clear.say("EHLO x")
        mx.say("EHLO x")
        for form in RELAY_FORMS[batch : batch + 15]:
            assert clear.say(f"RCPT TO:<{form}>")[:3] == "530"
            assert mx.say("RSET") == "250 Ok"
            assert mx.say("MAIL FROM:<stranger@outside.example>") == "250 Ok"
            assert mx.say(f"RCPT TO:<{form}>")[:3] in {"530", "550", "553"}, form
    settled(product)
    assert not [m for m in receiver.messages if "victim" in str(m[1])]


@pytest.mark.req("SMTP-015", "SMTP-016")
@pytest.mark.parametrize("kind", ["trusted", "mx"])
def test_malformed_recipients_are_refused_one_by_one(kind, product):
    """D18 and friends: each gets one 5xx, and the session stays in step."""
    for batch in range(0, len(MALFORMED), 15):
        client = open_listener(product, kind)
        assert client.say("MAIL FROM:<app@example.com>") == "250 Ok"
        for address in MALFORMED[batch : batch + 15]:
            assert client.say(f"RCPT TO:<{address}>")[:3] in {"500", "501", "553", "555"}, address
        assert client.say("DATA")[:3] == "554"


@pytest.mark.parametrize("address", ODD_UNICODE)
def test_look_alikes_and_invisible_characters_are_refused(address, product):
    """D17."""
    client = open_listener(product, "trusted")
    assert client.say("MAIL FROM:<app@example.com> SMTPUTF8") == "250 Ok"
    assert client.say(f"RCPT TO:<{address}>")[:3] == "553"
    assert client.say("RSET") == "250 Ok"
    assert client.say(f"MAIL FROM:<{address}> SMTPUTF8")[:3] == "553"
    assert client.say("MAIL FROM:<app@example.com>") == "250 Ok"
    assert client.say(f"RCPT TO:<{address}>")[:3] == "553"


def test_a_source_route_is_dropped_and_never_followed(product, receiver):
    """D09."""
    client = open_listener(product, "submission")
    answer = client.transaction(message("route"), recipients=["@evil.example,@two.example:user@remote.example"])
    assert answer[:3] == "250"
    settled(product)
    assert [m[1] for m in with_mark(receiver.messages, "route")] == [["user@remote.example"]]


def test_equal_recipients_are_one_delivery_and_local_case_is_kept(product, receiver):
    """D08."""
    client = open_listener(product, "submission")
    recipients = ["Case@remote.example"] * 3 + ["Case@REMOTE.example", "case@remote.example", "CASE@Remote.Example"]
    assert client.transaction(message("equal"), recipients=recipients)[:3] == "250"
    settled(product)
    got = sorted(m[1][0] for m in with_mark(receiver.messages, "equal"))
    assert got == ["CASE@remote.example", "Case@remote.example", "case@remote.example"]


QUOTED = ['"a@b"@remote.example', '"very long quoted"@remote.example', r'"a\"b"@remote.example',
r'"a\\b"@remote.example',
          '" "@remote.example', '"a>b<c"@remote.example', "o'brien+tag=x@remote.example",
          "!#$%&'*/=?^`{|}~-@remote.example",
          "l" * 64 + "@remote.example"]  # fmt: skip


def test_odd_but_legal_local_parts_arrive_as_they_are(product, receiver):
    """D14, H27: one mailbox each, never split at an inner @, byte-equal on the wire."""
    client = open_listener(product, "submission")
    assert client.transaction(message("quoted"), recipients=QUOTED)[:3] == "250"
    commands = []
    receiver.answer, before = lambda verb, line: commands.append((verb, line)), receiver.answer
    try:
        assert client.transaction(message("quoted-2"), recipients=QUOTED)[:3] == "250"
        settled(product)
    finally:
        receiver.answer = before
    got = {line.removeprefix("RCPT TO:") for verb, line in commands if verb == "RCPT"}
    assert got == {f"<{address}>" for address in QUOTED}
    assert {verb for verb, _ in commands} <= {"EHLO", "MAIL", "RCPT", "DATA", ".", "RSET", "QUIT"}


@pytest.mark.parametrize(
    "line",
    ["PROXY TCP4 192.0.2.1 192.0.2.2 1 2", "XCLIENT ADDR=192.0.2.1 LOGIN=admin", "XFORWARD NAME=x", "\r\nXCLIENT"],
)
def test_claims_about_the_client_address_are_refused(line, product):
    """D23."""
    for port in (product.trusted_port, product.mx_port):
        client = Wire(port)
        assert client.say(line)[:3] in {"500", "502"}


def test_proxy_protocol_before_the_greeting_gives_no_address(product):
    client = Wire(product.trusted_port)
    client.send(
        b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c" + b"\xc0\x00\x02\x01" * 3 + b"\r\n"
    )
    assert client.reply()[:3] == "500"
    assert "192.0.2.1" not in product.log_text()


def test_strangers_learn_nothing_from_vrfy_and_expn(product):
    """D11."""
    client = open_listener(product, "mx")
    answers = {client.say(f"VRFY {name}") for name in ("postmaster", "nobody", "app@example.com", "x" * 400)}
    assert len(answers) == 1
    assert {client.say(f"EXPN {name}") for name in ("postmaster", "nobody")} == {"502 Command not implemented"}


@pytest.mark.req("SMTP-014")
def test_unusual_spellings_are_read_whole_or_not_at_all(product, receiver):
    """D19, D20."""
    client = open_listener(product, "submission")
    for sender in ("mail from: <app@example.com>", "MAIL FROM:app@example.com", "Mail From:   <app@example.com>"):
        assert client.say(sender) == "250 Ok"
        assert client.say("rcpt to: spelled@remote.example") == "250 Ok"
        assert client.say("RSET") == "250 Ok"
    assert client.say("MAIL FROM:<app@example.com> FOO=BAR")[:3] == "555"
    assert client.say("MAIL FROM:<app@example.com>SIZE=1")[:3] in {"501", "553", "555"}
    assert client.say("MAIL FROM:<app@example.com> SIZE=1 SIZE=2")[:3] == "501"
    assert client.say("MAIL FROM:<app@example.com> <x@else.example>")[:3] in {"501", "553", "555"}
    assert client.say("MAIL FROM:<app@example.com>") == "250 Ok"
    assert client.say("RCPT TO:<user@remote.example> OTHER=rfc822;x")[:3] == "555"
    assert client.say("RCPT TO:<user@remote.example> <second@remote.example>")[:3] in {"501", "553", "555"}
    assert client.say("MAIL FROM:<app@example.com>")[:3] == "503"


def test_recipients_of_the_header_are_not_recipients(product, receiver):
    """Only the envelope counts."""
    client = open_listener(product, "submission")
    headers = b"To: a@remote.example, b@remote.example\r\nCc: c@remote.example\r\nBcc: d@remote.example\r\n"
    assert client.transaction(message("envelope", headers=headers), recipients=["only@remote.example"])[:3] == "250"
    eventually(lambda: with_mark(receiver.messages, "envelope"))
    settled(product)
    assert [m[1] for m in with_mark(receiver.messages, "envelope")] == [["only@remote.example"]]


@pytest.mark.req("SMTP-007", "SMTP-019")
def test_extensions_that_are_off_and_recipients_beyond_the_limit():
    with Product(None, smtp={"smtputf8": False}, limits={"smtp_recipients_max": 100}) as product:
        with smtplib.SMTP("127.0.0.1", product.trusted_port) as client:
            client.ehlo()
            assert "smtputf8" not in client.esmtp_features
            assert client.docmd("MAIL FROM:<app@example.com> SMTPUTF8")[0] == 555
            assert client.mail("app@example.com")[0] == 250
            answers = [client.rcpt(f"u{number}@remote.example") for number in range(101)]
            assert {code for code, _ in answers[:100]} == {250}
            assert answers[100] == (452, b"Too many recipients")
            assert client.data(b"From: app@example.com\r\n\r\nto those that were taken\r\n")[0] == 250
