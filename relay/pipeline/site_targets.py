"""The addresses that a walk tries: those of the hosts of a site, best first, as far as they may be connected to.

Owns, for one walk, what was found, what TLS each host needs (`relay.policy.tls_policy`), what is passed over and why,
and what it means when nothing is left. Addresses that have just failed come last.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.model.dialogue import Skipped
from relay.model.outcome import Stage
from relay.model.tls import NO_TLSA, TlsaFound
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.departure import family
from relay.pipeline.site_item import Target
from relay.pipeline.site_memory import HostMemory
from relay.pipeline.site_tls_notes import count_failure
from relay.pipeline.tls_tally import TlsTally
from relay.policy.tls_policy import HostTls, of_host
from relay.ports import Clock, Connector, MailHost, Metrics, Resolver, ResolverError
from relay.schedule import mx
from relay.schedule.route import ip_address
from relay.smtp.client.answer import Answer, Fault, local_failure, local_refusal

if TYPE_CHECKING:
    from relay.pipeline.site import Site

_ADDRESSES_OF_HOST_MAX = 10

Judge = Callable[[str], str]
"""Says why an address must not be connected to: "own", "private", or "" when it may be."""


@dataclass(frozen=True, slots=True)
class WalkContext:
    """What a walk works with."""

    settings: OutboundSettings
    resolver: Resolver
    connector: Connector
    judge: Judge
    clock: Clock
    metrics: Metrics
    memory: HostMemory
    shuffle: mx.Shuffle
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    tally: TlsTally


class Targets:
    """`found` in the order they are tried in; `failures` and `skipped` of the hosts that have none; `tls` by host."""

    def __init__(self, site: "Site", context: WalkContext) -> None:
        self._site = site
        self._context = context
        self._hosts = site.deck.deal(site.hosts, context.shuffle)
        self._refused: set[str] = set()
        self._foreign = False  # a host has addresses of the family that ours is not of
        self.failures: list[Answer] = []
        self.found: list[Target] = []
        self.skipped: list[Skipped] = []
        self.tls: dict[str, HostTls] = {}

    # --- looking them up ---

    def collect_known(self) -> bool:
        """Collect the addresses when the cache has them all; False when it does not."""
        known: list[tuple[MailHost, Sequence[str], TlsaFound]] = []
        for host in self._hosts:
            addresses = _literal(host.host) or self._context.resolver.known_addresses(host.host)
            found = self._known_tlsa(host)
            if addresses is None or found is None:
                return False
            known.append((host, addresses, found))
        for host, addresses, found in known:
            self._add(host, addresses, found)
        self._by_recent_failure()
        return True

    async def collect(self) -> None:
        """Look the hosts up in order, until there are enough addresses."""
        resolver = self._context.resolver
        for host in self._hosts:
            if len(self.found) >= self._context.settings.addresses_per_attempt:
                break
            addresses = await self._addresses(host)
            if addresses is not None:
                found = self._known_tlsa(host) or await resolver.tlsa(host.host, self._port)
                self._add(host, addresses, found)
        self._by_recent_failure()

    async def _addresses(self, host: MailHost) -> Sequence[str] | None:
        """Return the addresses of a host, those that are known where some are not; None: no answer at all."""
        try:
            return _literal(host.host) or await self._context.resolver.addresses(host.host)
        except ResolverError as error:
            self.failures.append(local_failure(Stage.DNS, "4.4.3", f"Cannot look up {host.host}: {error}"))
            self.skipped.append(Skipped(host.host, "", f"its addresses cannot be looked up: {error}"))
            return error.found or None

    @property
    def _port(self) -> int:
        route = self._site.route
        return route.port if route else self._context.settings.port

    def _known_tlsa(self, host: MailHost) -> TlsaFound | None:
        """Return the TLSA records of a host where they count, None: ask."""
        if not self._site.tls.dane or _literal(host.host):
            return NO_TLSA
        return self._context.resolver.known_tlsa(host.host, self._port)

    # --- judging them ---

    def _add(self, host: MailHost, addresses: Sequence[str], found: TlsaFound) -> None:
        tls = self.tls[host.host] = of_host(self._site.tls, host.host, found)
        if tls.result:
            count_failure(self._site, self._context, tls, tls.result, Target(host.host, "", 0), text=tls.refusal)
        if tls.refusal:
            self.failures.append(_refusal(tls))
            self.skipped.append(Skipped(host.host, "", tls.refusal))
            return
        for address in self._usable(host, addresses)[:_ADDRESSES_OF_HOST_MAX]:
            refused = self._context.judge(address) if self._site.route is None else ""
            if refused:
                self._refused.add(refused)
                why = f"it is {refused}" if refused == "private" else "it is our own"
                self.skipped.append(Skipped(host.host, address, f"{why}, which is not connected to"))
            else:
                self.found.append(Target(host.host, address, self._port))

    def _usable(self, host: MailHost, addresses: Sequence[str]) -> Sequence[str]:
        """Return the addresses of a host that we have a family in common with."""
        settings, ours = self._context.settings, self._site.source.address
        usable = mx.families(addresses, ipv6=settings.ipv6, prefer_ipv6=settings.prefer_ipv6)
        if not usable:
            self.skipped.append(Skipped(host.host, "", "it has no address that we can use"))
        if not ours:
            return usable
        fitting = [address for address in usable if family(address) == family(ours)]
        other = [address for address in usable if address not in fitting]
        self.skipped += [Skipped(host.host, address, f"we leave from {ours}") for address in other]
        self._foreign |= len(fitting) < len(usable)
        return fitting

    def _by_recent_failure(self) -> None:
        """Let addresses that have just failed come last; the order is kept otherwise."""
        now = self._context.clock.monotonic()
        memory = self._context.memory
        self.found.sort(key=lambda target: memory.of(target.address, target.port).failed_until > now)

    def none_left(self) -> Answer:
        """Return what it means that there is no address, and nothing failed."""
        if self._foreign:
            text = f"No mail exchanger has an address of the family of {self._site.source.address}"
            return local_failure(Stage.CONNECT, "4.4.1", text, Fault.FAMILY)
        if "own" in self._refused:
            return local_refusal(Stage.ROUTE, "5.4.6", "Mail exchangers of the domain lead back to this host")
        if self._refused:
            return local_refusal(Stage.ROUTE, "5.4.4", "Mail exchangers of the domain have private addresses only")
        if self._site.route is not None:
            return local_failure(Stage.DNS, "4.4.4", f"Smart host {self._site.route.host} has no address")
        return local_refusal(Stage.DNS, "5.4.4", "None of the mail exchangers of the domain has an address")


def _literal(host: str) -> Sequence[str]:
    address = ip_address(host)
    return (address,) if address else ()


def _refusal(tls: HostTls) -> Answer:
    """Return what it means that a host must not be used."""
    if tls.permanent:
        return local_refusal(Stage.TLS, "5.7.30", f"REQUIRETLS support required: {tls.refusal}")
    return local_failure(Stage.TLS, "4.7.5", f"TLS policy: {tls.refusal}")
