"""The sink on real sockets: an independent client delivers, the Maildir keeps it, DKIM is checked over real DNS."""

import asyncio
import base64
import ssl

import aiosmtplib
import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.runtime.cli.sink_dns import DnsServer, Zone
from relay.runtime.cli.sink_mailbox import Kept, Maildir
from relay.runtime.cli.sink_server import KeyLookup, SinkServer, dkim_results
from relay.runtime.cli.sink_tls import self_signed_context

MESSAGE = b"From: a@dev.test\r\nTo: b@dev.test\r\nSubject: hi\r\n\r\n.dot\r\nbody\r\n"


@pytest.fixture(scope="module")
def key():
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


def signed(pem):
    header = dkim.sign(MESSAGE, b"one", b"dev.test", pem, include_headers=[b"from", b"to", b"subject"])
    return header + MESSAGE


def with_sink(path, use, *, texts=None, tls=True, size_max_bytes=1 << 20):
    """Run `use(port, mails)` against a sink; return the mails it told about."""

    async def run():
        mails = []
        names = DnsServer(lambda: Zone(frozenset({"dev.test"}), "127.0.0.1", texts or {}))
        lookup = KeyLookup("127.0.0.1", await names.start("127.0.0.1", 0))
        server = SinkServer(
            Maildir(path, 10),
            mails.append,
            tls=self_signed_context("sink.test") if tls else None,
            size_max_bytes=size_max_bytes,
            lookup=lookup,
        )
        port = await server.start("127.0.0.1", 0)
        try:
            await use(port)
        finally:
            await server.stop()
            await names.stop()
        return mails

    return asyncio.run(run())


def trusting():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def deliver(port, content, *, start_tls=True):
    async with aiosmtplib.SMTP(
        hostname="127.0.0.1", port=port, start_tls=start_tls, tls_context=trusting(), timeout=20
    ) as client:
        await client.sendmail("a@dev.test", ["b@dev.test", "c@dev.test"], content)


def test_mail_is_kept_with_envelope_and_octets(tmp_path, key):
    pem, record = key
    content = signed(pem)
    (mail,) = with_sink(tmp_path, lambda port: deliver(port, content), texts={"one._domainkey.dev.test": record})
    assert mail.dkim == [("pass", "dev.test", "one")]
    assert mail.tls.startswith("TLSv1.")
    assert (mail.sender, mail.recipients) == ("a@dev.test", ("b@dev.test", "c@dev.test"))
    (file,) = (tmp_path / "new").iterdir()
    envelope, separator, rest = file.read_bytes().partition(b"DKIM-Signature:")
    assert separator + rest == content
    assert b"X-Envelope-To: <c@dev.test>\r\n" in envelope
    assert b"X-Sink-DKIM: pass dev.test/one\r\n" in envelope
    # Fields above the message do not break its signature: the file can be verified again.
    assert dkim.verify(file.read_bytes(), dnsfunc=lambda *_, **__: record.encode())


def test_changed_body_or_missing_key_fails(tmp_path, key):
    pem, record = key
    texts = {"one._domainkey.dev.test": record}
    (changed,) = with_sink(
        tmp_path / "1", lambda port: deliver(port, signed(pem).replace(b"body", b"bodx")), texts=texts
    )
    (unpublished,) = with_sink(tmp_path / "2", lambda port: deliver(port, signed(pem)))
    assert changed.dkim == unpublished.dkim == [("fail", "dev.test", "one")]


def test_plain_session_without_tls(tmp_path):
    (mail,) = with_sink(tmp_path, lambda port: deliver(port, MESSAGE, start_tls=False), tls=False)
    assert (mail.tls, mail.dkim, mail.content) == ("none", [], MESSAGE)


def test_too_large_is_refused_and_not_kept(tmp_path):
    async def use(port):
        with pytest.raises(aiosmtplib.SMTPResponseException) as refusal:
            await deliver(port, MESSAGE + b"x" * 200_000, start_tls=False)
        assert refusal.value.code == 552

    assert with_sink(tmp_path, use, size_max_bytes=100_000) == []
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"DKIM-Signature: \r\n\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=\xff; s=\xff; h=from; b=!!; bh=??\r\nFrom: a\r\n\r\n",
        b"DKIM-Signature: v=1; v=1\r\n\r\n",
        b" starts with a space\r\n\r\n",
        b"DKIM-Signature: v=1\r\n" * 1000 + b"\r\n",
    ],
)
def test_hostile_signatures_never_raise(junk):
    results = dkim_results(junk, lambda *_args, **_kwargs: None)
    assert len(results) <= 8
    assert all(result == "fail" for result, _, _ in results)


def test_maildir_keeps_the_newest_across_restarts(tmp_path):
    def kept(number):
        return Kept("", ["a@b.test"], b"Subject: %d\r\n\r\n" % number, "127.0.0.1", "h\x1b[2J\r\nX-Evil: 1", "none")

    for number in range(4):
        Maildir(tmp_path, 2).add(kept(number))
    texts = sorted(file.read_text() for file in (tmp_path / "new").iterdir())
    assert [text.count("Subject: 2") + text.count("Subject: 3") for text in texts] == [1, 1]
    assert all("\nX-Evil" not in text and "\x1b" not in text for text in texts)
