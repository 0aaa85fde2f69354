"""Attempts: from a job to its outcome (relay.ports.Outbound).

Routes each delivery (operator's route, address literal, mail exchangers), keeps one `Site` for each set of hosts,
bounds connections over all sites, looks domains up once however many deliveries wait for them, and drives every
time-out by one coarse timer. A slow site or a dead domain holds up nobody else: nothing here waits.

Every job is answered exactly once, except those that had not started when `drain` was called: they stay queued on
disk and are not answered. NXDOMAIN is a temporary outcome with `nxdomain` set; the reporter judges what it means.
"""

import asyncio
import math
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from relay.model.dialogue import Dialogue
from relay.model.lane import Lane, Source
from relay.model.message import Delivery
from relay.model.outcome import Outcome, Stage, Verdict
from relay.pipeline import domain_tls
from relay.pipeline.attempt_settings import TICK_SECONDS, OutboundSettings
from relay.pipeline.connections import Connections
from relay.pipeline.departure import (
    Deferral,
    Gate,
    PlainGate,
    PlainShapes,
    PlainSources,
    Shapes,
    Sources,
    family,
    put_off,
)
from relay.pipeline.destination import Destination, lane_of, name_of_hosts, name_of_route
from relay.pipeline.domain_tls import DomainTls
from relay.pipeline.lane_notes import LaneNotes
from relay.pipeline.reactions import Reactions
from relay.pipeline.site import Site
from relay.pipeline.site_memory import HostMemory
from relay.pipeline.site_session import Item, Session, Target
from relay.pipeline.site_walk import Judge, WalkContext
from relay.pipeline.tls_tally import TlsTally
from relay.ports import (
    Clock,
    Connector,
    Job,
    Json,
    Log,
    MailHost,
    MailHosts,
    Metrics,
    Release,
    Resolver,
    ResolverError,
    StsAnswer,
    StsPolicies,
)
from relay.schedule import mx
from relay.schedule.effects import NO_REACTION, EffectKind
from relay.schedule.fair import Flow
from relay.schedule.route import Route, RouteTable, TlsMode, literal_address, unroutable
from relay.smtp.client_answer import Answer, local_failure, local_refusal

_DOMAINS_MAX = 20_000
_SITES_KEPT = 5_000
_SiteKey = tuple[str, str, str]  # hosts, source address, TLS
_POLICY_SECONDS = 300.0  # how long what a domain wants of TLS is not asked again
_SITES_SHOWN = 200


