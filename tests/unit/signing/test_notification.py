"""Signatures of notifications: the string to sign, both versions, and what does not verify (TOPIC-110 to 113)."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from relay.errors import ConfigurationError
from relay.signing.notification import cert_url_fault, sign, string_to_sign, verify
from relay.signing.topic_certificate import key_pem, name_of, new_authority, new_certificate, signer_of
from tests.authority import Certificate

NOW_MS = 1_790_000_000_000
BODY = {
    "Type": "Notification",
    "MessageId": "dc1e94d9-56c5-5e96-808d-cc7f68faa162",
    "TopicArn": "arn:aws:sns:local-1:000000000001:bounces",
    "Subject": 'A "quoted" subject',
    "Message": "line one\nline two \u00fc",
    "Timestamp": "2026-11-26T09:00:00.000Z",
    "UnsubscribeURL": "https://relay.example/?Action=Unsubscribe",
}


@pytest.fixture(scope="module")
def authority():
    return new_authority("relay.example", NOW_MS)


@pytest.fixture(scope="module")
def signer(authority):
    return new_certificate("relay.example", *authority, NOW_MS)


@pytest.mark.req("TOPIC-110")
def test_the_string_to_sign_of_a_notification():
    expected = (
        "Message\nline one\nline two \u00fc\n"
        "MessageId\ndc1e94d9-56c5-5e96-808d-cc7f68faa162\n"
        'Subject\nA "quoted" subject\n'
        "Timestamp\n2026-11-26T09:00:00.000Z\n"
        "TopicArn\narn:aws:sns:local-1:000000000001:bounces\n"
        "Type\nNotification\n"
    )
    assert string_to_sign(BODY) == expected.encode()
    without = {name: value for name, value in BODY.items() if name != "Subject"}
    assert b"Subject" not in string_to_sign(without)


@pytest.mark.req("TOPIC-110")
@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_the_string_to_sign_of_confirmations(kind):
    body = {**BODY, "Type": kind, "Token": "t", "SubscribeURL": "u"}
    lines = string_to_sign(body).decode().replace("line one\nline two", "text").splitlines()
    assert lines[::2] == ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    assert lines[-1] == kind


@pytest.mark.req("TOPIC-111")
@pytest.mark.parametrize(("version", "algorithm"), [("1", hashes.SHA1()), ("2", hashes.SHA256())])
def test_both_versions(signer, version, algorithm):
    signature = sign(signer.key, version, BODY)
    public = x509.load_pem_x509_certificate(signer.certificate).public_key()
    public.verify(base64.b64decode(signature), string_to_sign(BODY), padding.PKCS1v15(), algorithm)
    body = {**BODY, "Signature": signature, "SignatureVersion": version}
    assert verify(body, signer.certificate) == ""


@pytest.mark.req("TOPIC-113")
def test_whatever_is_changed_does_not_verify(signer, authority):
    body = {**BODY, "Signature": sign(signer.key, "2", BODY), "SignatureVersion": "2"}
    for name in ("Message", "MessageId", "Subject", "Timestamp", "TopicArn"):
        assert "not that of" in verify({**body, name: body[name] + "x"}, signer.certificate)
    assert verify({**body, "SignatureVersion": "1"}, signer.certificate)
    assert verify({**body, "SignatureVersion": "3"}, signer.certificate)
    assert verify({**body, "Signature": "!"}, signer.certificate)
    assert verify({**body, "Signature": ""}, signer.certificate)
    assert verify({**body, "Type": "Else"}, signer.certificate)
    assert verify({name: value for name, value in body.items() if name != "Message"}, signer.certificate)
    other = new_certificate("relay.example", *authority, NOW_MS)
    assert verify(body, other.certificate)
    assert verify(body, b"no certificate")
    assert verify({}, signer.certificate)
    assert "no RSA key" in verify(body, Certificate(["x.example"]).pem())


@pytest.mark.req("TOPIC-112")
def test_the_certificate_is_rsa_2048_and_of_the_authority(signer, authority):
    certificate = x509.load_pem_x509_certificate(signer.certificate)
    assert certificate.public_key().key_size == 2048
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority[0]))
    assert signer.name == name_of(signer.certificate)
    assert len(signer.name) == 32


def test_a_certificate_of_the_operator(signer, authority):
    assert signer_of(signer.certificate, key_pem(signer.key), "here").name == signer.name
    other = new_certificate("relay.example", *authority, NOW_MS)
    curve = Certificate(["x.example"])
    for certificate, key in (
        (signer.certificate, key_pem(other.key)),
        (b"x", key_pem(signer.key)),
        (signer.certificate, b"x"),
        (curve.pem(), curve.key_pem()),
    ):
        with pytest.raises(ConfigurationError, match="here"):
            signer_of(certificate, key, "here")
    assert isinstance(curve.key, ec.EllipticCurvePrivateKey)


@pytest.mark.req("TOPIC-113")
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/SimpleNotificationService-0123456789abcdef.pem",
        "https://relay.example@evil.example/SimpleNotificationService-0123456789abcdef.pem",
        "https://relay.example/other.pem",
        "https://relay.example/SimpleNotificationService-../../x.pem",
        "ftp://relay.example/SimpleNotificationService-0123456789abcdef.pem",
        "https://relay.example/SimpleNotificationService-0123456789abcdef.pem?x",
        "",
    ],
)
def test_certificates_come_from_the_relay_only(url):
    assert cert_url_fault(url, "relay.example")
    assert not cert_url_fault("https://Relay.example/SimpleNotificationService-0123456789abcdef.pem", "relay.example")
