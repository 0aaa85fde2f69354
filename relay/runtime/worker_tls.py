"""TLS policy in a worker: the MTA-STS policy in force for a domain (relay.ports.StsPolicies), and what is counted.

A domain's record is asked for here, beside its MX records; the policy itself is read from the office's file. Only a
record with an id that the file does not have makes the worker ask the office, which fetches. An answer is good for
five minutes. While the office is away, or the record cannot be had, what is in the file holds; a domain that is in
neither has no policy (RFC 8461 section 5.1).

Counts go to the office in batches, one a second while there are any; a batch is repeated until it was acknowledged.
"""

import asyncio
import time
from pathlib import Path

from relay.errors import RelayError
from relay.model.tls import KnownPolicy
from relay.pipeline.tls_tally import TlsTally
from relay.policy.mta_sts import record_id, record_name
from relay.policy.tls_report import Count
from relay.ports import Clock, Log, Resolver, ResolverError, StsAnswer
from relay.runtime.children import Role, child_name
from relay.runtime.office_jobs import end_tasks
from relay.runtime.rpc import NotRunningError, ask
from relay.runtime.tls_fetching import FETCH
from relay.runtime.tls_reporting import NOTE
from relay.store.tls_book import TlsReader

GOOD_SECONDS = 300.0
ANSWERS_MAX = 20_000
FETCH_SECONDS = 65.0
OFFICE_SECONDS = 15.0
FLUSH_SECONDS = 1.0  # what a kill may lose; a batch costs the office one synced transaction
NOTE_SECONDS = 5.0
BATCH_MAX = 500
USED_MAX = 1_000
_NONE = StsAnswer()


class WorkerTls:
    """Implements relay.ports.StsPolicies; `tally` is what the deliveries of this worker count with."""

    def __init__(
        self, file: TlsReader, office: Path, process: str, *, resolver: Resolver, clock: Clock, log: Log
    ) -> None:
        self.enabled = True
        self.tally = TlsTally(clock)
        self.resolver = resolver
        self._office = office
        self._process = process
        self._clock = clock
        self._log = log
        self._file = file
        self._answers: dict[str, tuple[float, StsAnswer]] = {}
        self._finding: dict[str, asyncio.Task[StsAnswer]] = {}
        self._behind: set[asyncio.Task[StsAnswer]] = set()
        self._used: dict[str, None] = {}
        self._batch: tuple[str, list[tuple[Count, int]], list[str]] | None = None
        self._batches = 0
        self._epoch = f"{time.time_ns():x}"
        self._task: asyncio.Task[None] | None = None

    def apply(self, *, enabled: bool, reports: bool, resolver: Resolver) -> None:
        """Take on settings."""
        self.enabled, self.tally.on, self.resolver = enabled, reports, resolver
        self._answers.clear()

    # --- policies ------------------------------------------------------------------------------------------------

    def known(self, domain: str) -> StsAnswer | None:
        """Return what is known to be in force, at once."""
        if not self.enabled:
            return _NONE
        until, answer = self._answers.get(domain, (0.0, _NONE))
        return answer if until > self._clock.monotonic() else None

    async def find(self, domain: str) -> StsAnswer:
        """Return the policy in force; however many ask, it is looked for once."""
        if (known := self.known(domain)) is not None:
            return known
        task = self._finding.get(domain)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._find(domain))
            self._finding[domain] = task
            task.add_done_callback(lambda _: self._finding.pop(domain, None))
        return await asyncio.shield(task)

    async def _find(self, domain: str) -> StsAnswer:
        sure = True
        try:
            wanted_id = record_id(await self.resolver.text(record_name(domain)))
        except ResolverError:
            wanted_id, sure = "", False  # says nothing about what was known before
        known = self._read(domain)
        if wanted_id and (known is None or known.record_id != wanted_id):
            if known is None:
                sure = await self._fetch(domain, wanted_id)
                known = self._read(domain)
            else:  # the old one holds until the new one is there
                self._fetch_behind(domain, wanted_id)
        return self._keep(domain, known, sure=sure)

    def _read(self, domain: str) -> KnownPolicy | None:
        """Return what the file has, unless its time is over (RFC 8461 section 3.2)."""
        try:
            known = self._file.policy(domain)
        except RelayError as error:
            self._log.warning("MTA-STS policies cannot be read", error=str(error))
            return None
        return known if known is not None and known.expires_ms > self._clock.now_ms() else None

    def _keep(self, domain: str, known: KnownPolicy | None, *, sure: bool = True) -> StsAnswer:
        if len(self._answers) >= ANSWERS_MAX:
            self._answers.clear()
        answer = StsAnswer(known.policy if known else None, sure)
        left_seconds = GOOD_SECONDS if known is None else (known.expires_ms - self._clock.now_ms()) / 1000
        self._answers[domain] = self._clock.monotonic() + min(GOOD_SECONDS, left_seconds), answer
        if known is not None and len(self._used) < USED_MAX:
            self._used[domain] = None
        return answer

    async def _fetch(self, domain: str, wanted_id: str) -> bool:
        """Let the office fetch a policy; it may be starting just now. Return whether it has one."""
        until = self._clock.monotonic() + OFFICE_SECONDS
        while True:
            try:
                answer = await ask(self._office, FETCH, FETCH_SECONDS, domain=domain, record_id=wanted_id)
                break
            except RelayError as error:
                if isinstance(error, NotRunningError) and self._clock.monotonic() < until:
                    await asyncio.sleep(0.5)
                    continue
                self._log.warning("MTA-STS policy not asked for", domain=domain, reason=str(error))
                return False
        if not answer["fetched"]:
            self.tally.no_policy(domain, answer["result"], answer["failure"])
        return bool(answer["fetched"])

    def _fetch_behind(self, domain: str, wanted_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._fetch_and_keep(domain, wanted_id))
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def _fetch_and_keep(self, domain: str, wanted_id: str) -> StsAnswer:
        await self._fetch(domain, wanted_id)
        return self._keep(domain, self._read(domain))

    # --- counts --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to give counts away."""
        self._task = asyncio.get_running_loop().create_task(self._go_round(), name="tls counts")

    async def close(self) -> None:
        """Give away what was counted, end."""
        if self._task is not None:
            await end_tasks([self._task])
        await self._flush_all()
        for task in (*self._behind, *self._finding.values()):
            task.cancel()
        self._file.close()

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._flush_all()

    async def _flush_all(self) -> None:
        while self._next_batch():
            if not await self._flush():
                return

    def _next_batch(self) -> bool:
        """Make a batch of what was counted, unless one still waits; False when there is nothing."""
        if self._batch is not None:
            return True
        counts = list(self.tally.take().items())
        for count, sessions in counts[BATCH_MAX:]:
            self.tally.add(count, sessions)
        used, self._used = list(self._used), {}
        if not counts and not used:
            return False
        self._batches += 1
        self._batch = f"{self._epoch}.{self._batches}", counts[:BATCH_MAX], used
        return True

    async def _flush(self) -> bool:
        assert self._batch is not None
        batch, counts, used = self._batch
        rows = [
            [one.day, one.domain, one.policy, one.strings, one.mx, one.result, one.source_address, one.host,
             one.address, one.reason, sessions]
            for one, sessions in counts
        ]  # fmt: skip
        try:
            await ask(self._office, NOTE, NOTE_SECONDS, process=self._process, batch=batch, counts=rows, used=used)
        except RelayError:
            return False  # the office is away for a moment
        self._batch = None
        return True


def office_socket(run_dir: Path) -> Path:
    """Return where the office answers."""
    return run_dir / f"{child_name(Role.OFFICE, 0)}.sock"
