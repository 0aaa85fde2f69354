"""Every signature is verified by somebody else's verifier: dkimpy, and opendkim-testmsg where it is installed."""

import base64
import subprocess
import time
from types import SimpleNamespace

import dkim as dkimpy
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import UsageError
from relay.mail.headers import join_head, parse_head
from relay.mail.scan import scan_body
from relay.ports import SigningKey
from relay.signing import keys
from relay.signing.dkim import OVERSIGNED, SIGNED_FIELDS_MAX, relaxed_field, sign

NOW_S = int(time.time())
HEAD = (
    b"Received: by relay.example; Mon, 23 Nov 2026 03:38:23 +0000\r\n"
    b"From: App <app@sender.example>\r\nTo: a@b.example,\r\n\tc@d.example\r\nSubject:  two\r\n  lines \t \r\n"
    b"Date: Mon, 23 Nov 2026 03:38:23 +0000\r\nMessage-ID: <a@sender.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain\r\nReply-To:\r\n\r\n"
)
BODY = b"Hello \t world  \r\n\r\n trailing\t\r\n\r\n\r\n"


class Verifier:
    """Ed25519 for dkimpy, which would use a library that is not installed here; only the arithmetic is ours."""

    def __init__(self, text, encoder=None):
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text))

    def verify(self, message, signature):
        try:
            self._key.verify(signature, message)
        except InvalidSignature as error:
            raise BadSignature from error
        return message


class BadSignature(Exception):  # noqa: N818 - named like the one it stands for
    pass


NACL = SimpleNamespace(
    signing=SimpleNamespace(VerifyKey=Verifier),
    encoding=SimpleNamespace(Base64Encoder=None),
    exceptions=SimpleNamespace(BadSignatureError=BadSignature),
)


@pytest.fixture(scope="module")
def private_keys():
    return {kind: keys.load(keys.generate(kind)) for kind in keys.KeyKind}


@pytest.fixture(autouse=True)
def edwards(monkeypatch):
    monkeypatch.setattr(dkimpy, "nacl", NACL, raising=False)


def signing_keys(private_keys):
    return [
        SigningKey("sender.example", f"s-{kind}", keys.algorithm_of(key), keys.signer(key))
        for kind, key in private_keys.items()
    ]


def signed(private_keys, head, body, **options):
    fields = parse_head(head, smtputf8=True)
    assert isinstance(fields, list)
    signatures = sign(fields, scan_body(body).sha256_relaxed, signing_keys(private_keys), NOW_S, **options)
    return signatures + join_head(fields) + body


def verified(private_keys, message):
    records = {f"s-{kind}._domainkey.sender.example.": keys.public_record(key) for kind, key in private_keys.items()}

    def lookup(name, timeout=5):
        return records[name.decode() if isinstance(name, bytes) else name].encode()

    return [dkimpy.DKIM(message).verify(idx=number, dnsfunc=lookup) for number in range(len(records))]


HEADS = [
    HEAD,
    HEAD.replace(b"Reply-To:\r\n", b"References: " + b"<a@b.example>\r\n\t" * 5000 + b"<z@b.example>\r\n"),
    HEAD.replace(b"Reply-To:\r\n", b"Reply-To: \t \r\nX-Empty:\r\nSender:\tx@sender.example  \r\n"),
    HEAD.replace(b"Subject:  two", b"SUBJECT:two\x0bvertical \x0c feed"),
    HEAD.replace(b"Reply-To:\r\n", b"List-Unsubscribe: <https://x.example>\r\nList-Unsubscribe-Post: x\r\n"),
    HEAD.replace(b"Reply-To:\r\n", b"Resent-From: a@b.example\r\nResent-From: c@d.example\r\nCc: x@y.example\r\n"),
    HEAD.replace(b"two", "zwei Grüße".encode()),
    b"From: a@sender.example\r\n\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=x; h=from; bh=x; b=y\r\n" + HEAD,
    b"DKIM-Signature: v=1; a=rsa-sha256; d=sender.example; s=s-rsa; h=from; bh=x; b=y\r\n" + HEAD,
]  # fmt: skip


@pytest.mark.req("DKIM-003")
@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
@pytest.mark.parametrize("body", [BODY, b"", b"\r\n\r\n", b"x\r\n" * 10_000, " ü\r\n".encode()], ids=range(5))
def test_both_signatures_verify(private_keys, head, body):
    message = signed(private_keys, head, body)
    assert verified(private_keys, message) == [True, True]


def test_lines_are_short_and_tags_right(private_keys):
    signature = signed(private_keys, HEADS[1], BODY, expire_s=604_800).partition(b"Received:")[0]
    assert max(map(len, signature.split(b"\r\n"))) < 78
    assert signature.count(b"c=relaxed/relaxed;") == 2
    assert f"t={NOW_S}; x={NOW_S + 604_800};".encode() in signature
    assert b"l=" not in signature.replace(b"\r\n", b"").replace(b"al=", b"").split(b"bh=")[0]
    assert b"x=" not in signed(private_keys, HEAD, BODY).partition(b" h=")[0]


@pytest.mark.parametrize("field", [name.decode() for name in OVERSIGNED])
def test_a_field_put_on_top_breaks_the_signature(private_keys, field):
    message = signed(private_keys, HEAD, BODY)
    forged = message.replace(b"Received:", f"{field}: forged\r\nReceived:".encode(), 1)
    assert verified(private_keys, forged) == [False, False]


def test_changed_body_breaks_the_signature(private_keys):
    with pytest.raises(dkimpy.ValidationError, match="body hash mismatch"):
        verified(private_keys, signed(private_keys, HEAD, BODY) + b"more\r\n")


