"""Files that leave the relay encrypted: AES-256-GCM with a key of the operator's (PRIV-001). Pure.

A sealed file is the eight octets `RELAYGCM`, a nonce of 12 octets, then ciphertext and tag (NIST SP 800-38D). The
beginning is authenticated too. Any AES-GCM implementation opens it.
"""

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.errors import ConfigurationError, CorruptionError

MAGIC: Final = b"RELAYGCM"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SUFFIX: Final = ".enc"


class FileSealer:
    """Seals and opens files with one key of 32 octets."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, nonce: bytes) -> bytes:
        """Return a sealed file. `nonce`: 12 octets, random, never used twice with the key."""
        return MAGIC + nonce + self._cipher.encrypt(nonce, data, MAGIC)

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed. Raise CorruptionError for another key, or a file that was changed."""
        begin = len(MAGIC)
        nonce, rest = sealed[begin : begin + NONCE_BYTES], sealed[begin + NONCE_BYTES :]
        if not sealed.startswith(MAGIC) or len(nonce) != NONCE_BYTES:
            raise CorruptionError("it is no sealed file")
        try:
            return self._cipher.decrypt(nonce, rest, MAGIC)
        except InvalidTag:
            raise CorruptionError("it was sealed with another key, or changed since") from None


def key_of(text: str, where: str) -> bytes:
    """Return the key that a text has: 32 octets in base64. Raise ConfigurationError that names where it is from."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{where} is not 32 octets in base64: make one with `openssl rand -base64 32`.")
    return key
