"""Changes to the queue of a stopped relay: the data directory is locked, each shard adopted, changed, given up."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from relay.events.queue_files import DIRECTORY
from relay.model.erasure import Erasure
from relay.pipeline.give_back import GiveBack
from relay.pipeline.internal import InternalMail, Origin
from relay.runtime import supervisor_start
from relay.runtime.clock import SteadyClock
from relay.runtime.observe.log import open_log
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.privacy_places import EVENT_FILES, EVENT_ITEMS, LOCAL_QUEUES
from relay.runtime.queue_work import Done, NoWindow, Order, QueueWork
from relay.runtime.settings import SEARCH_PURPOSE
from relay.signing.secrets import derive
from relay.store import event_queue
from relay.store.event_queue import EventQueue
from relay.store.line_files import erase_in_rotated
from relay.store.spool import ShardSpool, SpoolOptions
from relay.store.spool_privacy import ErasedInSpool, erase_in_spool

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
        self._key = derive(site.master_key(), SEARCH_PURPOSE)  # what is finished moves to history here, too
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

    def erase_in_shard(self, shard: int, address: str, *, force: bool) -> ErasedInSpool:
        """Erase an address in a shard; opening it moves what is finished to history."""

        async def erase() -> ErasedInSpool:
            self._opened(shard)
            assert self._spool is not None
            return await erase_in_spool(self._spool, address, force=force)

        return self._runner.run(erase())

    def erase_in_events(self, address: str) -> dict[str, int]:
        """Erase an address in what the events process writes."""
        config, erasure = self._site.config, Erasure(address)
        queues = (self._site.data_dir / DIRECTORY).glob("*/*.jsonl")
        return {
            EVENT_FILES: sum(erase_in_rotated(erasure, config.event_file(one)) for one in config.events),
            LOCAL_QUEUES: sum(erase_in_rotated(erasure, path) for path in queues),
            EVENT_ITEMS: self._erase_items(address),
        }

    def _erase_items(self, address: str) -> int:
        config, path = self._site.config, self._site.data_dir / event_queue.FILE
        if not path.exists():
            return 0
        log, bounds = open_log(config.logging.format, "error"), config.event_queue
        queue = EventQueue(path, log, bytes_max=bounds.size_max, age_seconds_max=bounds.age_max)
        try:
            return queue.erase(address)
        finally:
            queue.close()

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
        spool = self._spool = ShardSpool.open(
            self._site.data_dir, shard, clock, log, SpoolOptions(search_key=self._key)
        )
        spool.start(asyncio.get_running_loop())
        origin = Origin(config.hostname, int(config.delivery.lifetime * 1000))
        mail = InternalMail(origin=origin, spool=spool, clock=clock, log=log, metrics=ProcessMetrics(""))
        give_back = GiveBack(spool=spool, reports=mail.report, hostname=lambda: config.hostname, clock=clock)
        self._number = shard
        self._work = QueueWork(spool, NoWindow(), give_back, clock)
        return self._work
