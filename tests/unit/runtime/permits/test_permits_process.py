"""Permits as a process: exact across workers, kills of either side, and while it is away."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest
import uvloop

from relay.model.refusal import Reason
from relay.ports import Lease

from .conftest import FORK, Shard, account, ask, send, started, until


def reasons(answers):
    return [answer.reason for answer in answers if answer is not None]


@pytest.mark.req("QUOTA-001")
def test_quota_is_exact_over_several_workers(permits):
    permits.start(shards=(1, 2, 3))

    async def body():
        workers = await asyncio.gather(*(started(permits, number) for number in (1, 2, 3)))
        who = account(daily_quota=100)
        answers = await asyncio.gather(*(send(*workers[i % 3], who) for i in range(200)))
        assert sum(shard.total() for _, shard in workers) == 100
        assert reasons(answers) == [Reason.QUOTA_EXCEEDED] * 100
        assert await workers[0][0].used(who.account_id) == 100
        await asyncio.gather(*(client.close() for client, _ in workers))

    uvloop.run(body())


def test_a_request_that_does_not_fit_leaves_room_for_one_that_does(permits):
    permits.start()

    async def body():
        client, shard = await started(permits)
        who = account(daily_quota=10)
        assert await send(client, shard, who, 8) is None
        assert (await ask(client, who, 3)).reason is Reason.QUOTA_EXCEEDED
        assert await send(client, shard, who, 2) is None
        await client.close()

    uvloop.run(body())


def test_an_unused_lease_costs_nothing(permits):
    permits.start()

    async def body():
        client, shard = await started(permits)
        who = account(daily_quota=1)
        for _ in range(5):
            lease = await ask(client, who)
            assert isinstance(lease, Lease)
            client.unused(lease)
            client.unused(lease)
        assert await send(client, shard, who) is None
        assert (await ask(client, who)).reason is Reason.QUOTA_EXCEEDED
        await client.close()

    uvloop.run(body())


@pytest.mark.req("QUOTA-002")
def test_rate_is_shared_and_goes_into_debt(permits):
    permits.start(shards=(1, 2))

    async def body():
        (first, shard), (second, other) = await asyncio.gather(started(permits, 1), started(permits, 2))
        who = account(send_rate=5)
        begin = time.monotonic()
        passed = 0
        while time.monotonic() - begin < 1.5:
            passed += await send(first, shard, who) is None
            passed += await send(second, other, who) is None
        took = time.monotonic() - begin
        assert 5 <= passed <= 5 * (took + 1) + 5
        while await send(first, shard, who, 50) is not None:  # noqa: ASYNC110 time alone gathers tokens
            await asyncio.sleep(0.02)
        assert (await ask(second, who)).reason is Reason.RATE_EXCEEDED
        await asyncio.sleep(0.5)
        assert (await ask(second, who)).reason is Reason.RATE_EXCEEDED
        await asyncio.gather(first.close(), second.close())

    uvloop.run(body())


def test_kills_of_permits_lose_and_forgive_nothing(permits):
    permits.start(shards=(1, 2))

    async def sender(client, shard, who, stop):
        while not stop.is_set():
            answer = await send(client, shard, who)
            if answer is not None and answer.reason is Reason.QUOTA_EXCEEDED:
                return
            await asyncio.sleep(0)

    async def body():
        workers = await asyncio.gather(started(permits, 1), started(permits, 2))
        who, stop = account(daily_quota=12_000), asyncio.Event()
        tasks = [asyncio.create_task(sender(*worker, who, stop)) for worker in workers for _ in range(8)]
        for number in range(1, 5):
            async with asyncio.timeout(60):
                while sum(shard.total() for _, shard in workers) < number * 2000:  # noqa: ASYNC110 - counts have no event
                    await asyncio.sleep(0.002)
            permits.kill()
            assert sum(shard.total() for _, shard in workers) < 12_000
            permits.start(shards=(1, 2))
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
        assert sum(shard.total() for _, shard in workers) == 12_000
        await asyncio.gather(*(client.close() for client, _ in workers))

    uvloop.run(body())


def _worker_that_never_reports(path, fifo):
    async def body():
        class There:
            pass

        There.path = path
        client, _ = await started(There, 1)
        for _ in range(4):
            await ask(client, account(daily_quota=10))
        os.write(fifo, b"x")
        await asyncio.sleep(60)

    uvloop.run(body())


def test_leases_of_a_killed_worker_count_until_its_shard_announces(permits):
    permits.start(shards=(1, 2))
    reader, writer = os.pipe()
    dying = FORK.Process(target=_worker_that_never_reports, args=(permits.path, writer), daemon=True)
    dying.start()

    async def body():
        client, shard = await started(permits, 2)
        await asyncio.get_running_loop().run_in_executor(None, os.read, reader, 1)
        os.kill(dying.pid, signal.SIGKILL)
        dying.join()
        who = account(daily_quota=10)
        answers = [await send(client, shard, who) for _ in range(10)]
        assert reasons(answers) == [Reason.QUOTA_EXCEEDED] * 4
        durable = Shard()
        durable.commit(who.account_id, time.time_ns() // 60_000_000_000, 1)  # one of the four was committed
        again, _ = await started(permits, 1, durable)
        answers = [await send(again, durable, who) for _ in range(10)]
        assert reasons(answers) == [Reason.QUOTA_EXCEEDED] * 7
        assert shard.total() + durable.total() == 10
        await asyncio.gather(client.close(), again.close())

    uvloop.run(body())
    os.close(reader)
    os.close(writer)


def test_nothing_is_granted_before_all_shards_are_known(permits):
    permits.start(shards=(1, 2))  # nobody owns shard 2, and it cannot be read

    async def body():
        client, shard = await started(permits, 1, wait_seconds=0.3)
        begin = time.monotonic()
        assert (await ask(client, account(daily_quota=10))).reason is Reason.TEMPORARY
        assert time.monotonic() - begin > 0.25
        assert isinstance(await ask(client, account()), Lease)
        durable = Shard()
        durable.commit("000000000001", time.time_ns() // 60_000_000_000, 8)
        other, _ = await started(permits, 2, durable)
        assert reasons([await send(client, shard, account(daily_quota=10)) for _ in range(3)]) == [
            Reason.QUOTA_EXCEEDED
        ]
        await asyncio.gather(client.close(), other.close())

    uvloop.run(body())


def test_a_shard_without_a_worker_is_read_from_disk(permits):
    minute = time.time_ns() // 60_000_000_000
    asked = []

    def read_usage(shard, since):
        asked.append(shard)
        assert since <= minute - 1440
        return {"000000000001": {minute - 60: 7, minute - 1442: 100}} if len(asked) > 2 else None

    permits.start(shards=(1, 7), read_usage=read_usage)

    async def body():
        client, shard = await started(permits, 1)
        answers = [await send(client, shard, account(daily_quota=10)) for _ in range(5)]
        assert reasons(answers) == [Reason.QUOTA_EXCEEDED] * 2
        await client.close()

    uvloop.run(body())


def test_while_permits_is_away_only_limited_accounts_wait(permits):
    permits.start()

    async def body():
        client, shard = await started(permits, wait_seconds=0.2)
        permits.kill()
        await until(lambda: not client.connected)
        begin = time.monotonic()
        answers = await asyncio.gather(*(ask(client, account(send_rate=10)) for _ in range(50)))
        assert reasons(answers) == [Reason.TEMPORARY] * 50
        assert time.monotonic() - begin < 8  # side by side: one after the other they would take 10 s
        assert await send(client, shard, account()) is None
        permits.start()
        await until(lambda: client.connected)
        assert await client.used("000000000001") == 1
        await client.close()

    uvloop.run(body())


def test_mail_of_the_time_without_limits_counts_once_there_are_limits(permits):
    permits.start(shards=(1, 2))

    async def body():
        (client, shard), (other, _) = await asyncio.gather(started(permits, 1), started(permits, 2))
        for _ in range(4):
            assert await send(client, shard, account()) is None
        assert (
            reasons([await send(client, shard, account(daily_quota=5)) for _ in range(3)])
            == [Reason.QUOTA_EXCEEDED] * 2
        )
        assert (await ask(other, account(daily_quota=5))).reason is Reason.QUOTA_EXCEEDED
        await asyncio.gather(client.close(), other.close())

    uvloop.run(body())


def test_failures_are_known_to_all_workers_and_to_new_ones(permits):
    permits.start(shards=(1, 2, 3))

    async def body():
        (first, _), (second, _) = await asyncio.gather(started(permits, 1), started(permits, 2))
        for _ in range(10):
            assert not first.auth_gate("192.0.2.1", "u").refused
            first.auth_result("192.0.2.1", "u", succeeded=False)
        assert first.auth_gate("192.0.2.1", "u").refused
        await until(lambda: second.auth_gate("192.0.2.1", "u").refused)
        third, _ = await started(permits, 3)
        await until(lambda: third.auth_gate("192.0.2.1", "u").refused)
        second.auth_result("192.0.2.1", "u", succeeded=True)
        await until(lambda: not third.auth_gate("192.0.2.1", "u").refused)
        await asyncio.gather(*(client.close() for client in (first, second, third)))

    uvloop.run(body())


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"{}\n",
        b"[[]]\n",
        b'[["take",1,"a",1,1,1,1]]\n',
        b'[["hello",-1]]\n',
        b'[["hello",1],["usage","a",[1]],["announced"]]\n',
        b'[["hello",1],["announced"],["boo"]]\n',
        b'[["hello",1],["announced"],["take",1,"a",-5,1,1,1]]\n',
        b'[["hello",1],["announced"],["take",1,"a",1,1,"x",1]]\n',
        b"x" * 1_100_000,
    ],
)
def test_a_peer_that_talks_nonsense_is_left_and_others_are_served(permits, line):
    permits.start()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(permits.path)
        assert peer.recv(100).startswith(b'[["hello"')
        try:
            peer.sendall(line)
            assert peer.recv(100) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass

    async def body():
        client, shard = await started(permits)
        assert await send(client, shard, account(daily_quota=1)) is None
        await client.close()

    uvloop.run(body())


def test_socket_is_for_its_owner_only(permits):
    permits.start()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(permits.path)
        assert peer.recv(100)
    assert Path(permits.path).stat().st_mode & 0o777 == 0o600


def test_closing_refuses_what_waits(permits):
    async def body():
        from relay.runtime.permits.client import PermitsClient

        from .conftest import SystemClock

        client = PermitsClient(permits.path, 1, lambda since: {}, SystemClock())
        await client.start()
        waiting = asyncio.create_task(ask(client, account(daily_quota=1)))
        await asyncio.sleep(0)
        await client.close()
        assert (await waiting).reason is Reason.TEMPORARY
        assert (await ask(client, account(daily_quota=1))).reason is Reason.TEMPORARY

    uvloop.run(body())
