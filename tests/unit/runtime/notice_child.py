"""Hands over the notices of a catalog to a shard and dies. Its arguments are DATA POINT COUNT.

The real book, the real taking, real files; only the socket between them is left out. At the COUNT-th time POINT is
reached it kills itself; without a point ("") it ends by itself when nothing waits.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from relay.pipeline.internal import InternalMail, Origin
from relay.pipeline.notices import NoticeRules, TakeNotices
from relay.runtime.catalog_thread import CatalogThread
from relay.runtime.clock import SteadyClock
from relay.runtime.courier import hand_over_all
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.office_notices import NoticesOfCatalog
from relay.runtime.settings import master_key
from relay.runtime.worker_notices import WorkerNotices
from relay.store.directory import CatalogDirectory
from relay.store.inbox import ShardInbox
from relay.store.spool import ShardSpool, SpoolOptions
from relay.testing.log import MemoryLog


async def work(data_dir: Path, point: str, count: int) -> None:
    left = [count]

    def reached(name: str) -> None:
        if name == point:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    clock, log, metrics = SteadyClock(), MemoryLog(), ProcessMetrics("test")
    spool = ShardSpool.open(data_dir, 1, clock, log, SpoolOptions(crash_point=reached))
    spool.start(asyncio.get_running_loop())
    mail = InternalMail(origin=Origin("relay.example", 3_600_000), spool=spool, clock=clock, log=log, metrics=metrics)
    take = TakeNotices(
        rules=NoticeRules("relay.example", "no-reply@relay.example"),
        directory=CatalogDirectory(data_dir, master_key(data_dir)),
        inbox=ShardInbox(spool, clock),
        mail=mail,
        accepted=lambda _new: None,
        clock=clock,
        log=log,
        metrics=metrics,
    )
    worker = WorkerNotices(data_dir, take)
    catalog = CatalogThread(data_dir)
    inner = NoticesOfCatalog(catalog)

    class Book:
        async def waiting(self, limit, after):
            reached("look")
            return await inner.waiting(min(limit, 2), after)

        async def forget(self, notice_ids):
            reached("forget")
            await inner.forget(notice_ids)
            reached("forgotten")

    async def hand_over(notice_id):
        reached("hand over")
        await worker.take({"notice": notice_id})
        reached("taken")

    assert await hand_over_all(Book(), hand_over, log) == 0
    await catalog.close()
    spool.close()


def main():
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
