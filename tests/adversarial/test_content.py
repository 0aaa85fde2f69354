"""Sections G and L: message content and signatures, judged where the mail arrives."""

import base64
import re
import time
import zlib

import dkim
import pytest

from relay.testing.internet import FakeInternet
from tests.adversarial.wire import message, open_listener, settled, with_mark, zone
from tests.product import Product, eventually
from tests.unit.signing.test_dkim import NACL


def submit(product, text, options=""):
    with open_listener(product, "submission") as client:
        return client.transaction(text, options=options)


def arrived(product, receiver, mark):
    settled(product)
    found = with_mark(receiver.messages, mark)
    assert len(found) == 1
    return found[0][2]


def folded(value):
    """Return a value with its folding."""
    return b"\r\n ".join(value[at : at + 900] for at in range(0, len(value), 900))


def count(data, name):
    return len(re.findall(rb"(?im)^" + name + rb":", data.partition(b"\r\n\r\n")[0] + b"\r\n"))


@pytest.mark.req("HDR-005", "HDR-006", "HDR-009", "MIME-006")
def test_what_is_missing_is_added_once_and_from_is_required(product, receiver):
    """G01, G06."""
    assert submit(product, b"Subject: x\r\n\r\nx\r\n") == "554 Transaction failed: Missing required header 'From'."
    assert submit(product, b"From:\r\n\r\nx\r\n") == "554 Transaction failed: Empty required header 'From'."
    assert submit(product, message("bare"))[:3] == "250"
    data = arrived(product, receiver, "X-Mark: bare\r\n")
    for name in (b"Date", b"Message-ID", b"MIME-Version", b"Content-Type", b"Received", b"From"):
        assert count(data, name) == 1, name
    assert count(data, b"Feedback-ID") == 1
    assert count(data, b"X-SES-Outgoing") == 0  # the source address is the kernel's choice here, so none is claimed
    assert dkim.verify(data, dnsfunc=zone(product))


@pytest.mark.req("HDR-002", "HDR-003", "HDR-004")
@pytest.mark.parametrize("name", ["Date", "Subject", "Message-ID", "Content-Type", "Reply-To", "From", "Sender"])
def test_single_fields_given_twice_are_refused(name, product):
    """G02."""
    value = {"Date": "Mon, 1 Jan 2026 00:00:00 +0000", "From": "app@example.com", "Sender": "app@example.com"}.get(
        name, "<a@example.com>"
    )
    text = message("twice", headers=f"{name}: {value}\r\n{name.upper()}: {value}\r\n".encode())
    assert submit(product, text)[:3] == "554"


def test_repeated_to_is_joined_and_signed(product, receiver):
    headers = b"To: a@remote.example\r\nSubject: x\r\nTo: b@remote.example,\r\n c@remote.example\r\n"
    assert submit(product, message("joined-to", headers=headers))[:3] == "250"
    data = arrived(product, receiver, "joined-to")
    assert count(data, b"To") == 1
    assert all(address in data for address in (b"a@remote", b"b@remote", b"c@remote"))
    assert dkim.verify(data, dnsfunc=zone(product))


@pytest.mark.req("HDR-022", "HDR-010")
@pytest.mark.parametrize(
    "line",
    [
        b"X Blank: y", b": y", b"X\x01Y: z", b"X\xc3\xa9: y", b"Subject: caf\xc3\xa9", b"no colon here", b" x",
        b"X-Escape\x1b: y", b"From app@example.com Mon Jan  1 00:00:00 2026", b"X\t: y", b"\xef\xbb\xbfX-Bom: y",
        b"X-" + b"n" * 998 + b": y", b"X-Long: " + b"v" * 100_000,
    ],
)  # fmt: skip
def test_fields_that_are_none_are_refused(line, product, receiver):
    """G03, G15: refused whole, and when a line could be folded it is folded, never sent raw."""
    answer = submit(product, message("odd-field", headers=b"Subject2: x\r\n" + line + b"\r\n"))
    if line == b" x":
        assert answer[:3] == "250"  # it continues the field before it
    else:
        assert answer[:3] == "554", answer


