"""Source addresses, gates and deferrals, as an attempt asks for them."""

import asyncio

from relay.model.lane import Source
from relay.model.outcome import Stage, Verdict
from relay.pipeline.departure import Deferral, PlainGate, PlainShapes, family
from relay.schedule.shaping import Shape
from tests.unit.pipeline.outbound_harness import bench, until


class Scripted:
    """Gives the sources of a list in turn, and keeps what became of them."""

    def __init__(self, *choices):
        self.choices = list(choices)
        self.asked = []
        self.ends = []

    def choose(self, delivery, site, provider, families, then):
        self.asked.append((site, provider, families))
        then(self.choices.pop(0) if len(self.choices) > 1 else self.choices[0])

    def settled(self, delivery, provider, source, outcome):
        self.ends.append((source.address, outcome and outcome.verdict))


def test_each_delivery_leaves_from_its_source_under_its_name():
    async def run():
        sources = Scripted(Source("127.0.99.1", "one.test"), Source("127.0.99.2", "two.test"))
        async with bench({"a.test": [""]}, lanes={"sources": sources}) as b:
            first, second = await b.one("x@a.test"), await b.one("y@a.test")
            assert (first.source_address, second.source_address) == ("127.0.99.1", "127.0.99.2")
            assert [(mail.peer, mail.helo) for mail in b.net.received] == [
                ("127.0.99.1", "one.test"),
                ("127.0.99.2", "two.test"),
            ]
            assert sources.ends == [("127.0.99.1", Verdict.DELIVERED), ("127.0.99.2", Verdict.DELIVERED)]

    asyncio.run(run())


def test_a_deferral_is_no_attempt_and_says_when():
    async def run():
        sources = Scripted(Deferral("Today's volume of 127.0.99.1 is used up", 123_456))
        async with bench({"a.test": [""]}, lanes={"sources": sources}) as b:
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.stage, outcome.local) == (Verdict.TEMPORARY, Stage.SHAPING, True)
            assert outcome.not_before_ms == 123_456
            assert "used up" in outcome.text
            assert not b.net.received

    asyncio.run(run())


def test_hosts_of_the_other_family_get_a_source_of_theirs():
    class ByFamily(Scripted):
        def choose(self, delivery, site, provider, families, then):
            self.asked.append(families)
            then(next(source for source in self.choices if family(source.address) in families))

    async def run():
        sources = ByFamily(Source("::1"), Source("127.0.99.1"))
        async with bench({"a.test": [""]}, lanes={"sources": sources}) as b:  # its hosts have IPv4 addresses only
            assert (await b.one("x@a.test")).source_address == "127.0.99.1"
            assert (await b.one("y@a.test")).source_address == "127.0.99.1"
            assert sources.asked == [{4, 6}, {4}, {4}]  # learnt once
            assert sources.ends[0] == ("::1", None)

    asyncio.run(run())


def test_an_address_that_the_host_lost_costs_no_attempt():
    """Not a word to the receiver, no failure of it remembered, and the delivery leaves from another address."""

    class Losing(Scripted):
        def gone(self, address):
            self.lost.append(address)
            self.choices = self.choices[1:]
            return bool(self.choices)

    async def run():
        sources = Losing(Source("192.0.2.1"), Source("192.0.2.1"), Source("127.0.99.1"))
        sources.lost = []
        async with bench({"a.test": [""]}, lanes={"sources": sources}) as b:
            assert (await b.one("x@a.test")).source_address == "127.0.99.1"
            assert sources.lost[0] == "192.0.2.1"
            assert sources.ends[0] == ("192.0.2.1", None)
            assert sources.ends[-1] == ("127.0.99.1", Verdict.DELIVERED)

    asyncio.run(run())


def test_without_another_address_the_attempt_fails_for_now():
    async def run():
        async with bench({"a.test": [""]}, source_addresses=("192.0.2.1",)) as b:
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.stage) == (Verdict.TEMPORARY, Stage.CONNECT)
            assert "not of this host" in outcome.text

    asyncio.run(run())


def test_no_more_connections_than_the_gate_gives():
    async def run():
        lanes = {"shapes": PlainShapes(Shape(connections=2, connections_start=2))}
        async with bench({"a.test": ["slow-dot.0.05"]}, lanes=lanes) as b:
            for number in range(10):
                b.send(f"x{number}@a.test")
            assert all(one.verdict is Verdict.DELIVERED for one in await b.wait(10))
            assert len({mail.connection for mail in b.net.received}) <= 2

    asyncio.run(run())


def test_an_idle_connection_makes_room_for_another_site_of_its_provider():
    """Two sites of one provider share one connection; the idle one of the first is closed for the second."""

    async def run():
        lanes = {"shapes": PlainShapes(Shape(provider="big", connections=1, connections_start=1))}
        async with bench({"a.test": [""], "b.test": [""]}, lanes=lanes, connection_idle_seconds=60.0) as b:
            await b.one("x@a.test")
            assert (await b.one("x@b.test")).verdict is Verdict.DELIVERED

    asyncio.run(run())


def test_a_message_waits_until_the_gate_lets_it_go():
    class Slow(PlainGate):
        def __init__(self):
            super().__init__()
            self.wakes = []

        def message(self, lane, shape, wake):
            if self.wakes == ["open"]:
                return True
            self.wakes.append(wake)
            return False

    async def run():
        gate = Slow()
        async with bench({"a.test": [""]}, lanes={"gate": gate}) as b:
            b.send("x@a.test")
            await until(lambda: gate.wakes)
            assert not b.outcomes
            wake, gate.wakes = gate.wakes[0], ["open"]
            wake()
            assert (await b.wait(1))[0].verdict is Verdict.DELIVERED

    asyncio.run(run())
