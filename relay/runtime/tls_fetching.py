"""MTA-STS for all workers: one process fetches, keeps and refreshes policies (RFC 8461 section 3.3).

A worker that meets a new id in a domain's record asks here; however many ask, a policy is fetched once. A fetch that
fails is not repeated for five minutes, and never takes away a policy that is still valid (section 5.1). Policies of
domains that had mail in the last month are compared with their records once a day.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from relay.model.tls import KnownPolicy
from relay.net.mta_sts import NoPolicy, fetch_policy
from relay.net.web import Web
from relay.policy.mta_sts import record_id, record_name
from relay.ports import Clock, Json, Log, Metrics, Resolver, ResolverError
from relay.runtime.rpc import Ops, text
from relay.runtime.tls_thread import TlsThread

FETCH = "sts.fetch"
AGAIN_SECONDS = 300.0  # RFC 8461 section 3.3: failures are not asked again at once
TOGETHER_MAX = 20
REMEMBERED_MAX = 10_000
COMPARE_MS = 86_400_000
USED_MS = 31 * 86_400_000
REFRESH_PAGE = 500


class Fetching:
    """Answers `sts.fetch`, and refreshes."""

    def __init__(
        self, book: TlsThread, tools: Callable[[], tuple[Web, Resolver]], clock: Clock, log: Log, metrics: Metrics
    ) -> None:
        self._book = book
        self._tools = tools
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._running: dict[tuple[str, str], asyncio.Task[KnownPolicy | NoPolicy]] = {}
        self._failed: dict[tuple[str, str], tuple[float, NoPolicy]] = {}
        self._room = asyncio.Semaphore(TOGETHER_MAX)

    def register(self, ops: Ops) -> None:
        """Make the operation known."""
        ops.add(FETCH, self.fetch)

    async def fetch(self, request: Json) -> Json:
        """Fetch the policy of `domain` under `record_id`: {"fetched": bool, "result": ..., "failure": ...}.

        Answered after it was written; who asked reads it from the file.
        """
        found = await self.get(text(request, "domain"), text(request, "record_id"))
        if isinstance(found, NoPolicy):
            return {"fetched": False, "result": found.result, "failure": found.text}
        return {"fetched": True, "result": "", "failure": ""}

    async def get(self, domain: str, wanted_id: str) -> KnownPolicy | NoPolicy:
        """Return the policy of a domain under an id, fetched now unless that just failed."""
        key = domain, wanted_id
        until, failure = self._failed.get(key, (0.0, None))
        if failure is not None and self._clock.monotonic() < until:
            return failure
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(domain, wanted_id))
            self._running[key] = task
            task.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(task)

    def _ended(self, key: tuple[str, str], task: asyncio.Task[KnownPolicy | NoPolicy]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # whoever waits for it has it

    async def _fetch(self, domain: str, wanted_id: str) -> KnownPolicy | NoPolicy:
        async with self._room:
            policy = await fetch_policy(self._tools()[0], domain)
        now_ms = self._clock.now_ms()
        if isinstance(policy, NoPolicy):
            self._metrics.count("relay_mta_sts_fetches_total", "refused" if policy.refused else "failed")
            self._log.warning("an MTA-STS policy cannot be fetched", domain=domain, reason=policy.text)
            self._remember((domain, wanted_id), policy)
            await self._book.run(lambda book: book.looked(domain, now_ms, policy.text))
            return policy
        self._metrics.count("relay_mta_sts_fetches_total", "fetched")
        known = KnownPolicy(domain, wanted_id, policy, now_ms, now_ms + policy.max_age_seconds * 1000)
        await self._book.run(lambda book: book.put(known))
        self._log.info("MTA-STS policy fetched", domain=domain, mode=policy.mode.value, id=wanted_id)
        return known

    def _remember(self, key: tuple[str, str], failure: NoPolicy) -> None:
        if len(self._failed) >= REMEMBERED_MAX:
            del self._failed[next(iter(self._failed))]
        self._failed[key] = self._clock.monotonic() + AGAIN_SECONDS, failure

    # --- refreshing ------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Compare what was not compared for a day with its record, and fetch it anew; forget what is over."""
        now_ms = self._clock.now_ms()
        await self._book.run(lambda book: book.drop_expired(now_ms))
        due = await self._book.run(lambda book: book.due(now_ms, COMPARE_MS, now_ms - USED_MS, REFRESH_PAGE))
        for start in range(0, len(due), TOGETHER_MAX):
            async with asyncio.TaskGroup() as group:
                for known in due[start : start + TOGETHER_MAX]:
                    group.create_task(self._compare(known))

    async def _compare(self, known: KnownPolicy) -> None:
        """A record that is gone says nothing against a policy that is valid (RFC 8461 section 2.2)."""
        try:
            found = record_id(await self._tools()[1].text(record_name(known.domain)))
        except ResolverError:
            found = ""
        if found:
            await self.get(known.domain, found)  # the same id too: so its time begins anew
        now_ms = self._clock.now_ms()
        if not found:
            await self._book.run(lambda book: book.looked(known.domain, now_ms, "the domain's record is not there"))
