"""Suppression lists, as a service of the office: imports that wait, lists of accounts paused for long, old entries.

Imports are looked for every second, and run one after the other on a thread of their own: large ones take minutes,
and nothing else of the office may wait for them. What a killed command or an earlier office left goes on here.
The list of an account that enforcement paused for 90 days is emptied (SUPP-011). One that may send again before keeps
its list, and so does one that paused itself.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from relay.model.import_job import ImportJob
from relay.ports import Clock
from relay.runtime import settings
from relay.runtime.audit import record
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.office_jobs import Job, Scheduled
from relay.store.catalog import SUPPRESSION_FILE, Catalog, open_existing_catalog
from relay.store.directory_file import ReadFile

IMPORTS_SECONDS = 1.0
UPKEEP_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
PAUSED_MAX_MS = 90 * 86_400_000  # SUPP-011

Result = TypeVar("Result")


class SuppressionService(Scheduled):
    """The service that the office runs (`relay.runtime.service.Service`). Tests may give the clock."""

    def __init__(self, context: ChildContext, *, clock: Clock | None = None) -> None:
        self._clock = clock or SteadyClock()
        self._importing = ThreadPoolExecutor(1, "imports")
        self._upkeep = ThreadPoolExecutor(1, "suppression")
        self._stopping = threading.Event()
        self._list = ReadFile(context.config.data_dir / SUPPRESSION_FILE, "suppression.sql", lambda _accounts: None)
        jobs = (
            Job("suppression imports", IMPORTS_SECONDS, self._imports, timeout_seconds=DAY_SECONDS),
            Job("suppression upkeep", UPKEEP_SECONDS, self._look_after, timeout_seconds=DAY_SECONDS),
        )
        super().__init__(context, jobs)

    async def close(self) -> None:
        """End; an import stops behind its next transaction, and goes on from there after the next start."""
        self._stopping.set()
        await super().close()

    async def _release(self) -> None:
        await asyncio.to_thread(self._importing.shutdown)
        await asyncio.to_thread(self._upkeep.shutdown)
        self._list.close()

    async def _imports(self) -> None:
        if not await self._on_thread(self._importing, self._anything_waits):
            return
        for job in await self._on(self._importing, self.run_imports):
            self._context.log.info(
                "import ended",
                job=job.job_id,
                account=job.account,
                state=job.state,
                processed=job.processed,
                failed=job.failed,
                error=job.error,
            )

    def _anything_waits(self) -> bool:
        self._list.refresh()
        return bool(self._list.rows("open_jobs", {"limit": 1}))

    async def _look_after(self) -> None:
        await self._on(self._upkeep, self.look_after)

    def run_imports(self, catalog: Catalog) -> list[ImportJob]:
        """Run the imports that wait; return those that ended."""
        return catalog.import_jobs.run_waiting(self._stopping.is_set)

    def look_after(self, catalog: Catalog) -> None:
        """Forget what is old, and empty the lists of accounts that enforcement paused for 90 days."""
        catalog.relay_list.forget_ended()
        catalog.import_jobs.forget_old()
        for account in catalog.accounts.paused_before(self._clock.now_ms() - PAUSED_MAX_MS):
            removed = catalog.suppression.remove_all(account)
            if removed:
                reason = {"removed": removed, "reason": "enforcement has paused the account for 90 days"}
                record(self._context.config.data_dir, "suppression.remove_all", account, reason, caller="office")
                self._context.log.info("suppression list emptied", account=account, **reason)

    async def _on(self, pool: ThreadPoolExecutor, call: Callable[[Catalog], Result]) -> Result:
        return await self._on_thread(pool, lambda: self._with_catalog(call))

    async def _on_thread(self, pool: ThreadPoolExecutor, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, call)

    def _with_catalog(self, call: Callable[[Catalog], Result]) -> Result:
        config = self._context.config
        key = settings.master_key(config.data_dir)
        with open_existing_catalog(
            config.data_dir, key, now_ms=self._clock.now_ms, hostname=config.hostname
        ) as catalog:
            return call(catalog)
