"""Outbound delivery on a fake internet: real sockets, a real name server, scripted hosts."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field, replace

from relay.model.content import Content
from relay.model.message import Delivery, Message, SendOptions
from relay.model.outcome import Outcome
from relay.net.connection import TcpConnector
from relay.net.guard import Guard
from relay.net.resolver import DnsResolver, ResolverSettings
from relay.pipeline.attempt import OutboundDelivery
from relay.pipeline.attempt_settings import OutboundSettings
from relay.ports import Job
from relay.runtime.observe.metrics import ProcessMetrics
from relay.testing.internet import FakeInternet

US = "relay.example"
CONTENT = Content(b"From: a@example.com\r\nSubject: hello\r\n\r\n", b"Hello\r\n.dot\r\n..\r\nend\r\n")


class SystemClock:
    ahead_seconds = 0.0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_seconds


class ListLog:
    def __init__(self):
        self.lines = []

    def debug(self, event, **fields):
        self.lines.append((event, fields))

    info = warning = error = debug


@dataclass
class Bench:
    net: FakeInternet
    outbound: OutboundDelivery
    resolver: DnsResolver
    metrics: ProcessMetrics
    outcomes: list[tuple[Job, Outcome]] = field(default_factory=list)
    releases: list = field(default_factory=list)
    log: ListLog = field(default_factory=ListLog)
    keep_releases: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _key: int = 0

    def on_outcome(self, job, outcome, release):
        self.outcomes.append((job, outcome))
        self._changed.set()
        if self.keep_releases:
            self.releases.append(release)
        else:
            release()

    def job(
        self, recipient, content=CONTENT, *, key=None, sender="bounce@relay.example", index=0, attempts=0, **flags
    ):
        if key is None:
            self._key += 1
            key = self._key
        message = Message(
            key=key,
            message_id=f"m{key}",
            account=flags.get("account", "000000000001"),
            sender=sender,
            accepted_ms=0,
            expires_ms=1 << 50,
            size_bytes=content.size_bytes,
            smtputf8=flags.get("smtputf8", False),
            eight_bit=flags.get("eight_bit", False),
            mail_json=b"{}",
            options=SendOptions(tls_required=flags.get("tls_required", False), **flags.get("options", {})),
        )
        load = flags.get("load") or (lambda: content)
        return Job(Delivery(message, index, recipient, attempts=attempts), sender, load)

    def send(self, recipient, content=CONTENT, **flags):
        job = self.job(recipient, content, **flags)
        self.outbound.enqueue(job)
        return job

    async def wait(self, count, timeout_seconds=20.0):
        async with asyncio.timeout(timeout_seconds):
            while len(self.outcomes) < count:
                self._changed.clear()
                await self._changed.wait()
        return [outcome for _, outcome in self.outcomes]

    async def one(self, recipient, content=CONTENT, **flags) -> Outcome:
        before = len(self.outcomes)
        self.send(recipient, content, **flags)
        return (await self.wait(before + 1))[before]


@contextlib.asynccontextmanager
async def bench(domains=None, zones=None, *, guard=None, resolver=None, connector=None, lanes=None, **settings):
    async with FakeInternet(domains, zones, us=US) as net:
        clock = SystemClock()
        metrics = ProcessMetrics("test")
        base = ResolverSettings(nameservers=(net.dns.nameserver,), timeout_seconds=0.6)
        dns_clock = SystemClock()
        dns = DnsResolver(replace(base, **(resolver or {})), dns_clock, metrics)
        log = ListLog()
        base_settings = OutboundSettings(helo_name=US, own_names=frozenset({US}), port=net.port)
        outbound = OutboundDelivery(
            settings=replace(base_settings, **{"pause_after_failure_seconds": 0.0, **settings}),
            resolver=dns,
            connector=connector or TcpConnector(ca_file=str(net.certificate)),
            judge=(guard or Guard(allow_private=True)).judge,
            clock=clock,
            log=log,
            metrics=metrics,
            **(lanes or {}),
        )
        made = Bench(net, outbound, dns, metrics, log=log)
        made.dns_clock = dns_clock
        outbound.on_outcome = made.on_outcome
        try:
            yield made
        finally:
            await outbound.drain(1.0)


async def until(condition, timeout_seconds=5.0):
    """Wait for something that a remote does and nobody announces."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():  # noqa: ASYNC110 - a scripted host has no event for each of its lines
            await asyncio.sleep(0.002)
