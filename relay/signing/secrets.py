"""Keys, sealed secrets, and the passwords derived from them.

One master key of 32 bytes protects everything at rest. Nothing uses it directly: `derive` gives each purpose a key
of its own (HKDF-SHA256, RFC 5869), so that a token key learnt from one place opens nothing elsewhere.

A sealed secret is `version(1) nonce(12) ciphertext tag(16)`, AES-256-GCM. What the secret belongs to is the
associated data, so that a sealed value moved to another row does not open.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.errors import ConfigurationError, CorruptionError

MASTER_KEY_BYTES = 32
SMTP_PASSWORD_VERSION = 0x04
DEFAULT_REGIONS = (  # CRED-006: the names that the hosted service's conversion script takes
    "us-east-1",
    "us-east-2",
    "us-west-2",
    "ap-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "sa-east-1",
    "us-gov-west-1",
)

_SEAL_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_SEAL_PURPOSE = "relay seal v1"
_SMTP_CHAIN = ("11111111", "", "ses", "aws4_request", "SendRawEmail")
_KEY_ID = re.compile(r"[A-Z0-9]{20}\Z")
_SECRET = re.compile(r"[A-Za-z0-9/+=]{40}\Z")
_KEY_ID_PREFIX = "AKIA"
_KEY_ID_ALPHABET = string.ascii_uppercase + "234567"
_SECRET_ALPHABET = string.ascii_letters + string.digits + "/+"
_PLAIN_ALPHABET = string.ascii_letters + string.digits


def new_master_key() -> bytes:
    """Return a fresh master key, 32 random bytes."""
    return secrets.token_bytes(MASTER_KEY_BYTES)


def encode_master_key(master: bytes) -> bytes:
    """Return the text of a key file: base64 and a newline."""
    return base64.b64encode(master) + b"\n"


def decode_master_key(text: bytes, place: object = "file") -> bytes:
    """Return the key that a key file (`place`) holds. Raise ConfigurationError when it is not 32 bytes in base64."""
    try:
        master = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        master = b""
    if len(master) != MASTER_KEY_BYTES:
        raise ConfigurationError(
            f"The master key {place} does not hold 32 bytes in base64; restore it from your backup."
        )
    return master


def derive(master: bytes, purpose: str, size_bytes: int = 32) -> bytes:
    """Return the key for one purpose; other purposes cannot be computed from it."""
    return HKDF(hashes.SHA256(), size_bytes, salt=None, info=purpose.encode()).derive(master)


class Sealer:
    """Seals and opens secrets with a key derived from the master key."""

    __slots__ = ("_cipher",)

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(derive(master, _SEAL_PURPOSE))

    def seal(self, plain: bytes, belongs_to: str) -> bytes:
        """Return `plain` sealed; it opens only with the same `belongs_to`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _SEAL_VERSION + nonce + self._cipher.encrypt(nonce, plain, _SEAL_VERSION + belongs_to.encode())

    def open(self, sealed: bytes, belongs_to: str) -> bytes:
        """Return the secret. Raise CorruptionError when it was changed, moved, or sealed with another key."""
        if len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES or sealed[:1] != _SEAL_VERSION:
            raise CorruptionError(f"The sealed secret of {belongs_to} has no known form.")
        nonce = sealed[1 : 1 + _NONCE_BYTES]
        try:
            return self._cipher.decrypt(nonce, sealed[1 + _NONCE_BYTES :], _SEAL_VERSION + belongs_to.encode())
        except InvalidTag:
            msg = f"The sealed secret of {belongs_to} does not open with this master key."
            raise CorruptionError(msg) from None


def smtp_password(secret: str, region: str) -> str:
    """Return the SMTP password of an access key's secret for a region (CRED-003)."""
    key = b"AWS4" + secret.encode()
    for step in _SMTP_CHAIN:
        key = hmac.digest(key, (step or region).encode(), hashlib.sha256)
    return base64.b64encode(bytes((SMTP_PASSWORD_VERSION,)) + key).decode()


def smtp_passwords(secret: str, regions: Iterable[str]) -> tuple[str, ...]:
    """Return the SMTP passwords of a secret, one a region, in order."""
    return tuple(smtp_password(secret, region) for region in regions)


def is_access_key_id(text: str) -> bool:
    """Say whether `text` has the shape of a key id: 20 upper-case letters and digits (CRED-002)."""
    return _KEY_ID.match(text) is not None


def is_access_key_secret(text: str) -> bool:
    """Say whether `text` has the shape of an access key's secret: 40 characters of base64."""
    return _SECRET.match(text) is not None


def new_access_key_id() -> str:
    """Return a fresh key id, 80 bits random."""
    return _KEY_ID_PREFIX + _random(_KEY_ID_ALPHABET, 16)


def new_access_key_secret() -> str:
    """Return a fresh secret of 40 characters, 240 bits."""
    return _random(_SECRET_ALPHABET, 40)


def new_smtp_user() -> str:
    """Return a fresh name for a stand-alone SMTP user."""
    return "smtp-" + _random(string.ascii_lowercase + "234567", 16)


def new_smtp_user_password() -> str:
    """Return a fresh password of 40 letters and digits, 238 bits, that needs no quoting in any configuration."""
    return _random(_PLAIN_ALPHABET, 40)


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
