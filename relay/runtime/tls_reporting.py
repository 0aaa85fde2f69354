"""TLS reports (RFC 8460): takes the counts of all workers, and sends what a day came to.

Counts are kept in `office/tls.db`. After midnight (UTC) and a random delay, each domain with counts is asked where
reports go; who does not ask for any is forgotten. A report goes by mail, signed like all of the relay's own mail, or
by HTTPS; one that fails is tried again with growing waits, until a day after its day (section 5).
"""

import asyncio
import gzip
import random
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import orjson

from relay.errors import RelayError
from relay.mail.tls_report import write_tls_report
from relay.net.web import Web, WebError
from relay.pipeline.promise import RELAY_ACCOUNT
from relay.policy import tls_report
from relay.policy.tls_report import DAY_SECONDS, Count, Reporter
from relay.ports import Clock, Json, Log, Metrics, Resolver, ResolverError
from relay.runtime.catalog_thread import CatalogThread
from relay.runtime.config.model import Config
from relay.runtime.rpc import Ops, number, text
from relay.runtime.tls_thread import TlsThread
from relay.store.tls_book import DueReport, TlsBook

NOTE, SEND = "tls.note", "tls.report"
DAYS_KEPT = 2
PAGE = 100
TOGETHER_MAX = 5
WAITS_SECONDS = (300, 900, 3600, 2 * 3600, 4 * 3600)
ANSWER_BYTES_MAX = 16 * 1024
REPORT_BYTES_MAX = 10 * 1024 * 1024
COUNTS_A_BATCH_MAX = 1000
_ACCEPTED = range(200, 300)


