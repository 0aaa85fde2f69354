"""One fetcher for all workers: fetched once, kept, refreshed, never taken away by a failure (RFC 8461)."""

import asyncio
import contextlib

import pytest

from relay.model.tls import StsMode
from relay.net.guard import Guard
from relay.net.mta_sts import NoPolicy
from relay.net.web import Web
from relay.ports import ResolverError, StsAnswer
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.rpc import Ops, Server
from relay.runtime.tls_fetching import AGAIN_SECONDS, COMPARE_MS, Fetching
from relay.runtime.tls_thread import TlsThread
from relay.runtime.worker_tls import GOOD_SECONDS, WorkerTls
from relay.store.tls_book import TlsReader
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.authority import Certificate, WebServer, authority, server_context

HOST = "mta-sts.a.test"


class Names:
    """DNS of one domain; `record` None: no answer."""

    def __init__(self):
        self.record = b"v=STSv1; id=1;"

    async def addresses(self, host):
        return ["127.0.0.1"]

    async def text(self, name):
        if self.record is None:
            raise ResolverError("no answer")
        return [self.record] if self.record else []


class Bench:
    def __init__(self, directory, server, ca_file):
        self.clock, self.log, self.names = ManualClock(), MemoryLog(), Names()
        self.server = server
        web = Web(
            self.names,
            Guard(allow_private=True).judge,
            timeout_seconds=5.0,
            ca_file=str(ca_file),
            port=server.port,
        )
        self.book = TlsThread(directory, self.log)
        self.fetching = Fetching(self.book, lambda: (web, self.names), self.clock, self.log, ProcessMetrics("office"))
        self.ops = Ops()
        self.fetching.register(self.ops)
        self.office = Server(directory / "office.sock", self.ops, self.log)
        self.reader = TlsReader(directory)
        self.worker = WorkerTls(
            self.reader,
            directory / "office.sock",
            "worker-0001",
            resolver=self.names,
            clock=self.clock,
            log=self.log,
        )

    def serve(self, mode="enforce", max_age=10_000_000, status=200):
        text = f"version: STSv1\nmode: {mode}\nmx: mx.a.test\nmax_age: {max_age}\n".encode()
        self.server.answers[HOST] = (status, {"Content-Type": "text/plain"}, text)

    @property
    def fetches(self):
        return len(self.server.requests)


@pytest.fixture
def bench(tmp_path):
    root = authority()
    (tmp_path / "ca.pem").write_bytes(root.pem())
    context = server_context(Certificate([HOST], root), tmp_path)
    with WebServer(context, {}) as server:
        made = Bench(tmp_path, server, tmp_path / "ca.pem")
        made.serve()
        yield made


def run(bench, work):
    async def all_of_it():
        await bench.office.start()
        try:
            await work()
        finally:
            await bench.worker.close()
            await bench.office.close()
            await bench.book.close()

    asyncio.run(all_of_it())


def mode(answer):
    return answer.policy.mode if answer.policy else None


def test_however_many_ask_it_is_fetched_once(bench):
    async def work():
        answers = await asyncio.gather(*(bench.worker.find("a.test") for _ in range(20)))
        assert {mode(answer) for answer in answers} == {StsMode.ENFORCE}
        await asyncio.gather(*(bench.fetching.get("a.test", "1") for _ in range(1)))
        assert bench.fetches == 2
        assert mode(bench.worker.known("a.test")) is StsMode.ENFORCE

    run(bench, work)


@pytest.mark.req("TLS-005")
def test_neither_a_record_nor_a_host_that_is_gone_undoes_a_policy(bench):
    async def work():
        await bench.worker.find("a.test")
        for record, status in ((b"", 200), (None, 200), (b"v=STSv1; id=2;", 404), (b"v=STSv1; id=3;", 200)):
            bench.names.record = record
            bench.serve("none", status=status)
            bench.clock.advance(GOOD_SECONDS + 1)
            assert mode(await bench.worker.find("a.test")) is StsMode.ENFORCE
        await asyncio.wait(bench.worker._behind)  # only a newer policy does, once it is there
        assert mode(bench.worker.known("a.test")) is StsMode.NONE

    run(bench, work)


def test_a_policy_ends_with_its_time(bench):
    async def work():
        bench.serve(max_age=100)
        await bench.worker.find("a.test")
        bench.names.record = b""
        bench.clock.advance(99)
        assert mode(bench.worker.known("a.test")) is StsMode.ENFORCE
        bench.clock.advance(2)
        assert bench.worker.known("a.test") is None
        assert await bench.worker.find("a.test") == StsAnswer()

    run(bench, work)


def test_a_failure_is_not_repeated_at_once(bench):
    async def work():
        bench.serve(status=500)
        first = await bench.fetching.get("a.test", "1")
        assert isinstance(first, NoPolicy)
        assert await bench.fetching.get("a.test", "1") is first
        assert bench.fetches == 1
        assert await bench.worker.find("a.test") == StsAnswer(sure=False)
        bench.serve()
        bench.clock.advance(AGAIN_SECONDS + 1)
        assert mode(await bench.worker.find("a.test")) is StsMode.ENFORCE

    run(bench, work)


def test_a_failed_fetch_is_counted_for_reports(bench):
    async def work():
        bench.worker.tally.on = True
        bench.serve(status=500)
        await bench.worker.find("a.test")
        ((count, sessions),) = bench.worker.tally.take().items()
        assert (count.domain, count.policy, count.result, sessions) == ("a.test", "sts", "sts-policy-fetch-error", 1)

    run(bench, work)


def test_policies_in_use_are_refreshed_daily(bench):
    async def work():
        await bench.worker.find("a.test")
        await bench.fetching.refresh()
        assert bench.fetches == 1
        bench.clock.advance(COMPARE_MS / 1000)
        await bench.fetching.refresh()
        await bench.fetching.refresh()
        assert bench.fetches == 2
        known = bench.reader.policy("a.test")
        assert known.fetched_ms == bench.clock.now_ms()
        bench.serve(status=500)
        bench.names.record = b"v=STSv1; id=9;"
        bench.clock.advance(COMPARE_MS / 1000)
        await bench.fetching.refresh()
        assert bench.reader.policy("a.test") == known
        assert "status 500" in bench.reader.failure("a.test")
        bench.names.record = b""
        bench.clock.advance(COMPARE_MS / 1000)
        await bench.fetching.refresh()
        assert bench.reader.policy("a.test") == known
        bench.clock.advance(10_000_000)
        await bench.fetching.refresh()
        assert bench.reader.policy("a.test") is None

    run(bench, work)


def test_without_an_office_the_file_holds(bench):
    async def work():
        await bench.worker.find("a.test")
        await bench.office.close()
        bench.names.record = b"v=STSv1; id=2;"
        bench.clock.advance(GOOD_SECONDS + 1)
        assert mode(await bench.worker.find("a.test")) is StsMode.ENFORCE

    with contextlib.suppress(FileNotFoundError):
        run(bench, work)


def test_switched_off_nobody_is_asked(bench):
    async def work():
        bench.worker.apply(enabled=False, reports=False, resolver=bench.names)
        assert bench.worker.known("a.test") == StsAnswer()
        assert bench.fetches == 0

    run(bench, work)
