"""What every Permits promises: the client of the process and the fake."""

import asyncio
import contextlib
import time

import pytest

from relay.model.account import Account, AccountState
from relay.ports import Lease
from relay.runtime.permits.client import PermitsClient
from relay.runtime.permits.server import PermitsSettings, listen, serve_permits
from relay.testing.clock import ManualClock
from relay.testing.permits import OpenPermits

UNLIMITED = Account("000000000001", AccountState.ENABLED, sandbox=False, daily_quota=-1, send_rate=-1)
LIMITED = Account("000000000002", AccountState.ENABLED, sandbox=False, daily_quota=100, send_rate=-1)
MINUTE = time.time_ns() // 60_000_000_000


@contextlib.asynccontextmanager
async def process(path):
    listener, stop, clock = listen(str(path / "p.sock")), asyncio.Event(), ManualClock()
    settings = PermitsSettings((1,), lambda shard, since: {})
    server = asyncio.create_task(serve_permits(listener, settings, clock, stop))
    client = PermitsClient(str(path / "p.sock"), 1, lambda since: {}, clock)
    await client.start()
    try:
        yield client
    finally:
        await client.close()
        stop.set()
        await server


@contextlib.asynccontextmanager
async def fake(path):
    yield OpenPermits()


async def ask(permits, account, recipients):
    future = asyncio.get_running_loop().create_future()
    permits.take(account, recipients, future.set_result, counted=recipients)
    return await future


@pytest.fixture(params=[process, fake])
def kind(request):
    return request.param


def test_leases_name_what_was_asked_for_and_may_be_reported_once(kind, tmp_path):
    async def body():
        async with kind(tmp_path) as permits:
            for account in (UNLIMITED, LIMITED):
                lease = await ask(permits, account, 3)
                assert isinstance(lease, Lease)
                assert (lease.account, lease.recipients) == (account.account_id, 3)
                permits.spent(lease, MINUTE)
                permits.spent(lease, MINUTE) if lease.lease_id else None
                permits.unused(await ask(permits, account, 100 - 3))

    asyncio.run(body())


def test_an_account_without_limits_is_granted_from_inside_the_call(kind, tmp_path):
    async def body():
        async with kind(tmp_path) as permits:
            answers = []
            permits.take(UNLIMITED, 1, answers.append, counted=1)
            assert isinstance(answers[0], Lease)

    asyncio.run(body())


def test_authentication_is_open_at_first(kind, tmp_path):
    async def body():
        async with kind(tmp_path) as permits:
            gate = permits.auth_gate("192.0.2.1", "u")
            assert (gate.refused, gate.delay_seconds) == (False, 0.0)
            permits.auth_result("192.0.2.2", "u", succeeded=False)
            assert not permits.recognises("192.0.2.2")
            permits.auth_result("192.0.2.1", "u", succeeded=True)
            permits.auth_result("192.0.2.1", "u", succeeded=False)
            assert permits.recognises("192.0.2.1")
            assert not permits.auth_gate("192.0.2.1", "u").refused

    asyncio.run(body())
