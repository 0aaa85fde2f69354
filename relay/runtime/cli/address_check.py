"""The look of `relay address check`: presence and reverse DNS of some addresses, kept with them."""

import asyncio
from collections.abc import Sequence

from relay.model.pool import SourceAddress
from relay.net.presence import has_address
from relay.net.resolver import DnsResolver
from relay.runtime import settings
from relay.runtime.address_look import look
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.store.catalog import Catalog


async def look_at(config: Config, catalog: Catalog, addresses: Sequence[SourceAddress]) -> list[SourceAddress]:
    """Look at addresses all at once; return them as they are then."""
    clock = SteadyClock()
    resolver = DnsResolver(settings.resolver_settings(config), clock)
    now_ms = clock.now_ms()
    looks = (look(resolver.records, one.address, one.helo_name or config.hostname, now_ms) for one in addresses)
    found = await asyncio.gather(*looks)
    catalog.addresses.set_presence({one.address: has_address(one.address) for one in addresses})
    for one, reverse in zip(addresses, found, strict=True):
        catalog.addresses.put_reverse(one.address, reverse)
    return [catalog.addresses.require(one.address) for one in addresses]
