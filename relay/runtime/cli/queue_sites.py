"""Which recipient domains a site serves: by the routes, else by their mail exchangers in DNS, asked for now.

A name fits a domain when it is, or is above, one of its mail exchangers, when it is the smart host's, or when the
shaping rules give the domain or its hosts to the provider of this name.
Domains that DNS does not answer for, and that no rule names, fit nothing; they are counted, so that nobody takes
silence for an answer.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.ports import MailHost, ResolverError
from relay.schedule.route import Route, RouteTable
from relay.schedule.shaping_rules import DEFAULT, ProviderRules

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site

DOMAINS_MAX: Final = 100_000
LOOKUPS: Final = 200  # at a time
LOOK_SECONDS: Final = 120.0  # for all of them
HOSTS_SHOWN: Final = 2


@dataclass(frozen=True, slots=True)
class Served:
    """The domains that were looked for, and how many could not be looked up."""

    domains: frozenset[str]
    unknown: int


def serves(name: str, hosts: Collection[str]) -> bool:
    """Say whether a lower-case name is one of some hosts, or a domain above one."""
    return any(host == name or host.endswith("." + name) for host in hosts)


def domains_of(site: "Site", names: Collection[str], domains: Collection[str]) -> Served:
    """Return those of `domains` that the sites of some names serve. Asks DNS."""
    look = _Look(site)
    asyncio.run(look.all(domains))
    wanted = frozenset(names)
    providers = wanted - {DEFAULT}
    found = {
        domain
        for domain in domains
        if look.provider(domain).name in providers
        or any(serves(name, [host.host.lower() for host in look.hosts.get(domain, ())]) for name in wanted)
    }
    return Served(frozenset(found), len(frozenset(domains) - look.hosts.keys() - found))


def site_names(site: "Site", domains: Collection[str], seconds: float = LOOK_SECONDS) -> dict[str, str]:
    """Return the site of each domain: its provider, its route, or its mail exchangers.

    A provider whose sites do not share their limits is named beside the hosts; "(no answer)": DNS does not know.
    """
    look = _Look(site)
    asyncio.run(look.all(domains, seconds))
    return {domain: _site_name(look.hosts.get(domain), look.provider(domain)) for domain in domains}


def _site_name(hosts: "Sequence[MailHost] | None", provider: ProviderRules) -> str:
    if provider.name == DEFAULT:
        return _host_names(hosts)
    return provider.name if provider.rollup else f"{_host_names(hosts)} ({provider.name})"


def _host_names(hosts: "Sequence[MailHost] | None") -> str:
    if hosts is None:
        return "(no answer)"
    names = [host.host.lower() for host in hosts]
    shown = ", ".join(names[:HOSTS_SHOWN])
    return f"{shown}, ..." if len(names) > HOSTS_SHOWN else shown or "(no mail exchanger)"


class _Look:
    """Asks for the hosts of domains, many at a time; `hosts` has those that are known."""

    def __init__(self, site: "Site") -> None:
        from relay.runtime.cli.lookup import asking  # noqa: PLC0415
        from relay.runtime.shaping import rules_in_force  # noqa: PLC0415

        self._rules = rules_in_force(site.config)
        routes = [Route(route.domain, route.smarthost.host) for route in site.config.routes]

        self._routes = RouteTable(routes)
        self._resolver = asking(site.config)
        self.hosts: dict[str, Sequence[MailHost]] = {}

    def provider(self, domain: str) -> ProviderRules:
        """Return the rules of the provider that a domain belongs to, those of DEFAULT for none."""
        hosts = self.hosts.get(domain, ())
        return self._rules.find(hosts, domain=domain, routed=self._routes.find(domain) is not None).rules

    async def all(self, domains: Collection[str], seconds: float = LOOK_SECONDS) -> None:
        asked = []
        for domain in domains:
            route = self._routes.find(domain)
            if route is None:
                asked.append(domain)
            else:
                self.hosts[domain] = (MailHost(0, route.host),)
        with contextlib.suppress(TimeoutError):  # what is left is not known
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(self._ask_each(asked[lane::LOOKUPS]) for lane in range(LOOKUPS)))

    async def _ask_each(self, domains: list[str]) -> None:
        for domain in domains:
            with contextlib.suppress(ResolverError):
                self.hosts[domain] = (await self._resolver.mail_hosts(domain)).hosts
