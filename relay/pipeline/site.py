"""A site: one set of mail exchangers, the deliveries that wait for it, and its connections.

A site is a lane: it leaves from one source address, and its connections and messages are counted over all workers
under its `Lane` (`relay.pipeline.departure.Gate`).

Deliveries that need another TLS (`relay.policy.tls_policy`) have a site of their own beside the one of the same
hosts, so that no connection is ever shared with those that need less (TLS-004, TLS-005).

A connection is opened while deliveries wait and fewer than `limit` are open. `limit` starts low, rises by one with
each delivery, and falls to what the hosts bear when they refuse a connection while others are open; then nothing is
deferred or bounced. Only when the last connection that could be made fails do the waiting deliveries get its answer,
and for a moment later ones get it too, so that a dead site empties quickly. Who goes
next is dealt fairly between accounts, classes and configuration sets (`relay.schedule.fair`), and first attempts go
before retries, three to one.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from relay.model.dialogue import Skipped, Try
from relay.model.lane import Source
from relay.model.outcome import Verdict
from relay.pipeline.attempt_settings import ATTEMPT_SESSIONS_MAX, OutboundSettings
from relay.pipeline.connections import TURN_MESSAGES
from relay.pipeline.destination import Destination, lane_of
from relay.pipeline.site_memory import FAILED_SECONDS, HABIT_SECONDS
from relay.pipeline.site_session import Item, Session, Target
from relay.pipeline.site_walk import Walk, WalkContext
from relay.policy.tls_policy import SiteTls
from relay.ports import Job, Json, MailHost
from relay.schedule.fair import FairQueue, Flow
from relay.schedule.mx import Deck
from relay.schedule.route import Route, TlsMode
from relay.schedule.shaping import Shape
from relay.smtp.client_answer import Answer, Fault

DOMAINS_NOTED = 20
TRIES_MAX = 8  # connections of one attempt that are told of


class SiteOwner(Protocol):
    """What a site asks of the whole."""

    @property
    def settings(self) -> OutboundSettings:
        """The settings in force."""
        ...

    @property
    def draining(self) -> bool:
        """True when nothing new starts."""
        ...

    @property
    def crowded(self) -> bool:
        """True when sites wait for a connection, so that none is kept idle."""
        ...

    def context(self, site: "Site") -> WalkContext:
        """What a walk needs."""
        ...

    def may_connect(self, site: "Site", flow: Flow) -> bool:
        """Say whether a connection more may be opened for somebody's mail; when not, `pump` is called later."""
        ...

    def connection_closed(self, site: "Site") -> None:
        """Give a connection back."""
        ...

    def may_send(self, site: "Site") -> bool:
        """Say whether a message more may be sent; when not, `wake` is called when one may."""
        ...

    def elsewhere(self, site: "Site", items: list[Item], *, unfit: bool = True) -> None:
        """Let deliveries leave from another address; `unfit`: of another family, which the hosts have."""
        ...

    def source_gone(self, site: "Site") -> bool:
        """Note that the host does not have the address of a site; False: there is no other."""
        ...

    def refused(self, site: "Site", answer: Answer, target: Target | None) -> None:
        """Note the reply to a connection that no delivery gets, because others go on."""
        ...

    def report(self, item: Item, answer: Answer, session: Session) -> None:
        """Turn an answer into the outcome of a delivery."""
        ...

    def report_soon(self, item: Item, answer: Answer, session: Session | None, target: Target | None = None) -> None:
        """The same, from the event loop; without a session, `target` is the last address that was tried."""
        ...

    def started(self, item: Item) -> None:
        """A delivery can no longer be withdrawn."""
        ...

    def waits_again(self, item: Item) -> None:
        """A delivery went back to its queue without any effect."""
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...