@pytest.mark.req("HDR-001", "HDR-017", "HDR-022")
def test_header_lines_of_998_octets_pass_and_longer_ones_are_folded(product, receiver):
    """G15."""
    exact = b"X-Exact: " + b"v" * 989
    folded = b"X-Folded: " + b" ".join([b"word%04d" % n for n in range(2000)])
    assert submit(product, message("long-fields", headers=exact + b"\r\n" + folded + b"\r\n"))[:3] == "250"
    data = arrived(product, receiver, "long-fields")
    head = data.partition(b"\r\n\r\n")[0]
    assert exact in head.split(b"\r\n")
    assert max(len(line) for line in head.split(b"\r\n")) <= 998
    assert re.sub(rb"\s+", b" ", folded) in re.sub(rb"\s+", b" ", head)
    assert dkim.verify(data, dnsfunc=zone(product))


BODIES = {
    "no boundary": (b"multipart/mixed", b"--x\r\n\r\ntext\r\n--x--\r\n"),
    "endless boundary": (
        b'multipart/mixed; boundary="' + b"b" * 900 + b'"',
        b"--" + b"b" * 900 + b"\r\n\r\nx\r\n--" + b"b" * 900 + b"--\r\n",
    ),
    "quoted boundary": (b'multipart/mixed; boundary="a\\"b c"', b'--a"b c\r\n\r\nx\r\n--a"b c--\r\n'),
    "boundary in body": (b"multipart/mixed; boundary=b", b"--b\r\n\r\n--b\r\n--b--\r\n--b\r\n\r\nx"),
    "wrong encoding": (b"text/plain; charset=no-such\r\nContent-Transfer-Encoding: x-odd",
    b"\x00"[:0] + b"raw =\r\n"),
    "thousand parts": (b"multipart/mixed; boundary=b", b"--b\r\n\r\nx\r\n" * 1000 + b"--b--\r\n"),
    "no delimiter": (b"multipart/mixed", b"a text that is no multipart\r\n"),
    "thousand attachments": (
        b"multipart/mixed; boundary=b",
        b"--b\r\nContent-Disposition: attachment; filename=a.zip\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nUEsDBBQ=\r\n"
        * 1000 + b"--b--\r\n",
    ),
    "zip bomb": (
        b"application/zip; name=bomb.zip\r\nContent-Transfer-Encoding: base64",
        base64.encodebytes(zlib.compress(bytes(10_000_000), 9)).replace(b"\n", b"\r\n"),
    ),
}  # fmt: skip


@pytest.mark.req("HDR-001")
@pytest.mark.parametrize("name", BODIES)
def test_odd_mime_passes_byte_for_byte(name, product, receiver):
    """G07, G16."""
    kind, body = BODIES[name]
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    headers = b"MIME-Version: 1.0\r\nContent-Type: " + kind + b"\r\n"
    mark = f"mime-{name.replace(' ', '-')}."
    assert submit(product, message(mark, body, headers))[:3] == "250"
    data = arrived(product, receiver, mark)
    assert data.partition(b"\r\n\r\n")[2] == body
    assert dkim.verify(data, dnsfunc=zone(product))


