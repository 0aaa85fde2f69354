"""One walk along the hosts of a site, from the best to the worst, until one of them has a session for us.

Tries at most `addresses_per_attempt` addresses. A host whose TLS, EHLO or address family fails is tried in the way
that works (TLS-003, RFC 5321 section 3.2) on a new connection; a refusal or a time-out leads to the next address.
What TLS a host needs says `relay.policy.tls_policy`; a host that must not be used is passed over, and only plain
opportunistic TLS ever falls back to clear text.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from relay.model.dialogue import Skipped, Try
from relay.model.outcome import Stage, Verdict
from relay.model.tls import NO_TLSA, TlsaFound
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.departure import family
from relay.pipeline.site_item import Target
from relay.pipeline.site_memory import FAILED_SECONDS, HABIT_SECONDS, HostMemory
from relay.pipeline.site_outcome import tried
from relay.pipeline.site_session import Session
from relay.pipeline.tls_tally import TlsTally
from relay.policy import dane
from relay.policy.tls_policy import HostTls, TlsNeed, after_testing, of_host, result_of
from relay.ports import Clock, Connector, LinkOptions, MailHost, Metrics, Resolver, ResolverError
from relay.schedule import mx
from relay.schedule.route import ip_address
from relay.smtp.client_answer import Answer, Fault, local_failure, local_refusal
from relay.smtp.client_options import ClientOptions, TlsUse

if TYPE_CHECKING:
    from relay.pipeline.site import Site

_ADDRESSES_OF_HOST_MAX = 10
_TLS_USE = {
    TlsNeed.NONE: TlsUse.NEVER,
    TlsNeed.OPPORTUNISTIC: TlsUse.WHEN_OFFERED,
    TlsNeed.REQUIRE: TlsUse.REQUIRED,
    TlsNeed.VERIFY: TlsUse.REQUIRED,
}
_NOT_OFFERED = frozenset({"4.7.4", "5.7.30"})

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


class Walk:
    """Ends in `site.walk_ready` or `site.walk_failed`, never from inside `start` unless nothing can be tried."""

    def __init__(self, site: "Site", context: WalkContext) -> None:
        self._site = site
        self._context = context
        self._hosts = site.deck.deal(site.hosts, context.shuffle)
        self._targets: list[Target] = []
        self._tried = 0
        self._failures: list[Answer] = []
        self._refused: set[str] = set()
        self._unresolved = 0
        self._skipped: list[Skipped] = []
        self._tries: list[Try] = []
        self._foreign = False  # a host has addresses of the family that ours is not of
        self._tls: dict[str, HostTls] = {}
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
        left = self._targets[self._tried :] if self._tried >= self._context.settings.addresses_per_attempt else []
        limit = f"only {self._tried} addresses are tried in an attempt"
        return (*self._skipped, *(Skipped(target.host, target.address, limit) for target in left))

    def start(self) -> None:
        """Begin."""
        if self._collect_known():
            self._next()
            return
        self._context.spawn(self._collect())

    def stop(self) -> None:
        """End at once."""
        self._stopped = True
        if self.session is not None:
            self.session.stop()
        else:
            self._fail(local_failure(Stage.CONNECT, "4.3.2", "Relay is shutting down"))

    # --- addresses ---

    def _collect_known(self) -> bool:
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

    async def _collect(self) -> None:
        """Look the hosts up in order, until there are enough addresses."""
        for host in self._hosts:
            if len(self._targets) >= self._context.settings.addresses_per_attempt:
                break
            try:
                addresses = await self._addresses(host)
                if addresses is not None:
                    found = self._known_tlsa(host) or await self._context.resolver.tlsa(host.host, self._port)
                    self._add(host, addresses, found)
            except BaseException:  # a walk that never ended would keep its connection, and its site waiting, for ever
                if not self._stopped:
                    self._fail(local_failure(Stage.DNS, "4.3.0", "Name lookup broke off"))
                raise
        self._by_recent_failure()
        if not self._stopped:
            self._next()

    async def _addresses(self, host: MailHost) -> Sequence[str] | None:
        """Return the addresses of a host, those that are known where some are not; None: no answer at all."""
        try:
            return _literal(host.host) or await self._context.resolver.addresses(host.host)
        except ResolverError as error:
            self._failures.append(local_failure(Stage.DNS, "4.4.3", f"Cannot look up {host.host}: {error}"))
            self._skipped.append(Skipped(host.host, "", f"its addresses cannot be looked up: {error}"))
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

    def _add(self, host: MailHost, addresses: Sequence[str], found: TlsaFound) -> None:
        tls = self._tls[host.host] = of_host(self._site.tls, host.host, found)
        if tls.result:
            self._count_failure(tls, tls.result, Target(host.host, "", 0), "", tls.refusal)
        if tls.refusal:
            self._failures.append(_refusal(tls))
            self._skipped.append(Skipped(host.host, "", tls.refusal))
            return
        settings = self._context.settings
        usable = mx.families(addresses, ipv6=settings.ipv6, prefer_ipv6=settings.prefer_ipv6)
        route = self._site.route
        if not usable:
            self._unresolved += 1
            self._skipped.append(Skipped(host.host, "", "it has no address that we can use"))
        ours = self._site.source.address
        if ours:
            fitting = [address for address in usable if family(address) == family(ours)]
            other = [address for address in usable if address not in fitting]
            self._skipped += [Skipped(host.host, address, f"we leave from {ours}") for address in other]
            self._foreign |= len(fitting) < len(usable)
            usable = fitting
        for address in usable[:_ADDRESSES_OF_HOST_MAX]:
            refused = self._context.judge(address) if route is None else ""
            if refused:
                self._refused.add(refused)
                why = f"it is {refused}" if refused == "private" else "it is our own"
                self._skipped.append(Skipped(host.host, address, f"{why}, which is not connected to"))
            else:
                self._targets.append(Target(host.host, address, self._port))

    def _by_recent_failure(self) -> None:
        """Let addresses that have just failed come last; the order is kept otherwise."""
        now = self._context.clock.monotonic()
        memory = self._context.memory
        self._targets.sort(key=lambda target: memory.of(target.address, target.port).failed_until > now)

    # --- connections ---

    def _next(self) -> None:
        if self._tried >= min(len(self._targets), self._context.settings.addresses_per_attempt):
            self._fail(self._verdict())
            return
        self._tried += 1
        self._connect(self._targets[self._tried - 1])

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
        tls = self._tls[target.host]
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
        session.skipped = tuple(self._skipped)
        self._context.metrics.count("relay_connections_out_total", "ready")
        if self._context.tally.on and self._site.route is None:
            self._count_session(session)
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
            session.when_gone(lambda: self._go_on(self._fail, answer))
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

    # --- what is told about TLS ---

    def _judged(self, session: Session, answer: Answer) -> Answer:
        """Count a failure of TLS, and say in the answer who asked for it."""
        tls = self._tls_now(session.target)
        result = result_of(answer.text, tls, offered=answer.enhanced not in _NOT_OFFERED)
        self._count_failure(tls, result, session.target, _source_of(session), answer.text)
        if not tls.bound or not tls.why:
            return answer
        return replace(answer, text=f"{answer.text} ({tls.why} asks for it)"[:1000])

    def _count_failure(self, tls: HostTls, result: str, target: Target, source: str, text: str) -> None:
        self._context.metrics.count("relay_tls_policy_failures_total", tls.policy, result)
        tally = self._context.tally
        if not tally.on or self._site.route is not None:
            return
        for domain in self._site.domains:
            tally.failed(domain, self._site.tls, tls, result, target.host, target.address, source, text)

    def _count_session(self, session: Session) -> None:
        """Let a session be counted for each domain that uses it (RFC 8460 section 4.3)."""
        tls = self._tls_now(session.target)
        if session.tls_version:
            session.tells = partial(self._context.tally.worked, site=self._site.tls, host=tls)
        elif tls.need is not TlsNeed.NONE and session.client is not None and not session.client.extensions.starttls:
            self._count_failure(tls, "starttls-not-supported", session.target, _source_of(session), "")

    # --- the end ---

    def _fail(self, answer: Answer) -> None:
        self._site.walk_failed(self, answer)

    def _verdict(self) -> Answer:
        """Sum up. Permanent only when every host said so, or when there is certainly no usable host (J06)."""
        failures = self._failures
        if any(failure.verdict is not Verdict.PERMANENT for failure in failures):
            return [failure for failure in failures if failure.verdict is not Verdict.PERMANENT][-1]
        if failures:
            return failures[-1]
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


def _source_of(session: Session) -> str:
    return session.link.source_address if session.link is not None else ""
