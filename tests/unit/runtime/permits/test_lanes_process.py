"""Lanes over real sockets: permits as a process, gates of several workers, kills of either side."""

import asyncio
import time
from collections import Counter

import pytest
import uvloop

from relay.model.lane import Lane
from relay.model.message import Delivery, Message, SendOptions
from relay.model.outcome import Outcome, Stage, Verdict
from relay.runtime.permits.client import PermitsClient
from relay.runtime.permits.gate import LaneGate
from relay.runtime.permits.link import connect
from relay.schedule.effects import Effect, EffectKind
from relay.schedule.shaping import Shape

from .conftest import FORK, SystemClock, until

LANE = Lane("127.0.0.1", "big")
OTHER = Lane("127.0.0.1", "small")
MESSAGE = Message(1, "m1", "000000000001", "", 0, 1 << 50, 1, False, False, b"{}", SendOptions("", "news"))
DELIVERY = Delivery(MESSAGE, 0, "u@big.test")


class User:
    """Somebody who wants connections of a lane, keeps each for a moment, and wants again."""

    def __init__(self, gate, shape, lane=LANE, keep_seconds=0.005):
        self.gate, self.shape, self.lane, self.keep_seconds = gate, shape, lane, keep_seconds
        self.open = 0
        self.served = 0
        self.most = 0
        self.wanted = 0

    def want(self, count):
        self.wanted += count
        self.pump()

    def wake(self):
        asyncio.get_running_loop().call_soon(self.pump)

    def pump(self):
        while self.wanted and self.gate.connect(self.lane, self.shape, self.wake):
            self.wanted -= 1
            self.open += 1
            self.served += 1
            self.most = max(self.most, self.open)
            if self.keep_seconds:
                asyncio.get_running_loop().call_later(self.keep_seconds, self.end)

    def end(self):
        self.open -= 1
        self.gate.disconnect(self.lane)
        self.want(1)


async def joined(permits, number):
    clock = SystemClock()
    client = PermitsClient(permits.path, number, lambda _: {}, clock)
    gate = LaneGate(client, clock)
    gate.join(lambda lane: False, lambda destination: None)
    await client.start()
    return client, gate


async def both(permits):
    first, second = await joined(permits, 1), await joined(permits, 2)
    await until(lambda: first[0].connected and second[0].connected)
    return first, second


async def end(*parts):
    await asyncio.gather(*(client.close() for client, _ in parts))


def test_two_workers_never_have_more_than_the_limit_and_use_all_of_it(permits):
    permits.start(shards=(1, 2))

    async def body():
        parts = await both(permits)
        users = [User(gate, Shape(connections=3)) for _, gate in parts]
        open_now, most = [], 0
        for user in users:
            user.want(5)
        stop = time.monotonic() + 1.5
        while time.monotonic() < stop:
            open_now.append(sum(user.open for user in users))
            await asyncio.sleep(0.001)
        most = max(open_now)
        assert most == 3
        assert sum(open_now[100:]) / len(open_now[100:]) > 0.9 * 3
        assert min(user.served for user in users) > 10
        await end(*parts)

    uvloop.run(body())


def test_a_permit_that_nobody_uses_goes_back_soon(permits):
    permits.start(shards=(1, 2))

    async def body():
        (first, gate), (second, other) = await both(permits)
        user = User(gate, Shape(connections=1), keep_seconds=0)
        user.want(1)
        await until(lambda: user.open)
        user.open = 0
        gate.disconnect(LANE)
        waiting = User(other, Shape(connections=1), keep_seconds=0)
        waiting.want(1)
        await until(lambda: waiting.open, 3)
        assert not gate._lanes  # and the lane is forgotten
        await end((first, gate), (second, other))

    uvloop.run(body())


def worker(path, ready):
    """Hold two connections of the lane until killed."""

    async def body():
        clock = SystemClock()
        client = PermitsClient(path, 2, lambda _: {}, clock)
        gate = LaneGate(client, clock)
        await client.start()
        user = User(gate, Shape(connections=2), keep_seconds=0)
        user.want(2)
        await until(lambda: user.open == 2)
        ready.set()
        await asyncio.Event().wait()

    uvloop.run(body())


@pytest.fixture
def holder(permits):
    """Start a worker process that holds both connections of the lane."""
    ready = FORK.Event()
    permits.start(shards=(1, 2))
    process = FORK.Process(target=worker, args=(permits.path, ready), daemon=True)
    process.start()
    yield process, ready
    process.kill()
    process.join()


def test_a_permit_dies_with_its_worker(permits, holder):
    async def body():
        client, gate = await joined(permits, 1)
        process, ready = holder
        await until(ready.is_set)
        user = User(gate, Shape(connections=2), keep_seconds=0)
        user.want(2)
        await asyncio.sleep(0.3)
        assert user.open == 0
        process.kill()
        process.join()
        await until(lambda: user.open == 2, 3)
        await client.close()

    uvloop.run(body())


def test_after_a_restart_of_permits_what_workers_hold_counts_before_anything_is_granted(permits, holder):
    async def body():
        client, gate = await joined(permits, 1)
        process, ready = holder
        await until(ready.is_set)
        user = User(gate, Shape(connections=2), keep_seconds=0)
        user.want(2)
        for _ in range(3):
            permits.kill()
            await until(lambda: not client.connected)
            permits.start(shards=(1, 2))
            await until(lambda: client.connected)
            await asyncio.sleep(0.3)
            assert user.open == 0
        process.kill()
        await until(lambda: user.open == 2, 3)
        await client.close()

    uvloop.run(body())


