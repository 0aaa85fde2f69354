"""What it costs to find the next delivery, however much is queued: 10,000, 100,000 and 1,000,000 deliveries.

    python -m bench.queue [--quick] [--queued 10000 100000 1000000] [--domains 50000] [--accounts 100]

Shards are written with the relay's own rows: all deliveries are due, for 50,000 domains, from 100 accounts, half of
them bulk. Then the ready window works each of them off for a moment: a third of what it holds is settled as delivered
after every step. Measured is the CPU time that the window spends on the event loop for each delivery that it takes
from disk, the longest single step, and the first step after the start. Memory: `python -m bench.memory`.
"""

import asyncio
import gc
import heapq
import itertools
import statistics
import tempfile
import time
from pathlib import Path

from bench.figures import Figure, arguments, at_most, finish, show_reference
from bench.memory import fill
from relay.model.delivery import DeliveryState
from relay.model.message import Settlement
from relay.pipeline.dispatch import Dispatch
from relay.runtime.clock import SteadyClock
from relay.store.spool import ShardSpool
from relay.testing.log import MemoryLog

SHARD = 1
TAKEN = 6000  # deliveries of each queue
FINISHED_SHARE = 3


class Outbound:
    """Takes jobs; the benchmark finishes them."""

    def __init__(self) -> None:
        self.jobs: list = []

    def enqueue(self, job) -> None:
        self.jobs.append(job)

    def withdraw(self, _key: int) -> bool:
        return False


async def work_off(spool: ShardSpool, taken_min: int) -> tuple[int, list[float]]:
    """Let a window work a shard off; return how many deliveries it took, and the seconds of each of its steps."""
    outbound, order, timers = Outbound(), itertools.count(), []
    dispatch = Dispatch(
        spool=spool,
        outbound=outbound,
        return_path=lambda _delivery: "",
        clock=SteadyClock(),
        call_later=lambda seconds, call: heapq.heappush(timers, (time.monotonic() + seconds, next(order), call)),
        log=MemoryLog(),
    )
    steps, settled = [timed(dispatch.start)], 0
    while settled + len(outbound.jobs) < taken_min:
        _, _, call = heapq.heappop(timers)  # at once: waiting costs nothing that is to be measured
        steps.append(timed(call))
        done = outbound.jobs[: len(outbound.jobs) // FINISHED_SHARE]
        del outbound.jobs[: len(done)]
        await settle(spool, [job.delivery for job in done])
        for job in done:
            dispatch.finished(job.delivery.key)
        settled += len(done)
    taken = settled + len(outbound.jobs)
    dispatch.stop()
    return taken, steps


def timed(call) -> float:
    begin = time.thread_time()  # of the event loop alone; neighbours do not count
    call()
    return time.thread_time() - begin


async def settle(spool: ShardSpool, deliveries: list) -> None:
    if not deliveries:
        return
    written = asyncio.get_running_loop().create_future()
    verdicts = [Settlement(one, DeliveryState.DELIVERED, 1, 0, "250 2.0.0 Ok") for one in deliveries]
    spool.settle_all(verdicts, written.set_result)
    error = await written
    if error is not None:
        raise error


async def measure(data_dir: Path, taken_min: int) -> tuple[int, list[float]]:
    spool = ShardSpool.open(data_dir, SHARD, SteadyClock(), MemoryLog())
    spool.start(asyncio.get_running_loop())
    try:
        return await work_off(spool, taken_min)
    finally:
        await asyncio.to_thread(spool.close)


def queue(count: int, args) -> tuple[float, float]:
    """Make a queue and work it off; return microseconds a delivery and the longest step in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as directory:
        data_dir, now_ms = Path(directory), int(time.time() * 1000)
        due_ms = range(now_ms - 3_600_000, now_ms)
        fill(
            data_dir,
            SHARD,
            count,
            account="",
            domains=args.domains,
            due_ms=due_ms,
            accounts=args.accounts,
            attempts=0,
        )
        gc.collect()
        taken, steps = asyncio.run(measure(data_dir, min(args.taken, count)))
    each_us, longest_ms = 1e6 * sum(steps) / taken, 1000 * max(steps)
    print(
        f"  {count:9d} queued: {taken} taken in {len(steps)} steps, {each_us:6.1f} us each; steps: first "
        f"{1000 * steps[0]:.1f} ms, median {1000 * statistics.median(steps):.1f} ms, longest {longest_ms:.1f} ms",
        flush=True,
    )
    return each_us, longest_ms


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--queued", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--domains", type=int, default=50_000)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--taken", type=int, default=TAKEN)
    args = parser.parse_args()
    if args.quick:
        args.queued = [count for count in args.queued if count <= 100_000]
    show_reference()
    found = {count: queue(count, args) for count in args.queued}
    few, many = min(found), max(found)
    figures: list[Figure] = [
        at_most(
            f"time to pick a delivery of {many}, beside one of {few}", found[many][0] / found[few][0], 2, "times"
        ),
        at_most(f"longest step of the window with {many} queued", found[many][1], 250, "ms"),
    ]
    finish(figures, args.json)


if __name__ == "__main__":
    main()