def test_no_keys_no_signature():
    assert sign(parse_head(HEAD), b"", (), NOW_S) == b""


def test_a_failing_key_is_heard():
    def fail(data):
        raise OSError("the key is gone")

    with pytest.raises(OSError, match="gone"):
        sign(parse_head(HEAD), b"", [SigningKey("a.example", "s", "rsa-sha256", fail)], NOW_S)


def test_many_repeated_fields_are_bounded(private_keys):
    head = b"Resent-From: a@b.example\r\n" * 1500 + HEAD
    message = signed(private_keys, head, BODY)
    assert message.count(b"resent-from") <= 2 * SIGNED_FIELDS_MAX
    assert verified(private_keys, message) == [True, True]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet=st.sampled_from("ab \t:;=\x1c"), max_size=12), min_size=1, max_size=4),
    st.lists(st.sampled_from([b"x", b" ", b"\t", b"\r\n", b"  y  \r\n"]), max_size=12),
)
def test_any_folding_and_body_verify(private_keys, lines, pieces):
    if any(not line.strip(" \t") for line in lines[1:]):
        lines = lines[:1]
    subject = ("Subject: " + "\r\n ".join(lines) + "\r\n").encode()
    body = b"".join(pieces)
    body = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    message = signed(private_keys, subject + b"From: a@sender.example\r\n\r\n", body)
    assert verified(private_keys, message) == [True, True]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"A: X\r\n", b"a:X\r\n"),
        (b"SUBJect: Y\t\r\n\tZ  \r\n", b"subject:Y Z\r\n"),
        (b"X:\r\n", b"x:\r\n"),
        (b"X: \r\n \r\n", b"x:\r\n"),
        (b"X: a\x0b b\x0c\r\n", b"x:a\x0b b\x0c\r\n"),
    ],
)
def test_relaxed_fields(raw, expected):
    assert relaxed_field(raw.partition(b":")[0].lower(), raw) == expected


@pytest.mark.peer
def test_opendkim_verifies(private_keys, tmp_path):
    program = "/usr/sbin/opendkim"
    try:
        subprocess.run([program, "-V"], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("opendkim is not installed")
    key = private_keys[keys.KeyKind.RSA]
    record = keys.public_record(key)
    (tmp_path / "keys").write_text(f"s-rsa._domainkey.sender.example {record}\n")
    (tmp_path / "conf").write_text(f"TestPublicKeys {tmp_path}/keys\nMode v\nCanonicalization relaxed/relaxed\n")
    for number, head in enumerate(
        (HEADS[0], HEADS[2], *HEADS[4:6])
    ):  # it takes no fields of 100 KB, and form feeds for blanks
        fields = parse_head(head)
        signature = sign(fields, scan_body(BODY).sha256_relaxed, signing_keys(private_keys)[:1], NOW_S)
        file = tmp_path / f"message{number}"
        file.write_bytes(signature + join_head(fields) + BODY)
        done = subprocess.run(
            [program, "-x", str(tmp_path / "conf"), "-t", str(file)], capture_output=True, check=False, timeout=30
        )
        said = done.stdout + done.stderr
        assert b"verification (s=s-rsa" in said, said
        assert b"succeeded" in said, said


# --- keys ------------------------------------------------------------------------------------------------------


def test_records(private_keys):
    rsa = keys.public_record(private_keys[keys.KeyKind.RSA])
    assert rsa.startswith("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A")
    assert keys.public_record(private_keys[keys.KeyKind.ED25519]).startswith("v=DKIM1; k=ed25519; p=")


def _rsa(bits):
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def _encoded(key, encoding, form):
    from cryptography.hazmat.primitives import serialization as s

    return key.private_bytes(getattr(s.Encoding, encoding), getattr(s.PrivateFormat, form), s.NoEncryption())


def test_keys_are_read_in_every_form(private_keys):
    rsa, edwards = private_keys[keys.KeyKind.RSA], private_keys[keys.KeyKind.ED25519]
    forms = [
        _encoded(rsa, "PEM", "PKCS8"), _encoded(rsa, "PEM", "TraditionalOpenSSL"),
        base64.b64encode(_encoded(rsa, "DER", "PKCS8")),
        base64.encodebytes(_encoded(rsa, "DER", "TraditionalOpenSSL")),
    ]  # fmt: skip
    for text in forms:
        assert keys.public_record(keys.load(text)) == keys.public_record(rsa)
    for text in (keys.to_pem(edwards), base64.b64encode(_encoded(edwards, "Raw", "Raw"))):
        assert keys.public_record(keys.load(text)) == keys.public_record(edwards)


def test_bad_keys_are_refused_with_a_sentence():
    from cryptography.hazmat.primitives.asymmetric import ec

    curve = _encoded(ec.generate_private_key(ec.SECP256R1()), "PEM", "PKCS8")
    for text in (
        b"",
        b"x",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        b"A" * 20_000,
        b"AAAA",
        curve,
    ):
        with pytest.raises(UsageError, match="key"):
            keys.load(text)


def test_rsa_keys_have_1024_to_4096_bits(monkeypatch):
    small = keys.to_pem(_rsa(1024))
    assert keys.load(small).key_size == 1024
    monkeypatch.setattr(keys, "RSA_BITS_MIN", 1025)
    with pytest.raises(UsageError, match="1024 bits"):
        keys.load(small)
    monkeypatch.setattr(keys, "RSA_BITS_MAX", 2047)
    with pytest.raises(UsageError, match="2048 bits"):
        keys.load(keys.generate(keys.KeyKind.RSA))