class Site:
    """Queue and connections of one destination."""

    def __init__(
        self,
        destination: Destination,
        source: Source,
        owner: SiteOwner,
        tls: SiteTls,
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
        self.queue: FairQueue[Item] = FairQueue()
        self.sessions: set[Session] = set()
        self._owner = owner
        self._idle: list[Session] = []
        self._walks: set[Walk] = set()
        self._limit = min(self.shape.connections_start, self.shape.connections)
        self._recalls = 0
        self._refused_until = 0.0
        self._dead_until = 0.0
        self._dead_answer: Answer | None = None
        self._dead_target: Target | None = None
        self._dead_story: tuple[tuple[Try, ...], tuple[Skipped, ...]] = ((), ())

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
        return not (self.queue or self.sessions or self._walks) and self._dead_until <= self._owner.now()

    @property
    def connected(self) -> bool:
        """True while the site has or seeks a connection."""
        return bool(self.sessions or self._walks)

    def use(self, shape: Shape) -> None:
        """Go by other limits from now on; connections that are too many end by themselves."""
        self.shape = shape
        self._limit = min(self._limit, shape.connections)

    def state(self, now: float) -> Json:
        """Return how it is now, for people."""
        return {
            "site": self.name,
            "waiting": len(self.queue),
            "sessions": len(self.sessions),
            "idle": len(self._idle),
            "connecting": len(self._walks),
            "limit": self._limit,
            "dead_seconds": round(max(0.0, self._dead_until - now), 1),
            "dead_reply": self._dead_answer.text[:300] if self._dead_answer is not None else "",
        }

    # --- in ---

    def add(self, item: Item) -> None:
        """Take a delivery; it may start from inside the call, its answer comes later."""
        if self._dead_answer is not None:
            if self._owner.now() < self._dead_until:
                self._owner.started(item)
                item.tries, item.skipped = self._dead_story
                self._owner.report_soon(item, self._dead_answer, None, self._dead_target)
                return
            self._dead_answer = None
        self.queue.add(item.flow, item, first=not item.job.delivery.attempts)
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
        if self._owner.draining or len(self.sessions) + len(self._walks) >= self._limit:
            return False
        return self._owner.may_connect(self, flow)

    def _walk(self) -> None:
        walk = Walk(self, self._owner.context(self))
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

    # --- what a walk tells ---

    def walk_ready(self, walk: Walk, session: Session) -> None:
        """A connection is ready for its first delivery."""
        self._walks.discard(walk)
        self.sessions.add(session)
        self._dead_answer = None
        session.work()

    def forgive(self) -> None:
        """Forget that no host took a connection: somebody knows better."""
        self._dead_answer = None
        self._dead_until = self._refused_until = 0.0

    def walk_failed(self, walk: Walk, answer: Answer) -> None:
        """No host would take a connection."""
        self._walks.discard(walk)
        self._owner.connection_closed(self)
        settings = self._owner.settings
        if answer.fault is Fault.SOURCE and not self._owner.draining and self._owner.source_gone(self):
            self._owner.elsewhere(self, self._all_items(), unfit=False)
            return
        others = len(self.sessions) + len(self._walks)
        if others and not self._owner.draining:  # they bear that many and no more (cohort feedback)
            self._limit = max(1, others)
            self._refused_until = self._owner.now() + settings.refusal_memory_seconds
            self._owner.refused(self, answer, walk.last_target)
            return
        if answer.fault is Fault.FAMILY:
            self._owner.elsewhere(self, self._all_items())
            return
        self._limit, self._refused_until = 1, 0.0  # none is borne: from one up again, whatever it was before
        self._dead_answer = answer
        self._dead_target = walk.last_target
        self._dead_story = (walk.tries, walk.skipped)
        self._dead_until = self._owner.now() + settings.pause_after_failure_seconds
        while not self._owner.draining and (item := self._take()) is not None:
            item.tries, item.skipped = self._dead_story
            self._owner.report_soon(item, answer, None, walk.last_target)

    # --- what a session tells (SessionOwner, without the setup that a walk looks after) ---

    def session_idle(self, session: Session) -> None:
        """Keep an idle connection for a moment."""
        settings = self._owner.settings
        recalled = self._recalls > 0
        self._recalls -= recalled
        if recalled or self._owner.draining or self._owner.crowded or settings.connection_idle_seconds <= 0:
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
        session.when_gone(partial(self._owner.connection_closed, self))
        self._limit = max(1, self._limit)
        self._recalls = min(self._recalls, len(self.sessions))
        self.pump()

    def gives_way(self, messages: int) -> bool:
        """Say whether a connection that carried so many messages makes room for another site that waits for one."""
        return self._owner.crowded and messages % TURN_MESSAGES == 0

    def next_item(self) -> Item | None:
        """Give up the next delivery that was not withdrawn."""
        if self._owner.draining or self._recalls or not self.queue or not self._owner.may_send(self):
            return None
        return self._take()

    def _take(self) -> Item | None:
        while self.queue:
            item = self.queue.take()
            if item.waiting:
                self._owner.started(item)
                return item
        return None

    def first_waiting(self) -> Item | None:
        """Return a delivery that waits, and leave it where it is."""
        return next((item for item in self.queue if item.waiting), None)

    def _all_items(self) -> list[Item]:
        """Take everybody who waits, without starting them."""
        items: list[Item] = []
        while self.queue:
            item = self.queue.take()
            items += [item] if item.waiting else []
        return items

    def return_path(self, job: Job) -> str:
        """Return the sender that a delivery leaves with: the submitter's where the route keeps it, else ours."""
        kept = self.route is not None and self.route.several_recipients
        return job.delivery.message.sender if kept else job.return_path

    def sift(self, keep: Callable[[Item], bool]) -> None:
        """Let go of waiting deliveries that shall not leave here now."""
        for item in self._all_items():
            if keep(item):
                self.queue.add(item.flow, item, first=not item.job.delivery.attempts)

    def more_items(self, item: Item, limit: int) -> list[Item]:
        """Give up those right behind that carry the same message under the same sender (decision 17)."""
        found: list[Item] = []
        if self.route is None or not self.route.several_recipients:
            return found
        job = item.job
        limit = min(limit, self.shape.recipients - 1)

        def joins(other: Item) -> bool:
            if not other.waiting:
                return True
            same = other.job.delivery.message.key == job.delivery.message.key
            if len(found) >= limit or not same:
                return False
            self._owner.started(other)
            found.append(other)
            return True

        self.queue.take_while(item.flow, joins, first=not job.delivery.attempts)
        return found

    def put_back(self, items: list[Item]) -> None:
        """Take deliveries back to the front."""
        for item in reversed(items):
            self._owner.waits_again(item)
            self.queue.put_back(item.flow, item, first=not item.job.delivery.attempts)

    def settle(self, session: Session, item: Item, answer: Answer, *, stale: bool) -> None:
        """Report an answer, or try again at once when the connection was at fault and the message untouched."""
        if answer.verdict is Verdict.DELIVERED:
            self._grow()
        elif answer.fault is not Fault.NONE:
            self._learn(session, answer, stale=stale)
        if answer.fault is Fault.NONE or not self._again(item, answer, stale=stale):
            self._owner.report(item, answer, session)
            return
        item.tries = (*item.tries, session.tried(answer))[-TRIES_MAX:]
        self.put_back([item])

    def _learn(self, session: Session, answer: Answer, *, stale: bool) -> None:
        habits = self._owner.context(self).memory.learn(session.target.address, session.target.port)
        now = self._owner.now()
        if answer.fault is Fault.PIPELINE:
            habits.unpipelined_until = now + HABIT_SECONDS
        elif answer.fault is Fault.LINK and not stale:
            habits.failed_until = now + FAILED_SECONDS

    def settle_soon(self, session: Session, item: Item, answer: Answer) -> None:
        """Report an answer that was known at once."""
        self._owner.report_soon(item, answer, session)

    def _again(self, item: Item, answer: Answer, *, stale: bool) -> bool:
        if self._owner.draining:
            return False
        if stale or answer.fault is Fault.CROWDED:  # each such session has carried something: this ends
            return True
        item.sessions += 1
        return item.sessions < ATTEMPT_SESSIONS_MAX

    def _grow(self) -> None:
        if self._limit < self.shape.connections and self._owner.now() >= self._refused_until:
            self._limit += 1
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
