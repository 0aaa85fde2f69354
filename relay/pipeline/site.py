"""A site: one set of mail exchangers, the deliveries that wait for it (`site_queue`), and its connections.

A site is a lane: it leaves from one source address, and its connections and messages are counted over all workers
under its `Lane` (`relay.pipeline.departure.Gate`).

Deliveries that need another TLS (`relay.policy.tls_policy`) have a site of their own beside the one of the same
hosts, so that no connection is ever shared with those that need less (TLS-004, TLS-005).

A connection is opened while deliveries wait and fewer are open than the hosts bear (`site_health`). When they refuse
one while others are open nothing is deferred or bounced. Only when the last connection that could be made fails do
the waiting deliveries get its answer, and for a moment later ones get it too. One module: what a walk and what a
session tell, and what follows for queue, connections and health, is one decision each.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

from relay.model.lane import Source
from relay.model.outcome import Verdict
from relay.pipeline.attempt_settings import ATTEMPT_SESSIONS_MAX
from relay.pipeline.connections import TURN_MESSAGES
from relay.pipeline.destination import Destination, lane_of
from relay.pipeline.site_health import Health
from relay.pipeline.site_item import Item
from relay.pipeline.site_memory import FAILED_SECONDS, HABIT_SECONDS
from relay.pipeline.site_outcome import tried
from relay.pipeline.site_protocols import Openings, Reports, SiteOwner
from relay.pipeline.site_queue import SiteQueue
from relay.pipeline.site_session import Session
from relay.pipeline.site_walk import Walk
from relay.policy.tls_policy import SiteTls
from relay.ports import Job, Json, MailHost
from relay.schedule.fair import Flow
from relay.schedule.mx import Deck
from relay.schedule.route import Route, TlsMode
from relay.schedule.shaping import Shape
from relay.smtp.client.answer import Answer, Fault

DOMAINS_NOTED = 20
TRIES_MAX = 8  # connections of one attempt that are told of


class Site:
    """Queue and connections of one destination."""

    def __init__(
        self,
        destination: Destination,
        source: Source,
        tls: SiteTls,
        *,
        owner: SiteOwner,
        openings: Openings,
        reports: Reports,
    ) -> None:
        self.name = destination.name
        self.hosts: Sequence[MailHost] = destination.hosts
        self.deck = Deck()
        self.route: Route | None = destination.route
        self.domain = destination.domain
        self.shape = destination.shape.at(source)
        self.source = source
        self.lane = lane_of(destination, source)
        self.tls = tls
        self.domains: dict[str, None] = {}
        self.queue = SiteQueue(reports)
        self.sessions: set[Session] = set()
        self._owner = owner
        self._openings = openings
        self._reports = reports
        self._health = Health(self.shape)
        self._idle: list[Session] = []
        self._walks: set[Walk] = set()
        self._recalls = 0

    @property
    def implicit(self) -> bool:
        """True when TLS comes with the first byte (RFC 8314 section 3.3)."""
        return self.route is not None and self.route.tls is TlsMode.IMPLICIT

    def note_domain(self, domain: str) -> None:
        """Remember a recipient domain, for reports on TLS: the last few that came."""
        self.domains.pop(domain, None)
        self.domains[domain] = None
        if len(self.domains) > DOMAINS_NOTED:
            del self.domains[next(iter(self.domains))]

    @property
    def unused(self) -> bool:
        """True when the site may be forgotten."""
        return not (self.queue or self.sessions or self._walks or self._health.dead(self._owner.now()))

    @property
    def connected(self) -> bool:
        """True while the site has or seeks a connection."""
        return bool(self.sessions or self._walks)

    def use(self, shape: Shape) -> None:
        """Go by other limits from now on; connections that are too many end by themselves."""
        self.shape = shape
        self._health.bound(shape)

    def state(self, now: float) -> Json:
        """Return how it is now, for people."""
        return {
            "site": self.name,
            "waiting": len(self.queue),
            "sessions": len(self.sessions),
            "idle": len(self._idle),
            "connecting": len(self._walks),
            **self._health.state(now),
        }

    # --- in ---

    def add(self, item: Item) -> None:
        """Take a delivery; it may start from inside the call, its answer comes later."""
        health = self._health
        if health.answer is not None:
            if health.dead(self._owner.now()):
                self._reports.started(item)
                health.tell(item)
                self._reports.report_soon(item, health.answer, None, health.target)
                return
            health.revived()
        self.queue.enter(item)
        self.pump(item.flow)

    def pump(self, flow: Flow | None = None) -> None:
        """Bring waiting deliveries and connections together; `flow`: whose delivery came just now."""
        while self.queue and self._idle:
            session = self._idle.pop()
            if session.ready:
                session.work()
            if self._idle and self._idle[-1] is session:  # the lane may not send now; it wakes us
                return
        while len(self.queue) > len(self._walks) and self._has_room(flow or self.queue.peek()):
            self._walk()

    def _has_room(self, flow: Flow) -> bool:
        if self._openings.draining or len(self.sessions) + len(self._walks) >= self._health.limit:
            return False
        return self._openings.may_connect(self, flow)

    def _walk(self) -> None:
        walk = Walk(self, self._owner.context)
        self._walks.add(walk)
        walk.start()

    def wake(self) -> None:
        """Go on: the lane has room again. Never from inside a call of ours."""
        asyncio.get_running_loop().call_soon(self.pump)

    def recall(self) -> bool:
        """Give a connection back, an idle one at once, else one after its message; False when there is none."""
        if self.release_idle():
            return True
        if self._recalls >= len(self.sessions):
            return False
        self._recalls += 1
        return True

    def release_idle(self) -> bool:
        """Close an idle connection, if there is one, to make room for another site."""
        while self._idle:
            session = self._idle.pop(0)
            if session.ready:
                session.quit()
                return True
        return False

    def forgive(self) -> None:
        """Try at once what failed a moment ago."""
        self._health.forgive()

    # --- what a walk tells ---

    def walk_ready(self, walk: Walk, session: Session) -> None:
        """A connection is ready for its first delivery."""
        self._walks.discard(walk)
        self.sessions.add(session)
        self._health.revived()
        session.work()

    def walk_failed(self, walk: Walk, answer: Answer) -> None:
        """No host would take a connection."""
        self._walks.discard(walk)
        self._openings.connection_closed(self)
        draining = self._openings.draining
        if answer.fault is Fault.SOURCE and not draining and self._owner.source_gone(self):
            self._owner.elsewhere(self, self.queue.clear(), unfit=False)
            return
        others = len(self.sessions) + len(self._walks)
        if others and not draining:
            until = self._owner.now() + self._owner.settings.refusal_memory_seconds
            self._health.refused_beside(others, until)
            self._reports.refused(self, answer, walk.last_target)
        elif answer.fault is Fault.FAMILY:
            self._owner.elsewhere(self, self.queue.clear())
        else:
            self._die(walk, answer)

    def _die(self, walk: Walk, answer: Answer) -> None:
        """Give everybody who waits the answer to the last connection that could be made."""
        until = self._owner.now() + self._owner.settings.pause_after_failure_seconds
        self._health.died(answer, walk.last_target, (walk.tries, walk.skipped), until)
        while not self._openings.draining and (item := self.queue.start()) is not None:
            self._health.tell(item)
            self._reports.report_soon(item, answer, None, walk.last_target)

    # --- what a session tells (SessionOwner, without the setup that a walk looks after) ---

    def session_idle(self, session: Session) -> None:
        """Keep an idle connection for a moment."""
        settings = self._owner.settings
        recalled = self._recalls > 0
        self._recalls -= recalled
        if recalled or self._openings.draining or self._openings.crowded or settings.connection_idle_seconds <= 0:
            session.quit()
            return
        session.idle_until = self._owner.now() + settings.connection_idle_seconds
        self._idle.append(session)

    def session_over(self, session: Session) -> None:
        """Forget a closed connection and open another when deliveries wait."""
        if session not in self.sessions:
            return
        self.sessions.discard(session)
        if session in self._idle:
            self._idle.remove(session)
        session.when_gone(partial(self._openings.connection_closed, self))
        self._health.limit = max(1, self._health.limit)
        self._recalls = min(self._recalls, len(self.sessions))
        self.pump()

    def gives_way(self, messages: int) -> bool:
        """Say whether a connection that carried so many messages makes room for another site that waits for one."""
        return self._openings.crowded and messages % TURN_MESSAGES == 0

    def next_item(self) -> Item | None:
        """Give up the next delivery that was not withdrawn."""
        openings = self._openings
        if openings.draining or self._recalls or not self.queue or not openings.may_send(self):
            return None
        return self.queue.start()

    def return_path(self, job: Job) -> str:
        """Return the sender that a delivery leaves with: the submitter's where the route keeps it, else ours."""
        kept = self.route is not None and self.route.several_recipients
        return job.delivery.message.sender if kept else job.return_path

    def more_items(self, item: Item, limit: int) -> list[Item]:
        """Give up those that may share a transaction, where the route keeps the sender that they have in common."""
        if self.route is None or not self.route.several_recipients:
            return []
        return self.queue.start_alike(item, min(limit, self.shape.recipients - 1))

    def put_back(self, items: list[Item]) -> None:
        """Take deliveries back to the front."""
        self.queue.enter_again(items)

    def settle(self, session: Session, item: Item, answer: Answer, *, stale: bool) -> None:
        """Report an answer, or try again at once when the connection was at fault and the message untouched."""
        if answer.verdict is Verdict.DELIVERED:
            self._grow()
        elif answer.fault is not Fault.NONE:
            self._learn(session, answer, stale=stale)
        if answer.fault is Fault.NONE or not self._again(item, answer, stale=stale):
            self._reports.report(item, answer, session)
            return
        item.tries = (*item.tries, tried(session, answer))[-TRIES_MAX:]
        self.queue.enter_again([item])

    def _learn(self, session: Session, answer: Answer, *, stale: bool) -> None:
        habits = self._owner.context.memory.learn(session.target.address, session.target.port)
        now = self._owner.now()
        if answer.fault is Fault.PIPELINE:
            habits.unpipelined_until = now + HABIT_SECONDS
        elif answer.fault is Fault.LINK and not stale:
            habits.failed_until = now + FAILED_SECONDS

    def settle_soon(self, session: Session, item: Item, answer: Answer) -> None:
        """Report an answer that was known at once."""
        self._reports.report_soon(item, answer, session)

    def _again(self, item: Item, answer: Answer, *, stale: bool) -> bool:
        if self._openings.draining:
            return False
        if stale or answer.fault is Fault.CROWDED:  # each such session has carried something: this ends
            return True
        item.sessions += 1
        return item.sessions < ATTEMPT_SESSIONS_MAX

    def _grow(self) -> None:
        if self._health.limit < self.shape.connections and self._health.grow(self._owner.now()):
            self.pump()  # those who wait already are served by more connections, too

    # --- time and ends ---

    def stop(self) -> None:
        """End everything at once."""
        for walk in list(self._walks):
            walk.stop()
        for session in list(self.sessions):
            session.stop()

    def cut(self, why: str) -> None:
        """End all connections as if they were lost; what was under way goes on over others."""
        for session in list(self.sessions):
            session.cut(why)

    def quit_idle(self) -> None:
        """Close idle connections politely."""
        while self.release_idle():
            pass

    def ticking(self) -> list[Session]:
        """Return the sessions that have deadlines."""
        return [*self.sessions, *(walk.session for walk in self._walks if walk.session is not None)]
