"""A worker: a whole relay around one spool shard. SMTP door, acceptance, deliveries, what comes back.

This file only wires: it makes the parts, hands them to each other, and passes reloads and the drain on.
"""

import asyncio
import os
import random
import ssl
from collections.abc import Sequence
from functools import partial

from relay.errors import RelayError
from relay.mail.returnpath import make as make_return_path
from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.message import Delivery
from relay.net.connection import TcpConnector
from relay.net.guard import Guard
from relay.net.resolver import DnsResolver
from relay.pipeline.accept import Accept
from relay.pipeline.attempt import OutboundDelivery
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.dispatch import Dispatch
from relay.pipeline.downgrade import Downgrader
from relay.pipeline.internal import InternalMail, Origin
from relay.pipeline.receive import Receive
from relay.pipeline.report import Report, Window
from relay.ports import Job
from relay.runtime import settings
from relay.runtime.children import ChildContext, Listener, Role
from relay.runtime.clock import SteadyClock
from relay.runtime.config.incoming import SMTP_KINDS
from relay.runtime.config.model import Config
from relay.runtime.peers import WorkerPeers
from relay.runtime.permits.body import LEASES_SOCKET
from relay.runtime.permits.client import PermitsClient
from relay.runtime.reencode import Reencoder
from relay.runtime.worker_gate import WorkerGate
from relay.runtime.worker_intake import WorkerIntake
from relay.runtime.worker_ops import WorkerOps
from relay.smtpd.door import SmtpDoor
from relay.smtpd.listener import SmtpListener
from relay.smtpd.services import Services
from relay.smtpd.tls import ContextHolder, server_context
from relay.store.authenticator import CatalogAuthenticator
from relay.store.directory import CatalogDirectory
from relay.store.inbox import ShardInbox
from relay.store.spool import ShardSpool
from relay.store.usage import by_account

LOOK_SECONDS = 5.0
DAMAGED_EXIT_CODE = 74


