"""Message ids: where and when a message was accepted, readable from the id itself (FLOW-003).

Shape: 16 hex digits, `-`, a UUID, `-000000`. The hex digits are the shard (4) and the acceptance time in
milliseconds (12), so that an id alone leads to its shard and to the day of its history.
"""

import os
import re
import uuid

_SHAPE = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d{6}\Z")

SHARD_MAX = 0xFFFF
_VARIANTS = "89ab"


def new_message_id(shard: int, now_ms: int, *, entropy: uuid.UUID | None = None) -> str:
    """Return a fresh id for a message accepted by `shard` at `now_ms` (milliseconds since 1970)."""
    return f"{shard:04x}{now_ms:012x}-{entropy or _uuid4()}-000000"


def _uuid4() -> str:
    """Return a random UUID (RFC 9562 section 5.4), without the object: a fifth of the time."""
    digits = os.urandom(16).hex()
    variant = _VARIANTS[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def is_message_id(text: str) -> bool:
    """Say whether `text` has the shape of a message id."""
    return _SHAPE.match(text) is not None


def shard_of(message_id: str) -> int:
    """Return the shard that accepted the message; the id must have passed `is_message_id`."""
    return int(message_id[:4], 16)


def accepted_ms_of(message_id: str) -> int:
    """Return the acceptance time in milliseconds; the id must have passed `is_message_id`."""
    return int(message_id[4:16], 16)
