"""A worker: a whole relay around its spool shard. SMTP door, acceptance, deliveries, what comes back.

This file only wires: it makes the parts, hands them to each other, and passes reloads and the drain on.
"""

import asyncio
import os
import ssl
from collections.abc import Sequence
from functools import partial
from operator import itemgetter

from relay.errors import RelayError
from relay.model.content import Content
from relay.model.delivery import OPEN_STATES
from relay.model.dialogue import Trace
from relay.model.message import NewMessage
from relay.model.pool import SourceAddress
from relay.net.connection import TcpConnector
from relay.net.guard import Guard
from relay.net.resolver import DnsResolver
from relay.pipeline.accept import Accept
from relay.pipeline.attempt import OutboundDelivery
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.downgrade import Downgrader
from relay.pipeline.forwarding import IdentityForwarding
from relay.pipeline.internal import Origin
from relay.pipeline.mail_samples import MailSamples
from relay.pipeline.notices import TakeNotices
from relay.pipeline.pools import PoolSources
from relay.pipeline.recipient_domains import RecipientDomains
from relay.pipeline.shaping import RuleShapes
from relay.ports import Job
from relay.runtime import settings, shaping
from relay.runtime.board import ConnectionGate
from relay.runtime.children import ChildContext, Listener, Role
from relay.runtime.clock import SteadyClock
from relay.runtime.config.incoming import SMTP_KINDS
from relay.runtime.config.model import Config
from relay.runtime.examine import Examiner
from relay.runtime.peers import WorkerPeers, owner_of
from relay.runtime.permits.body import LEASES_SOCKET
from relay.runtime.permits.client import PermitsClient
from relay.runtime.permits.gate import LaneGate
from relay.runtime.permits.volumes import WarmUpVolumes
from relay.runtime.reencode import Reencoder
from relay.runtime.shard_line import LineRules, LineTools, ShardLine
from relay.runtime.worker_http import WorkerHttp
from relay.runtime.worker_intake import WorkerIntake
from relay.runtime.worker_notices import SHARD, WorkerNotices
from relay.runtime.worker_ops import WorkerOps
from relay.runtime.worker_tls import WorkerTls, office_socket
from relay.schedule.bandwidth import LargeMail
from relay.smtpd.door import SmtpDoor
from relay.smtpd.listener import SmtpListener
from relay.smtpd.services import Services
from relay.smtpd.tls import ContextHolder, server_context
from relay.store.adoption import shards_on_disk
from relay.store.authenticator import CatalogAuthenticator
from relay.store.directory import CatalogDirectory
from relay.store.reader import ACCOUNTS_TOLD
from relay.store.spool import ShardSpool
from relay.store.tls_book import TlsReader
from relay.store.usage import by_account

LOOK_SECONDS = 5.0
DAMAGED_EXIT_CODE = 74


