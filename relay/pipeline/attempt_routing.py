"""Where a delivery goes: the operator's route, an address literal, or the mail exchangers of its domain.

Owns what is known of domains for now: their hosts, and what TLS they want. Promises: a domain is looked up once
however many deliveries wait for it; whoever waits is answered, whatever becomes of the look-up. NXDOMAIN is a
temporary answer, marked as such; the reporter judges what it means.
"""

import math
from collections.abc import Callable, Coroutine
from typing import Any

from relay.model.outcome import Stage
from relay.pipeline import domain_tls
from relay.pipeline.attempt_outcomes import Outcomes
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.attempt_sites import Sites
from relay.pipeline.departure import Shapes
from relay.pipeline.destination import DESTINATIONS_MAX, Destination, Destinations, name_of_hosts, name_of_route
from relay.pipeline.domain_tls import DomainTls
from relay.pipeline.site_item import Item
from relay.ports import MailHost, MailHosts, Resolver, ResolverError, StsAnswer, StsPolicies
from relay.schedule import mx
from relay.schedule.route import RouteTable, TlsMode, literal_address, unroutable
from relay.smtp.client.answer import Answer, local_failure, local_refusal

_POLICY_SECONDS = 300.0  # how long what a domain wants of TLS is not asked again


class Routing:
    """Lets each delivery depart for its destination (`sites`), or be answered that there is none (`outcomes`)."""

    def __init__(
        self,
        sites: Sites,
        outcomes: Outcomes,
        *,
        destinations: Destinations,
        sts: StsPolicies | None,
        monotonic: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._sites = sites
        self._outcomes = outcomes
        self._destinations = destinations
        self._sts = sts
        self._monotonic = monotonic
        self._spawn = spawn
        self._by_domain: dict[str, tuple[MailHosts, Destination, DomainTls, float]] = {}
        self._lookups: dict[str, list[Item]] = {}

    def use(self, settings: OutboundSettings, resolver: Resolver, shapes: Shapes) -> None:
        """Go by other settings from now on."""
        self._settings = settings
        self._resolver = resolver
        self._shapes = shapes
        self.table = RouteTable(settings.routes)
        self._route_tls = {mode: domain_tls.of_route(mode, settings.tls_rules) for mode in TlsMode}

    def forget(self) -> None:
        """Work out anew where domains go."""
        self._by_domain.clear()

    def keep(self, names: set[str]) -> None:
        """Forget domains that go to none of these destinations."""
        self._by_domain = {domain: known for domain, known in self._by_domain.items() if known[1].name in names}

    # --- what is known ---

    def find(self, item: Item) -> None:
        """Find the way of a delivery, at once where everything is known."""
        delivery = item.job.delivery
        domain = delivery.domain
        route = self.table.find(domain)
        if route is not None:
            item.tls = self._route_tls[route.tls].of(delivery.message.options)
            host = (MailHost(0, route.host),)
            self._sites.depart(self._destinations.of(name_of_route(route), host, route), item)
            return
        hosts = self._resolver.known_mail_hosts(domain)
        again = hosts is not None and hosts.nxdomain and delivery.attempts > 0
        if hosts is not None and not again:  # a second look goes past the cache
            known = self._by_domain.get(domain)
            if known is not None and known[0] is hosts and known[3] > self._monotonic():
                item.tls = known[2].of(delivery.message.options)
                self._sites.depart(known[1], item)
                return
            policy = self._known_policy(domain, hosts)
            if policy is not None:
                self._resolved(domain, hosts, policy, [item])
                return
        self._look_up(item, domain, refresh=again)

    def _known_policy(self, domain: str, hosts: MailHosts) -> StsAnswer | None:
        """Return the MTA-STS policy of a domain as it is known now, None: ask."""
        return StsAnswer() if self._sts is None or not hosts.hosts else self._sts.known(domain)

    # --- what is asked ---

    def _look_up(self, item: Item, domain: str, *, refresh: bool) -> None:
        never = unroutable(domain)
        if never:
            self._outcomes.unroutable_soon([item], local_refusal(Stage.ROUTE, "5.1.2", never))
            return
        literal = literal_address(domain)
        if literal:
            item.tls = self._tls_of(domain, MailHosts(), StsAnswer()).of(item.job.delivery.message.options)
            self._sites.depart(self._destinations.of(f"[{literal}]", (MailHost(0, literal),), None), item)
            return
        waiting = self._lookups.get(domain)
        if waiting is not None:
            waiting.append(item)
            return
        self._lookups[domain] = [item]
        self._spawn(self._ask(domain, refresh=refresh))

    async def _ask(self, domain: str, *, refresh: bool) -> None:
        try:
            hosts = await self._resolver.mail_hosts(domain, refresh=refresh)
        except ResolverError as error:
            answer = local_failure(Stage.DNS, "4.4.3", f"Cannot look up the mail exchangers of {domain}: {error}")
            self._outcomes.unroutable_soon(self._lookups.pop(domain), answer)
            return
        except BaseException:
            broken = local_failure(Stage.DNS, "4.3.0", "Name lookup broke off")
            self._outcomes.unroutable_soon(self._lookups.pop(domain), broken)
            raise
        policy = self._known_policy(domain, hosts)
        if policy is None and self._sts is not None:
            try:
                policy = await self._sts.find(domain)
            except BaseException:
                broken = local_failure(Stage.DNS, "4.3.0", "Looking for a TLS policy broke off")
                self._outcomes.unroutable_soon(self._lookups.pop(domain), broken)
                raise
        self._resolved(domain, hosts, policy or StsAnswer(), self._lookups.pop(domain))

    # --- what an answer means ---

    def _resolved(self, domain: str, hosts: MailHosts, policy: StsAnswer, items: list[Item]) -> None:
        usable = mx.without_us(hosts.hosts, self._settings.own_names)
        never = _never(hosts, usable, domain)
        if never is not None:
            self._outcomes.unroutable_soon(items, never, nxdomain=hosts.nxdomain)
            return
        if len(self._by_domain) >= DESTINATIONS_MAX:
            self._by_domain.clear()
        special = self._shapes.special(domain)
        name = name_of_hosts(usable, special)
        destination = self._destinations.of(name, usable, None, domain if special else "")
        tls = self._tls_of(domain, hosts, policy)
        until = math.inf if self._sts is None else self._monotonic() + _POLICY_SECONDS
        self._by_domain[domain] = (hosts, destination, tls, until)
        for item in items:
            if item.waiting:
                item.tls = tls.of(item.job.delivery.message.options)
                self._sites.depart(destination, item)

    def _tls_of(self, domain: str, hosts: MailHosts, policy: StsAnswer) -> DomainTls:
        settings = self._settings
        return domain_tls.of_hosts(settings.tls, settings.tls_rules, domain, hosts, policy, dane=settings.dane)


def _never(hosts: MailHosts, usable: tuple[MailHost, ...], domain: str) -> Answer | None:
    """Return what a DNS answer without a usable host means."""
    if hosts.nxdomain:
        return local_failure(Stage.DNS, "4.1.2", f"Domain {domain} does not exist")
    if hosts.null_mx:  # RFC 7505 section 4.2
        return local_refusal(Stage.DNS, "5.1.10", f"Domain {domain} takes no mail")
    if usable:
        return None
    if hosts.hosts:
        return local_refusal(Stage.ROUTE, "5.4.6", f"Mail for {domain} loops back to this host")
    if hosts.mx_unusable:
        return local_refusal(Stage.DNS, "5.4.4", f"Mail exchangers of {domain} are no host names")
    return local_failure(Stage.DNS, "4.4.4", f"Domain {domain} has no mail exchanger and no address")  # FLOW-009
