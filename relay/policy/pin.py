"""The right to send one message from one source address: a keyed digest that only an administrator can make.

Whoever can read the master key can make one; it holds for an account, an address and a few minutes. It travels in a
control field of the message, which never leaves the relay (HDR-016).
"""

import hashlib
import hmac
import re

FIELD = "X-SES-Source-Address"
SECONDS = 300
_DIGEST_BYTES = 20
_TEXT = re.compile(r"([0-9A-Fa-f.:]{2,45}) ([0-9]{1,12}) ([0-9a-f]{40})\Z")


def make(key: bytes, address: str, account: str, now_s: int) -> str:
    """Return the value of the field, for an address in its canonical form."""
    expires_s = now_s + SECONDS
    return f"{address} {expires_s} {_digest(key, address, account, expires_s)}"


def read(key: bytes, text: str, account: str, now_s: int) -> str | None:
    """Return the address that is asked for, None when it is asked for without the right to, or too late."""
    matched = _TEXT.match(text)
    if matched is None or not key:
        return None
    address, expires_s = matched[1], int(matched[2])
    right = hmac.compare_digest(matched[3], _digest(key, address, account, expires_s))
    return address if right and now_s <= expires_s <= now_s + 2 * SECONDS else None


def _digest(key: bytes, address: str, account: str, expires_s: int) -> str:
    said = f"{address} {account} {expires_s}".encode()
    return hashlib.blake2b(said, key=key, digest_size=_DIGEST_BYTES).hexdigest()
