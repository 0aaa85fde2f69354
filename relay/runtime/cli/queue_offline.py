"""Changes to the queue of a stopped relay: the data directory is locked, each shard adopted, changed, given up."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.runtime import supervisor_start
from relay.runtime.cli.queue_actions import APPLIES_TO
from relay.runtime.clock import SteadyClock
from relay.runtime.observe.log import open_log
from relay.store.spool import ShardSpool, SpoolOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from relay.runtime.cli.shards import Choice, Shard
    from relay.runtime.cli.site import Site

PAGE = 500


def act_offline(site: "Site", shards: "Sequence[Shard]", action: str, choices: "Sequence[Choice]") -> int:
    """Do `action` to the chosen deliveries of some shards; return how many it changed. TemporaryError when locked."""
    run_dir = supervisor_start.prepare_directories(site.data_dir, None)
    lock = supervisor_start.RunLock.take(run_dir)
    try:
        return sum(asyncio.run(_act_on(site, shard.number, action, choices)) for shard in shards)
    finally:
        lock.release()


async def _act_on(site: "Site", number: int, action: str, choices: "Sequence[Choice]") -> int:
    log = open_log(site.config.logging.format, "error")
    spool = ShardSpool.open(site.data_dir, number, SteadyClock(), log, SpoolOptions())
    try:
        spool.start(asyncio.get_running_loop())
        changes: dict[str, Callable[[int], Awaitable[list[int]]]] = {
            "retry": spool.retry_now,
            "hold": spool.hold,
            "release": spool.release,
            "delete": spool.delete,
        }
        count = 0
        for choice in choices:
            for keys in _pages(spool, replace(choice, states=choice.states & APPLIES_TO[action])):
                changed = await asyncio.gather(*(changes[action](key) for key in keys))
                count += sum(len(one) for one in changed)
        return count
    finally:
        spool.close()


def _pages(spool: ShardSpool, choice: "Choice") -> "Iterator[list[int]]":
    """Yield the keys of the chosen deliveries, page by page; what a page changed is not met again."""
    after: int | None = 0
    while after is not None:
        page = spool.page(choice.filter(), after, PAGE)
        yield [delivery.key for delivery in page.deliveries]
        after = page.next_after
