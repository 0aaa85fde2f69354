"""The `TLS-Required: No` field of a message (RFC 8689 section 3). Pure."""

from collections.abc import Iterable

from relay.mail.headers import Field

KEY = b"tls-required"


def waived(fields: Iterable[Field]) -> bool:
    """Say whether the sender would rather have the message delivered than protected; "No" is the only value."""
    return any(field.value.lower() == b"no" for field in fields if field.key == KEY)
