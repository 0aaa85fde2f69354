"""DKIM keys: made, read, published and used. Private keys are PEM bytes here; whoever stores them seals them.

Generated are RSA-2048 and Ed25519 (decision 7); `relay.signing.imported` reads what owners bring along.
"""

import base64
import hashlib
from collections.abc import Callable
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from relay.errors import UsageError

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

RSA_BITS = 2048


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


def load(pem: bytes) -> PrivateKey:
    """Read a private key that `to_pem` wrote and a seal protected. Raise UsageError when it is none.

    Whether the numbers of an RSA key belong together was checked when it came in: that takes 40 ms, this 20 us.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError("The private key cannot be read.") from error
    if not isinstance(key, PrivateKey):
        raise UsageError("The private key is neither RSA nor Ed25519.")
    return key


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


def bits_of(record: str) -> int:
    """Return the size of the RSA key in a record made by `public_record`."""
    public = serialization.load_der_public_key(base64.b64decode(record.rpartition("p=")[2]))
    assert isinstance(public, rsa.RSAPublicKey)
    return public.key_size


def signer(key: PrivateKey) -> Callable[[bytes], bytes]:
    """Return the function that signs data for DKIM with this key; thread-safe."""
    if isinstance(key, rsa.RSAPrivateKey):
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        rsa_key = key
        return lambda data: rsa_key.sign(data, scheme, digest)
    # RFC 8463 section 3: Ed25519 signs the SHA-256 digest of the data.
    edwards_key = key
    return lambda data: edwards_key.sign(hashlib.sha256(data).digest())
