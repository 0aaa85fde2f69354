"""DKIM keys as a service of the office: keys take turns, retired ones come back, second signatures begin (DKIM-005).

What is due is found in the catalog once an hour. A key signs only after its record was seen in DNS just now, however
it got there; where it is not seen the present key goes on, and the next hour looks again. Records of the relay's own
zone get new pairs when nobody needs the old ones any more, and only where the owner's name is an alias into it: a
record that an owner wrote by hand would be wrong afterwards. The check of a domain's state is another service.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from relay.errors import RelayError, UsageError
from relay.model.dkim import PUBLISHED_MS, DkimKey, DkimSettings, KeyOrigin, KeyState
from relay.net.resolver import DnsResolver
from relay.policy.dkim import Retired, in_use, pending_set, publishes, successors
from relay.ports import Clock, Log, ResolverError
from relay.runtime import settings
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.identity_look import Ask
from relay.runtime.office_jobs import Job, Scheduled
from relay.store.catalog import Catalog, open_existing_catalog

EVERY_SECONDS = 3600.0
ROUND_SECONDS = 1800.0
PAGE_SIZE = 100
TOGETHER_MAX = 20  # domains looked at in DNS at a time

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Domain:
    """A domain that has something to be done, as the catalog has it."""

    account: str
    name: str
    keys: tuple[DkimKey, ...]
    settings: DkimSettings
    fates: dict[str, Retired]


class DkimService(Scheduled):
    """The service that the office runs (`relay.runtime.office.Service`)."""

    def __init__(self, context: ChildContext) -> None:
        super().__init__(context, (Job("dkim keys", EVERY_SECONDS, self._round, ROUND_SECONDS),))
        self._clock = SteadyClock()

    async def _round(self) -> None:
        config = self._context.config
        resolver = DnsResolver(settings.resolver_settings(config), self._clock, self._context.metrics)
        await KeyRound(config, resolver.records, self._clock, self._context.log).run()


class KeyRound:
    """One look at all keys. The catalog is used on a thread of its own, so that nothing waits for the disk."""

    def __init__(self, config: Config, ask: Ask, clock: Clock, log: Log) -> None:
        self._config = config
        self._ask = ask
        self._clock = clock
        self._log = log
        self._thread = ThreadPoolExecutor(1, "dkim-catalog")

    async def run(self) -> None:
        """Do what is due. Raise a RelayError when the catalog cannot be used now."""
        try:
            catalog = await self._on_thread(self._open)
            try:
                after = ("", "")
                while page := await self._on_thread(partial(self._page, catalog, after)):
                    for start in range(0, len(page), TOGETHER_MAX):
                        async with asyncio.TaskGroup() as group:
                            for one in page[start : start + TOGETHER_MAX]:
                                group.create_task(self._tend(catalog, one))
                    after = page[-1].account, page[-1].name
            finally:
                await asyncio.shield(self._on_thread(catalog.close))
        finally:
            self._thread.shutdown(wait=False)

    # --- one domain ----------------------------------------------------------------------------------------------

    async def _tend(self, catalog: Catalog, domain: _Domain) -> None:
        try:
            await self._withdraw(catalog, domain)
            await self._clear(catalog, domain)
            await self._find(catalog, domain)
            await self._rotate(catalog, domain)
        except ResolverError as error:
            self._log.info("no answer for the keys of a domain", domain=domain.name, reason=str(error))
        except RelayError as error:  # such as a domain that was deleted just now
            self._log.warning("keys of a domain are looked at again later", domain=domain.name, reason=str(error))

    async def _withdraw(self, catalog: Catalog, domain: _Domain) -> None:
        """During a switch the old keys sign only as long as their records are there (DKIM-010)."""
        signs = [key for key in domain.keys if key.rsa and key.state is KeyState.ACTIVE]
        if not pending_set(domain.keys) or not signs or await self._published(domain, signs[0]):
            return
        if await self._on_thread(lambda: catalog.dkim.withdraw(domain.account, domain.name)):
            self._log.warning("dkim keys are gone from DNS and sign no more", domain=domain.name)

    async def _clear(self, catalog: Catalog, domain: _Domain) -> None:
        """Delete what nobody needs; give names in the relay's zone new pairs."""
        for key in domain.keys:
            fate = domain.fates.get(key.selector, Retired.KEEP)
            if fate is Retired.DELETE:
                await self._on_thread(partial(catalog.dkim.forget, domain.account, domain.name, key.selector))
                self._log.info("dkim key deleted", domain=domain.name, selector=key.selector)
            elif fate is Retired.STAND_BY and key.created_ms <= key.retired_ms and await self._in_zone(domain, key):
                await self._on_thread(partial(catalog.dkim.renew, domain.account, domain.name, key.selector))
                self._log.info("dkim key renewed", domain=domain.name, selector=key.selector)

    async def _find(self, catalog: Catalog, domain: _Domain) -> None:
        """Look for the records of second signatures, and of keys that come back."""
        keys = await self._on_thread(lambda: catalog.dkim.keys_of(domain.account, domain.name))
        wanted = [
            key
            for key in keys
            if domain.fates.get(key.selector) is Retired.STAND_BY or (not key.rsa and key.state is KeyState.PENDING)
        ]
        found = [key.selector for key in wanted if await self._published(domain, key)]
        if not found:
            return
        if await self._on_thread(lambda: catalog.dkim.found(domain.account, domain.name, found)):
            self._log.info("dkim keys found", domain=domain.name, selectors=found)

    async def _rotate(self, catalog: Catalog, domain: _Domain) -> None:
        """Let the next key take over when the present one has signed for its time."""
        due_ms = domain.settings.rotated_ms + int(self._config.dkim.rotate_every * 1000)
        easy = domain.settings.origin is KeyOrigin.AWS_SES and not pending_set(domain.keys)
        if not easy or self._clock.now_ms() < due_ms or not any(in_use(key) for key in domain.keys):
            return
        waiting = successors(domain.keys)
        for key in waiting:
            if await self._published(domain, key):
                rotate = partial(catalog.dkim.rotate, domain.account, domain.name, key.selector)
                if await self._on_thread(rotate):
                    self._log.info("dkim key rotated", domain=domain.name, selector=key.selector)
                return
        if waiting:
            names = [key.name(domain.name) for key in waiting]
            self._log.warning("dkim key not rotated, the next one is not in DNS", domain=domain.name, names=names)

    # --- parts ---------------------------------------------------------------------------------------------------

    async def _published(self, domain: _Domain, key: DkimKey) -> bool:
        return publishes(await self._answers(key.name(domain.name), "TXT"), key.public_txt)

    async def _in_zone(self, domain: _Domain, key: DkimKey) -> bool:
        record = key.record(domain.name, self._config.dkim.zone or "")
        return record.kind == "CNAME" and record.value in await self._answers(record.name, "CNAME")

    async def _answers(self, name: str, kind: str) -> tuple[str, ...]:
        """Return the records of a name, CNAME targets in lower case. Raise ResolverError without an answer."""
        answer = await self._ask(name, kind)
        if answer.failure:
            raise ResolverError(answer.failure)
        return tuple(value.lower() for value in answer.values) if kind == "CNAME" else answer.values

    def _page(self, catalog: Catalog, after: tuple[str, str]) -> list[_Domain]:
        now_ms = self._clock.now_ms()
        found = catalog.dkim.work(
            after,
            retired_before_ms=now_ms - PUBLISHED_MS,
            rotated_before_ms=now_ms - int(self._config.dkim.rotate_every * 1000),
            limit=PAGE_SIZE,
        )
        return [_read(catalog, account, name) for account, name, _ in found]

    def _open(self) -> Catalog:
        return open_existing_catalog(
            self._config.data_dir,
            settings.master_key(self._config.data_dir),
            now_ms=self._clock.now_ms,
            dkim_zone=self._config.dkim.zone or "",
        )

    async def _on_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def _read(catalog: Catalog, account: str, name: str) -> _Domain:
    """Return a domain; one that was deleted just now has nothing to be done."""
    try:
        how, fates = catalog.dkim.settings(account, name), catalog.dkim.fates(account, name)
    except UsageError:
        how, fates = DkimSettings(None, KeyOrigin.EXTERNAL, "", 0, 0), {}
    return _Domain(account, name, catalog.dkim.keys_of(account, name), how, fates)
