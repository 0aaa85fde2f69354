"""When reports on TLS leave, how often they are tried, and what a repeat changes (RFC 8460 section 5)."""

import asyncio
from types import SimpleNamespace

import pytest

from relay.net.web import WebAnswer, WebError
from relay.policy.tls_report import DAY_SECONDS, Count
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.rpc import Ops, Server
from relay.runtime.tls_reporting import WAITS_SECONDS, Reporting
from relay.runtime.tls_thread import TlsThread
from relay.runtime.worker_tls import WorkerTls
from relay.store.tls_book import TlsReader
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog


class Web:
    def __init__(self):
        self.status, self.posts = 200, []

    async def post(self, host, path, media_type, body, answer_bytes_max):
        self.posts.append((host, path))
        if self.status == 0:
            raise WebError("no way")
        return WebAnswer(self.status, "", b"")


class Names:
    def __init__(self):
        self.text_of = {"_smtp._tls.a.test": [b"v=TLSRPTv1; rua=https://web.test/r"]}

    async def text(self, name):
        return self.text_of.get(name, [])


class Bench:
    def __init__(self, directory, *, contact="tls@relay.example", delay=0.0):
        self.directory = directory
        self.clock, self.log, self.web, self.names = ManualClock(), MemoryLog(), Web(), Names()
        self.day = self.clock.now_ms() // 1000 // DAY_SECONDS
        reports = SimpleNamespace(contact=contact, organization="", delay=delay, domains_max=10)
        self.config = SimpleNamespace(tls_reports=reports, hostname="relay.example", contact="x@relay.example")
        self.book = TlsThread(directory, self.log)
        self.reporting = Reporting(
            book=self.book,
            catalog=None,
            tools=lambda: (self.web, self.names),
            config=lambda: self.config,
            clock=self.clock,
            log=self.log,
            metrics=ProcessMetrics("office"),
        )

    async def count(self, domain, day=None):
        count = Count(self.day if day is None else day, domain, "sts")
        batch = f"{domain} {count.day}"
        await self.book.run(lambda book: book.add("w", batch, {count: 1}, [], now_ms=0, domains_max=100))

    def to_midnight(self):
        now_s = self.clock.now_ms() / 1000
        self.clock.advance(DAY_SECONDS - now_s % DAY_SECONDS + 1)


def run(bench, work):
    async def all_of_it():
        try:
            await work()
        finally:
            await bench.book.close()

    asyncio.run(all_of_it())


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_day_is_reported_when_it_is_over(bench):
    async def work():
        await bench.count("a.test")
        await bench.count("silent.test")
        await bench.reporting.run_due()
        assert bench.web.posts == []
        bench.to_midnight()
        await bench.reporting.run_due()
        await bench.reporting.run_due()
        assert bench.web.posts == [("web.test", "/r")]
        assert await bench.book.run(lambda book: book.counts(bench.day, "a.test")) == {}
        assert await bench.book.run(lambda book: book.counts(bench.day, "silent.test")) == {}

    run(bench, work)


def test_a_random_delay_spreads_them(tmp_path):
    bench = Bench(tmp_path, delay=4 * 3600.0)

    async def work():
        await bench.count("a.test")
        bench.to_midnight()
        for _ in range(25):
            if bench.web.posts:
                break
            bench.clock.advance(600)
            await bench.reporting.run_due()
        assert len(bench.web.posts) == 1

    run(bench, work)


@pytest.mark.parametrize("status", [0, 500, 302])
def test_what_fails_is_tried_for_a_day(bench, status):
    """With growing waits, then dropped."""

    async def work():
        bench.web.status = status
        await bench.count("a.test")
        bench.to_midnight()
        begun = bench.clock.now_ms()
        await bench.reporting.run_due()
        assert len(bench.web.posts) == 1
        bench.clock.advance(WAITS_SECONDS[0] - 1)
        await bench.reporting.run_due()
        assert len(bench.web.posts) == 1
        bench.clock.advance(2)
        await bench.reporting.run_due()
        assert len(bench.web.posts) == 2
        for _ in range(300):
            bench.clock.advance(600)
            await bench.reporting.run_due()
        assert 5 <= len(bench.web.posts) <= 12
        assert await bench.book.run(lambda book: book.due_reports(1 << 60, 10)) == []
        assert await bench.book.run(lambda book: book.counts(bench.day, "a.test")) == {}
        assert bench.clock.now_ms() - begun > DAY_SECONDS * 1000

    run(bench, work)


def test_nothing_is_reported_without_a_contact(tmp_path):
    bench = Bench(tmp_path, contact=None)

    async def work():
        await bench.count("a.test")
        bench.to_midnight()
        await bench.reporting.run_due()
        assert await bench.reporting.send_now({"day": bench.day}) == {"sent": 0, "failed": 0}
        assert bench.web.posts == []

    run(bench, work)


def test_old_counts_are_forgotten(bench):
    async def work():
        await bench.count("a.test", bench.day - 3)
        await bench.reporting.run_due()
        assert bench.web.posts == []
        assert await bench.book.run(lambda book: book.counts(bench.day - 3, "a.test")) == {}

    run(bench, work)


def test_counts_wait_for_the_office_and_are_added_once(bench):
    """A worker repeats a batch until it was acknowledged."""

    async def work():
        worker = WorkerTls(
            TlsReader(bench.directory), bench.directory / "office.sock", "worker-0001",
            resolver=bench.names, clock=bench.clock, log=bench.log,
        )  # fmt: skip
        worker.apply(enabled=True, reports=True, resolver=bench.names)
        count = Count(bench.day, "a.test", "sts", ("v",), ("mx",), "certificate-expired", "::1", "mx", "::2", "why")
        worker.tally.add(count, 3)
        await worker._flush_all()  # there is no office
        ops = Ops()
        bench.reporting.register(ops)
        office = Server(bench.directory / "office.sock", ops, bench.log)
        await office.start()
        batch = worker._batch
        assert await worker._flush()
        worker._batch = batch  # as if the answer had been lost
        worker.tally.add(count, 4)
        await worker.close()
        await office.close()
        assert await bench.book.run(lambda book: book.counts(bench.day, "a.test")) == {count: 7}

    run(bench, work)
