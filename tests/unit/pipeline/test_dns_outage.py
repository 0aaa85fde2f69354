"""Ten minutes without DNS, 10,000 deliveries queued: the stages after acceptance together, on a clock of our own."""

import asyncio
import heapq
import itertools
import random
import re
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict

import pytest

from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.message import Delivery, Message, NewMessage
from relay.pipeline.attempt import OutboundDelivery
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.dispatch import Dispatch, WindowLimits
from relay.pipeline.report import Report, Window
from relay.ports import MailHost, MailHosts, ResolverError
from relay.runtime.observe.metrics import ProcessMetrics
from relay.schedule.retry import RetryPolicy
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from relay.testing.spool import MemorySpool

COUNT = 10_000
OUTAGE_SECONDS = 600
WAITS_MS = (60_000, 300_000, 900_000, 1_800_000, 3_600_000)
HOSTS = MailHosts((MailHost(10, "mx.hub.test"),))


class Spool(MemorySpool):
    """Contents stay, and what is queued is in order: to search 10,000 each time takes longer than all the rest."""

    def __init__(self):
        super().__init__()
        self.queues = defaultdict(list)  # by strand: (next_ms, key)

    def _free(self, message_key):
        pass

    def _keep(self, new):
        super()._keep(new)
        for delivery in new.deliveries:
            self._arrives(delivery.key)

    def _apply(self, settlement):
        self._leaves(settlement.delivery.key)
        super()._apply(settlement)
        self._arrives(settlement.delivery.key)

    def set_strand(self, keys, strand):
        for key in keys:
            self._leaves(key)
        super().set_strand(keys, strand)
        for key in keys:
            self._arrives(key)

    def _arrives(self, key):
        delivery = self.deliveries[key]
        if delivery.state is DeliveryState.QUEUED:
            insort(self.queues[self._strand(delivery)], (delivery.next_ms, key))

    def _leaves(self, key):
        delivery = self.deliveries[key]
        if delivery.state is DeliveryState.QUEUED:
            queue = self.queues[self._strand(delivery)]
            del queue[bisect_left(queue, (delivery.next_ms, key))]

    def strands(self, after, limit):
        found = ((strand, queue[0][0]) for strand, queue in self.queues.items() if queue and strand > after)
        return sorted(found)[:limit]

    def waiting(self, strand, now_ms, limit, after=(0, 0)):
        queue = self.queues[strand]
        return queue[bisect_right(queue, after) : bisect_left(queue, (now_ms + 1,))][:limit]


