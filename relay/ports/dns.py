"""What recipient domains publish: mail hosts, addresses, texts, TLSA records, MTA-STS policies."""

from collections.abc import Sequence
from typing import Protocol

from relay.model.tls import StsPolicy, TlsaFound
from relay.model.value import dataclass


class ResolverError(Exception):
    """DNS gave no answer now: SERVFAIL, time-out, or a malformed reply. Never means that a name does not exist.

    `found` are the addresses of the family that was answered, where the other one was not.
    """

    def __init__(self, text: str, found: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.found = tuple(found)


@dataclass(frozen=True, slots=True)
class MailHost:
    """One host of an MX answer."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class MailHosts:
    """The MX answer for a domain.

    `nxdomain`: the name does not exist. `null_mx`: RFC 7505. Else `hosts`, which is empty when the domain has
    neither MX nor address; `implicit` when the domain itself is its only host. `mx_unusable`: there are MX records
    and none of them names a host. `secure`: the answer was validated, by somebody who is trusted with that.
    """

    hosts: tuple[MailHost, ...] = ()
    nxdomain: bool = False
    null_mx: bool = False
    implicit: bool = False
    mx_unusable: bool = False
    secure: bool = False


class Resolver(Protocol):
    """DNS, cached and bounded. Raises ResolverError for answers that may differ later."""

    def known_mail_hosts(self, domain: str) -> MailHosts | None:
        """Return what the cache holds, at once, the same object while it holds it; None: ask."""
        ...

    def known_addresses(self, host: str) -> Sequence[str] | None:
        """Return what the cache holds, at once; None: ask."""
        ...

    async def mail_hosts(self, domain: str, *, refresh: bool = False) -> MailHosts:
        """Return the hosts that take mail for a domain; `refresh` asks past the cache."""
        ...

    async def addresses(self, host: str) -> Sequence[str]:
        """Return IPv4 and IPv6 addresses of a host as text; empty when it has none or does not exist.

        When only one family was answered, ResolverError has what was found: others may exist.
        """
        ...

    async def text(self, name: str) -> Sequence[bytes]:
        """Return the TXT strings of a name, each joined; empty when there are none."""
        ...

    def known_tlsa(self, host: str, port: int) -> TlsaFound | None:
        """Return what the cache holds, at once; None: ask."""
        ...

    async def tlsa(self, host: str, port: int) -> TlsaFound:
        """Return the secure TLSA records of a host; no answer is a value with `failure`, never an exception."""
        ...


@dataclass(frozen=True, slots=True)
class StsAnswer:
    """The MTA-STS policy that is in force for a domain now, None for none; `sure` unless looking for it failed."""

    policy: StsPolicy | None = None
    sure: bool = True


class StsPolicies(Protocol):
    """MTA-STS policies of recipient domains (RFC 8461), cached."""

    def known(self, domain: str) -> StsAnswer | None:
        """Return what is known to be in force, at once; None: ask."""
        ...

    async def find(self, domain: str) -> StsAnswer:
        """Return the policy in force; discovers and fetches it when it must. What fails leaves the last one valid."""
        ...
