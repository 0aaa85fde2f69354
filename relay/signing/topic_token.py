"""Tokens that confirm subscriptions (TOPIC-121): derived from a key, so that nothing has to keep them in clear.

A token belongs to a subscription and the time it was made at; a newer one has nothing to do with an older one. What
the catalog keeps is its hash.
"""

import hashlib
import hmac
from typing import Final

from relay.signing.secrets import derive

PURPOSE: Final = "relay topic token"


class Tokens:
    """Makes the tokens of one relay."""

    __slots__ = ("_key",)

    def __init__(self, master: bytes) -> None:
        self._key = derive(master, PURPOSE)

    def token(self, subscription_id: str, made_ms: int) -> str:
        """Return the token of a subscription, 256 bits in hex."""
        return hmac.digest(self._key, f"{subscription_id}/{made_ms}".encode(), "sha256").hex()


def token_hash(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