LINE = b"--b\r\nContent-Type: %s\r\n\r\nx\r\n--b--\r\n"
MIXED = b"multipart/mixed; boundary=b"
BOMBS = {
    "E13 comments": (b"text/plain", b"x\r\n", b"Cc: " + folded(b"(" * 98_000) + b"\r\n", "554"),
    "E13 escapes": (b"text/plain", b"x\r\n", b"Reply-To: " + folded(b"(\\(" * 32_000) + b"a@b.example\r\n", "250"),
    "E14 words": (b"text/plain", b"x\r\n", b"Subject: " + b"\r\n ".join([b"=?x?Q?y?="] * 16_000) + b"\r\n", "250"),
    "E14 in a name": (MIXED, LINE % (b'a/b; name="' + b"\r\n ".join([b"=?x?Q?y?="] * 15_000) + b'"'), b"", "250"),
    "E15 continuations": (
        b"a/b" + b"".join(b";\r\n name*%d=x" % number for number in range(12_000)), b"x\r\n", b"", "250",
    ),
    "E15 in a part": (
        MIXED, LINE % (b"a/b" + b"".join(b";name*%d*=x\r\n " % number for number in range(20_000))), b"", "554",
    ),
    "deep": (
        b"multipart/mixed; boundary=b0",
        b"".join(b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(300)),
        b"", "554",
    ),
    "parts": (MIXED, b"--b\r\n" * 40_000 + b"--b--\r\n", b"", "554"),
    "a million parts": (MIXED, b"--b\r\n" * 1_000_000 + b"--b--\r\n", b"", "554"),
    "lookalikes": (MIXED, b"--bx\r\n" * 1_000_000 + b"--b\r\n\r\nx\r\n--b--\r\n", b"", "554"),
    "dashes": (b'multipart/mixed;\r\n boundary="' + b"-" * 900 + b'x"', (b"-" * 990 + b"\r\n") * 7000, b"", "554"),
    "fields": (b"text/plain", b"x\r\n", b"X: y\r\n" * 40_000, "554"),
    "html": (b"text/html", (b"<a ses:tags='\r\n<a \"\r\n") * 10_000, b"", "250"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_answered_at_once_and_harm_nobody(name, product):
    """E13 to E15 and more: never a temporary refusal, other sessions go on."""
    kind, body, headers, code = BOMBS[name]
    text = message("bomb", body, b"MIME-Version: 1.0\r\nContent-Type: " + kind + b"\r\n" + headers)
    with open_listener(product, "submission") as client, open_listener(product, "submission") as other:
        client.say("MAIL FROM:<app@example.com>")
        client.say("RCPT TO:<user@remote.example>")
        client.say("DATA")
        client.send(text)
        begun = time.monotonic()
        client.send(b".\r\n")
        assert other.say("NOOP") == "250 Ok"
        answer = client.reply()
        assert time.monotonic() - begun < 10  # 2 s on a machine that does nothing else
        assert answer[:3] == code, answer
        assert other.transaction(message("beside"))[:3] == "250"


@pytest.mark.req("HDR-007", "HDR-008", "HDR-016")
def test_forged_fields_in_our_name_do_not_pass(product, receiver):
    """G09."""
    headers = (
        b"Authentication-Results: relay.example; dkim=pass\r\n"
        b"Authentication-Results: (c) RELAY.example 1; spf=pass\r\n"
        b"Authentication-Results: other.example; dkim=pass\r\n"
        b"ARC-Authentication-Results: i=1; relay.example; dkim=pass\r\n"
        b"Bcc: secret@remote.example\r\nBounces-to: b@remote.example\r\nReturn-Path: <app@example.com>\r\n"
        b"X-SES-Anything: x\r\nx-ses-outgoing: forged\r\nErrors-To: e@remote.example\r\n"
    )
    assert submit(product, message("forged-results", headers=headers))[:3] == "250"
    head = arrived(product, receiver, "forged-results").partition(b"\r\n\r\n")[0]
    results = [line for line in head.split(b"\r\n") if b"uthentication-Results" in line]
    assert results == [b"Authentication-Results: other.example; dkim=pass"]
    assert b"secret@" not in head
    assert b"ounces-to" not in head
    assert b"forged\r\n" not in head
    assert count(head, b"Return-Path") == 0
    assert count(head, b"Errors-To") == 1


@pytest.mark.req("SMTP-032")
def test_received_shows_no_client_and_no_secret(product, receiver):
    """G11, decision 23."""
    client = open_listener(product, "submission")
    assert client.say("EHLO [evil](x;by=relay)") == "250 Ok"
    assert client.say("EHLO evil;with") == "250 Ok"
    assert client.transaction(message("received-once"))[:3] == "250"
    data = arrived(product, receiver, "received-once")
    field = re.search(rb"(?m)^Received: (?:.*\r\n[ \t])*.*", data)[0]
    assert b"ESMTPSA" in field
    for secret in (b"evil", b"127.0.0.1", product.user.encode(), product.password.encode()):
        assert secret not in field


@pytest.mark.req("FLOW-020")
def test_a_hundred_received_fields_are_a_loop(product, receiver):
    trace = b"Received: from a by b; Mon, 1 Jan 2026 00:00:00 +0000\r\n"
    assert submit(product, message("loop-99", headers=trace * 99))[:3] == "250"
    assert submit(product, message("loop-100", headers=trace * 100))[:3] == "554"
    arrived(product, receiver, "loop-99")
    assert with_mark(receiver.messages, "loop-100") == []


# --- section L -------------------------------------------------------------------------------------------------


@pytest.mark.req("DKIM-016", "HDR-002")
def test_foreign_and_forged_signatures_are_kept_below_ours(product, receiver, monkeypatch):
    """L06, L07: the relay's own verifies, whatever claims to be one already."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    text = message("signed-twice", headers=b"Date: Mon, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <a@x.example>\r\n")
    foreign = dkim.sign(text, b"sel", b"else.example", private, include_headers=[b"From", b"Date", b"X-Mark"])
    fake = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=fake; h=from; bh=AAAA; b=AAAA\r\n"
    assert submit(product, fake + text)[:3] == "250"
    assert submit(product, foreign + text)[:3] == "250"
    assert submit(product, fake + foreign + text)[:3] == "250"  # as a mailing list or a dual-signing sender has it
    settled(product)
    found = [data for _, _, data in with_mark(receiver.messages, "signed-twice")]
    forged, kept, both = sorted(found, key=lambda data: (b"s=sel;" in data, b"s=fake;" in data))
    ours = zone(product)

    def lookup(name, timeout=5):
        return record if name.startswith(b"sel._domainkey.else.example") else ours(name)

    def verdict(data, index):
        try:
            return dkim.DKIM(data).verify(index, dnsfunc=lookup)
        except dkim.DKIMException:
            return False

    monkeypatch.setattr(dkim, "nacl", NACL, raising=False)
    assert count(forged, b"DKIM-Signature") == count(kept, b"DKIM-Signature") == 3
    assert [verdict(forged, index) for index in range(3)] == [True, True, False]
    assert [verdict(kept, index) for index in range(3)] == [True, True, True]
    assert [verdict(both, index) for index in range(4)] == [True, True, False, True]


@pytest.mark.req("DKIM-018")
def test_two_algorithms_both_verify(product, receiver, monkeypatch):
    """L12: dkimpy judges both; the arithmetic of Ed25519 is lent to it."""
    monkeypatch.setattr(dkim, "nacl", NACL, raising=False)
    product.run("identity", "create", "dual.example")
    product.run("identity", "verify", "--force", "dual.example")
    text = b"From: app@dual.example\r\nX-Mark: dual\r\n\r\nx\r\n"
    with open_listener(product, "submission") as client:
        assert client.transaction(text, sender="app@dual.example")[:3] == "250"
    data = arrived(product, receiver, "X-Mark: dual\r\n")
    lookup = zone(product, "dual.example")
    assert re.findall(rb"\ba=(\S+?);", data.partition(b"\r\n\r\n")[0]) == [b"rsa-sha256", b"ed25519-sha256"]
    assert [dkim.DKIM(data).verify(index, dnsfunc=lookup) for index in range(2)] == [True, True]


@pytest.fixture(scope="module")
def old_world():
    """Receivers without 8BITMIME and without SMTPUTF8."""
    domains = {"example.com": [""], "seven.test": ["no-8bit no-utf8"], "modern.test": [""]}
    with FakeInternet(domains, network="127.0.17").in_thread() as net:
        settings = {
            "dns": {"nameservers": [net.dns.nameserver]},
            "delivery": {"port": net.port, "allow_private_destinations": True, "retry": ["1s"]},
        }
        with Product(**settings) as product:
            yield product, net


EIGHT = "Grüße aus Köln\r\n.\r\n".encode()


@pytest.mark.req("MIME-008")
@pytest.mark.parametrize(
    "headers",
    [
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
        b"",
    ],
)
def test_eight_bit_mail_is_converted_and_signed_again(headers, old_world):
    """G05, L08: never sent raw, and the signature verifies after conversion and without it."""
    product, net = old_world
    before = len(net.received)
    text = message("eight", EIGHT.replace(b"\r\n.", b"\r\n.."), headers)
    with open_listener(product, "submission") as client:
        assert client.transaction(text, recipients=["u@seven.test", "u@modern.test"])[:3] == "250"
    eventually(lambda: len(net.received) == before + 2)
    lookup = zone(product)
    for received in net.received[before:]:
        data = received.content
        assert dkim.verify(data, dnsfunc=lookup)
        if received.host == "mx1.seven.test":
            assert data.isascii()
            assert "8BITMIME" not in received.parameters
            assert b"ransfer-Encoding: 8bit" not in data
        else:
            assert data.partition(b"\r\n\r\n")[2] == EIGHT
            assert "BODY=8BITMIME" in received.parameters


def test_mail_that_needs_smtputf8_bounces_where_it_is_not_offered(old_world):
    """G08."""
    product, net = old_world
    with open_listener(product, "submission") as client:
        answer = client.transaction(message("utf8"), recipients=["jürgen@seven.test"], options=" SMTPUTF8")
    assert answer[:3] == "250"
    message_id = answer.split()[-1]
    bounce = eventually(lambda: [e for e in product.events("Bounce") if e["mail"]["messageId"] == message_id])
    assert bounce[0]["bounce"]["bouncedRecipients"][0]["status"] == "5.6.7"
    assert not [r for r in net.received if b"X-Mark: utf8\r\n" in r.data and r.host == "mx1.seven.test"]
