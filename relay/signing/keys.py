"""DKIM keys: made, read, published and used. Private keys are PEM bytes here; whoever stores them seals them.

Generated are RSA-2048 and Ed25519; read are RSA keys of 1024 to 4096 bits and Ed25519, as PEM or base64, PKCS#1 or
PKCS#8, without a password (decision 7).
"""

import base64
import binascii
import hashlib
from collections.abc import Callable
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from relay.errors import UsageError

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

RSA_BITS = 2048
RSA_BITS_MIN = 1024  # RFC 8301 section 3.2
RSA_BITS_MAX = 4096
KEY_TEXT_MAX_BYTES = 16 * 1024


class KeyKind(StrEnum):
    """The `k=` of a public key record."""

    RSA = "rsa"
    ED25519 = "ed25519"


ALGORITHMS = {KeyKind.RSA: "rsa-sha256", KeyKind.ED25519: "ed25519-sha256"}


def generate(kind: KeyKind) -> bytes:
    """Return a new private key as PKCS#8 PEM."""
    key: PrivateKey
    if kind is KeyKind.RSA:
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    return to_pem(key)


def to_pem(key: PrivateKey) -> bytes:
    """Return a private key as PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load(text: bytes) -> PrivateKey:
    """Read a private key: PEM, or base64 of PKCS#1, PKCS#8 or of the 32 bytes of Ed25519. Raise UsageError."""
    if len(text) > KEY_TEXT_MAX_BYTES:
        raise UsageError("The private key is too long to be one.")
    try:
        key = _read(text.strip())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError("The private key cannot be read: give PEM or base64, without a password.") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if not isinstance(key, rsa.RSAPrivateKey):
        raise UsageError("The private key is neither RSA nor Ed25519.")
    if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise UsageError(f"The RSA key has {key.key_size} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} can be used.")
    return key


def _read(text: bytes) -> object:
    if text.startswith(b"-----"):
        return serialization.load_pem_private_key(text, password=None)
    try:
        data = base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("neither PEM nor base64") from error
    if len(data) == 32:  # noqa: PLR2004 - an Ed25519 seed, RFC 8032 section 5.1.5
        return ed25519.Ed25519PrivateKey.from_private_bytes(data)
    return serialization.load_der_private_key(data, password=None)


def kind_of(key: PrivateKey) -> KeyKind:
    """Return what kind of key this is."""
    return KeyKind.RSA if isinstance(key, rsa.RSAPrivateKey) else KeyKind.ED25519


def algorithm_of(key: PrivateKey) -> str:
    """Return the `a=` of signatures by this key."""
    return ALGORITHMS[kind_of(key)]


def public_record(key: PrivateKey) -> str:
    """Return the text of the TXT record at `<selector>._domainkey.<domain>` (RFC 6376 section 3.6.1, RFC 8463)."""
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        data = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    else:
        data = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k={kind_of(key)}; p={base64.b64encode(data).decode()}"


def signer(key: PrivateKey) -> Callable[[bytes], bytes]:
    """Return the function that signs data for DKIM with this key; thread-safe."""
    if isinstance(key, rsa.RSAPrivateKey):
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        rsa_key = key
        return lambda data: rsa_key.sign(data, scheme, digest)
    # RFC 8463 section 3: Ed25519 signs the SHA-256 digest of the data.
    edwards_key = key
    return lambda data: edwards_key.sign(hashlib.sha256(data).digest())
