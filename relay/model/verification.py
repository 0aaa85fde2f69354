"""What proves that somebody reads mail at an address: a link that is mailed there, and the words around it."""

from dataclasses import dataclass

LINK_VALID_MS = 24 * 3600 * 1000  # IDENT-017
TOKEN_BYTES = 16
LIMITED_MS = 24 * 3600 * 1000
MAILBOX_LINKS_MAX = 5  # that an account mails to one mailbox within LIMITED_MS
MAILBOX_LINKS_OF_ALL_MAX = 20  # that all accounts mail there
ACCOUNT_LINKS_MAX = 10_000  # that an account mails: as many as it may have identities (IDENT-023)


def mailbox_of(address: str) -> str:
    """Return what addresses of one mailbox have in common as a rule: no `+label`, no capital letters."""
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}".lower()


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
