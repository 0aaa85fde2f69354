"""One walk along the hosts of a site, from the best to the worst, until one of them has a session for us.

Tries at most `addresses_per_attempt` addresses. A host whose TLS, EHLO or address family fails is tried in the way
that works (TLS-003, RFC 5321 section 3.2) on a new connection; a refusal or a time-out leads to the next address.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.model.outcome import Stage, Verdict
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.departure import family
from relay.pipeline.site_memory import FAILED_SECONDS, HABIT_SECONDS, HostMemory
from relay.pipeline.site_session import Session, Target
from relay.ports import Clock, Connector, LinkOptions, MailHost, Metrics, Resolver, ResolverError
from relay.schedule import mx
from relay.schedule.route import TlsMode, ip_address
from relay.smtp.client import ClientOptions, TlsUse
from relay.smtp.client_answer import Answer, Fault, local_failure, local_refusal

if TYPE_CHECKING:
    from relay.pipeline.site import Site

_ADDRESSES_OF_HOST_MAX = 10
_TLS_USE = {
    TlsMode.NONE: TlsUse.NEVER,
    TlsMode.OPPORTUNISTIC: TlsUse.WHEN_OFFERED,
    TlsMode.REQUIRE: TlsUse.REQUIRED,
    TlsMode.IMPLICIT: TlsUse.IMPLICIT,
}
_VERIFIED = frozenset({TlsMode.REQUIRE, TlsMode.IMPLICIT})

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


class Walk:
    """Ends in `site.walk_ready` or `site.walk_failed`, never from inside `start` unless nothing can be tried."""

    def __init__(self, site: "Site", context: WalkContext) -> None:
        self._site = site
        self._context = context
        self._hosts = mx.order(site.hosts, context.shuffle)
        self._targets: list[Target] = []
        self._tried = 0
        self._failures: list[Answer] = []
        self._refused: set[str] = set()
        self._unresolved = 0
        self._foreign = False  # a host has addresses of the family that ours is not of
        self._stopped = False
        self.session: Session | None = None
        self.last_target: Target | None = None

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
        known: list[tuple[MailHost, Sequence[str]]] = []
        for host in self._hosts:
            addresses = _literal(host.host) or self._context.resolver.known_addresses(host.host)
            if addresses is None:
                return False
            known.append((host, addresses))
        for host, addresses in known:
            self._add(host, addresses)
        self._by_recent_failure()
        return True

    async def _collect(self) -> None:
        """Look the hosts up in order, until there are enough addresses."""
        for host in self._hosts:
            if len(self._targets) >= self._context.settings.addresses_per_attempt:
                break
            try:
                self._add(host, _literal(host.host) or await self._context.resolver.addresses(host.host))
            except ResolverError as error:
                text = f"Cannot look up {host.host}: {error}"
                self._failures.append(local_failure(Stage.DNS, "4.4.3", text))
                if error.found:
                    self._add(host, error.found)
            except BaseException:  # a walk that never ended would keep its connection, and its site waiting, for ever
                self._fail(local_failure(Stage.DNS, "4.3.0", "Name lookup broke off"))
                raise
        self._by_recent_failure()
        if not self._stopped:
            self._next()

    def _add(self, host: MailHost, addresses: Sequence[str]) -> None:
        settings = self._context.settings
        usable = mx.families(addresses, ipv6=settings.ipv6, prefer_ipv6=settings.prefer_ipv6)
        route = self._site.route
        if not usable:
            self._unresolved += 1
        ours = self._site.source.address
        if ours:
            fitting = [address for address in usable if family(address) == family(ours)]
            self._foreign |= len(fitting) < len(usable)
            usable = fitting
        for address in usable[:_ADDRESSES_OF_HOST_MAX]:
            refused = self._context.judge(address) if route is None else ""
            if refused:
                self._refused.add(refused)
            else:
                self._targets.append(Target(host.host, address, route.port if route else settings.port))

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
        route = self._site.route
        mode = self._site.tls
        self.session = Session(
            setup=self,
            owner=self._site,
            target=target,
            options=self._client_options(target, mode),
            messages_max=self._site.shape.messages_per_connection,
            clock=context.clock,
        )
        self.session.connect(
            context.connector,
            LinkOptions(
                connect_timeout_seconds=settings.connect_timeout_seconds,
                source_address=self._site.source.address,
                server_name=target.host,
                tls_verified=route is not None and route.tls in _VERIFIED,
            ),
        )

    def _client_options(self, target: Target, mode: TlsMode) -> ClientOptions:
        settings = self._context.settings
        route = self._site.route
        habits = self._context.memory.of(target.address, target.port)
        now = self._context.clock.monotonic()
        clear = mode is TlsMode.OPPORTUNISTIC and habits.clear_until > now
        return ClientOptions(
            helo_name=self._site.source.helo_name or settings.helo_name,
            tls=TlsUse.NEVER if clear else _TLS_USE[mode],
            extended=habits.helo_until <= now,
            pipelining=habits.unpipelined_until <= now,
            username=route.username if route else "",
            password=route.password if route else "",
            clear_auth=mode is TlsMode.NONE,
            own_names=frozenset() if route else settings.own_names,  # a host that the operator named is not a loop
            timeouts=settings.timeouts,
            downgrade=settings.downgrade,
        )

    # --- SessionSetup; afterwards the session belongs to the site ---

    def session_ready(self, session: Session) -> None:
        """One host has a session for us."""
        self.session = None
        self._context.metrics.count("relay_connections_out_total", "ready")
        self._site.walk_ready(self, session)

    def session_failed(self, session: Session, answer: Answer) -> None:
        """This one has not: try it differently, or the next one."""
        self.session = None
        if answer.fault is Fault.SOURCE:  # says nothing about the host
            self._fail(answer)
            return
        target = session.target
        self._context.metrics.count("relay_connections_out_total", answer.stage.value)
        self._failures.append(answer)
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
        if answer.fault is Fault.TLS and self._site.tls is TlsMode.OPPORTUNISTIC and habits.clear_until <= now:
            habits.clear_until = now + max(settings.tls_failure_memory_seconds, FAILED_SECONDS)
            return True
        if answer.fault is Fault.EHLO and habits.helo_until <= now:
            habits.helo_until = now + HABIT_SECONDS
            return True
        habits.failed_until = now + FAILED_SECONDS
        return False

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
