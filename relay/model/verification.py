"""What proves that somebody reads mail at an address: a link that is mailed there, and the words around it."""

from dataclasses import dataclass

LINK_VALID_MS = 24 * 3600 * 1000  # IDENT-017
TOKEN_BYTES = 16


@dataclass(frozen=True, slots=True)
class VerificationLink:
    """A mailed link as its page sees it. `usable`: not used yet, not voided, not too old.

    `template` is "" for the relay's own mail; the URLs are where a custom mail's reader goes afterwards (IDENT-027).
    """

    account: str
    address: str
    template: str
    success_url: str
    failure_url: str
    usable: bool


@dataclass(frozen=True, slots=True)
class VerificationTemplate:
    """A custom verification mail (IDENT-024); `content` is HTML that `relay.mail.custom_verification` has checked."""

    name: str
    from_address: str
    subject: str
    content: str
    success_url: str
    failure_url: str
    updated_ms: int = 0
