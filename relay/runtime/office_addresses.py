"""Source addresses as a service of the office: which of them the host has, and what DNS says of them (POOL-011).

Every second each address is bound, which costs microseconds; one that the host lost is taken out, and comes back by
itself. The change is in the catalog when it is logged, counted and written to the audit log, and workers see it a
quarter of a second later. Reverse DNS is looked at when it is due: at once for a new address, then every few hours,
more often while something is wrong with it.
"""

import asyncio
from functools import partial

from relay.model.pool import ReverseDns
from relay.net import presence
from relay.net.resolver import DnsResolver
from relay.runtime import audit, settings
from relay.runtime.address_look import Ask, look
from relay.runtime.catalog_thread import CatalogThread
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.office_jobs import Job, Scheduled
from relay.store.catalog import Catalog

PRESENCE_SECONDS = 1.0
REVERSE_SECONDS = 5.0
TOGETHER_MAX = 20  # addresses looked at in DNS at a time
CALLER = "relay"


class AddressService(Scheduled):
    """The service that the office runs (`relay.runtime.office.Service`)."""

    def __init__(self, context: ChildContext) -> None:
        self._config = context.config
        self._told = False
        self._read = True  # what the configuration names was taken on (at the start by the supervisor)
        self._clock = SteadyClock()
        self._catalog = CatalogThread(context.config.data_dir)
        jobs = (
            Job("source addresses", PRESENCE_SECONDS, self._presence),
            Job("reverse dns", REVERSE_SECONDS, self._reverse),
        )
        super().__init__(context, jobs)

    async def reload(self, config: Config) -> None:
        """Take on the addresses that the configuration names now, in the next round."""
        self._config = config
        self._read = False

    async def _release(self) -> None:
        await self._catalog.close()

    # --- presence ------------------------------------------------------------------------------------------------

    async def _presence(self) -> None:
        config = self._config
        if not self._read:
            declared = settings.declared_addresses(config)
            absent = presence.missing(one.address for one in declared)
            await self._catalog.run(lambda catalog: catalog.addresses.declare(declared, absent))
            self._read = config is self._config
        changed, counts = await self._catalog.run(look_at_host)
        for state, count in counts.items():
            self._context.metrics.gauge("relay_source_addresses", count, state)
        if not self._told:
            self._told = True
            for one in [one for one in await self._catalog.run(_absent) if one not in changed]:
                self._context.log.error("a source address is not of this host", address=one)
        for address, has in changed.items():
            say = self._context.log.info if has else self._context.log.error
            say("a source address is back" if has else "a source address is gone from this host", address=address)
            self._context.metrics.count("relay_source_address_changes_total", "present" if has else "absent")
            operation = "address.present" if has else "address.absent"
            record = partial(audit.record, self._config.data_dir, operation, "", {"address": address}, caller=CALLER)
            await asyncio.to_thread(record)

    # --- reverse DNS ---------------------------------------------------------------------------------------------

    async def _reverse(self) -> None:
        now_ms = self._clock.now_ms()
        due = await self._catalog.run(lambda catalog: catalog.addresses.due_reverse(now_ms, TOGETHER_MAX))
        if not due:
            return
        config = self._config
        ask: Ask = DnsResolver(settings.resolver_settings(config), self._clock, self._context.metrics).records
        found = await asyncio.gather(*(look(ask, one, helo or config.hostname, now_ms) for one, helo in due))
        for (address, _), reverse in zip(due, found, strict=True):
            changed = await self._catalog.run(partial(_put_reverse, address, reverse))
            if changed:
                self._tell(address, reverse)

    def _tell(self, address: str, found: ReverseDns) -> None:
        say = self._context.log.info if found.helo else self._context.log.warning
        say(
            "reverse DNS of a source address",
            address=address,
            state=str(found.state),
            names=", ".join(found.names),
            ehlo_name="fits" if found.helo else "does not fit",
            error=found.error,
        )


def look_at_host(catalog: Catalog) -> tuple[dict[str, bool], dict[str, int]]:
    """Note which addresses the host has; return those of which that changed, and how many there are by state."""
    known = catalog.addresses.presence()
    now = {address: presence.has_address(address) for address in known}
    moved = {address: has for address, has in now.items() if has is not known[address]}
    changed = catalog.addresses.set_presence(moved) if moved else ()
    there = sum(now.values())
    return {address: now[address] for address in changed}, {"present": there, "absent": len(now) - there}


def _put_reverse(address: str, found: ReverseDns, catalog: Catalog) -> bool:
    return catalog.addresses.put_reverse(address, found)


def _absent(catalog: Catalog) -> list[str]:
    return [address for address, has in catalog.addresses.presence().items() if not has]
