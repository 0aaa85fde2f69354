"""What the spool costs: accept and settle of 10-KB messages, in groups, alone, and with slow syncs.

    python -m bench.spool [--messages N] [--window N] [--backlog N] [--directory DIR]

Prints a table: messages a second, CPU a message of the whole process (event loop, writer, housekeeper), latency of
one transaction (p50, p99, max). A closed loop: `window` messages are under way at a time, each is accepted, then
settled, as in the product. "idle" leaves the event loop free, "busy" adds 300 us of work a message to it.
"""

import argparse
import asyncio
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.ids import new_message_id
from relay.model.message import Delivery, Message, NewEvent, NewMessage, Settlement
from relay.runtime.clock import SteadyClock
from relay.store.spool import ShardSpool, SpoolOptions
from relay.testing.log import MemoryLog

BODY = os.urandom(10_000)
HEAD = b"Received: by relay.example\r\n" * 20 + b"\r\n"
MAIL = b'{"messageId":"x","destination":["rcpt@example.org"]}' + b" " * 600
ATTEMPT = b'{"time":1,"remote":"mx.example.org","reply":"250 2.0.0 Ok: queued as 0123456789","tls":"TLSv1.3"}'


def message(spool: ShardSpool, now_ms: int) -> NewMessage:
    message_id = new_message_id(spool.shard, now_ms)
    value = Message(
        key=spool.next_key(),
        message_id=message_id,
        account="000000000001",
        sender="sender@example.com",
        accepted_ms=now_ms,
        expires_ms=now_ms + 50_400_000,
        size_bytes=len(HEAD) + len(BODY),
        smtputf8=False,
        eight_bit=False,
        mail_json=MAIL,
    )
    event = NewEvent(message_id, "Send", message_id, MAIL)
    return NewMessage(value, Content(HEAD, BODY), (Delivery(value, 0, "rcpt@example.org"),), (event,), 1)


class Run:
    """One closed loop over a fresh shard."""

    def __init__(self, spool: ShardSpool, messages: int, window: int, busy_seconds: float) -> None:
        self.spool = spool
        self.left = messages
        self.open = 0
        self.window = window
        self.busy_seconds = busy_seconds
        self.latencies: list[float] = []
        self.finished: asyncio.Event = asyncio.Event()

    def fill(self) -> None:
        while self.open < self.window and self.left:
            self.left -= 1
            self.open += 1
            self.spin()
            started = time.perf_counter()
            new = message(self.spool, int(time.time() * 1000))
            self.spool.append(new, lambda error, new=new, started=started: self.accepted(error, new, started))
        if not self.open:
            self.finished.set()

    def spin(self) -> None:
        until = time.perf_counter() + self.busy_seconds
        while time.perf_counter() < until:
            pass

    def accepted(self, error: Exception | None, new: NewMessage, started: float) -> None:
        if error is not None:
            raise error
        self.latencies.append(time.perf_counter() - started)
        (delivery,) = new.deliveries
        event = NewEvent(new.message.message_id + "d", "Delivery", new.message.message_id, MAIL)
        verdict = Settlement(
            delivery, DeliveryState.DELIVERED, 1, 0, "250 2.0.0 Ok: queued as 0123456789", ATTEMPT, (event,)
        )
        self.spool.settle(verdict, self.settled)

    def settled(self, error: Exception | None) -> None:
        if error is not None:
            raise error
        self.open -= 1
        self.fill()


def measure(
    label: str, directory: Path, messages: int, window: int, *, busy: float = 0, point: Callable | None = None
) -> float:
    data_dir = Path(tempfile.mkdtemp(dir=directory))
    spool = ShardSpool.open(data_dir, 1, SteadyClock(), MemoryLog(), SpoolOptions(crash_point=point))

    async def work() -> tuple[float, float, list[float]]:
        spool.start(asyncio.get_running_loop())
        run = Run(spool, messages, window, busy)
        wall, cpu = time.perf_counter(), time.process_time()
        run.fill()
        await run.finished.wait()
        return time.perf_counter() - wall, time.process_time() - cpu, sorted(run.latencies)

    wall, cpu, latencies = asyncio.run(work())
    started = time.process_time()
    spool.close()
    after = time.process_time() - started
    shutil.rmtree(data_dir)
    rate = messages / wall
    p50, p99 = (latencies[int(len(latencies) * part)] * 1e3 for part in (0.5, 0.99))
    micros = ((cpu + after) / messages - busy) * 1e6
    print(
        f"{label:34} {rate:8.0f}/s  {micros:6.0f} us CPU  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms"
        f"  max {latencies[-1] * 1e3:6.0f} ms",
        flush=True,
    )
    return rate


def backlog(directory: Path, deliveries: int) -> None:
    """Fill a shard, adopt it again, and print time and memory."""
    data_dir = Path(tempfile.mkdtemp(dir=directory))
    spool = ShardSpool.open(data_dir, 1, SteadyClock(), MemoryLog())

    async def fill() -> None:
        spool.start(asyncio.get_running_loop())
        finished = asyncio.Event()
        state = {"left": deliveries, "open": 0}

        def more(error: Exception | None) -> None:
            if error is not None:
                raise error
            state["open"] -= 1
            push()

        def push() -> None:
            while state["open"] < 500 and state["left"]:
                state["left"] -= 1
                state["open"] += 1
                spool.append(message(spool, int(time.time() * 1000)), more)
            if not state["open"]:
                finished.set()

        started = time.perf_counter()
        push()
        await finished.wait()
        print(f"{deliveries} deliveries written, {deliveries / (time.perf_counter() - started):.0f}/s")

    asyncio.run(fill())
    spool.close()
    started = time.perf_counter()
    spool = ShardSpool.open(data_dir, 1, SteadyClock(), MemoryLog())
    adopted = time.perf_counter() - started
    started = time.perf_counter()
    found = spool.due(1 << 60, 1000)
    listed = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"adopted in {adopted:.1f} s, {len(found)} due in {listed * 1e3:.1f} ms, peak memory {peak:.0f} MB")
    asyncio.run(_start_and_close(spool))
    shutil.rmtree(data_dir)


async def _start_and_close(spool: ShardSpool) -> None:
    spool.start(asyncio.get_running_loop())
    await asyncio.to_thread(spool.close)


def slow_sync(name: str) -> None:
    if name == "before commit":
        time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--backlog", type=int, default=0)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval())
    options = parser.parse_args()
    sys.setswitchinterval(options.switch_interval)
    if options.backlog:
        backlog(options.directory, options.backlog)
        return
    n, window = options.messages, options.window
    measure(f"window {window}, loop idle", options.directory, n, window)
    measure(f"window {window * 4}, loop idle", options.directory, n, window * 4)
    normal = measure(f"window {window}, loop busy", options.directory, n, window, busy=0.0003)
    slowed = measure(
        f"window {window}, loop busy, sync +5 ms", options.directory, n, window, busy=0.0003, point=slow_sync
    )
    print(f"with slow syncs {slowed / normal:.0%} of the rate")
    measure("window 1, loop idle", options.directory, n // 10, 1)


if __name__ == "__main__":
    main()