class Reporting:
    """Answers `tls.note` and `tls.report`, and sends what is due."""

    def __init__(
        self,
        *,
        book: TlsThread,
        catalog: CatalogThread,
        tools: Callable[[], tuple[Web, Resolver]],
        config: Callable[[], Config],
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._book = book
        self._catalog = catalog
        self._tools = tools
        self._config = config
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._delay = random.random()  # noqa: S311 - spreads load, guards nothing
        self._turn = asyncio.Lock()

    def register(self, ops: Ops) -> None:
        """Make the operations known."""
        ops.add(NOTE, self.note)
        ops.add(SEND, self.send_now)

    # --- counts ----------------------------------------------------------------------------------------------------

    async def note(self, request: Json) -> None:
        """Add the counts of a process; answered after they are on disk. The same batch again adds nothing."""
        process, batch = text(request, "process"), text(request, "batch")
        given, used = request.get("counts", []), request.get("used", [])
        counts: dict[Count, int] = {}
        for day, domain, policy, strings, mx, *rest, sessions in given[:COUNTS_A_BATCH_MAX]:
            counts[Count(day, domain, policy, tuple(strings), tuple(mx), *rest)] = int(sessions)
        now_ms, domains_max = self._clock.now_ms(), self._config().tls_reports.domains_max
        await self._book.run(
            lambda book: book.add(process, batch, counts, used, now_ms=now_ms, domains_max=domains_max)
        )

    # --- reports ---------------------------------------------------------------------------------------------------

    async def run_due(self) -> None:
        """Plan the reports of days that are over, send what is due, forget what is too old."""
        config, now_s = self._config(), self._clock.now_ms() / 1000
        today = int(now_s // DAY_SECONDS)
        await self._book.run(lambda book: book.drop_old(today - DAYS_KEPT))
        if config.tls_reports.contact is None:
            return
        if now_s % DAY_SECONDS >= self._delay * config.tls_reports.delay:
            await self._plan(today - 1)
        await self._send_due()

    async def send_now(self, request: Json) -> Json:
        """Send the reports of all days up to `day` at once; {"sent": n, "failed": n}. For operators."""
        day = number(request, "day")
        if self._config().tls_reports.contact is None:
            return {"sent": 0, "failed": 0}
        await self._plan(day)
        sent, failed = await self._send_due()
        return {"sent": sent, "failed": failed}

    async def _plan(self, until_day: int) -> None:
        after = (0, "")
        while page := await self._book.run(partial(_counted, until_day, after)):
            for start in range(0, len(page), TOGETHER_MAX):
                async with asyncio.TaskGroup() as group:
                    for day, domain in page[start : start + TOGETHER_MAX]:
                        group.create_task(self._plan_domain(day, domain))
            after = page[-1]

    async def _plan_domain(self, day: int, domain: str) -> None:
        try:
            addresses = tls_report.report_addresses(await self._tools()[1].text(tls_report.record_name(domain)))
        except ResolverError:
            return  # asked again in the next round, until the day is too old
        now_ms = self._clock.now_ms()
        await self._book.run(lambda book: book.plan(day, domain, addresses, now_ms))

    async def _send_due(self) -> tuple[int, int]:
        sent = failed = 0
        async with self._turn:
            now_ms = self._clock.now_ms()
            while due := await self._book.run(lambda book: book.due_reports(now_ms, TOGETHER_MAX)):
                results = await asyncio.gather(*map(self._send, due))
                sent += sum(results)
                failed += len(results) - sum(results)
        return sent, failed

    async def _send(self, due: DueReport) -> bool:
        """Send one report; True when it is under way."""
        counts = await self._book.run(lambda book: book.counts(due.day, due.domain))
        failure = await self._deliver(due, counts) if counts else ""
        if not failure:
            await self._book.run(lambda book: book.done(due))
            self._metrics.count("relay_tls_reports_total", "sent")
            self._log.info("TLS report sent", domain=due.domain, day=tls_report.day_text(due.day), to=due.rua)
            return True
        now_ms = self._clock.now_ms()
        next_ms = now_ms + WAITS_SECONDS[min(due.tries, len(WAITS_SECONDS) - 1)] * 1000
        over_ms = (due.day + DAYS_KEPT) * DAY_SECONDS * 1000
        given_up = next_ms >= over_ms
        if given_up:
            await self._book.run(lambda book: book.done(due))
        else:
            await self._book.run(lambda book: book.later(due, next_ms))
        self._metrics.count("relay_tls_reports_total", "dropped" if given_up else "failed")
        self._log.warning("TLS report not sent", domain=due.domain, to=due.rua, reason=failure, given_up=given_up)
        return False

    async def _deliver(self, due: DueReport, counts: dict[Count, int]) -> str:
        """Give a report away; return why that failed."""
        config = self._config()
        reporter = reporter_of(config)
        told = tls_report.report(reporter, due.domain, due.day, counts)
        packed = await asyncio.to_thread(lambda: gzip.compress(orjson.dumps(told), mtime=0))
        if len(packed) > REPORT_BYTES_MAX:
            return "the report is too long"
        try:
            if due.rua.startswith("mailto:"):
                await self._mail(config, due, packed)
            else:
                await self._post(due, packed)
        except (WebError, RelayError) as error:
            return str(error)
        return ""

    async def _mail(self, config: Config, due: DueReport, packed: bytes) -> None:
        head, body = write_tls_report(
            product=config.notifications.product_name,
            sender=config.notifications.sender,
            recipient=due.rua.removeprefix("mailto:"),
            domain=due.domain,
            hostname=config.hostname,
            report_id=tls_report.report_id(due.domain, due.day, config.hostname),
            file_name=tls_report.file_name(due.domain, due.day, config.hostname),
            packed=packed,
            now_ms=self._clock.now_ms(),
        )
        recipient = due.rua.removeprefix("mailto:")
        kept = await self._catalog.run(lambda catalog: catalog.notices.keep(RELAY_ACCOUNT, recipient, head, body))
        if not kept:
            raise RelayError("too much of the relay's own mail waits")

    async def _post(self, due: DueReport, packed: bytes) -> None:
        parts = urlsplit(due.rua)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        answer = await self._tools()[0].post(
            parts.hostname or "", path, "application/tlsrpt+gzip", packed, ANSWER_BYTES_MAX
        )
        if answer.status not in _ACCEPTED:
            raise WebError(f"{parts.hostname} answered with status {answer.status}")


def reporter_of(config: Config) -> Reporter:
    """Return who reports."""
    own = config.tls_reports
    return Reporter(own.organization or config.hostname, own.contact or config.contact, config.hostname)


def _counted(until_day: int, after: tuple[int, str], book: TlsBook) -> list[tuple[int, str]]:
    return book.counted(until_day, after, PAGE)
