"""CPU of a lease: what a limited message costs its worker and permits. `python -m bench.permits [leases]`."""

import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time

import uvloop

from relay.model.account import Account, AccountState
from relay.ports import Lease
from relay.runtime.clock import SteadyClock
from relay.runtime.permits.client import PermitsClient
from relay.runtime.permits.server import PermitsSettings, listen, run_permits

IN_FLIGHT = 20


async def worker(path: str, leases: int) -> float:
    """Take and spend leases with a bounded number in flight; return CPU microseconds a lease."""
    client = PermitsClient(path, 1, lambda _: {}, SteadyClock())
    await client.start()
    account = Account("000000000001", AccountState.ENABLED, sandbox=False, daily_quota=10**9, send_rate=1e9)
    loop, done, left = asyncio.get_running_loop(), asyncio.Event(), leases

    def granted(lease: object) -> None:
        nonlocal left
        if left <= 0:
            return  # those in flight when the count was reached
        assert isinstance(lease, Lease), lease
        client.spent(lease, int(time.time() // 60))
        left -= 1
        if left <= 0:
            done.set()
        else:
            loop.call_soon(client.take, account, 1, granted)

    while not client.connected:
        await asyncio.sleep(0.01)
    await asyncio.sleep(1.1)  # a new bucket is empty
    begin = time.process_time()
    for _ in range(IN_FLIGHT):
        client.take(account, 1, granted)
    await done.wait()
    spent = (time.process_time() - begin) / leases * 1e6
    await client.close()
    return spent


def main() -> None:
    leases = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/p.sock"
        settings = PermitsSettings((1,), lambda *_: None)
        process = multiprocessing.get_context("fork").Process(
            target=run_permits, args=(listen(path), settings, SteadyClock()), daemon=True
        )
        process.start()
        in_worker = uvloop.run(worker(path, leases))
        process.terminate()
        process.join()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    in_permits = (children.ru_utime + children.ru_stime) / leases * 1e6
    print(f"worker {in_worker:.1f} us, permits {in_permits:.1f} us, together {in_worker + in_permits:.1f} us a lease")


if __name__ == "__main__":
    main()
