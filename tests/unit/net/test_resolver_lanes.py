"""Whose turn it is at the name servers."""

import asyncio

from relay.net.resolver_lanes import Turns, zone_of


async def order(turns, asked, gate):
    """Ask for turns in order while all are taken; return the order in which they are had."""
    had = []

    async def ask(name, first):
        async with turns.turn(name, first=first):
            had.append(name)

    tasks = []
    for name, first in asked:
        tasks.append(asyncio.create_task(ask(name, first)))
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*tasks)
    return had


async def taken(turns, gate):
    async with turns.turn("busy.test", first=True):
        await gate.wait()


def test_zones_take_turns_and_first_turns_come_first():
    async def run():
        turns, gate = Turns(1), asyncio.Event()
        busy = asyncio.create_task(taken(turns, gate))
        await asyncio.sleep(0)
        assert turns.full
        asked = [
            ("again.test", False),
            ("a.dead.test", True),
            ("b.dead.test", True),
            ("c.dead.test", True),
            ("x.live", True),
        ]
        had = await order(turns, asked, gate)
        await busy
        assert had == ["a.dead.test", "x.live", "b.dead.test", "c.dead.test", "again.test"]
        assert not turns.full

    asyncio.run(run())


def test_never_more_turns_than_there_are_and_none_is_lost():
    async def run():
        turns, now, most = Turns(4), 0, 0

        async def ask(number):
            nonlocal now, most
            async with turns.turn(f"n{number % 7}.test", first=number % 2 == 0):
                now += 1
                most = max(most, now)
                await asyncio.sleep(0)
                now -= 1

        tasks = [asyncio.create_task(ask(number)) for number in range(200)]
        await asyncio.sleep(0)
        for task in tasks[50:100]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (now, most) == (0, 4)
        for number in range(4):
            await asyncio.wait_for(ask(number), 1)
        assert not turns.full

    asyncio.run(run())


def test_a_turn_that_comes_as_its_owner_leaves_goes_on_to_the_next():
    async def run():
        turns, gate = Turns(1), asyncio.Event()
        busy = asyncio.create_task(taken(turns, gate))
        await asyncio.sleep(0)
        leaver = asyncio.create_task(taken(turns, gate))
        await asyncio.sleep(0)
        gate.set()
        while not busy.done():  # noqa: ASYNC110 - in the very turn of the loop in which it ends
            await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        await asyncio.wait_for(taken(turns, gate), 1)

    asyncio.run(run())


def test_zone_of():
    assert [zone_of(name) for name in ("a.b.c.test", "c.test.", "TEST", "")] == ["c.test", "c.test", "test", ""]
