"""Every form of private key that owners bring along: taken, or refused by name."""

import base64
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from relay.errors import UsageError
from relay.signing import imported, keys

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS1, PKCS8 = serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()
LOCKED = serialization.BestAvailableEncryption(b"password")


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 1024)


def private(key, encoding=PEM, form=PKCS8, protection=PLAIN):
    return key.private_bytes(encoding, form, protection)


def public(key, form=serialization.PublicFormat.SubjectPublicKeyInfo, encoding=PEM):
    return key.public_key().public_bytes(encoding, form)


@pytest.mark.req("DKIM-006")
@pytest.mark.parametrize("form", [PKCS1, PKCS8])
def test_pkcs1_and_pkcs8_with_and_without_armour(rsa_key, form):
    pem, der = private(rsa_key, form=form), private(rsa_key, DER, form)
    line = base64.b64encode(der)
    broken = b"\r\n".join(line[at : at + 64] for at in range(0, len(line), 64))
    one_line = pem.replace(b"\n", b"")
    notes = b"Bag Attributes\n    friendlyName: mail\n" + pem
    for text in (pem, pem.replace(b"\n", b"\r\n"), line, line + b"\n", broken, one_line, notes, b"\n \n" + pem):
        assert keys.public_record(imported.read(text)) == keys.public_record(rsa_key)


def from_primes(p, q):
    """Return the RSA key of two Mersenne primes, whose exponents are given: large keys at once."""
    p, q, e = (1 << p) - 1, (1 << q) - 1, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    parts = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *parts, rsa.RSAPublicNumbers(e, p * q)).private_key(
        unsafe_skip_rsa_key_validation=True
    )


@pytest.mark.req("DKIM-006", "DKIM-019")
def test_sizes(rsa_key):
    """Today's library makes no key under 1024 bits, but a file may hold one. Sizes come before costly checks."""
    short = subprocess.run(["openssl", "genrsa", "512"], capture_output=True, check=True).stdout
    assert imported.read(private(rsa_key)).key_size == 1024
    long = private(from_primes(2203, 2281))
    begin = time.process_time()
    assert "it has 4484 bits; 1024 to 4096 can be used" in refused(long)
    assert time.process_time() - begin < 2  # a machine may be slow, a wrong way takes longer
    assert "it has 512 bits; 1024 to 4096 can be used" in refused(short)


def refused(text):
    with pytest.raises(UsageError) as caught:
        imported.read(text)
    said = str(caught.value)
    assert said.startswith("The private key cannot be used: ")
    return said


@pytest.mark.req("DKIM-006", "DKIM-007")
def test_every_other_form_is_refused_by_name(rsa_key):
    curve = ec.generate_private_key(ec.SECP256R1())
    edwards, goldilocks = ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()
    old = dsa.generate_private_key(1024)
    pem, line = private(rsa_key), base64.b64encode(private(rsa_key, DER))
    cases = [
        (private(rsa_key, protection=LOCKED), "is encrypted"),
        (private(rsa_key, form=PKCS1, protection=LOCKED), "is encrypted"),
        (base64.b64encode(private(rsa_key, DER, protection=LOCKED)), "is encrypted"),
        (private(curve), "elliptic curve"),
        (private(curve, form=PKCS1), "elliptic curve"),
        (base64.b64encode(private(curve, DER)), "elliptic curve"),
        (private(edwards), "Ed25519"),
        (private(goldilocks), "Ed448"),
        (private(old), "DSA"),
        (private(old, form=PKCS1), "DSA"),
        (private(rsa_key, form=serialization.PrivateFormat.OpenSSH), "OpenSSH's own form"),
        (public(rsa_key), "is a public key"),
        (public(rsa_key, serialization.PublicFormat.PKCS1), "is a public key"),
        (base64.b64encode(public(rsa_key, encoding=DER)), "is a public key"),
        (keys.public_record(rsa_key).encode(), "is a DNS record"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is a certificate"),
        (b"-----BEGIN SOMETHING-----\nAAAA\n-----END SOMETHING-----\n", "no known kind"),
        (pem + pem, "several"),
        (pem[:200], "no beginning or no end"),
        (pem[40:], "no beginning or no end"),
        (line[:100] + line[184:], "neither PKCS#1 nor PKCS#8"),
        (line[:-8] + b"AAAAAAA=", "neither PKCS#1 nor PKCS#8"),
        (line[:-1] + b"!", "not base64"),
        (base64.b64encode(bytes(100)), "neither PKCS#1 nor PKCS#8"),
        (b"\x00\xff" * 50, "not base64"),
        (private(rsa_key, DER), "not base64"),
        (b"customerProvidedPrivateKey", "not base64"),
        (b"", "is empty"),
        (b" \r\n", "is empty"),
        (b"A" * 20_000, "longer than"),
    ]
    for text, why in cases:
        said = refused(text)
        assert why in said, (text[:40], said)
        assert "PRIVATE" not in said


@pytest.mark.req("DKIM-007")
def test_selectors():
    for selector in ("a", "A9", "a-b", "x" * 63, "2026"):
        imported.check_selector(selector)
    for selector in ("", "a.b", "-a", "a-", "x" * 64, "a_b", "ä", "a b", "a\n", "a;s=b"):
        with pytest.raises(UsageError, match="1 to 63"):
            imported.check_selector(selector)
