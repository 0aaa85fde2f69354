"""Private keys that owners bring along (BYODKIM, DKIM-006): read, or refused with what is wrong and what to do.

Taken is an RSA key of 1024 to 4096 bits as PKCS#1 or PKCS#8: base64, with or without PEM armour and line breaks.
"""

import base64
import binascii
import re
from contextlib import suppress

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from relay.errors import UsageError

KEY_TEXT_MAX_BYTES = 16 * 1024
RSA_BITS_MIN = 1024  # RFC 8301 section 3.2
RSA_BITS_MAX = 4096

_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
_ARMOUR = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----(.*?)-----END \1-----", re.DOTALL)
_ENCRYPTED = "it is encrypted; take the password off with `openssl pkey -in KEY -out NEW`"
_PUBLIC = "it is a public key; give the private one, and publish the public one in DNS"
_BROKEN = "it is neither PKCS#1 nor PKCS#8 in base64, or it is damaged"

# What the armour says; "" where the content decides.
_LABELS = {
    b"PRIVATE KEY": "",
    b"RSA PRIVATE KEY": "",
    b"ENCRYPTED PRIVATE KEY": _ENCRYPTED,
    b"PUBLIC KEY": _PUBLIC,
    b"RSA PUBLIC KEY": _PUBLIC,
    b"CERTIFICATE": "it is a certificate; give the private key",
    b"CERTIFICATE REQUEST": "it is a certificate request; give the private key",
    b"EC PRIVATE KEY": "it is an elliptic curve key; DKIM takes RSA",
    b"EC PARAMETERS": "it is an elliptic curve key; DKIM takes RSA",
    b"DSA PRIVATE KEY": "it is a DSA key; DKIM takes RSA",
    b"OPENSSH PRIVATE KEY": "it has OpenSSH's own form; convert a copy with `ssh-keygen -p -m PEM -f COPY`",
}
_KINDS: tuple[tuple[type, str], ...] = (
    (ec.EllipticCurvePrivateKey, "it is an elliptic curve key; DKIM takes RSA"),
    (ed25519.Ed25519PrivateKey, "it is an Ed25519 key; `relay dkim add` makes one for a second signature"),
    (ed448.Ed448PrivateKey, "it is an Ed448 key; DKIM takes RSA"),
    (dsa.DSAPrivateKey, "it is a DSA key; DKIM takes RSA"),
)


def check_selector(selector: str) -> None:
    """Raise UsageError for what cannot be a selector (DKIM-007)."""
    if not _SELECTOR.match(selector):
        raise UsageError(
            f"A selector has 1 to 63 letters, digits and inner hyphens, as in mail2026, not {selector[:80]!r}."
        )


def read(text: bytes) -> rsa.RSAPrivateKey:
    """Return the key in a text. Raise UsageError, which never repeats any of it."""
    if len(text) > KEY_TEXT_MAX_BYTES:
        raise _refused(f"it is longer than {KEY_TEXT_MAX_BYTES} bytes")
    if not text.strip():
        raise _refused("it is empty")
    data = _base64(text)
    key = _load(data)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _refused(next((why for kind, why in _KINDS if isinstance(key, kind)), "it is not an RSA key"))
    if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise _refused(f"it has {key.key_size} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} can be used")
    try:  # whether its numbers belong together; that takes long for long keys, so their size comes first
        serialization.load_der_private_key(data, password=None)
    except ValueError:
        raise _refused(_BROKEN) from None
    return key


def _refused(why: str) -> UsageError:
    return UsageError(
        f"The private key cannot be used: {why}. A key to import is RSA of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, as "
        "`openssl genrsa -out private.key 2048` makes one."
    )


def _base64(text: bytes) -> bytes:
    """Return what the base64 in a text stands for, without armour."""
    blocks = _ARMOUR.findall(text)
    if len(blocks) > 1 and not any(_LABELS.get(label) for label, _ in blocks):
        raise _refused("there are several in this file; give one")
    for label, _ in blocks:
        if why := _LABELS.get(label, "its armour is of no known kind"):
            raise _refused(why)
    if b"-----" in text and not blocks:
        raise _refused("its armour has no beginning or no end; copy the whole file")
    body = blocks[0][1] if blocks else text
    if b"ENCRYPTED" in body:  # RFC 1421 header lines of an older form
        raise _refused(_ENCRYPTED)
    if b"p=" in body:
        raise _refused("it is a DNS record; give the private key")
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise _refused("it is not base64") from None


def _load(data: bytes) -> object:
    """Return the private key that the bytes are, its numbers not checked yet. Raise UsageError."""
    try:
        return serialization.load_der_private_key(data, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise _refused(_ENCRYPTED) from None
    except (ValueError, UnsupportedAlgorithm):
        pass
    with suppress(ValueError, UnsupportedAlgorithm):
        serialization.load_der_public_key(data)
        raise _refused(_PUBLIC)
    raise _refused(_BROKEN)
