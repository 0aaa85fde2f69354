"""Accounts, credentials and identities as the pipeline sees them. The catalog stores them."""

from dataclasses import dataclass
from enum import StrEnum

from relay.model.finding import Enforcement
from relay.model.message import WEIGHT_DEFAULT

UNLIMITED = -1


class AccountState(StrEnum):
    """Whether an account may send (SMTP-011, ERR-004)."""

    ENABLED = "enabled"
    PAUSED = "paused"
    CLOSED = "closed"


class SuppressionReason(StrEnum):
    """Why an address is on a suppression list."""

    BOUNCE = "BOUNCE"
    COMPLAINT = "COMPLAINT"


REASONS_DEFAULT = (str(SuppressionReason.BOUNCE), str(SuppressionReason.COMPLAINT))  # SUPP-007


@dataclass(frozen=True, slots=True)
class Account:
    """An account, 12 digits. `daily_quota` is recipients in 24 hours, `send_rate` recipients a second; -1: none.

    `weight` is its share of the relay beside other accounts.
    With `recipient_check`, mail to a domain that certainly takes none is refused instead of bounced (DLV-003).
    `suppressed_reasons` say what puts addresses on its suppression list, and which entries count (SUPP-008).
    `enforcement` is what the relay has taken from it, whatever its own `state` is (PAUSE-007); its rates count from
    `fresh_start_ms` on, 0: from the beginning (REP-013).
    """

    account_id: str
    state: AccountState
    sandbox: bool
    daily_quota: int
    send_rate: float
    contact: str = ""
    recipient_check: bool = False
    weight: int = WEIGHT_DEFAULT
    suppressed_reasons: tuple[str, ...] = REASONS_DEFAULT
    enforcement: Enforcement = Enforcement.NONE
    fresh_start_ms: int = 0

    @property
    def limited(self) -> bool:
        """True when sending needs a permit."""
        return self.daily_quota != UNLIMITED or self.send_rate != UNLIMITED


class IdentityKind(StrEnum):
    """What an identity names (IDENT-001)."""

    ADDRESS = "EMAIL_ADDRESS"
    DOMAIN = "DOMAIN"


class MailFromFallback(StrEnum):
    """What happens while a MAIL FROM domain is not usable (MFROM-008)."""

    USE_DEFAULT_VALUE = "USE_DEFAULT_VALUE"
    REJECT_MESSAGE = "REJECT_MESSAGE"


@dataclass(frozen=True, slots=True)
class MailFrom:
    """A custom MAIL FROM domain; `usable` while its MX record was found (state SUCCESS, MFROM-007)."""

    domain: str
    usable: bool
    fallback: MailFromFallback


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity of an account: a domain in A-label form, lower case, or a whole address with its case kept.

    `verified` says that mail may be sent from it. As the answer to who covers an address (IDENT-004) it also carries
    what holds for mail from that address: the domain identity whose keys sign ("": none does), the default
    configuration set ("": none), the MAIL FROM domain (None: the relay's own), whether policies decide about it
    (AUTHZ-012), be they its own or those of another identity that covers the address, and its pool ("": none).
    """

    account: str
    name: str
    kind: IdentityKind
    verified: bool
    created_ms: int
    dkim_domain: str = ""
    configuration_set: str = ""
    mail_from: MailFrom | None = None
    has_policies: bool = False
    pool: str = ""


PolicyTexts = tuple[tuple[str, str], ...]
"""Stored policies: the name and the text of each, by name."""


@dataclass(frozen=True, slots=True)
class CoveringIdentity:
    """An identity that covers an address, verified or not, and its policies when they stand for the address.

    Those are the ones of the most specific identity that has any (AUTHZ-012); all others come without.
    """

    identity: Identity
    policies: PolicyTexts = ()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who authenticated: a user name, its account, and the user it belongs to ("": the account itself)."""

    username: str
    account: str
    user: str = ""


@dataclass(frozen=True, slots=True)
class SuppressionEntry:
    """One address on an account's suppression list; `reason` is BOUNCE or COMPLAINT.

    Of an entry that feedback added, `message_id` and `feedback_id` say which (SUPP-016); else they are "".
    """

    account: str
    address: str
    reason: str
    updated_ms: int
    message_id: str = ""
    feedback_id: str = ""
