"""The connections of all sites: who may open one and who may send, what is open, and every time-out.

Implements `site_protocols.Openings`. The count and the line of those who wait are in `connections`; the rights of a
lane over all workers are the gate's. Time-outs are driven by one coarse timer, which runs while something is open.
"""

import asyncio
from collections.abc import Callable

from relay.model.lane import Lane
from relay.pipeline.attempt_settings import TICK_SECONDS
from relay.pipeline.connections import Connections
from relay.pipeline.departure import Gate
from relay.pipeline.site import Site
from relay.ports import Metrics
from relay.schedule.fair import Flow


class OpenConnections:
    """`draining`: nothing new starts. `on_tick` is called with each look at the deadlines."""

    def __init__(
        self,
        connections: Connections,
        gate: Gate,
        metrics: Metrics,
        monotonic: Callable[[], float],
        on_tick: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._gate = gate
        self._metrics = metrics
        self._monotonic = monotonic
        self._on_tick = on_tick
        self._sites: set[Site] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.draining = False

    # --- Openings ---

    @property
    def crowded(self) -> bool:
        """True when sites wait for a connection."""
        return self._connections.crowded

    def may_connect(self, site: Site, flow: Flow) -> bool:
        """Count a connection more, or make room, or let the site wait for one."""
        connections = self._connections
        if not connections.admits(site, flow):
            if connections.line_up(site, flow):
                any(other.release_idle() for other in list(self._sites) if other is not site)
                asyncio.get_running_loop().call_soon(self._feed)
            return False
        if not self._gate.connect(site.lane, site.shape, site.wake):
            return False
        connections.opened(site, flow)
        self._sites.add(site)
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

    # --- what is open ---

    def quit_idle(self) -> None:
        """Close what is idle politely."""
        for site in list(self._sites):
            site.quit_idle()

    def recall(self, lane: Lane) -> bool:
        """Give back a connection of a lane for which somebody else waits; False: there is none to give."""
        return any(site.recall() for site in list(self._sites) if site.lane == lane)

    def source_lost(self, address: str) -> None:
        """End connections from an address that the host lost: what is under way on them would wait for minutes."""
        for site in list(self._sites):
            if site.source.address == address:
                site.cut("the source address is gone")

    def stop(self) -> None:
        """End everything at once."""
        for site in list(self._sites):
            site.stop()

    # --- time ---

    def stop_timer(self) -> None:
        """Look at no deadline any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self.tick()
        if self._connections.open:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._on_timer)

    def tick(self) -> None:
        """Look at every deadline once."""
        now = self._monotonic()
        for site in list(self._sites):
            for session in site.ticking():
                session.tick(now)
            if not site.connected:
                self._sites.discard(site)
        self._on_tick()
