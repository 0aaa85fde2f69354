"""Where deliveries start and end: which have not started, how many are under way, and what became of each.

Implements `site_protocols.Reports`. Promises: every delivery that starts is answered once; what its outcome means
for the lane (notes, rules, rates, the choice of its address) is passed on before the outcome is. A connection's next
final dot waits for the release that comes with the outcome.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from relay.model.outcome import Outcome, Stage, Verdict
from relay.pipeline import site_outcome
from relay.pipeline.departure import Deferral, Gate, Shapes, Sources
from relay.pipeline.destination import lane_of
from relay.pipeline.lane_notes import LaneNotes
from relay.pipeline.reactions import Reactions
from relay.pipeline.site import Site
from relay.pipeline.site_item import Item, Target
from relay.pipeline.site_session import Session
from relay.ports import Clock, Job, Log, Metrics, Release
from relay.schedule.effects import NO_REACTION
from relay.smtp.client.answer import Answer, local_failure


class Outcomes:
    """`waiting`: those that have not started, by key. `active`: how many have. `on_outcome` is told of each end."""

    on_outcome: Callable[[Job, Outcome, Release], None]

    def __init__(self, gate: Gate, clock: Clock, log: Log, metrics: Metrics) -> None:
        self._gate = gate
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._reactions = Reactions(gate, clock, log, metrics)
        self._drained: asyncio.Event | None = None
        self.notes = LaneNotes()
        self.waiting: dict[int, Item] = {}
        self.active = 0

    def use(self, sources: Sources, shapes: Shapes) -> None:
        """Tell these of ends from now on."""
        self._sources = sources
        self._shapes = shapes

    # --- beginnings ---

    def arrived(self, item: Item) -> None:
        """Note that a delivery waits."""
        self.waiting[item.job.delivery.key] = item

    def started(self, item: Item) -> None:
        """Note that a delivery is under way."""
        self.waiting.pop(item.job.delivery.key, None)
        self.active += 1

    def waits_again(self, item: Item) -> None:
        """Note that a delivery waits again."""
        self.waiting[item.job.delivery.key] = item
        self.active -= 1

    async def all_ended(self, timeout_seconds: float) -> None:
        """Wait for what is under way."""
        if not self.active:
            return
        self._drained = asyncio.Event()
        try:
            await asyncio.wait_for(self._drained.wait(), timeout_seconds)
        except TimeoutError:
            self._log.warning("deliveries still in flight at the end of the drain", deliveries=self.active)

    # --- ends, by who knows the answer ---

    def report(self, item: Item, answer: Answer, session: Session | None, target: Target | None = None) -> None:
        """Answer a delivery that a connection carried, or a site without one could not."""
        if session is None:
            self._end(item, site_outcome.without_session(item, answer, target, self._clock.now_ms()), _nothing)
            return
        session.hold()
        outcome = site_outcome.of_session(session, item, answer, self._clock.now_ms())
        if outcome.verdict is Verdict.DELIVERED:
            self._metrics.count("relay_delivery_tls_total", session.tls_version or "none")
        self._end(item, outcome, session.release)

    def report_soon(self, item: Item, answer: Answer, session: Session | None, target: Target | None = None) -> None:
        """The same, from the event loop."""
        asyncio.get_running_loop().call_soon(self.report, item, answer, session, target)

    def unroutable_soon(self, items: list[Item], answer: Answer, *, nxdomain: bool = False) -> None:
        """Answer those of some deliveries that wait still: there is no way for them."""
        for item in items:
            if item.waiting:
                self.started(item)
                asyncio.get_running_loop().call_soon(self._unroutable, item, answer, nxdomain)

    def _unroutable(self, item: Item, answer: Answer, nxdomain: bool) -> None:  # noqa: FBT001 - call_soon
        outcome = site_outcome.without_session(item, answer, None, self._clock.now_ms(), nxdomain=nxdomain)
        self._end(item, outcome, _nothing)

    def stays_soon(self, item: Item, why: Deferral | Answer) -> None:
        """Answer a delivery that no address may carry now."""
        self.started(item)
        asyncio.get_running_loop().call_soon(self._stays, item, why)

    def _stays(self, item: Item, why: Deferral | Answer) -> None:
        now_ms = self._clock.now_ms()
        if isinstance(why, Answer):
            outcome = site_outcome.without_session(item, why, None, now_ms)
        else:
            answer = local_failure(Stage.SHAPING, why.enhanced, why.text)
            outcome = replace(
                site_outcome.without_session(item, answer, None, now_ms), not_before_ms=why.not_before_ms
            )
        self._end(item, outcome, _nothing)

    def refused(self, site: Site, answer: Answer, target: Target | None) -> None:
        """Let the rules judge a refusal that no delivery gets, as far as it is about the lane."""
        item = site.queue.first()
        if item is None or answer.local:
            return
        outcome = site_outcome.without_session(item, answer, target, self._clock.now_ms())
        reaction = self._shapes.react(site.shape, outcome).of_lane
        if reaction.lasting:
            self._reactions.take(site.lane, item.job.delivery, outcome, reaction)

    # --- what follows ---

    def _end(self, item: Item, outcome: Outcome, release: Release) -> None:
        self.active -= 1
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
        if self._drained is not None and not self.active:
            self._drained.set()


def _nothing() -> None:
    """Release for outcomes that no connection waits for."""
