"""Looking for the records of identities in DNS, again and again, as a service of the office (IDENT-010, IDENT-011).

A round takes what is due in batches: names are asked for all at once, bounded by the lanes of a resolver of its own,
and the findings of a batch are one transaction of the catalog, which is opened for the round. The catalog is read and
written on a thread, so that pages and events do not wait for a disk or for another command's lock.
"""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from relay.model.check import Aspect, Check, StateChange
from relay.net.resolver import DnsResolver
from relay.policy.records import Expected
from relay.ports import Clock
from relay.runtime import settings
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.identity_look import Ask, dns_checks, letters, look, looked_at, records_for, records_of
from relay.runtime.office_jobs import Job, Scheduled
from relay.store.catalog import Catalog, open_existing_catalog
from relay.store.catalog_checks import Look
from relay.store.catalog_identities import IdentityDetails

EVERY_SECONDS = 5.0
BATCH_MAX = 100  # identities looked at together; some seven questions each
ROUND_SECONDS = 120.0  # no new batch after this; what is still due is first in the next round
TOGETHER_MS = 60_000  # what is due within a minute is looked at with what is due now

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Work:
    """An identity to look at, its checks that are due, and the records that say something about them."""

    details: IdentityDetails
    checks: dict[Aspect, Check]
    records: tuple[Expected, ...]


class CheckService(Scheduled):
    """The service that the office runs (`relay.runtime.office.Service`). Tests may give the clock and the answers."""

    def __init__(self, context: ChildContext, *, clock: Clock | None = None, ask: Ask | None = None) -> None:
        super().__init__(context, (Job("identity checks", EVERY_SECONDS, self._round),))
        self._clock = clock or SteadyClock()
        self._ask = ask
        self._thread = ThreadPoolExecutor(1, "catalog")

    async def _release(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    async def _round(self) -> None:
        await self.run_due()

    async def run_due(self) -> list[StateChange]:
        """Look at everything that is due, batch by batch; return the changes of state.

        Raise StorageError or TemporaryError when the catalog cannot be read or written now.
        """
        config = self._context.config
        ask = self._ask or DnsResolver(settings.resolver_settings(config), self._clock, self._context.metrics).records
        changes: list[StateChange] = []
        until = self._clock.monotonic() + ROUND_SECONDS
        catalog = await self._on_thread(lambda: self._open(config))
        try:
            while work := await self._on_thread(lambda: self._due(catalog, config)):
                reports = await asyncio.gather(*(look(ask, one.records) for one in work))
                looks = [looked_at(one.details, one.checks, found) for one, found in zip(work, reports, strict=True)]
                changes += await self._on_thread(partial(self._settle, catalog, config, looks))
                if self._clock.monotonic() > until:
                    break
        finally:
            await asyncio.shield(self._on_thread(catalog.close))
        return changes

    def _open(self, config: Config) -> Catalog:
        return open_existing_catalog(config.data_dir, settings.master_key(config.data_dir), now_ms=self._clock.now_ms)

    def _due(self, catalog: Catalog, config: Config) -> list[_Work]:
        now_ms = self._clock.now_ms()
        found = (catalog.identities.get(*one) for one in catalog.checks.due(now_ms, BATCH_MAX))
        return [_work(config, details, now_ms + TOGETHER_MS) for details in found if details is not None]

    def _settle(self, catalog: Catalog, config: Config, looks: list[Look]) -> list[StateChange]:
        changes = catalog.checks.settle(looks, letters(config, self._clock.now_ms()), random.random)
        self._tell(looks, changes)
        return changes

    def _tell(self, looks: list[Look], changes: list[StateChange]) -> None:
        for one in looks:
            for finding in one.findings.values():
                self._context.metrics.count("relay_identity_looks_total", finding.result)
        for change in changes:
            self._context.metrics.count("relay_identity_changes_total", change.state)
            self._context.log.info(
                "an identity changed its state",
                account=change.account,
                identity=change.identity,
                aspect=change.aspect,
                before=change.before,
                state=change.state,
                reason=change.error_text,
            )

    async def _on_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def _work(config: Config, details: IdentityDetails, until_ms: int) -> _Work:
    due = {aspect: check for aspect, check in dns_checks(details).items() if 0 < check.next_ms <= until_ms}
    return _Work(details, due, records_for(due, records_of(config, details)))