class WorkerBody:
    """Child body of one worker."""

    def __init__(self, context: ChildContext) -> None:
        self._context = context
        self._clock = SteadyClock()
        self._listeners: dict[Listener, SmtpListener] = {}
        self._look_timer: asyncio.TimerHandle | None = None

    # --- start -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Adopt the shards, connect to permits, begin with what is due, then open the doors."""
        context, config = self._context, self._context.config
        self._loop = asyncio.get_running_loop()
        self._master = settings.master_key(config.data_dir)
        self._directory = CatalogDirectory(config.data_dir, self._master)
        self._downgrader = Downgrader(self._directory, self._clock, settings.accept_rules(config, self._master))
        self._resolver = DnsResolver(settings.resolver_settings(config), self._clock, context.metrics)
        self._tls_policies = WorkerTls(
            TlsReader(config.data_dir),
            office_socket(context.run_dir),
            context.name,
            resolver=self._resolver,
            clock=self._clock,
            log=context.log,
        )
        self._apply_tls(config)
        self._connector = TcpConnector(ca_file=str(config.delivery.tls_ca_file or ""))
        rules = self._line_rules(config)
        self._permits = self._permits_client(config)
        self._gate_of_lanes = LaneGate(self._permits, self._clock)
        self._volumes = WarmUpVolumes(self._permits, self._address_of, settings.warmup_rules(config), self._clock)
        self._gate_of_lanes.watch(self._volumes.settled)
        self._shapes = RuleShapes(shaping.rules_in_force(config), self._outbound_settings(config).shape)
        self._sources = PoolSources(
            directory=self._directory,
            gate=self._gate_of_lanes,
            volumes=self._volumes,
            clock=self._clock,
            log=context.log,
            metrics=context.metrics,
            seed=context.index,
            workers=self._workers(),
            on_lost=lambda address: self._loop.call_soon(self._lost, address),
        )
        self._tools = LineTools(
            clock=self._clock,
            call_later=self._loop.call_later,
            log=context.log,
            metrics=context.metrics,
            peers=WorkerPeers(context.run_dir, self._workers(), context.log),
            progress=context.row.progress,
            is_mail_from=self._is_mail_from,
            forwards=IdentityForwarding(self._directory, context.log),
            came_back=self._volumes.returned,
        )
        self._lines = {shard: self._make_line(shard, config, rules) for shard in self._shards(config)}
        self._line = self._lines[context.index]
        await self._permits.start()
        self._samples = MailSamples(self._clock, settings.sampled_per_hour(config))
        self._make_door(config)
        self._make_notices(config)
        operations = WorkerOps(self._lines, self._samples, config.data_dir, self._clock)
        operations.register(context.ops)
        operations.read_holds()
        self._tls_policies.start()
        for line in self._lines.values():
            line.start()
        await self._listen(config, context.listeners)
        self._http = WorkerHttp(context, self._clock)
        await self._http.serve(config, context.listeners, self._tls.context)
        self._look()

    def _shards(self, config: Config) -> list[int]:
        """Return our own shard, and our part of those that an earlier run with more workers left."""
        workers, index = self._workers(), self._context.index
        extra = [shard for shard in shards_on_disk(config.data_dir) if shard > workers]
        return [index, *(shard for shard in extra if owner_of(shard, workers) == index)]

    def _make_line(self, shard: int, config: Config, rules: LineRules) -> ShardLine:
        context = self._context
        spool = ShardSpool.open(
            config.data_dir,
            shard,
            self._clock,
            context.log,
            settings.spool_options(config, context.metrics, self._master),
        )
        spool.on_damage = partial(os._exit, DAMAGED_EXIT_CODE)
        spool.start(self._loop)
        if spool.report.quarantined_count:
            context.metrics.count("relay_quarantined_total", "crashes", amount=spool.report.quarantined_count)
        if spool.report.held_late:
            context.metrics.count("relay_held_late_total", amount=spool.report.held_late)
        outbound = OutboundDelivery(
            settings=self._outbound_settings(config),
            resolver=self._resolver,
            connector=self._connector,
            judge=self._guard(config).judge,
            clock=self._clock,
            log=context.log,
            metrics=context.metrics,
            shapes=self._shapes,
            gate=self._gate_of_lanes,
            sts=self._tls_policies,
            tally=self._tls_policies.tally,
            sources=self._sources,
        )
        return ShardLine(spool, outbound, rules, self._tools)

    def _accepted(self, new: NewMessage) -> None:
        self._line.accepted(new)
        self._samples.offer(new)

    def _permits_client(self, config: Config) -> PermitsClient:
        # The directory stays open, so that the socket has a short name however deep it lies.
        self._run_descriptor = os.open(self._context.run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return PermitsClient(
            f"/proc/self/fd/{self._run_descriptor}/{LEASES_SOCKET}",
            self._context.index,
            lambda minute: by_account(self._line.spool.usage_since(minute)),
            self._clock,
            failures=settings.failure_limits(config.limits.auth),
        )

    def _make_door(self, config: Config) -> None:
        context, line = self._context, self._line
        self._examiner = Examiner(context.log)
        self._reencoder = Reencoder(line.spool.paths.incoming, context.log)
        self._accept = Accept(
            rules=settings.accept_rules(config, self._master),
            directory=self._directory,
            permits=self._permits,
            spool=line.spool,
            accepted=self._accepted,
            reencode=self._reencoder.start,
            examine=self._examiner.start,
            large_mail=LargeMail(1 / self._workers()),
            call_later=self._loop.call_later,
            clock=self._clock,
            log=context.log,
            metrics=context.metrics,
            domains=RecipientDomains(lambda: self._resolver, lambda: line.outbound.routes, config.hostname),
        )
        self._tls = ContextHolder(_tls_context(config))
        self._gate = ConnectionGate(
            context.board,
            context.row,
            connections_max=config.limits.connections_max,
            per_address_max=config.limits.connections_per_address_max,
            per_account_max=config.limits.connections_per_account_max,
            per_minute_max=config.limits.connections_per_minute_max,
        )
        regions = (config.region, *config.smtp.accepted_regions)
        services = Services(
            intake=WorkerIntake(self._accept, line.receive, self._directory, line.spool, self._clock),
            authenticator=CatalogAuthenticator(self._directory, self._master, regions),
            permits=self._permits,
            metrics=context.metrics,
            log=context.log,
            clock=self._clock,
            gate=self._gate,
            tls=self._tls,
            incoming=line.spool.paths.incoming,
        )
        self._door = SmtpDoor(services, self._loop)

    def _make_notices(self, config: Config) -> None:
        """Take the relay's own mail, where that is this worker's (shard 1)."""
        context, line = self._context, self._lines.get(SHARD)
        self._notices: TakeNotices | None = None
        if line is None:
            return
        self._notices = TakeNotices(
            rules=settings.notice_rules(config),
            directory=self._directory,
            inbox=line.inbox,
            mail=line.mail,
            accepted=line.accepted,
            clock=self._clock,
            log=context.log,
            metrics=context.metrics,
        )
        WorkerNotices(config.data_dir, self._notices).register(context.ops)

    async def _listen(self, config: Config, listeners: Sequence[Listener]) -> None:
        """Serve new listeners, stop those that are gone, give the others their new rules."""
        kept = {old.socket: served for old, served in self._listeners.items()}
        now: dict[Listener, SmtpListener] = {}
        for listener in listeners:
            if listener.config.kind not in SMTP_KINDS:
                continue
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

    def _downgrade(self, content: Content, job: object) -> Content | None:
        assert isinstance(job, Job)
        message = job.delivery.message
        return self._downgrader.convert(content, message.options.signing_account or message.account)

    def _address_of(self, address: str) -> SourceAddress | None:
        """Return a source address as the catalog has it, from the sources' own copy."""
        return self._sources.address(address)

    def _is_mail_from(self, domain: str) -> bool:
        try:
            return self._directory.is_mail_from_domain(domain)
        except RelayError:  # the catalog cannot be read now: what is no bounce gets the answer for strangers
            return False

    def _workers(self) -> int:
        return sum(1 for name in self._context.board.rows if name.startswith(Role.WORKER))

    def _line_rules(self, config: Config) -> LineRules:
        origin = Origin(config.hostname, int(config.delivery.lifetime * 1000))
        return LineRules(
            settings.receive_rules(config, self._master),
            settings.retry_policy(config),
            origin,
            int(config.delivery.delay_report_after * 1000),
            settings.scanners(config),
            Trace(config.delivery.trace),
        )

    def _outbound_settings(self, config: Config) -> OutboundSettings:
        return settings.outbound_settings(config, self._downgrade)

    def _apply_tls(self, config: Config) -> None:
        reports = config.tls_reports.contact is not None
        self._tls_policies.apply(enabled=config.mta_sts.enabled, reports=reports, resolver=self._resolver)

    def _guard(self, config: Config) -> Guard:
        own = {entry.address for entry in config.listeners} - {"0.0.0.0", "::"}  # noqa: S104 (names no address)
        return Guard(own, allow_private=config.delivery.allow_private_destinations)

    # --- life ----------------------------------------------------------------------------------------------------

    async def reload(self, config: Config, listeners: Sequence[Listener]) -> None:
        """Take on a configuration: everything that may fail is made first."""
        context = _tls_context(config)
        outbound = self._outbound_settings(config)
        shaping_rules = shaping.rules_in_force(config)
        self._connector.trust(str(config.delivery.tls_ca_file or ""))
        accept, rules = settings.accept_rules(config, self._master), self._line_rules(config)
        await self._listen(config, listeners)
        await self._http.serve(config, listeners, context)
        self._tls.context = context
        if self._notices is not None:
            self._notices.rules = settings.notice_rules(config)
        self._gate.connections_max = config.limits.connections_max
        self._gate.per_address_max = config.limits.connections_per_address_max
        self._gate.per_account_max = config.limits.connections_per_account_max
        self._gate.per_minute_max = config.limits.connections_per_minute_max
        self._accept.rules = self._downgrader.rules = accept
        self._volumes.rules = settings.warmup_rules(config)
        self._samples.per_hour = settings.sampled_per_hour(config)
        if config.dns != self._context.config.dns:
            self._resolver = DnsResolver(settings.resolver_settings(config), self._clock, self._context.metrics)
        self._apply_tls(config)
        self._shapes.use(shaping_rules, outbound.shape)
        for line in self._lines.values():
            line.outbound.apply(outbound, self._guard(config).judge, self._resolver)
            line.apply(rules)
            line.spool.apply(settings.spool_options(config, self._context.metrics, self._master))

    async def drain(self, timeout_seconds: float) -> None:
        """End sessions between messages, settle what is in flight, close everything."""
        end = self._loop.time() + timeout_seconds
        await asyncio.gather(self._door.drain(timeout_seconds), self._http.drain(timeout_seconds))
        left = max(0.0, end - self._loop.time())
        await asyncio.gather(*(line.drain(left) for line in self._lines.values()))
        await self._tls_policies.close()
        self._door.close()
        self._examiner.close()
        self._reencoder.close()
        if self._look_timer is not None:
            self._look_timer.cancel()
        await self._permits.close()
        for line in self._lines.values():
            line.spool.close()
        self._directory.close()

    def ping(self) -> None:
        """Answering is enough: the loop turns."""

    # --- now and then --------------------------------------------------------------------------------------------

    def _lost(self, address: str) -> None:
        """End connections from a source address that the host does not have any more."""
        for line in self._lines.values():
            line.outbound.source_lost(address)

    def _look(self) -> None:
        """Tell how the queue is, and since when the oldest due delivery waits."""
        self._sources.look()
        try:
            self._tell_queue()
        except RelayError as error:
            self._context.log.warning("the queue cannot be read", error=str(error))
        self._look_timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _tell_queue(self) -> None:
        metrics, now_ms = self._context.metrics, self._clock.now_ms()
        spools = [line.spool for line in self._lines.values()]
        depths = [spool.depth() for spool in spools]
        for state in OPEN_STATES:
            metrics.gauge("relay_queue_deliveries", sum(one.counts.get(state, 0) for one in depths), state.value)
        metrics.gauge("relay_queue_class_deliveries", sum(one.transactional for one in depths), "transactional")
        metrics.gauge("relay_queue_class_deliveries", sum(one.bulk for one in depths), "bulk")
        metrics.forget("relay_queue_account_due_seconds")
        overdue = sorted((pair for one in depths for pair in one.overdue_ms), key=itemgetter(1))
        for account, waited_ms in overdue[-ACCOUNTS_TOLD:]:  # the longest of an account comes last
            metrics.gauge("relay_queue_account_due_seconds", waited_ms / 1000, account or "-")
        oldest = min((one.oldest_accepted_ms for one in depths if one.oldest_accepted_ms), default=now_ms)
        metrics.gauge("relay_queue_oldest_seconds", (now_ms - oldest) / 1000)
        due = min((at for spool in spools if (at := spool.next_due_ms())), default=now_ms)
        metrics.gauge("relay_queue_oldest_due_seconds", max(0, now_ms - due) / 1000)
        metrics.gauge("relay_permits_up", 1 if self._permits.connected else 0)
        self._context.row.due_since(due if due < now_ms else 0)


def _tls_context(config: Config) -> ssl.SSLContext | None:
    if not any(entry.kind in (*SMTP_KINDS, "http") and entry.tls != "none" for entry in config.listeners):
        return None
    return server_context(config.tls.certificate, config.tls.key, minimum_version=config.tls.minimum_version)
