"""From a delivery and its destination to a site: which address it leaves from, and whether its lane is open to it.

Keeps one `Site` for each set of hosts, source address and TLS; implements `site_protocols.SiteOwner`. Nothing here
waits: an address is chosen at once, or by a call back.
"""

from collections.abc import Callable
from functools import partial

from relay.model.lane import Lane, Source
from relay.pipeline.attempt_connections import OpenConnections
from relay.pipeline.attempt_outcomes import Outcomes
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.departure import Deferral, Gate, Shapes, Sources, family, put_off
from relay.pipeline.destination import Destination, Destinations, lane_of
from relay.pipeline.site import Site
from relay.pipeline.site_item import Item
from relay.pipeline.site_targets import WalkContext
from relay.ports import Clock, Json
from relay.schedule.effects import EffectKind
from relay.smtp.client.answer import Answer

_SITES_KEPT = 5_000
_SITES_SHOWN = 200
_SiteKey = tuple[str, str, str]  # hosts, source address, TLS


class Sites:
    """`on_sweep` is told of the destinations that are still in use when sites without work are forgotten."""

    sources: Sources

    def __init__(
        self,
        destinations: Destinations,
        openings: OpenConnections,
        outcomes: Outcomes,
        *,
        gate: Gate,
        clock: Clock,
        on_sweep: Callable[[set[str]], None],
    ) -> None:
        self._destinations = destinations
        self._openings = openings
        self._outcomes = outcomes
        self._gate = gate
        self._clock = clock
        self._on_sweep = on_sweep
        self._sites: dict[_SiteKey, Site] = {}
        self._sweep_at = _SITES_KEPT

    def use(self, context: WalkContext, sources: Sources) -> None:
        """Go by other settings from now on."""
        self.context = context
        self.settings: OutboundSettings = context.settings
        self.sources = sources

    def reshape(self, shapes: Shapes) -> None:
        """Ask anew how the hosts of each site may be used."""
        for site in self._sites.values():
            shape = shapes.shape(site.name, site.hosts, domain=site.domain, routed=site.route is not None)
            site.use(shape.at(site.source))

    # --- the way of a delivery ---

    def depart(self, destination: Destination, item: Item) -> None:
        """Let the source address be chosen, which takes no time as a rule."""
        item.destination = destination
        families = destination.families(self._clock.monotonic())
        delivery, provider = item.job.delivery, destination.shape.provider
        self.sources.choose(delivery, destination.name, provider, families, partial(self._chosen, destination, item))

    def _chosen(self, destination: Destination, item: Item, choice: Source | Deferral | Answer) -> None:
        if isinstance(choice, Source):
            item.source = choice
            if not item.waiting:
                self.unused(item)
            elif self._free(item, lane_of(destination, choice)):
                site = self._site(destination, choice, item)
                if self.context.tally.on:
                    site.note_domain(item.job.delivery.domain)
                site.add(item)
        elif item.waiting:
            self._outcomes.stays_soon(item, choice)

    def _free(self, item: Item, lane: Lane) -> bool:
        """Say whether nothing keeps a delivery from its lane; else put it off."""
        standing = self._gate.standing(lane, item.job.delivery)
        if standing is None:
            return True
        self.unused(item)
        self._outcomes.stays_soon(item, put_off(lane, standing, self._clock.now_ms()))
        return False

    def changed(self, destination: str) -> None:
        """Put off what waits for a destination and shall not go there now."""
        for site in list(self._sites.values()):
            if site.lane.destination == destination:
                site.queue.sift(partial(self._stays, lane=site.lane))

    def _stays(self, item: Item, lane: Lane) -> bool:
        """Say whether a delivery goes on waiting in its lane; else put it off, or let another address be chosen."""
        standing = self._gate.standing(lane, item.job.delivery)
        if standing is None or standing.kind is not EffectKind.SWITCH or item.destination is None:
            return self._free(item, lane)
        self.unused(item)
        self.depart(item.destination, item)  # the same address again is put off there
        return False

    def unused(self, item: Item) -> None:
        """Give back the choice of an address that was not used."""
        source, item.source = item.source, None
        if source is not None and item.destination is not None:
            self.sources.settled(item.job.delivery, item.destination.shape.provider, source, None)

    # --- SiteOwner ---

    def source_gone(self, site: Site) -> bool:
        """Note that the host does not have the address of a site; False: there is no other."""
        return self.sources.gone(site.source.address)

    def elsewhere(self, site: Site, items: list[Item], *, unfit: bool = True) -> None:
        """Choose another source; `unfit`: the hosts have no address of the family of this one."""
        destination = self._destinations.known(site.name)
        if destination is not None and unfit:
            destination.without(family(site.source.address), self._clock.monotonic())
        for item in items:
            self.unused(item)
            found = destination or self._destinations.of(site.name, site.hosts, site.route, site.domain)
            self.depart(found, item)

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._clock.monotonic()

    # --- sites ---

    def _site(self, destination: Destination, source: Source, item: Item) -> Site:
        """Return the lane of hosts and a source; deliveries that need another TLS have one of their own."""
        key = (destination.name, source.address, item.tls.key)
        site = self._sites.get(key)
        if site is None or (site.unused and site.lane != lane_of(destination, source)):
            if len(self._sites) >= self._sweep_at:
                self.sweep()
            site = self._sites[key] = Site(
                destination, source, item.tls, owner=self, openings=self._openings, reports=self._outcomes
            )
        if site.source != source:  # the same address in another pool
            site.use(destination.shape.at(source))
            site.source = source
        site.hosts = destination.hosts
        site.route = destination.route
        return site

    def sweep(self) -> None:
        """Forget sites without work."""
        self._sites = {key: site for key, site in self._sites.items() if not site.unused}
        self._sweep_at = max(_SITES_KEPT, 2 * len(self._sites))
        self._on_sweep({name for name, _, _ in self._sites})

    def forgive(self) -> None:
        """Try sites that failed a moment ago at once: an operator asked for it."""
        for site in self._sites.values():
            site.forgive()

    def state(self, destination: str) -> list[Json]:
        """Return how the sites of a destination are now, the first of them."""
        now = self._clock.monotonic()
        sites = [site for site in self._sites.values() if site.lane.destination == destination]
        return [{**site.state(now), "source": site.source.address} for site in sites[:_SITES_SHOWN]]
