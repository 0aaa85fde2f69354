"""Attempts: from a job to its outcome (relay.ports.Outbound).

Puts the parts together: `attempt_routing` finds where a delivery goes, `attempt_sites` where it leaves from and the
`Site` that carries it, `attempt_connections` who may connect and send, `attempt_outcomes` what became of it. A slow
site or a dead domain holds up nobody else: nothing here waits.

Every job is answered exactly once, except those that had not started when `drain` was called: they stay queued on
disk and are not answered.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from relay.model.message import Delivery
from relay.model.outcome import Outcome
from relay.pipeline.attempt_connections import OpenConnections
from relay.pipeline.attempt_outcomes import Outcomes
from relay.pipeline.attempt_routing import Routing
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.attempt_sites import Sites
from relay.pipeline.connections import Connections
from relay.pipeline.departure import Gate, PlainGate, PlainShapes, PlainSources, Shapes, Sources
from relay.pipeline.destination import Destinations
from relay.pipeline.site_item import Item
from relay.pipeline.site_memory import HostMemory
from relay.pipeline.site_targets import Judge, WalkContext
from relay.pipeline.tls_tally import TlsTally
from relay.ports import Clock, Connector, Job, Json, Log, Metrics, Release, Resolver, StsPolicies
from relay.schedule import mx
from relay.schedule.route import RouteTable


class OutboundDelivery:
    """Implements relay.ports.Outbound. Lives on one event loop; `on_outcome` must be set before the first job."""

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
        gate = gate or PlainGate()
        self._given_sources = sources
        self._given_shapes = shapes
        self._tally = tally or TlsTally(clock)
        self._resolver = resolver
        self._connector = connector
        self._judge = judge
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._shuffle = shuffle
        self._memory = HostMemory()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = Connections(settings.connections_max)
        self._open = OpenConnections(self._connections, gate, metrics, clock.monotonic, self._on_tick)
        self._outcomes = Outcomes(gate, clock, log, metrics)
        self._destinations = Destinations()
        self._sites = Sites(
            self._destinations, self._open, self._outcomes, gate=gate, clock=clock, on_sweep=self._on_sweep
        )
        self._routing = Routing(
            self._sites,
            self._outcomes,
            destinations=self._destinations,
            sts=sts,
            monotonic=clock.monotonic,
            spawn=self._spawn,
        )
        gate.join(self._open.recall, self._sites.changed)
        self.apply(settings)

    def apply(self, settings: OutboundSettings, judge: Judge | None = None, resolver: Resolver | None = None) -> None:
        """Use new settings, and another judge of addresses, from now on; open connections end by the old ones."""
        self._judge = judge or self._judge
        self._resolver = resolver or self._resolver
        self.settings = settings
        self._connections.most = settings.connections_max
        sources = self._given_sources or PlainSources(settings.source_addresses)
        self._shapes = self._given_shapes or PlainShapes(settings.shape)
        context = WalkContext(
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
        self._destinations.shapes = self._shapes
        self._outcomes.use(sources, self._shapes)
        self._sites.use(context, sources)
        self._routing.use(settings, self._resolver, self._shapes)
        self.reshape()
        self._open.quit_idle()
        self._sites.sweep()

    def reshape(self) -> None:
        """Ask anew how destinations may be used: the rules changed."""
        self._routing.forget()
        self._destinations.forget()
        self._sites.reshape(self._shapes)

    @property
    def routes(self) -> RouteTable:
        """The operator's routes."""
        return self._routing.table

    # --- Outbound ---

    @property
    def on_outcome(self) -> Callable[[Job, Outcome, Release], None]:
        """Who is told what became of each job."""
        return self._outcomes.on_outcome

    @on_outcome.setter
    def on_outcome(self, told: Callable[[Job, Outcome, Release], None]) -> None:
        self._outcomes.on_outcome = told

    def enqueue(self, job: Job) -> None:
        """Attempt a delivery as soon as its site has room."""
        if self._open.draining:
            return
        item = Item(job)
        self._outcomes.arrived(item)
        self._routing.find(item)

    def forgive(self) -> None:
        """Try sites that failed a moment ago at once: an operator asked for it."""
        self._sites.forgive()

    def withdraw(self, delivery_key: int) -> bool:
        """Take back a job that has not started."""
        item = self._outcomes.waiting.pop(delivery_key, None)
        if item is None:
            return False
        item.waiting = False
        self._sites.unused(item)
        return True

    async def drain(self, timeout_seconds: float) -> None:
        """Start nothing new, wait for what is in flight, close every connection."""
        self._open.draining = True
        for item in self._outcomes.waiting.values():
            item.waiting = False
            self._sites.unused(item)
        self._outcomes.waiting.clear()
        self._open.quit_idle()
        await self._outcomes.all_ended(timeout_seconds)
        self._open.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._open.stop_timer()

    # --- for operators ---

    def source_lost(self, address: str) -> None:
        """End connections from an address that the host lost."""
        self._open.source_lost(address)

    def lanes(self, destination: str) -> Json:
        """Return how the lanes to a destination (a provider, or a set of hosts) are in this worker now."""
        return {
            "sites": self._sites.state(destination),
            "notes": self._outcomes.notes.of(destination, self._clock.now_ms()),
        }

    def waiting(self) -> list[Delivery]:
        """Return the deliveries that have not started."""
        return [item.job.delivery for item in self._outcomes.waiting.values()]

    # --- time and tasks ---

    def tick(self) -> None:
        """Look at every deadline once."""
        self._open.tick()

    def _on_tick(self) -> None:
        self._metrics.gauge("relay_deliveries_in_flight", self._outcomes.active)

    def _on_sweep(self, used: set[str]) -> None:
        self._destinations.keep(used)
        self._routing.keep(used)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("a lookup broke off", error=repr(error))
