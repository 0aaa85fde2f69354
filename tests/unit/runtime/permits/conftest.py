"""A permits process over a real socket, and workers of it."""

import asyncio
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest
import uvloop

from relay.model.account import Account, AccountState
from relay.model.refusal import Refusal
from relay.ports import Lease
from relay.runtime.permits.client import PermitsClient
from relay.runtime.permits.keeper import Keeper
from relay.runtime.permits.lanes import LaneDesk
from relay.runtime.permits.server import PermitsSettings, listen, serve_permits
from relay.store.permits_file import PermitsFile

FORK = multiprocessing.get_context("fork")


class SystemClock:
    def now_ms(self):
        return time.time_ns() // 1_000_000

    def monotonic(self):
        return time.monotonic()


def account(daily_quota=-1, send_rate=-1, account_id="000000000001"):
    return Account(account_id, AccountState.ENABLED, False, daily_quota, send_rate)


def run_permits(listener, settings, file):
    """Serve until SIGTERM; the body of the forked process."""

    async def body():
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        clock, desk = SystemClock(), None
        if file:
            kept = PermitsFile(file, OutputLog())
            known = kept.read("standings")
            desk = LaneDesk(clock, Keeper(kept, OutputLog()))
            desk.restore(known)
        await serve_permits(listener, settings, clock, stop, desk=desk)

    uvloop.run(body())


class OutputLog:
    def error(self, event, **fields):
        print(event, fields)

    debug = info = warning = error


class PermitsProcess:
    """Starts and kills permits; the listening socket outlives it, as with the supervisor."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "permits.sock")
        self.listener = listen(self.path)
        self.process = None

    def start(self, shards=(1,), read_usage=lambda shard, since: None, grace=0.05, file=None):
        settings = PermitsSettings(tuple(shards), read_usage, announce_grace_seconds=grace)
        self.process = FORK.Process(target=run_permits, args=(self.listener, settings, file), daemon=True)
        self.process.start()
        return self

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.process = None

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.join(10)
            assert self.process.exitcode == 0
        self.listener.close()


@pytest.fixture
def permits():
    directory = Path(tempfile.mkdtemp(prefix="relay-permits-"))
    process = PermitsProcess(directory)
    yield process
    process.stop()
    shutil.rmtree(directory)


class Shard:
    """The durable usage of one shard, as a spool would keep it."""

    def __init__(self) -> None:
        self.usage = {}

    def commit(self, account_id, minute, recipients):
        minutes = self.usage.setdefault(account_id, {})
        minutes[minute] = minutes.get(minute, 0) + recipients

    def since(self, minute):
        return {name: {m: n for m, n in minutes.items() if m >= minute} for name, minutes in self.usage.items()}

    def total(self):
        return sum(sum(minutes.values()) for minutes in self.usage.values())


async def ask(client, who, recipients=1):
    future = asyncio.get_running_loop().create_future()
    client.take(who, recipients, future.set_result, counted=recipients)
    return await future


async def send(client, shard, who, recipients=1):
    """Take, commit and report; return the refusal when there is one."""
    answer = await ask(client, who, recipients)
    if isinstance(answer, Refusal):
        return answer
    assert isinstance(answer, Lease)
    minute = time.time_ns() // 60_000_000_000
    shard.commit(answer.account, minute, recipients)
    client.spent(answer, minute)
    return None


async def until(condition, seconds=10):
    """Wait for what another process does; there is no event to wait for."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 see above
            await asyncio.sleep(0.005)


async def started(permits, number=1, shard=None, **options):
    shard = shard or Shard()
    client = PermitsClient(permits.path, number, shard.since, SystemClock(), **options)
    await client.start()
    await until(lambda: client.connected)
    return client, shard