def test_a_worker_that_lost_its_connection_to_permits_but_lives_keeps_what_it_holds(permits):
    """Its connections to receivers are open still. Both clients live in this process, which never ends."""
    permits.start(shards=(1, 2))

    async def body():
        (first, gate), (second, other) = await both(permits)
        user = User(gate, Shape(connections=1), keep_seconds=0)
        user.want(1)
        await until(lambda: user.open)
        first._closed = True  # it does not come back for now
        first._link.abort()
        waiting = User(other, Shape(connections=1), keep_seconds=0)
        waiting.want(1)
        await asyncio.sleep(0.6)
        assert waiting.open == 0
        first._closed = False
        first._connector = asyncio.create_task(connect(first, first._path))
        await until(lambda: first.connected)
        user.end()
        await until(lambda: waiting.open, 3)
        await end((first, gate), (second, other))

    uvloop.run(body())


def test_while_permits_is_away_lanes_wait_and_then_go_on_by_themselves(permits):
    permits.start(shards=(1,))

    async def body():
        client, gate = await joined(permits, 1)
        await until(lambda: client.connected)
        permits.kill()
        await until(lambda: not client.connected)
        user = User(gate, Shape(connections=1))
        user.want(1)
        await asyncio.sleep(0.2)
        assert user.served == 0
        permits.start(shards=(1,))
        await until(lambda: user.served)
        await client.close()

    uvloop.run(body())


def test_messages_come_at_their_rate_to_all_workers_together(permits):
    permits.start(shards=(1, 2))

    async def body():
        parts = await both(permits)
        shape = Shape(connections=5, messages_per_minute=6000)  # 98 a second, 49 at once
        sent = Counter()
        begin = time.monotonic()

        def send(number, gate):
            while gate.message(LANE, shape, lambda: asyncio.get_running_loop().call_soon(send, number, gate)):
                sent[number] += 1

        for number, (_, gate) in enumerate(parts):
            send(number, gate)
        await until(lambda: sum(sent.values()) >= 200)
        seconds = time.monotonic() - begin
        assert sum(sent.values()) <= (seconds + 1) * 100 + 50
        assert min(sent.values()) > 40
        await end(*parts)

    uvloop.run(body())


def test_a_message_without_a_rate_asks_nobody(permits):
    async def body():
        clock = SystemClock()
        gate = LaneGate(PermitsClient(permits.path, 1, lambda _: {}, clock), clock)
        assert gate.message(LANE, Shape(), lambda: None)
        assert not gate._lanes

    uvloop.run(body())


def test_an_effect_is_known_to_all_workers_and_over_restarts(permits, tmp_path):
    permits.start(shards=(1, 2), file=tmp_path / "permits.db")

    async def body():
        parts = await both(permits)
        (_, gate), (_, other) = parts
        changed = []
        other.join(lambda lane: False, changed.append)
        effects = [Effect(EffectKind.PAUSE, "r1", 600.0), Effect(EffectKind.SUSPEND_SET, "r2", 600.0)]
        effects.append(Effect(EffectKind.BOUNCE, "r3"))
        gate.apply(LANE, DELIVERY, effects, "421 4.7.0 slow down")
        assert gate.standing(LANE, DELIVERY).rule in {"r1", "r2"}
        await until(lambda: other.standing(LANE, DELIVERY), 3)
        assert other.standing(LANE, DELIVERY).reply == "421 4.7.0 slow down"
        assert other.standing(OTHER, DELIVERY) is None
        await until(lambda: set(changed) == {"big"})
        await until(lambda: not gate._reported)  # told by permits: it is on disk
        await end(*parts)
        permits.kill()
        permits.start(shards=(1, 2), file=tmp_path / "permits.db")
        client, fresh = await joined(permits, 1)
        await until(lambda: fresh.standing(LANE, DELIVERY), 5)
        elsewhere = Lane("127.0.0.2", "big")  # the suspension of the set holds for every source
        assert fresh.standing(elsewhere, DELIVERY).kind is EffectKind.SUSPEND_SET
        await client.close()

    uvloop.run(body())


def test_what_was_reported_while_permits_was_away_is_told_later(permits, tmp_path):
    permits.start(shards=(1, 2), file=tmp_path / "permits.db")

    async def body():
        parts = await both(permits)
        (client, gate), (_, other) = parts
        permits.kill()
        await until(lambda: not client.connected)
        gate.apply(LANE, DELIVERY, [Effect(EffectKind.SWITCH, "r", 600.0)], "550 blocked")
        assert gate.standing(LANE, DELIVERY)
        permits.start(shards=(1, 2), file=tmp_path / "permits.db")
        await until(lambda: other.standing(LANE, DELIVERY), 5)
        await end(*parts)

    uvloop.run(body())


def test_a_slowed_lane_gives_fewer_connections_to_everybody_also_after_a_kill(permits, tmp_path):
    permits.start(shards=(1, 2), file=tmp_path / "permits.db")

    async def body():
        parts = await both(permits)
        (_, gate), (_, other) = parts
        gate.apply(LANE, DELIVERY, [Effect(EffectKind.SLOW, "r", 600.0, 0.5)], "421 slow down")
        await until(lambda: LANE in other._slowed and not gate._reported)
        assert gate.standing(LANE, DELIVERY) is None  # mail goes on
        user = User(other, Shape(connections=4), keep_seconds=0)
        user.want(4)
        await until(lambda: user.open == 2)
        permits.kill()
        permits.start(shards=(1, 2), file=tmp_path / "permits.db")
        await until(lambda: all(client.connected for client, _ in parts))
        more = User(gate, Shape(connections=4), keep_seconds=0)
        more.want(4)
        await asyncio.sleep(0.3)
        assert (user.open, more.open) == (2, 0)
        gate.settled(LANE, Outcome(Verdict.DELIVERED, Stage.FINAL_DOT, 250, "", "ok"))
        await end(*parts)

    uvloop.run(body())
