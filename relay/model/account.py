"""Accounts, credentials and identities as the pipeline sees them. The catalog stores them."""

from dataclasses import dataclass
from enum import StrEnum

UNLIMITED = -1


class AccountState(StrEnum):
    """Whether an account may send (SMTP-011, ERR-004)."""

    ENABLED = "enabled"
    PAUSED = "paused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Account:
    """An account, 12 digits. `daily_quota` is recipients in 24 hours, `send_rate` recipients a second; -1: none."""

    account_id: str
    state: AccountState
    sandbox: bool
    daily_quota: int
    send_rate: float
    contact: str = ""

    @property
    def limited(self) -> bool:
        """True when sending needs a permit."""
        return self.daily_quota != UNLIMITED or self.send_rate != UNLIMITED


class IdentityKind(StrEnum):
    """What an identity names (IDENT-001)."""

    ADDRESS = "EMAIL_ADDRESS"
    DOMAIN = "DOMAIN"


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity of an account: a domain in A-label form, lower case, or a whole address with its case kept."""

    account: str
    name: str
    kind: IdentityKind
    verified: bool
    created_ms: int
    dkim_domain: str = ""  # the domain identity whose keys sign, "" when none does


@dataclass(frozen=True, slots=True)
class SuppressionEntry:
    """One address on an account's suppression list; `reason` is BOUNCE or COMPLAINT."""

    account: str
    address: str
    reason: str
    updated_ms: int
