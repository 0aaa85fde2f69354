"""One walk along the addresses of a site (`site_targets`), the best first, until one has a session for us.

Tries at most `addresses_per_attempt` addresses. A host whose TLS, EHLO or address family fails is tried in the way
that works (TLS-003, RFC 5321 section 3.2) on a new connection; a refusal or a time-out leads to the next address.
What TLS a host needs says `relay.policy.tls_policy`; only plain opportunistic TLS ever falls back to clear text.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from relay.model.dialogue import Skipped, Try
from relay.model.outcome import Stage, Verdict
from relay.pipeline.site_item import Target
from relay.pipeline.site_memory import FAILED_SECONDS, HABIT_SECONDS
from relay.pipeline.site_outcome import tried
from relay.pipeline.site_session import Session
from relay.pipeline.site_targets import Targets, WalkContext
from relay.pipeline.site_tls_notes import count_failure, count_session
from relay.policy import dane
from relay.policy.tls_policy import HostTls, TlsNeed, after_testing, result_of
from relay.ports import LinkOptions
from relay.smtp.client.answer import Answer, Fault, local_failure
from relay.smtp.client.options import ClientOptions, TlsUse

if TYPE_CHECKING:
    from relay.pipeline.site import Site

_TLS_USE = {
    TlsNeed.NONE: TlsUse.NEVER,
    TlsNeed.OPPORTUNISTIC: TlsUse.WHEN_OFFERED,
    TlsNeed.REQUIRE: TlsUse.REQUIRED,
    TlsNeed.VERIFY: TlsUse.REQUIRED,
}
_NOT_OFFERED = frozenset({"4.7.4", "5.7.30"})


class Walk:
    """Ends in `site.walk_ready` or `site.walk_failed`, never from inside `start` unless nothing can be tried."""

    def __init__(self, site: "Site", context: WalkContext) -> None:
        self._site = site
        self._context = context
        self._targets = Targets(site, context)
        self._tried = 0
        self._failures: list[Answer] = []
        self._tries: list[Try] = []
        self._stopped = False
        self.session: Session | None = None
        self.last_target: Target | None = None

    @property
    def tries(self) -> tuple[Try, ...]:
        """What the addresses that failed said."""
        return tuple(self._tries)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was not tried, and why not."""
        every, most = self._targets.found, self._context.settings.addresses_per_attempt
        left = every[self._tried :] if self._tried >= most else []
        limit = f"only {self._tried} addresses are tried in an attempt"
        return (*self._targets.skipped, *(Skipped(target.host, target.address, limit) for target in left))

    def start(self) -> None:
        """Begin."""
        if self._targets.collect_known():
            self._next()
            return
        self._context.spawn(self._look_up())

    async def _look_up(self) -> None:
        try:
            await self._targets.collect()
        except BaseException:  # a walk that never ended would keep its connection, and its site waiting, for ever
            if not self._stopped:
                self._fail(local_failure(Stage.DNS, "4.3.0", "Name lookup broke off"))
            raise
        if not self._stopped:
            self._next()

    def stop(self) -> None:
        """End at once."""
        self._stopped = True
        if self.session is not None:
            self.session.stop()
        else:
            self._fail(local_failure(Stage.CONNECT, "4.3.2", "Relay is shutting down"))

    # --- connections ---

    def _next(self) -> None:
        if self._tried >= min(len(self._targets.found), self._context.settings.addresses_per_attempt):
            self._give_up()
            return
        self._tried += 1
        self._connect(self._targets.found[self._tried - 1])

    def _connect(self, target: Target) -> None:
        context = self._context
        settings = context.settings
        self.last_target = target
        tls = self._tls_now(target)
        self.session = Session(
            setup=self,
            owner=self._site,
            target=target,
            options=self._client_options(target, tls),
            messages_max=self._site.shape.messages_per_connection,
            clock=context.clock,
        )
        self.session.tls_policy = tls.policy if tls.policy != "none" else ""
        self.session.connect(
            context.connector,
            LinkOptions(
                connect_timeout_seconds=settings.connect_timeout_seconds,
                source_address=self._site.source.address,
                server_name=tls.server_name,
                tls_verified=tls.verified,
                tls_minimum=tls.minimum,
                judge_chain=partial(self._judge_chain, tls) if tls.tlsa else None,
            ),
        )

    def _judge_chain(self, tls: HostTls, chain: Sequence[bytes]) -> str:
        refused = dane.mismatch(tls.tlsa, chain, tls.names, self._context.clock.now_ms() / 1000)
        return f"certificate: {refused}" if refused else ""

    def _tls_now(self, target: Target) -> HostTls:
        """Return what TLS an address needs; what `mode: testing` asks for only until it has failed."""
        tls = self._targets.tls[target.host]
        habits = self._context.memory.of(target.address, target.port)
        if tls.soft and habits.untested_until > self._context.clock.monotonic():
            return after_testing(self._site.tls, target.host)
        return tls

    def _client_options(self, target: Target, tls: HostTls) -> ClientOptions:
        settings = self._context.settings
        route = self._site.route
        habits = self._context.memory.of(target.address, target.port)
        now = self._context.clock.monotonic()
        clear = tls.need is TlsNeed.OPPORTUNISTIC and habits.clear_until > now
        use = TlsUse.IMPLICIT if self._site.implicit else _TLS_USE[tls.need]
        return ClientOptions(
            helo_name=self._site.source.helo_name or settings.helo_name,
            tls=TlsUse.NEVER if clear else use,
            extended=habits.helo_until <= now or self._needs_ehlo(tls),
            pipelining=habits.unpipelined_until <= now,
            username=route.username if route else "",
            password=route.password if route else "",
            clear_auth=tls.need is TlsNeed.NONE,
            own_names=frozenset() if route else settings.own_names,  # a host that the operator named is not a loop
            timeouts=settings.timeouts,
            requiretls=tls.requiretls,
            downgrade=settings.downgrade,
        )

    def _needs_ehlo(self, tls: HostTls) -> bool:
        """Say whether mail cannot leave without STARTTLS or AUTH, which only an answer to EHLO offers."""
        route = self._site.route
        return bool(route and route.username) or (_TLS_USE[tls.need] is TlsUse.REQUIRED and not self._site.implicit)

    # --- SessionSetup; afterwards the session belongs to the site ---

    def session_ready(self, session: Session) -> None:
        """One host has a session for us."""
        self.session = None
        session.earlier = self.tries
        session.skipped = tuple(self._targets.skipped)
        self._context.metrics.count("relay_connections_out_total", "ready")
        count_session(self._site, self._context, self._tls_now(session.target), session)
        self._site.walk_ready(self, session)

    def session_failed(self, session: Session, answer: Answer) -> None:
        """This one has not: try it differently, or the next one."""
        self.session = None
        if answer.fault is Fault.SOURCE:  # says nothing about the host
            self._fail(answer)
            return
        target = session.target
        self._context.metrics.count("relay_connections_out_total", answer.stage.value)
        if answer.stage is Stage.TLS:
            answer = self._judged(session, answer)
        self._failures.append(answer)
        self._tries.append(tried(session, answer))
        if self._stopped:
            self._fail(answer)
        elif answer.fault is Fault.LOOP:
            session.when_gone(lambda: self._go_on(self._give_up))
        elif self._learn(target, answer):
            session.when_gone(lambda: self._go_on(self._connect, target))
        else:
            session.when_gone(lambda: self._go_on(self._next))

    def _go_on(self, then: Callable[..., None], *arguments: object) -> None:
        """Go on once the connection before is closed on both sides: a walk has one at a time."""
        if not self._stopped:
            then(*arguments)

    def _learn(self, target: Target, answer: Answer) -> bool:
        """Remember what this address cannot do; return True when it shall be tried again without that."""
        settings = self._context.settings
        now = self._context.clock.monotonic()
        habits = self._context.memory.learn(target.address, target.port)
        tls = self._tls_now(target)
        if answer.stage is Stage.TLS and tls.soft:
            habits.untested_until = now + HABIT_SECONDS
            return True
        if answer.fault is Fault.TLS and tls.need is TlsNeed.OPPORTUNISTIC and habits.clear_until <= now:
            habits.clear_until = now + max(settings.tls_failure_memory_seconds, FAILED_SECONDS)
            return True
        if answer.fault is Fault.EHLO and habits.helo_until <= now and not self._needs_ehlo(tls):
            habits.helo_until = now + HABIT_SECONDS
            return True
        habits.failed_until = now + FAILED_SECONDS
        return False

    def _judged(self, session: Session, answer: Answer) -> Answer:
        """Count a failure of TLS, and say in the answer who asked for it."""
        tls = self._tls_now(session.target)
        result = result_of(answer.text, tls, offered=answer.enhanced not in _NOT_OFFERED)
        source = session.source_address
        count_failure(self._site, self._context, tls, result, session.target, source=source, text=answer.text)
        if not tls.bound or not tls.why:
            return answer
        return replace(answer, text=f"{answer.text} ({tls.why} asks for it)"[:1000])

    # --- the end ---

    def _fail(self, answer: Answer) -> None:
        self._site.walk_failed(self, answer)

    def _give_up(self) -> None:
        self._fail(self._verdict())

    def _verdict(self) -> Answer:
        """Sum up. Permanent only when every host said so, or when there is certainly no usable host (J06).

        A host that is ourselves ends the walk (RFC 5321 section 5.1), and the better ones may be back soon.
        """
        failures = [*self._targets.failures, *self._failures]
        passing = [failure for failure in failures if failure.verdict is not Verdict.PERMANENT]
        if passing:
            return passing[-1]
        return failures[-1] if failures else self._targets.none_left()
