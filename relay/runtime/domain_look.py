"""Asks the configured lists of domains about domains that mail points to, all at once."""

import asyncio
from collections.abc import Sequence

from relay.reputation.blocklist import NO_DOMAIN, domain_question, judge
from relay.runtime.config.model import Config
from relay.runtime.config.own import DomainListSetting
from relay.runtime.identity_look import Ask

TOGETHER_MAX = 50


async def listings(ask: Ask, domains: Sequence[str], config: Config) -> list[tuple[str, DomainListSetting]]:
    """Return which domains are on which lists; a list that gives no answer, or has everybody, has none of them."""
    room = asyncio.Semaphore(TOGETHER_MAX)

    async def one(domain: str, asked: DomainListSetting) -> bool:
        async with room:
            return judge(await ask(domain_question(domain, asked.zone), "A")).listed

    pairs = [(domain, asked) for domain in domains for asked in config.own_checks.domain_lists]
    found = await asyncio.gather(*(one(*pair) for pair in pairs))
    listed = [pair for pair, is_listed in zip(pairs, found, strict=True) if is_listed]
    zones = {asked.zone: asked for _, asked in listed}
    checked = await asyncio.gather(*(one(NO_DOMAIN, asked) for asked in zones.values()))
    everybody = {zone for zone, is_listed in zip(zones, checked, strict=True) if is_listed}
    return [(domain, asked) for domain, asked in listed if asked.zone not in everybody]
