"""Changes to the queue of a stopped relay: the data directory is locked, each shard adopted, changed, given up."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from relay.pipeline.give_back import GiveBack
from relay.pipeline.internal import InternalMail, Origin
from relay.runtime import supervisor_start
from relay.runtime.clock import SteadyClock
from relay.runtime.observe.log import open_log
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.queue_work import Done, NoWindow, Order, QueueWork
from relay.store.spool import ShardSpool, SpoolOptions

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site

T = TypeVar("T")


@contextlib.contextmanager
def stopped(site: "Site") -> Iterator["StoppedShards"]:
    """Give the shards of a stopped relay. TemporaryError when the relay runs, or another such command."""
    run_dir = supervisor_start.prepare_directories(site.data_dir, None)
    lock = supervisor_start.RunLock.take(run_dir)
    shards = StoppedShards(site)
    try:
        yield shards
    finally:
        shards.close()
        lock.release()


class StoppedShards:
    """One shard after the other is opened, worked on, and given up when the next one is wanted."""

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._runner = asyncio.Runner()
        self._number = 0
        self._spool: ShardSpool | None = None
        self._work: QueueWork | None = None

    def act(self, shard: int, order: Order, keys: list[int]) -> Done:
        """Do something to some deliveries of a shard."""
        return self._in(shard, lambda work: work.act(order, keys))

    def end_hold(self, shard: int, number: int) -> int:
        """Release some of what a standing hold holds in a shard; 0 when there is no more."""
        return self._in(shard, lambda work: work.end_rule(number))

    def holds_changed(self) -> None:
        """The next start reads them."""

    def close(self) -> None:
        """Give up what is open."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        self._runner.close()

    def _in(self, shard: int, call: Callable[[QueueWork], Coroutine[Any, Any, T]]) -> T:
        async def work() -> T:
            return await call(self._opened(shard))

        return self._runner.run(work())

    def _opened(self, shard: int) -> QueueWork:
        if self._work is not None and self._number == shard:
            return self._work
        if self._spool is not None:
            self._spool.close()
        config, clock = self._site.config, SteadyClock()
        log = open_log(config.logging.format, "error")
        spool = self._spool = ShardSpool.open(self._site.data_dir, shard, clock, log, SpoolOptions())
        spool.start(asyncio.get_running_loop())
        origin = Origin(config.hostname, int(config.delivery.lifetime * 1000))
        mail = InternalMail(origin=origin, spool=spool, clock=clock, log=log, metrics=ProcessMetrics(""))
        give_back = GiveBack(spool=spool, reports=mail.report, hostname=lambda: config.hostname, clock=clock)
        self._number = shard
        self._work = QueueWork(spool, NoWindow(), give_back, clock)
        return self._work