class OutboundDelivery:
    """Implements relay.ports.Outbound. Lives on one event loop; `on_outcome` must be set before the first job."""

    on_outcome: Callable[[Job, Outcome, Release], None]

    def __init__(
        self,
        *,
        settings: OutboundSettings,
        resolver: Resolver,
        connector: Connector,
        judge: Judge,
        clock: Clock,
        log: Log,
        metrics: Metrics,
        sources: Sources | None = None,
        shapes: Shapes | None = None,
        gate: Gate | None = None,
        sts: StsPolicies | None = None,
        tally: TlsTally | None = None,
        shuffle: mx.Shuffle = random.shuffle,
    ) -> None:
        self._given_sources = sources
        self._given_shapes = shapes
        self._gate = gate or PlainGate()
        self._gate.join(self._recalled, self._changed)
        self._sts = sts
        self._tally = tally or TlsTally(clock)
        self._resolver = resolver
        self._connector = connector
        self._judge = judge
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._shuffle = shuffle
        self._memory = HostMemory()
        self.notes = LaneNotes()
        self._reactions = Reactions(self._gate, clock, log, metrics)
        self._items: dict[int, Item] = {}  # not started
        self._active = 0
        self._destinations: dict[str, Destination] = {}
        self._sites: dict[_SiteKey, Site] = {}
        self._sweep_at = _SITES_KEPT
        self._connected: set[Site] = set()
        self._by_domain: dict[str, tuple[MailHosts, Destination, DomainTls, float]] = {}
        self._route_tls: dict[TlsMode, DomainTls] = {}
        self._lookups: dict[str, list[Item]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = Connections(settings.connections_max)
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event | None = None
        self.draining = False
        self.apply(settings)

    def apply(self, settings: OutboundSettings, judge: Judge | None = None, resolver: Resolver | None = None) -> None:
        """Use new settings, and another judge of addresses, from now on; open connections end by the old ones."""
        self._judge = judge or self._judge
        self._resolver = resolver or self._resolver
        self.settings = settings
        self._connections.most = settings.connections_max
        self.routes = RouteTable(settings.routes)
        self._sources = self._given_sources or PlainSources(settings.source_addresses)
        self._shapes = self._given_shapes or PlainShapes(settings.shape)
        self._context = WalkContext(
            settings,
            self._resolver,
            self._connector,
            self._judge,
            self._clock,
            self._metrics,
            self._memory,
            self._shuffle,
            self._spawn,
            self._tally,
        )
        self._route_tls = {mode: domain_tls.of_route(mode, settings.tls_rules) for mode in TlsMode}
        self.reshape()
        for site in list(self._connected):
            site.quit_idle()
        self._sweep()

    def reshape(self) -> None:
        """Ask anew how destinations may be used: the rules changed."""
        self._by_domain.clear()
        self._destinations.clear()
        for site in self._sites.values():
            shape = self._shapes.shape(site.name, site.hosts, domain=site.domain, routed=site.route is not None)
            site.use(shape.at(site.source))

    # --- Outbound ---

    def enqueue(self, job: Job) -> None:
        """Attempt a delivery as soon as its site has room."""
        if self.draining:
            return
        item = Item(job)
        self._items[job.delivery.key] = item
        domain = job.delivery.domain
        route = self.routes.find(domain)
        if route is not None:
            item.tls = self._route_tls[route.tls].of(job.delivery.message.options)
            self._depart(self._by_route(route), item)
            return
        hosts = self._resolver.known_mail_hosts(domain)
        again = hosts is not None and hosts.nxdomain and job.delivery.attempts > 0
        if hosts is not None and not again:  # a second look goes past the cache
            known = self._by_domain.get(domain)
            if known is not None and known[0] is hosts and known[3] > self._clock.monotonic():
                item.tls = known[2].of(job.delivery.message.options)
                self._depart(known[1], item)
                return
            policy = self._known_policy(domain, hosts)
            if policy is not None:
                self._resolved(domain, hosts, policy, [item])
                return
        self._look_up(item, domain, refresh=again)

    def forgive(self) -> None:
        """Try sites that failed a moment ago at once: an operator asked for it."""
        for site in self._sites.values():
            site.forgive()

    def withdraw(self, delivery_key: int) -> bool:
        """Take back a job that has not started."""
        item = self._items.pop(delivery_key, None)
        if item is None:
            return False
        item.waiting = False
        self._unused(item)
        return True

    async def drain(self, timeout_seconds: float) -> None:
        """Start nothing new, wait for what is in flight, close every connection."""
        self.draining = True
        for item in self._items.values():
            item.waiting = False
            self._unused(item)
        self._items.clear()
        for site in list(self._connected):
            site.quit_idle()
        if self._active:
            self._drained = asyncio.Event()
            try:
                await asyncio.wait_for(self._drained.wait(), timeout_seconds)
            except TimeoutError:
                self._log.warning("deliveries still in flight at the end of the drain", deliveries=self._active)
        for site in list(self._connected):
            site.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- routing ---

    def _by_route(self, route: Route) -> Destination:
        return self._destination(name_of_route(route), (MailHost(0, route.host),), route)

    def _destination(
        self, name: str, hosts: Sequence[MailHost], route: Route | None, domain: str = ""
    ) -> Destination:
        """Return what is known of some hosts together; `domain`: the special one that they are asked for."""
        found = self._destinations.get(name)
        if found is None or found.route is not route:
            if len(self._destinations) >= _DOMAINS_MAX:
                self._destinations.clear()
            shape = self._shapes.shape(name, hosts, domain=domain, routed=route is not None)
            found = self._destinations[name] = Destination(name, hosts, route, shape, domain)
        found.hosts = hosts
        return found

    def _depart(self, destination: Destination, item: Item) -> None:
        """Let the source address be chosen, which takes no time as a rule."""
        item.destination = destination
        families = destination.families(self._clock.monotonic())
        delivery, provider = item.job.delivery, destination.shape.provider
        self._sources.choose(delivery, destination.name, provider, families, partial(self._chosen, destination, item))

    def _chosen(self, destination: Destination, item: Item, choice: Source | Deferral | Answer) -> None:
        if isinstance(choice, Source):
            item.source = choice
            if not item.waiting:
                self._unused(item)
            elif self._free(item, lane_of(destination, choice)):
                site = self._site(destination, choice, item)
                if self._tally.on:
                    site.note_domain(item.job.delivery.domain)
                site.add(item)
        elif item.waiting:
            self.started(item)
            asyncio.get_running_loop().call_soon(self._report_choice, item, choice)

    def _free(self, item: Item, lane: Lane) -> bool:
        """Say whether nothing keeps a delivery from its lane; else put it off."""
        standing = self._gate.standing(lane, item.job.delivery)
        if standing is None:
            return True
        self._unused(item)
        self.started(item)
        deferral = put_off(lane, standing, self._clock.now_ms())
        asyncio.get_running_loop().call_soon(self._report_choice, item, deferral)
        return False

    def _changed(self, destination: str) -> None:
        """Put off what waits for a destination and shall not go there now."""
        for site in list(self._sites.values()):
            if site.lane.destination == destination:
                site.sift(partial(self._stays, lane=site.lane))

    def _stays(self, item: Item, lane: Lane) -> bool:
        """Say whether a delivery goes on waiting in its lane; else put it off, or let another address be chosen."""
        standing = self._gate.standing(lane, item.job.delivery)
        if standing is None or standing.kind is not EffectKind.SWITCH or item.destination is None:
            return self._free(item, lane)
        self._unused(item)
        self._depart(item.destination, item)  # the same address again is put off there
        return False

    def _unused(self, item: Item) -> None:
        """Give back the choice of an address that was not used."""
        source, item.source = item.source, None
        if source is not None and item.destination is not None:
            self._sources.settled(item.job.delivery, item.destination.shape.provider, source, None)

    def _site(self, destination: Destination, source: Source, item: Item) -> Site:
        """Return the lane of hosts and a source; deliveries that need another TLS have one of their own."""
        key = (destination.name, source.address, item.tls.key)
        site = self._sites.get(key)
        if site is None or (site.unused and site.lane != lane_of(destination, source)):
            if len(self._sites) >= self._sweep_at:
                self._sweep()
            site = self._sites[key] = Site(destination, source, self, item.tls)
        if site.source != source:  # the same address in another pool
            site.use(destination.shape.at(source))
            site.source = source
        site.hosts = destination.hosts
        site.route = destination.route
        return site

    def _sweep(self) -> None:
        """Forget sites without work, and what is known of destinations that none of the rest goes to."""
        self._sites = {key: site for key, site in self._sites.items() if not site.unused}
        self._sweep_at = max(_SITES_KEPT, 2 * len(self._sites))
        used = {name for name, _, _ in self._sites}
        self._destinations = {name: one for name, one in self._destinations.items() if name in used}
        self._by_domain = {domain: known for domain, known in self._by_domain.items() if known[1].name in used}

    def _look_up(self, item: Item, domain: str, *, refresh: bool) -> None:
        never = unroutable(domain)
        if never:
            self._answer_soon([item], local_refusal(Stage.ROUTE, "5.1.2", never))
            return
        literal = literal_address(domain)
        if literal:
            item.tls = self._tls_of(domain, MailHosts(), StsAnswer()).of(item.job.delivery.message.options)
            self._depart(self._destination(f"[{literal}]", (MailHost(0, literal),), None), item)
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
            self._answer_soon(self._lookups.pop(domain), answer)
            return
        except BaseException:
            self._answer_soon(self._lookups.pop(domain), local_failure(Stage.DNS, "4.3.0", "Name lookup broke off"))
            raise
        policy = self._known_policy(domain, hosts)
        if policy is None and self._sts is not None:
            try:
                policy = await self._sts.find(domain)
            except BaseException:
                items = self._lookups.pop(domain)
                self._answer_soon(items, local_failure(Stage.DNS, "4.3.0", "Looking for a TLS policy broke off"))
                raise
        self._resolved(domain, hosts, policy or StsAnswer(), self._lookups.pop(domain))

    def _known_policy(self, domain: str, hosts: MailHosts) -> StsAnswer | None:
        """Return the MTA-STS policy of a domain as it is known now, None: ask."""
        return StsAnswer() if self._sts is None or not hosts.hosts else self._sts.known(domain)

    def _tls_of(self, domain: str, hosts: MailHosts, policy: StsAnswer) -> DomainTls:
        settings = self.settings
        return domain_tls.of_hosts(settings.tls, settings.tls_rules, domain, hosts, policy, dane=settings.dane)

    def _resolved(self, domain: str, hosts: MailHosts, policy: StsAnswer, items: list[Item]) -> None:
        usable = mx.without_us(hosts.hosts, self.settings.own_names)
        never = self._never(hosts, usable, domain)
        if never is not None:
            self._answer_soon(items, never, nxdomain=hosts.nxdomain)
            return
        if len(self._by_domain) >= _DOMAINS_MAX:
            self._by_domain.clear()
        special = self._shapes.special(domain)
        destination = self._destination(name_of_hosts(usable, special), usable, None, domain if special else "")
        tls = self._tls_of(domain, hosts, policy)
        until = math.inf if self._sts is None else self._clock.monotonic() + _POLICY_SECONDS
        self._by_domain[domain] = (hosts, destination, tls, until)
        for item in items:
            if item.waiting:
                item.tls = tls.of(item.job.delivery.message.options)
                self._depart(destination, item)

    def _never(self, hosts: MailHosts, usable: tuple[MailHost, ...], domain: str) -> Answer | None:
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

    # --- SiteOwner ---

    @property
    def crowded(self) -> bool:
        """True when sites wait for a connection."""
        return self._connections.crowded

    def context(self, site: Site) -> WalkContext:
        """Return what a walk needs; connections are timed from the first one on."""
        del site
        return self._context

    def may_connect(self, site: Site, flow: Flow) -> bool:
        """Count a connection more, or make room, or let the site wait for one."""
        connections = self._connections
        if not connections.admits(site, flow):
            if connections.line_up(site, flow):
                any(other.release_idle() for other in list(self._connected) if other is not site)
                asyncio.get_running_loop().call_soon(self._feed)
            return False
        if not self._gate.connect(site.lane, site.shape, site.wake):
            return False
        connections.opened(site, flow)
        self._connected.add(site)
        self._metrics.gauge("relay_connections_out_open", connections.open)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._on_timer)
        return True

    def connection_closed(self, site: Site) -> None:
        """Count a connection less; the next site in line may have it."""
        self._gate.disconnect(site.lane)
        self._connections.closed(site)
        self._metrics.gauge("relay_connections_out_open", self._connections.open)
        if self._connections.crowded and not self.draining:
            asyncio.get_running_loop().call_soon(self._feed)

    def _feed(self) -> None:
        if not self.draining:
            self._connections.feed()

    def may_send(self, site: Site) -> bool:
        """Take the right to send a message more on a lane; when not, the site is woken when it may."""
        return self._gate.message(site.lane, site.shape, site.wake)

    def source_lost(self, address: str) -> None:
        """End connections from an address that the host lost: what is under way on them would wait for minutes."""
        for site in list(self._connected):
            if site.source.address == address:
                site.cut("the source address is gone")

    def source_gone(self, site: Site) -> bool:
        """Note that the host does not have the address of a site; False: there is no other."""
        return self._sources.gone(site.source.address)

    def elsewhere(self, site: Site, items: list[Item], *, unfit: bool = True) -> None:
        """Choose another source; `unfit`: the hosts have no address of the family of this one."""
        destination = self._destinations.get(site.name)
        if destination is not None and unfit:
            destination.without(family(site.source.address), self._clock.monotonic())
        for item in items:
            self._unused(item)
            self._depart(destination or self._destination(site.name, site.hosts, site.route, site.domain), item)

    def refused(self, site: Site, answer: Answer, target: Target | None) -> None:
        """Let the rules judge a refusal that no delivery gets, as far as it is about the lane."""
        item = site.first_waiting()
        if item is None or answer.local:
            return
        outcome = self._sessionless(item, answer, target)
        reaction = self._shapes.react(site.shape, outcome).of_lane
        if reaction.lasting:
            self._reactions.take(site.lane, item.job.delivery, outcome, reaction)

    def _recalled(self, lane: Lane) -> bool:
        """Give back a connection of a lane for which somebody else waits; False: there is none to give."""
        return any(site.recall() for site in list(self._connected) if site.lane == lane)

    def started(self, item: Item) -> None:
        """Note that a delivery is under way."""
        self._items.pop(item.job.delivery.key, None)
        self._active += 1

    def waits_again(self, item: Item) -> None:
        """Note that a delivery waits again."""
        self._items[item.job.delivery.key] = item
        self._active -= 1

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._clock.monotonic()

    # --- outcomes ---

    def report(self, item: Item, answer: Answer, session: Session | None, target: Target | None = None) -> None:
        """Answer a job; the connection's next final dot waits for the release."""
        self._active -= 1
        if session is None:
            self._emit(item, self._sessionless(item, answer, target), _nothing)
        else:
            session.hold()
            outcome = session.outcome(item, answer)
            if outcome.verdict is Verdict.DELIVERED:
                self._metrics.count("relay_delivery_tls_total", session.tls_version or "none")
            self._emit(item, outcome, session.release)
        if self._drained is not None and not self._active:
            self._drained.set()

    def report_soon(self, item: Item, answer: Answer, session: Session | None, target: Target | None = None) -> None:
        """Answer a job from the event loop; `target`: the last address that was tried."""
        asyncio.get_running_loop().call_soon(self.report, item, answer, session, target)

    def _answer_soon(self, items: list[Item], answer: Answer, *, nxdomain: bool = False) -> None:
        for item in items:
            if item.waiting:
                self.started(item)
                asyncio.get_running_loop().call_soon(self._report_lookup, item, answer, nxdomain)

    def _report_lookup(self, item: Item, answer: Answer, nxdomain: bool) -> None:  # noqa: FBT001 - call_soon
        self._active -= 1
        self._emit(item, self._sessionless(item, answer, None, nxdomain=nxdomain), _nothing)
        if self._drained is not None and not self._active:
            self._drained.set()

    def _report_choice(self, item: Item, choice: Deferral | Answer) -> None:
        self._active -= 1
        if isinstance(choice, Answer):
            outcome = self._sessionless(item, choice, None)
        else:
            answer = local_failure(Stage.SHAPING, choice.enhanced, choice.text)
            outcome = replace(self._sessionless(item, answer, None), not_before_ms=choice.not_before_ms)
        self._emit(item, outcome, _nothing)
        if self._drained is not None and not self._active:
            self._drained.set()

    def _emit(self, item: Item, outcome: Outcome, release: Release) -> None:
        source, destination = item.source, item.destination
        if source is not None and destination is not None:
            item.source = None
            if source.pool or destination.shape.rules:
                outcome = replace(outcome, pool=source.pool, provider=destination.shape.rules)
            lane = lane_of(destination, source)
            reaction = self._shapes.react(destination.shape, outcome)
            if reaction is not NO_REACTION:
                outcome = self._reactions.take(lane, item.job.delivery, outcome, reaction)
            self.notes.note(lane, outcome)
            self._gate.settled(lane, outcome)
            self._sources.settled(item.job.delivery, destination.shape.provider, source, outcome)
        try:
            self.on_outcome(item.job, outcome, release)
        except Exception as error:  # noqa: BLE001 - a fault of the reporter must not take the connection with it
            self._log.error("an outcome could not be reported", error=repr(error), message=outcome.reply)
            release()

    def _sessionless(self, item: Item, answer: Answer, target: Target | None, *, nxdomain: bool = False) -> Outcome:
        now_ms = self._clock.now_ms()
        return Outcome(
            answer.verdict,
            answer.stage,
            answer.code,
            answer.enhanced,
            answer.text[:1000],
            local=answer.local,
            remote_host=target.host if target else "",
            remote_address=target.address if target else "",
            source_address=item.source.address if item.source else "",
            started_ms=item.started_ms or now_ms,
            finished_ms=now_ms,
            nxdomain=nxdomain,
            dialogue=partial(Dialogue, item.tries, item.skipped) if item.tries or item.skipped else None,
        )

    # --- time and tasks ---

    def _on_timer(self) -> None:
        self._timer = None
        self.tick()
        if self._connections.open:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._on_timer)

    def tick(self) -> None:
        """Look at every deadline once."""
        now = self._clock.monotonic()
        for site in list(self._connected):
            for session in site.ticking():
                session.tick(now)
            if not site.connected:
                self._connected.discard(site)
        self._metrics.gauge("relay_deliveries_in_flight", self._active)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("a lookup broke off", error=repr(error))

    def lanes(self, destination: str) -> Json:
        """Return how the lanes to a destination (a provider, or a set of hosts) are in this worker now."""
        now = self._clock.monotonic()
        sites = [site for site in self._sites.values() if site.lane.destination == destination]
        return {
            "sites": [{**site.state(now), "source": site.source.address} for site in sites[:_SITES_SHOWN]],
            "notes": self.notes.of(destination, self._clock.now_ms()),
        }

    def waiting(self) -> list[Delivery]:
        """Return the deliveries that have not started."""
        return [item.job.delivery for item in self._items.values()]


def _nothing() -> None:
    """Release for outcomes that no connection waits for."""
