"""Managed pools grow and shrink by themselves, as a service of the office (POOL-013).

Volumes are read from the counters of the workers; they begin anew with the office, so that a restart only puts off
that a pool shrinks. A reserve that is empty is told once an hour.
"""

import asyncio
from collections import Counter
from functools import partial

from relay.errors import UsageError
from relay.model.pool import Pool, ScalingMode
from relay.runtime import audit
from relay.runtime.catalog_thread import CatalogThread
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.office_jobs import Job, Scheduled
from relay.runtime.office_metrics import Gathering
from relay.schedule.managed import HOUR_MS, ManagedRules, Volume, change
from relay.store.catalog import Catalog

EVERY_SECONDS = 10.0
METRIC = "relay_source_attempts_total"
CALLER = "relay"

Totals = dict[tuple[str, str], tuple[float, float]]
"""Delivered and deferred attempts, by account and name of the pool."""


class ManagedPoolService(Scheduled):
    """The service that the office runs (`relay.runtime.office.Service`)."""

    def __init__(self, context: ChildContext, gathering: Gathering) -> None:
        super().__init__(context, (Job("managed pools", EVERY_SECONDS, self._round),))
        self._gathering = gathering
        self._rules = rules_of(context.config)
        self._clock = SteadyClock()
        self._catalog = CatalogThread(context.config.data_dir)
        self._volumes: dict[tuple[str, str], Volume] = {}
        self._told_ms = 0
        self._began_ms = self._clock.now_ms()

    async def reload(self, config: Config) -> None:
        """Go by new settings from the next round on."""
        self._rules = rules_of(config)

    async def _release(self) -> None:
        await self._catalog.close()

    async def _round(self) -> None:
        pools = await self._catalog.run(_managed)
        if not pools:
            return
        totals = await self._totals()
        now_ms = self._clock.now_ms()
        for pool, have in pools:
            key = (pool.account, pool.name)
            sent, deferred = totals.get(key, (0.0, 0.0))
            volume = self._volumes.get(key)
            if volume is None:
                new = pool.created_ms >= self._began_ms  # all that was counted for it is of this day
                volume = self._volumes[key] = Volume(now_ms, *((0.0, 0.0) if new else (sent, deferred)))
            volume.note(now_ms, sent, deferred)
            label = f"{pool.account}/{pool.name}"
            self._context.metrics.gauge("relay_managed_pool_addresses", have, label)
            self._context.metrics.gauge("relay_managed_pool_day_messages", volume.day, label)
            await self._resize(pool, have, volume, now_ms)

    async def _resize(self, pool: Pool, have: int, volume: Volume, now_ms: int) -> None:
        wanted = change(have, volume, self._rules, now_ms)
        if not wanted:
            return
        try:
            moved = await self._catalog.run(partial(_moved, pool, wanted))
        except UsageError as error:
            if now_ms - self._told_ms >= HOUR_MS:
                self._told_ms = now_ms
                self._context.log.warning("a managed pool cannot grow", pool=pool.name, reason=str(error))
            return
        if wanted < 0:
            volume.shrunk_ms = now_ms
        what = "grow" if wanted > 0 else "shrink"
        self._context.log.info("a managed pool changed its size", pool=pool.name, change=wanted, addresses=moved)
        self._context.metrics.count("relay_managed_pool_changes_total", what)
        values = {"pool": pool.name, "addresses": list(moved), "sentLast24Hours": int(volume.day)}
        record = partial(
            audit.record, self._context.config.data_dir, f"pool.{what}", pool.account, values, caller=CALLER
        )
        await asyncio.to_thread(record)

    async def _totals(self) -> Totals:
        delivered: Counter[tuple[str, str]] = Counter()
        deferred: Counter[tuple[str, str]] = Counter()
        for (metric, labels), value in (await self._gathering.totals()).items():
            if metric != METRIC:
                continue
            _source, label, verdict = labels
            account, slash, name = label.partition("/")
            key = (account, name) if slash else ("", account)
            counted = delivered if verdict == "delivered" else deferred if verdict == "temporary" else None
            if counted is not None:
                counted[key] += int(value)
        return {key: (delivered[key], deferred[key]) for key in delivered | deferred}


def rules_of(config: Config) -> ManagedRules:
    """Return what sizing goes by."""
    return ManagedRules(address_a_day=config.delivery.managed_address_a_day)


def _managed(catalog: Catalog) -> list[tuple[Pool, int]]:
    """Return the managed pools with how many addresses each has."""
    held = Counter((one.account, one.pool) for one in catalog.addresses.list())
    pools = [one for one in catalog.pools.list() if one.mode is ScalingMode.MANAGED]
    return [(one, held[one.account, one.name]) for one in pools]


def _moved(pool: Pool, wanted: int, catalog: Catalog) -> list[str]:
    if wanted < 0:
        return [catalog.pools.shrink(pool.account, pool.name)]
    spare = sum(1 for one in catalog.addresses.list() if one.reserve)
    return list(catalog.pools.grow(pool.account, pool.name, max(1, min(wanted, spare))))