class Names:
    """A resolver that has no answers until `alive`; every question takes a turn of the loop."""

    def __init__(self):
        self.alive = False
        self.asking = self.most = 0

    def known_mail_hosts(self, domain):
        return HOSTS if self.alive else None

    def known_addresses(self, host):
        return ("8.8.4.4",) if self.alive else None

    async def mail_hosts(self, domain, *, refresh=False):
        self.asking += 1
        self.most = max(self.most, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1
        if not self.alive:
            raise ResolverError("no answer for MX in 5 s")
        return HOSTS


class Sink:
    """Hosts that take everything, without sockets."""

    def __init__(self):
        self.taken = Counter()

    def connect(self, address, port, options, user):
        link = SinkLink(self, user, options)
        asyncio.get_running_loop().call_soon(user.link_opened, link)
        asyncio.get_running_loop().call_soon(user.link_data, b"220 mx.hub.test\r\n")
        return lambda: None


class SinkLink:
    source_address = "192.0.2.1"

    def __init__(self, sink, user, options):
        self.sink = sink
        self.user = user
        self.on_gone = options.on_gone
        self.recipient = ""

    def write(self, data):
        if data.startswith(b"EHLO"):
            reply = b"250-mx.hub.test\r\n250 PIPELINING\r\n"
        elif data.startswith(b"MAIL"):
            self.recipient = re.search(rb"TO:<(.*?)>", data)[1].decode()
            reply = b"250 ok\r\n250 ok\r\n354 go\r\n"
        elif data.startswith(b"QUIT"):
            return
        else:
            self.sink.taken[self.recipient] += 1
            reply = b"250 taken\r\n"
        asyncio.get_running_loop().call_soon(self.user.link_data, reply)

    def unsent(self):
        return False

    def close(self):
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:  # a connection counts until both sides have closed it
            asyncio.get_running_loop().call_soon(on_gone)

    abort = close


class Relay:
    """Window, attempts and reports on one spool; `later` is what they wait for, by the clock."""

    def __init__(self):
        chance = random.Random(7)
        self.clock = ManualClock()
        self.later = []
        self.order = itertools.count()
        self.spool, self.names, self.sink, self.log = Spool(), Names(), Sink(), MemoryLog()
        metrics = ProcessMetrics("test")
        self.outbound = OutboundDelivery(
            settings=OutboundSettings(helo_name="relay.example"),
            resolver=self.names,
            connector=self.sink,
            judge=lambda address: "",
            clock=self.clock,
            log=self.log,
            metrics=metrics,
        )
        self.window = Dispatch(
            spool=self.spool,
            outbound=self.outbound,
            return_path=lambda delivery: "token@bounce.test",
            clock=self.clock,
            call_later=self.call_later,
            log=self.log,
        )
        report = Report(
            spool=self.spool,
            window=Window(self.window.finished, self.window.later, self.window.accepted, self.window.is_corrupt),
            retry=RetryPolicy(WAITS_MS),
            reports=lambda job, outcome, expired: (),
            late_after_ms=4 * 3_600_000,
            hostname="relay.example",
            clock=self.clock,
            random=chance.random,
            call_later=self.call_later,
            log=self.log,
            metrics=metrics,
        )
        self.outbound.on_outcome = report.on_outcome

    def call_later(self, seconds, action):
        heapq.heappush(self.later, (self.clock.monotonic() + seconds, next(self.order), action))

    def fill(self, count):
        now_ms = self.clock.now_ms()
        for number in range(count):
            message = Message(
                key=self.spool.next_key(),
                message_id=f"m{number}",
                account="000000000001",
                sender="app@example.com",
                accepted_ms=now_ms,
                expires_ms=now_ms + 14 * 3_600_000,
                size_bytes=30,
                smtputf8=False,
                eight_bit=False,
                mail_json=b"{}",
            )
            delivery = Delivery(message, 0, f"user@d{number}.test", next_ms=now_ms)
            new = NewMessage(message, Content(b"Subject: hello\r\n\r\n", b"body\r\n"), [delivery])
            self.spool.append(new, lambda error: None)

    async def run_until(self, seconds, done=lambda: False):
        """Let the clock run to a time; what is due has its turn before it goes on."""
        while self.later and self.later[0][0] <= seconds and not done():
            due, _, action = heapq.heappop(self.later)
            self.clock.advance(max(0.0, due - self.clock.monotonic()))
            action()
            await self.quiet()

    async def quiet(self):
        """Wait until nothing is under way."""
        async with asyncio.timeout(60):
            while len(self.window):  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0)


@pytest.mark.req("FLOW-009", "FLOW-010")
def test_ten_minutes_without_dns_bounce_nothing_and_end_in_delivery():
    async def run():
        relay = Relay()
        relay.fill(COUNT)
        start = relay.clock.monotonic()
        relay.window.start()
        await relay.quiet()
        await relay.run_until(start + OUTAGE_SECONDS)
        deliveries = relay.spool.deliveries.values()
        assert {each.state for each in deliveries} == {DeliveryState.QUEUED}
        assert {each.attempts for each in deliveries} == {3}  # at once, after a minute, after five more
        assert relay.names.most <= WindowLimits().window_max
        assert {kind for kind, _, _ in relay.log.lines} <= {"info"}

        relay.names.alive = True
        tries = Counter(each.next_ms // 1000 for each in deliveries)
        assert len(tries) > 90  # 15 minutes, longer or shorter by a tenth, and the spread of the waits before
        assert max(tries.values()) < COUNT // 40
        assert min(tries) * 1000 > relay.clock.now_ms()
        await relay.run_until(start + 3 * OUTAGE_SECONDS, lambda: len(relay.sink.taken) == COUNT)
        await relay.quiet()
        assert relay.sink.taken == Counter({f"user@d{number}.test": 1 for number in range(COUNT)})
        assert {each.state for each in relay.spool.deliveries.values()} == {DeliveryState.DELIVERED}
        assert {event.kind for event in relay.spool.events} == {"DeliveryDelay", "Delivery"}
        await relay.outbound.drain(1.0)

    asyncio.run(run())
