"""Source addresses, gates and deferrals, as an attempt asks for them."""

import asyncio

from relay.model.lane import Source
from relay.model.outcome import Stage, Verdict
from relay.pipeline.departure import Deferral, PlainGate, PlainShapes, family
from relay.schedule.effects import EffectKind, Standing
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


class Effective(PlainGate):
    """A gate with effects that a test puts into force."""

    def __init__(self):
        super().__init__()
        self.effects = {}
        self.changed = []
        self.outcomes = []

    def join(self, on_recall, on_change):
        super().join(on_recall, on_change)
        self.changed.append(on_change)

    def standing(self, lane, delivery):
        return self.effects.get(lane.destination)

    def settled(self, lane, outcome):
        self.outcomes.append((lane.destination, outcome.stage))


PAUSE = Standing(EffectKind.PAUSE, 1 << 50, "too-fast", "421 4.7.28 slow down")


def test_an_effect_puts_off_what_comes_and_what_waits_without_an_attempt():
    async def run():
        gate, sources = Effective(), Scripted(Source("127.0.99.1"))
        shapes = PlainShapes(Shape(provider="big", connections=1, connections_start=1))
        lanes = {"gate": gate, "sources": sources, "shapes": shapes}
        async with bench({"a.test": ["slow-dot.0.3"]}, lanes=lanes) as b:
            for number in range(4):
                b.send(f"x{number}@a.test")
            await until(lambda: b.net.hosts["mx1.a.test"].commands(b"DATA"))
            gate.effects["big"] = PAUSE
            gate.changed[0]("big")
            outcomes = await b.wait(4)
            put_off = [one for one in outcomes if one.stage is Stage.SHAPING]
            assert len(put_off) == 3
            assert all(one.not_before_ms and "rule too-fast" in one.text and one.local for one in put_off)
            assert sum(one.verdict is Verdict.DELIVERED for one in outcomes) == 1
            assert (await b.one("later@a.test")).stage is Stage.SHAPING
            assert sorted(end[1] or "unused" for end in sources.ends) == ["delivered"] + 4 * ["unused"]
            gate.effects.clear()
            assert (await b.one("again@a.test")).verdict is Verdict.DELIVERED
            assert ("big", Stage.FINAL_DOT) in gate.outcomes

    asyncio.run(run())


BLOCKED = Standing(EffectKind.SWITCH, 1 << 50, "blocked", "550 5.7.1 your address is blocked")


class Choosy(Scripted):
    """Passes over the first address while the gate says so."""

    def __init__(self, gate, *choices):
        super().__init__(*choices)
        self.gate = gate

    def choose(self, delivery, site, provider, families, then):
        then(self.choices[-1 if self.gate.effects else 0])


def test_what_waits_for_an_address_that_is_passed_over_now_takes_another():
    async def run():
        gate = Effective()
        gate.standing = lambda lane, _: gate.effects.get((lane.source, lane.destination))
        sources = Choosy(gate, Source("127.0.99.1"), Source("127.0.99.2"))
        shapes = PlainShapes(Shape(provider="big", connections=1, connections_start=1))
        async with bench(
            {"a.test": ["slow-dot.0.3"]}, lanes={"gate": gate, "sources": sources, "shapes": shapes}
        ) as b:
            for number in range(4):
                b.send(f"x{number}@a.test")
            await until(lambda: b.net.hosts["mx1.a.test"].commands(b"DATA"))
            gate.effects["127.0.99.1", "big"] = BLOCKED
            gate.changed[0]("big")
            assert all(one.verdict is Verdict.DELIVERED for one in await b.wait(4))
            assert sorted(mail.peer for mail in b.net.received) == ["127.0.99.1"] + 3 * ["127.0.99.2"]
            assert sorted(end[1] or "unused" for end in sources.ends) == 4 * ["delivered"] + 3 * ["unused"]

    asyncio.run(run())


def test_what_is_passed_over_and_has_no_other_address_waits():
    async def run():
        gate, sources = Effective(), Scripted(Source("127.0.99.1"))
        shapes = PlainShapes(Shape(provider="big", connections=1, connections_start=1))
        async with bench(
            {"a.test": ["slow-dot.0.3"]}, lanes={"gate": gate, "sources": sources, "shapes": shapes}
        ) as b:
            for number in range(3):
                b.send(f"x{number}@a.test")
            await until(lambda: b.net.hosts["mx1.a.test"].commands(b"DATA"))
            gate.effects["big"] = BLOCKED
            gate.changed[0]("big")
            outcomes = await b.wait(3)
            assert sorted(one.stage is Stage.SHAPING for one in outcomes) == [False, True, True]

    asyncio.run(run())


def test_a_connection_counts_until_the_host_has_closed_it():
    """The host answers QUIT late: the next connection waits for the end of the one before."""

    async def run():
        gate = PlainGate()
        shapes = PlainShapes(Shape(connections=1, connections_start=1, messages_per_connection=1))
        async with bench({"a.test": [""]}, lanes={"gate": gate, "shapes": shapes}) as b:
            host = b.net.hosts["mx1.a.test"]
            most = []
            connect = gate.connect

            def counted(lane, shape, wake):
                given = connect(lane, shape, wake)
                most.append(sum(gate._open.values()))
                return given

            gate.connect = counted
            for number in range(5):
                b.send(f"x{number}@a.test")
            assert all(one.verdict is Verdict.DELIVERED for one in await b.wait(5))
            assert max(most) == 1
            assert len({mail.connection for mail in b.net.received}) == 5
            await until(lambda: not gate._open)
            assert host

    asyncio.run(run())


def test_idle_sessions_of_a_lane_that_may_not_send_are_not_asked_in_a_loop():
    class Limited(PlainGate):
        def __init__(self):
            super().__init__()
            self.left = 1
            self.refused = []

        def message(self, lane, shape, wake):
            self.left -= 1
            if self.left >= 0:
                return True
            self.refused.append(wake)
            return False

    async def run():
        gate = Limited()
        async with bench({"a.test": [""]}, lanes={"gate": gate}) as b:
            await b.one("x@a.test")
            for number in range(3):
                b.send(f"y{number}@a.test")
            await until(lambda: gate.refused)
            assert len(gate.refused) < 20
            gate.left = 3
            gate.refused[0]()
            assert all(one.verdict is Verdict.DELIVERED for one in await b.wait(4))

    asyncio.run(run())
