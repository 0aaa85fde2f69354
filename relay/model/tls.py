"""Values of outbound TLS policy: what domains and hosts publish, and what was found of it."""

from dataclasses import dataclass
from enum import StrEnum


class StsMode(StrEnum):
    """What an MTA-STS policy asks for (RFC 8461 section 5)."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """An MTA-STS policy: `mx` are lower-case host names, `*.` before a name stands for one label."""

    mode: StsMode
    mx: tuple[str, ...]
    max_age_seconds: int


@dataclass(frozen=True, slots=True)
class KnownPolicy:
    """A policy that was fetched for a domain, under the id its record had then. Times are ms since 1970."""

    domain: str
    record_id: str
    policy: StsPolicy
    fetched_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


@dataclass(frozen=True, slots=True)
class TlsaFound:
    """What DNS says about a host's keys: `records` of `base`, the TLSA base domain; none: the host has no DANE.

    `failure` says why DNS gave no answer that can be believed: the host must not be used then.
    """

    records: tuple[Tlsa, ...] = ()
    base: str = ""
    failure: str = ""

    @property
    def applies(self) -> bool:
        """True when connections to the host are bound by it (RFC 7672 section 2.2)."""
        return bool(self.records)


NO_TLSA = TlsaFound()
