"""The certificates that topic notifications are signed with: RSA-2048, from an authority of the relay's own.

Pure: the time comes as an argument, keys as values. Who keeps them is `relay.runtime.topic_keys`.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from relay.errors import ConfigurationError
from relay.signing.keys import RSA_BITS

AUTHORITY_DAYS: Final = 7300
CERTIFICATE_DAYS: Final = 730
NAME_DIGITS: Final = 32
_COMMON_NAME_MAX: Final = 64  # RFC 5280, ub-common-name
_SKEW = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Signer:
    """A key with its certificate; `name` is what consumers find the certificate under."""

    name: str
    key: rsa.RSAPrivateKey
    certificate: bytes


def name_of(certificate_pem: bytes) -> str:
    """Return the HEX of `SimpleNotificationService-HEX.pem` (TOPIC-112): the start of its SHA-256."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return certificate.fingerprint(hashes.SHA256()).hex()[:NAME_DIGITS]


def new_authority(hostname: str, now_ms: int) -> tuple[bytes, bytes]:
    """Return certificate and key, PEM, of an authority that vouches for signing certificates."""
    key = new_key()
    name = _name(f"{hostname} topics")
    builder = _builder(name, name, key.public_key(), now_ms, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), key_pem(key)


def new_certificate(hostname: str, authority_pem: bytes, authority_key_pem: bytes, now_ms: int) -> Signer:
    """Return a fresh key with a certificate of an authority."""
    key = new_key()
    authority = x509.load_pem_x509_certificate(authority_pem)
    authority_key = _rsa(authority_key_pem, "the authority of topics")
    builder = _builder(_name(f"sns.{hostname}"), authority.subject, key.public_key(), now_ms, CERTIFICATE_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(authority=False), critical=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
    )
    pem = builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return Signer(name_of(pem), key, pem)


def signer_of(certificate_pem: bytes, private_pem: bytes, where: str) -> Signer:
    """Return the signer of a certificate and its key. Raise ConfigurationError that names `where` they are."""
    key = _rsa(private_pem, where)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        raise ConfigurationError(f"{where}: the certificate is not one in PEM form.") from None
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey) or public.public_numbers() != key.public_key().public_numbers():
        raise ConfigurationError(f"{where}: the key does not belong to the certificate.")
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Signer(name_of(pem), key, pem)


def new_key() -> rsa.RSAPrivateKey:
    """Return a fresh key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def key_pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return a private key as PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _rsa(pem: bytes, where: str) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise ConfigurationError(f"{where}: the private key cannot be read.") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < RSA_BITS:
        raise ConfigurationError(f"{where}: the private key is no RSA key of {RSA_BITS} bits or more.")
    return key


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_COMMON_NAME_MAX])])


def _builder(
    subject: x509.Name, issuer: x509.Name, public: rsa.RSAPublicKey, now_ms: int, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.fromtimestamp(now_ms // 1000, dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