class WorkerBody:
    """Child body of one worker."""

    def __init__(self, context: ChildContext) -> None:
        self._context = context
        self._clock = SteadyClock()
        self._extra: list[ShardSpool] = []
        self._listeners: dict[Listener, SmtpListener] = {}
        self._look_timer: asyncio.TimerHandle | None = None

    # --- start -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Adopt the shard, connect to permits, begin with what is due, then open the doors."""
        context, config = self._context, self._context.config
        self._master = settings.master_key(config.data_dir)
        self._loop = asyncio.get_running_loop()
        self._open_spool(config)
        self._directory = CatalogDirectory(config.data_dir, self._master)
        regions = (config.region, *config.smtp.accepted_regions)
        self._authenticator = CatalogAuthenticator(self._directory, self._master, regions)
        await self._join_permits(config)
        self._make_outbound(config)
        self._make_pipeline(config)
        self._make_door(config)
        WorkerOps(self._spool, self._dispatch, self._receive).register(context.ops)
        self._dispatch.start()
        self._receive.start()
        await self._listen(config, context.listeners)
        self._look()

    def _open_spool(self, config: Config) -> None:
        context = self._context
        self._spool = ShardSpool.open(
            config.data_dir, context.index, self._clock, context.log, settings.spool_options(config)
        )
        self._spool.on_damage = partial(os._exit, DAMAGED_EXIT_CODE)
        self._spool.start(self._loop)
        if self._spool.report.quarantined_count:
            context.metrics.count("relay_quarantined_total", "crashes", amount=self._spool.report.quarantined_count)

    async def _join_permits(self, config: Config) -> None:
        # The directory stays open, so that the socket has a short name however deep it lies.
        self._run_descriptor = os.open(self._context.run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._permits = PermitsClient(
            f"/proc/self/fd/{self._run_descriptor}/{LEASES_SOCKET}",
            self._context.index,
            lambda minute: by_account(self._spool.usage_since(minute)),
            self._clock,
            failures=settings.failure_limits(config.limits.auth),
        )
        await self._permits.start()

    def _make_outbound(self, config: Config) -> None:
        context = self._context
        self._downgrader = Downgrader(self._directory, self._clock)
        self._resolver = DnsResolver(settings.resolver_settings(config), self._clock, context.metrics)
        self._outbound = OutboundDelivery(
            settings=self._outbound_settings(config),
            resolver=self._resolver,
            connector=TcpConnector(),
            judge=self._guard(config).judge,
            clock=self._clock,
            log=context.log,
            metrics=context.metrics,
        )

    def _make_pipeline(self, config: Config) -> None:
        context, log, metrics = self._context, self._context.log, self._context.metrics
        rules = settings.receive_rules(config, self._master)
        self._dispatch = Dispatch(
            spool=self._spool,
            outbound=self._outbound,
            return_path=self._return_path,
            clock=self._clock,
            call_later=self._loop.call_later,
            log=log,
        )
        self._receive_rules = rules
        self._mail = InternalMail(
            origin=self._origin(config), spool=self._spool, clock=self._clock, log=log, metrics=metrics
        )
        self._report = Report(
            spool=self._spool,
            window=Window(
                self._dispatch.finished, self._dispatch.later, self._dispatch.accepted, self._dispatch.is_corrupt
            ),
            retry=settings.retry_policy(config),
            reports=self._mail.failure_report,
            hostname=config.hostname,
            clock=self._clock,
            random=random.random,
            call_later=self._loop.call_later,
            log=log,
            metrics=metrics,
        )
        self._outbound.on_outcome = self._report.on_outcome
        self._accept = Accept(
            rules=settings.accept_rules(config),
            directory=self._directory,
            permits=self._permits,
            spool=self._spool,
            accepted=self._dispatch.accepted,
            reencode=Reencoder(self._spool.paths.incoming, log).start,
            clock=self._clock,
            log=log,
            metrics=metrics,
        )
        self._receive = Receive(
            rules=rules,
            inbox=ShardInbox(self._spool, self._clock),
            spool=self._spool,
            peers=WorkerPeers(context.run_dir, log),
            mail=self._mail,
            accepted=self._dispatch.accepted,
            call_later=self._loop.call_later,
            clock=self._clock,
            log=log,
            metrics=metrics,
        )

    def _make_door(self, config: Config) -> None:
        context = self._context
        self._tls = ContextHolder(_tls_context(config))
        self._gate = WorkerGate(
            context.board,
            context.row,
            connections_max=config.limits.connections_max,
            per_address_max=config.limits.connections_per_address_max,
        )
        services = Services(
            intake=WorkerIntake(self._accept, self._receive, self._directory, self._spool),
            authenticator=self._authenticator,
            permits=self._permits,
            metrics=context.metrics,
            log=context.log,
            clock=self._clock,
            gate=self._gate,
            tls=self._tls,
            incoming=self._spool.paths.incoming,
        )
        self._door = SmtpDoor(services, self._loop)

    async def _listen(self, config: Config, listeners: Sequence[Listener]) -> None:
        """Serve new listeners, stop those that are gone, give the others their new rules."""
        wanted = {listener for listener in listeners if listener.config.kind in SMTP_KINDS}
        kept = {old.socket: served for old, served in self._listeners.items()}
        now: dict[Listener, SmtpListener] = {}
        for listener in wanted:
            policy = settings.session_policy(config, listener.config, f"{self._context.index}")
            served = kept.pop(listener.socket, None)
            if served is None:
                served = await self._door.serve(listener.socket, policy)
            else:
                served.use(policy)
            now[listener] = served
        for served in kept.values():
            served.stop()
        self._listeners = now

    # --- pieces --------------------------------------------------------------------------------------------------

    def _return_path(self, delivery: Delivery) -> str:
        message = delivery.message
        if not message.sender:
            return ""
        rules = self._receive_rules
        local = make_return_path(message.message_id, delivery.index, rules.token_key)
        return f"{local}@{rules.bounce_domain}"

    def _downgrade(self, content: Content, job: object) -> Content | None:
        assert isinstance(job, Job)
        return self._downgrader.convert(content, job.delivery.message.account)

    def _workers(self) -> int:
        return sum(1 for name in self._context.board.rows if name.startswith(Role.WORKER))

    def _origin(self, config: Config) -> Origin:
        return Origin(config.hostname, int(config.delivery.lifetime * 1000))

    def _outbound_settings(self, config: Config) -> OutboundSettings:
        return settings.outbound_settings(config, self._workers(), self._downgrade)

    def _guard(self, config: Config) -> Guard:
        own = {entry.address for entry in config.listeners} - {"0.0.0.0", "::"}  # noqa: S104 (names no address)
        return Guard(own, allow_private=config.delivery.allow_private_destinations)

    # --- life ----------------------------------------------------------------------------------------------------

    async def reload(self, config: Config, listeners: Sequence[Listener]) -> None:
        """Take on a configuration: everything that may fail is made first."""
        context = _tls_context(config)
        outbound = self._outbound_settings(config)
        accept, receive = settings.accept_rules(config), settings.receive_rules(config, self._master)
        retry, origin = settings.retry_policy(config), self._origin(config)
        await self._listen(config, listeners)
        self._tls.context = context
        self._gate.connections_max = config.limits.connections_max
        self._gate.per_address_max = config.limits.connections_per_address_max
        self._outbound.apply(outbound)
        self._accept.rules = accept
        self._receive.rules = self._receive_rules = receive
        self._report.retry = retry
        self._mail.origin = origin

    async def drain(self, timeout_seconds: float) -> None:
        """End sessions between messages, settle what is in flight, close everything."""
        end = self._loop.time() + timeout_seconds
        await self._door.drain(timeout_seconds)
        self._dispatch.stop()
        await self._outbound.drain(max(0.0, end - self._loop.time()))
        self._door.close()
        if self._look_timer is not None:
            self._look_timer.cancel()
        await self._permits.close()
        self._spool.close()
        self._directory.close()

    def ping(self) -> None:
        """Answering is enough: the loop turns."""

    # --- now and then --------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Tell how the queue is, and since when the oldest due delivery waits."""
        try:
            self._tell_queue()
        except RelayError as error:
            self._context.log.warning("the queue cannot be read", error=str(error))
        self._look_timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _tell_queue(self) -> None:
        metrics, now_ms = self._context.metrics, self._clock.now_ms()
        counts = self._spool.counts()
        for state in (DeliveryState.QUEUED, DeliveryState.HELD, DeliveryState.QUARANTINED):
            metrics.gauge("relay_queue_deliveries", counts.get(state, 0), state.value)
        oldest = self._spool.oldest_accepted_ms()
        metrics.gauge("relay_queue_oldest_seconds", (now_ms - oldest) / 1000 if oldest else 0)
        due = self._spool.next_due_ms()
        waiting = due is not None and due < now_ms
        metrics.gauge("relay_queue_oldest_due_seconds", (now_ms - due) / 1000 if due and waiting else 0)
        metrics.gauge("relay_deliveries_in_flight", len(self._dispatch))
        metrics.gauge("relay_permits_up", 1 if self._permits.connected else 0)
        self._context.row.due_since(due if due and waiting else 0)


def _tls_context(config: Config) -> ssl.SSLContext | None:
    if not any(entry.kind in SMTP_KINDS and entry.tls != "none" for entry in config.listeners):
        return None
    return server_context(config.tls.certificate, config.tls.key)
