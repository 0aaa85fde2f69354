"""The life of a DKIM key, and the records that make keys known (DKIM-001, 002, 005, 008 to 011).

A key is made *pending*: nothing is signed with it until its record was found in DNS. Then one RSA key of the domain
is *active* and signs; the others of Easy DKIM's three are *standby*, published and unused. A key that was replaced is
*retired*: it signs nothing more, and its record stays published for a week, because mail under way carries it. After
that an Easy DKIM key stands by again. When the records of a domain are gone for good its keys are pending again.
Ed25519 keys (RFC 8463) are pending, then active beside the RSA key; they never decide about a domain.
"""

from dataclasses import dataclass
from enum import StrEnum

PUBLISHED_MS = 7 * 86_400_000  # how long the record of a retired key is needed (DKIM-005)


class KeyState(StrEnum):
    """What a key is used for."""

    PENDING = "pending"
    STANDBY = "standby"
    ACTIVE = "active"
    RETIRED = "retired"


MAY_BECOME: dict[KeyState, frozenset[KeyState]] = {
    KeyState.PENDING: frozenset({KeyState.ACTIVE, KeyState.STANDBY, KeyState.RETIRED}),  # found in DNS, given up
    KeyState.STANDBY: frozenset({KeyState.ACTIVE, KeyState.RETIRED, KeyState.PENDING}),  # turn, replaced, lost
    KeyState.ACTIVE: frozenset({KeyState.RETIRED, KeyState.PENDING}),  # replaced, lost
    KeyState.RETIRED: frozenset({KeyState.STANDBY, KeyState.PENDING}),  # its week is over, Easy DKIM again
}


class KeyOrigin(StrEnum):
    """Where a key, or the signing of a domain, comes from (DKIM-009)."""

    AWS_SES = "AWS_SES"
    EXTERNAL = "EXTERNAL"


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A record to publish: a whole name without a final dot, a type, and the value as one string."""

    name: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A signing key as lists show it; the private half is never returned (DKIM-019).

    `retired_ms` is when it was last replaced, 0 when it never was.
    """

    selector: str
    algorithm: str
    public_txt: str
    state: KeyState
    created_ms: int
    origin: KeyOrigin = KeyOrigin.AWS_SES
    retired_ms: int = 0

    @property
    def rsa(self) -> bool:
        """True for the keys that decide about a domain."""
        return self.algorithm == "rsa-sha256"

    @property
    def published_until_ms(self) -> int:
        """When the record of a retired key may leave DNS; 0 for other keys."""
        return self.retired_ms + PUBLISHED_MS if self.state is KeyState.RETIRED else 0

    def name(self, domain: str) -> str:
        """Return the name of its record (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{domain}"

    def record(self, domain: str, zone: str) -> DnsRecord:
        """Return what the owner of a domain publishes: a CNAME into the relay's zone where there is one (DKIM-001).

        A key that was brought along is always a TXT record of the owner's (DKIM-008).
        """
        if zone and self.origin is KeyOrigin.AWS_SES:
            return DnsRecord(self.name(domain), "CNAME", f"{self.selector}.{zone}")
        return DnsRecord(self.name(domain), "TXT", self.public_txt)


@dataclass(frozen=True, slots=True)
class ExpectedKey:
    """What a TXT query must yield for a key, whatever form is published (DKIM-002).

    `required` keys decide about the DKIM state of the domain together; the others have a state of their own.
    """

    name: str
    public_txt: str
    selector: str
    state: KeyState
    required: bool


@dataclass(frozen=True, slots=True)
class DkimSettings:
    """How an identity signs: what is set on itself (`signing` None: inherited) and when that changed.

    `next_key_length` is that of the keys that the relay makes, RSA_2048_BIT or, from older catalogs, RSA_1024_BIT.
    """

    signing: bool | None
    origin: KeyOrigin
    next_key_length: str
    length_changed_ms: int
    rotated_ms: int
