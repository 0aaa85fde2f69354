"""Signed return paths: a bounce finds its message and recipient by the address it comes to (FLOW-012, 017, 018).

A token is 48 characters of lower-case base32: the first 24 hex digits of the message id (shard, acceptance time,
first group of the UUID), the recipient index (2 bytes) and 16 bytes of keyed BLAKE2b (RFC 7693, a MAC by itself
and a tenth of the cost of HMAC here). Base32 survives servers that
change the case of local parts.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

PREFIX_CHARS = 25  # of a message id: 16 hex digits, a hyphen, 8 hex digits
TOKEN_CHARS = 48
_ID_BYTES = 12
_MAC_BYTES = 16
_DOMAIN_SEPARATION = b"relay return pth"  # 16 bytes, what BLAKE2b takes
_SHAPE = re.compile(r"[a-z2-7]{48}\Z")


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """What a token names: the message whose id starts with `message_id_prefix`, and one of its recipients."""

    message_id_prefix: str
    index: int

    @property
    def shard(self) -> int:
        """The shard that owns the message."""
        return int(self.message_id_prefix[:4], 16)

    @property
    def accepted_ms(self) -> int:
        """When the message was accepted, in milliseconds since 1970."""
        return int(self.message_id_prefix[4:16], 16)

    def expired(self, now_ms: int, retention_ms: int) -> bool:
        """Say whether the token is older than feedback is kept (FLOW-018)."""
        return now_ms - self.accepted_ms > retention_ms


def make(message_id: str, index: int, key: bytes) -> str:
    """Return the local part of the return path for recipient `index` of a message."""
    named = bytes.fromhex(message_id[:16] + message_id[17:PREFIX_CHARS]) + index.to_bytes(2, "big")
    return base64.b32encode(named + _mac(named, key)).decode("ascii").lower()


def read(local: str, key: bytes) -> ReturnPath | None:
    """Return what a local part names, None when it is no token of ours; letters count without case."""
    lowered = local.lower()
    if not local.isascii() or not _SHAPE.match(lowered):
        return None
    try:
        data = base64.b32decode(lowered.upper())
    except binascii.Error:
        return None
    named, mac = data[: _ID_BYTES + 2], data[_ID_BYTES + 2 :]
    if not hmac.compare_digest(mac, _mac(named, key)):
        return None
    digits = named[:_ID_BYTES].hex()
    return ReturnPath(f"{digits[:16]}-{digits[16:]}", int.from_bytes(named[_ID_BYTES:], "big"))


def _mac(named: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(named, digest_size=_MAC_BYTES, key=key, person=_DOMAIN_SEPARATION).digest()
