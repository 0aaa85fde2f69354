"""What DNS can do to a delivery: adversarial cases J and decision 8, with a real name server on loopback."""

import asyncio
import collections

import pytest

from relay.model.outcome import Stage, Verdict
from relay.net.guard import Guard
from tests.unit.pipeline.outbound_harness import bench, until

CHAIN = {f"c{n}.test": {"CNAME": f"c{n + 1}.test"} for n in range(20)}
BAD_TARGETS = ["10 127.0.16.1.", "10 localhost.", "10 mail.", "10 a\\032b.test.", "10 \\195\\188.test."]

ZONES = {
    "null.test": {"MX": ["0 ."]},
    "null-too.test": {"MX": ["0 .", "10 mx1.good.test."]},
    "implicit.test": {"A": ["127.0.16.1"]},
    "nothing.test": {"TXT": ["x"]},
    "dangling.test": {"MX": ["10 gone.test."]},
    "dangling-a.test": {"MX": ["10 gone.test."], "A": ["127.0.16.1"]},
    "half.test": {"MX": ["10 gone.test.", "20 mx1.good.test."]},
    "unsure.test": {"MX": ["10 broken.test."]},
    "broken.test": {"FAULT": "servfail"},
    "silent.test": {"FAULT": "timeout"},
    "garbage.test": {"FAULT": "garbage"},
    "loop.test": {"CNAME": "loop2.test"},
    "loop2.test": {"CNAME": "loop.test"},
    "pointer.test": {"FAULT": "pointer-loop"},
    "forged.test": {"FAULT": "wrong-id"},
    "forged2.test": {"FAULT": "wrong-question"},
    "tcp.test": {"FAULT": "truncated", "MX": ["10 mx1.good.test."]},
    "big.test": {"MX": [f"{n} mx{n}.big.test." for n in range(1, 300)] + ["0 mx1.good.test."]},
    "alias.test": {"CNAME": "good.test"},
    "mx-alias.test": {"MX": ["10 mx-name.test."]},
    "mx-name.test": {"CNAME": "mx1.good.test"},
    "bad-targets.test": {"MX": BAD_TARGETS},
    "some-bad.test": {"MX": [*BAD_TARGETS, "20 mx1.good.test."]},
    "six.test": {"MX": ["10 mx.six.test."]},
    "mx.six.test": {"AAAA": ["2001:db8::25"]},
    "us.test": {"MX": ["10 relay.example.", "20 mx1.good.test."]},
    "not-us.test": {"MX": ["20 relay.example.", "10 mx1.good.test."]},
    **CHAIN,
    "c20.test": {"MX": ["10 mx1.good.test."]},
}

CASES = [
    ("good.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("null.test", Verdict.PERMANENT, Stage.DNS, "5.1.10"),
    ("null-too.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("implicit.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("nothing.test", Verdict.TEMPORARY, Stage.DNS, "4.4.4"),
    ("dangling.test", Verdict.PERMANENT, Stage.DNS, "5.4.4"),
    ("dangling-a.test", Verdict.PERMANENT, Stage.DNS, "5.4.4"),
    ("half.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("unsure.test", Verdict.TEMPORARY, Stage.DNS, "4.4.3"),
    ("broken.test", Verdict.TEMPORARY, Stage.DNS, "4.4.3"),
    ("silent.test", Verdict.TEMPORARY, Stage.DNS, "4.4.3"),
    ("garbage.test", Verdict.TEMPORARY, Stage.DNS, "4.4.3"),
    ("loop.test", Verdict.TEMPORARY, Stage.DNS, ""),
    ("c0.test", Verdict.TEMPORARY, Stage.DNS, ""),
    ("c10.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("pointer.test", Verdict.TEMPORARY, Stage.DNS, "4.4.3"),
    ("forged.test", Verdict.TEMPORARY, Stage.DNS, "4.4.3"),
    ("forged2.test", Verdict.TEMPORARY, Stage.DNS, "4.4.3"),
    ("tcp.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("big.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("alias.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("mx-alias.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("bad-targets.test", Verdict.PERMANENT, Stage.DNS, "5.4.4"),
    ("some-bad.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("six.test", Verdict.TEMPORARY, Stage.CONNECT, "4.4.1"),
    ("us.test", Verdict.PERMANENT, Stage.ROUTE, "5.4.6"),
    ("not-us.test", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("missing.test", Verdict.TEMPORARY, Stage.DNS, "4.1.2"),
    ("localhost", Verdict.PERMANENT, Stage.ROUTE, "5.1.2"),
    ("single", Verdict.PERMANENT, Stage.ROUTE, "5.1.2"),
    ("a.invalid", Verdict.PERMANENT, Stage.ROUTE, "5.1.2"),
    ("[127.0.16.1]", Verdict.DELIVERED, Stage.FINAL_DOT, ""),
    ("[300.1.1.1]", Verdict.PERMANENT, Stage.ROUTE, "5.1.2"),
    ("x" * 64 + ".test", Verdict.TEMPORARY, Stage.DNS, "4.1.2"),
]


@pytest.mark.parametrize(("domain", "verdict", "stage", "enhanced"), CASES)
@pytest.mark.req("FLOW-019")
def test_domain(domain, verdict, stage, enhanced):
    async def run():
        patience = {"timeout_seconds": 10.0 if domain == "big.test" else 1.0}
        async with bench({"good.test": [""]}, ZONES, resolver=patience, connect_timeout_seconds=1.0) as b:
            outcome = await b.one(f"x@{domain}")
            assert (outcome.verdict, outcome.stage) == (verdict, stage), outcome
            assert outcome.enhanced == enhanced or not enhanced
            assert outcome.nxdomain == (outcome.enhanced == "4.1.2")

    asyncio.run(run())


def test_truncated_answers_are_asked_again_over_tcp():
    async def run():
        async with bench({"good.test": [""]}, ZONES) as b:
            await b.one("x@tcp.test")
            assert ("tcp.test", "MX", "tcp") in b.net.dns.queries

    asyncio.run(run())


def test_a_second_look_at_nxdomain_goes_past_the_cache():
    """Decision 3."""

    async def run():
        async with bench({"good.test": [""]}) as b:
            assert (await b.one("x@new.test")).nxdomain
            assert (await b.one("y@new.test")).nxdomain
            assert len([query for query in b.net.dns.queries if query[0] == "new.test"]) == 1
            b.net.dns.zones["new.test"] = b.net.dns.zones["good.test"]
            assert (await b.one("x@new.test", attempts=1)).verdict is Verdict.DELIVERED

    asyncio.run(run())


def test_ttl_is_honoured():
    """J20: after its time the new answer is used, although connections to the old host are open."""

    async def run():
        zones = {"a.test": {"MX": ["10 mx1.one.test."], "TTL": 90}}
        async with bench({"one.test": [""], "two.test": [""]}, zones) as b:
            assert (await b.one("x@a.test")).remote_host == "mx1.one.test"
            b.net.dns.zones["a.test"] = {"MX": ["10 mx1.two.test."], "TTL": 90}
            assert (await b.one("x@a.test")).remote_host == "mx1.one.test"
            b.dns_clock.ahead_seconds = 91
            assert (await b.one("x@a.test")).remote_host == "mx1.two.test"

    asyncio.run(run())


def test_deliveries_of_one_domain_ask_once():
    async def run():
        async with bench({"a.test": [""]}) as b:
            for number in range(100):
                b.send(f"x{number}@a.test")
            await b.wait(100)
            assert sorted(b.net.dns.queries) == [
                ("a.test", "MX", "udp"),
                ("mx1.a.test", "A", "udp"),
                ("mx1.a.test", "AAAA", "udp"),
            ]

    asyncio.run(run())


def test_domains_with_the_same_hosts_share_connections():
    async def run():
        zones = {f"d{n}.test": {"MX": ["10 mx1.hub.test."]} for n in range(10)}
        async with bench({"hub.test": [""]}, zones, connections_per_site=1) as b:
            for number in range(100):
                b.send(f"x{number}@d{number % 10}.test")
            await b.wait(100)
            assert b.net.hosts["mx1.hub.test"].connections == 1

    asyncio.run(run())


def test_same_preference_is_spread():
    """J14: every message over a connection of its own, ten hosts of one preference."""

    async def run():
        hosts = {f"h{n}.test": [""] for n in range(10)}
        zones = {"a.test": {"MX": [f"10 mx1.h{n}.test." for n in range(10)]}}
        async with bench(hosts, zones, messages_per_connection=1) as b:
            for number in range(1000):
                b.send(f"x{number}@a.test")
            outcomes = await b.wait(1000, 60)
            spread = collections.Counter(outcome.remote_host for outcome in outcomes)
            assert len(spread) == 10
            assert min(spread.values()) > 60  # 100 expected, standard deviation 9.5

    asyncio.run(run())


def test_dead_domains_do_not_delay_others():
    """J18."""

    async def run():
        zones = {f"dead{n}.test": {"FAULT": "timeout"} for n in range(300)}
        async with bench({"a.test": [""]}, zones, resolver={"timeout_seconds": 60.0}) as b:
            for number in range(300):
                b.send(f"x@dead{number}.test")
            b.send("x@a.test")
            outcomes = await b.wait(1)
            assert outcomes[0].verdict is Verdict.DELIVERED  # seconds before the first of the dead ones gives up

    asyncio.run(run())


GUARDED = [
    ("10 loop.test.", Verdict.PERMANENT, "5.4.6"),
    ("10 private.test.", Verdict.PERMANENT, "5.4.4"),
    ("10 metadata.test.", Verdict.PERMANENT, "5.4.4"),
    ("10 mapped.test.", Verdict.PERMANENT, "5.4.6"),
    ("10 own.test.", Verdict.PERMANENT, "5.4.6"),
]


@pytest.mark.parametrize(("record", "verdict", "enhanced"), GUARDED)
def test_private_destinations_are_refused(record, verdict, enhanced):
    """Decision 8: nothing is connected to."""

    async def run():
        zones = {
            "a.test": {"MX": [record]},
            "loop.test": {"A": ["127.0.16.1"]},
            "private.test": {"A": ["10.1.2.3", "192.168.1.1"], "AAAA": ["fd00::1", "fe80::1"]},
            "metadata.test": {"A": ["169.254.169.254"]},
            "mapped.test": {"AAAA": ["::ffff:127.0.16.1"]},
            "own.test": {"A": ["198.51.100.9"]},
        }
        connector = Untouched()
        async with bench({"x.test": [""]}, zones, guard=Guard(["198.51.100.9"]), connector=connector) as b:
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.enhanced) == (verdict, enhanced), outcome
            literal = await b.one("x@[127.0.16.1]")
            assert (literal.verdict, literal.enhanced) == (Verdict.PERMANENT, "5.4.6")
            assert connector.asked == []

    asyncio.run(run())


class Untouched:
    """Connects to nothing and remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def connect(self, address, port, options, user):
        self.asked.append(address)
        asyncio.get_running_loop().call_soon(user.link_failed, "refused")
        return lambda: None


def test_of_a_mixture_only_the_public_address_is_used():
    """J09."""

    async def run():
        zones = {"a.test": {"MX": ["10 mix.test."]}, "mix.test": {"A": ["127.0.16.1", "8.8.4.4", "10.0.0.1"]}}
        connector = Untouched()
        async with bench({}, zones, guard=Guard(), connector=connector) as b:
            outcome = await b.one("x@a.test")
            assert outcome.verdict is Verdict.TEMPORARY
            assert connector.asked == ["8.8.4.4"]

    asyncio.run(run())


def test_a_dead_site_answers_at_once_for_a_moment():
    async def run():
        connector = Untouched()
        zones = {"a.test": {"A": ["8.8.4.4"]}}
        async with bench({}, zones, guard=Guard(), connector=connector, pause_after_failure_seconds=30.0) as b:
            await b.one("x@a.test")
            again = await b.one("y@a.test")
            assert (again.verdict, again.stage, again.remote_address) == (Verdict.TEMPORARY, Stage.CONNECT, "8.8.4.4")
            assert connector.asked == ["8.8.4.4"]

    asyncio.run(run())


def test_source_address_is_used_and_stays():
    async def run():
        sources = tuple(f"127.0.99.{n}" for n in range(1, 9))
        async with bench({"a.test": ["grey.1"]}, source_addresses=sources) as b:
            first = await b.one("x@a.test")
            again = await b.one("x@a.test", attempts=1)
            assert again.verdict is Verdict.DELIVERED
            assert first.source_address == again.source_address == b.net.received[0].peer
            assert again.source_address in sources

    asyncio.run(run())


def test_a_drain_while_a_host_is_looked_up_gives_its_connection_back_once():
    async def run():
        zones = {"a.test": {"MX": ["10 mx.test."]}, "mx.test": {"FAULT": "timeout"}}
        async with bench({"b.test": [""]}, zones, resolver={"timeout_seconds": 30.0}) as b:
            b.send("x@a.test")
            await until(lambda: any(name == "mx.test" for name, _, _ in b.net.dns.queries))
            await b.outbound.drain(0.0)
            assert b.outbound._connections.open == 0
            assert [line for line in b.log.lines if "broke off" in line[0]] == []

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["servfail", "timeout", "lame"])
def test_half_an_answer_decides_nothing(fault):
    """The family that was answered has private addresses only, the other may have a good one: no bounce."""

    async def run():
        zones = {"a.test": {"MX": ["10 mx.test."]}, "mx.test": {"FAULT-A": fault, "AAAA": ["fd00::1"]}}
        connector = Untouched()
        async with bench({}, zones, guard=Guard(), connector=connector) as b:
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.enhanced) == (Verdict.TEMPORARY, "4.4.3"), outcome
            b.net.dns.zones["mx.test"] = {"FAULT-AAAA": fault, "A": ["8.8.4.4"]}
            outcome = await b.one("x@a.test")
            assert outcome.verdict is Verdict.TEMPORARY
            assert connector.asked == ["8.8.4.4"]
            b.net.dns.zones["b.test"] = {"FAULT-AAAA": fault, "A": ["8.8.8.8"]}  # its own mail exchanger
            await b.one("x@b.test")
            assert connector.asked == ["8.8.4.4", "8.8.8.8"]

    asyncio.run(run())


def test_an_address_that_changes_between_look_ups_is_judged_each_time():
    """Rebinding: what was judged is what is connected to, whatever DNS says a moment later."""

    async def run():
        zones = {"a.test": {"MX": ["10 mx.test."]}, "mx.test": {"A": ["8.8.4.4"], "TTL": 0}}
        connector = Untouched()
        async with bench({}, zones, guard=Guard(), connector=connector) as b:
            told = b.net.dns.answer

            def rebinding(wire, transport):
                answer = told(wire, transport)
                if b.net.dns.queries[-1][:2] == ("mx.test", "A"):
                    other = "127.0.0.1" if b.net.dns.zones["mx.test"]["A"] == ["8.8.4.4"] else "8.8.4.4"
                    b.net.dns.zones["mx.test"] = {"A": [other], "TTL": 0}
                return answer

            b.net.dns.answer = rebinding
            told_of = []
            for _ in range(6):
                b.dns_clock.ahead_seconds += 2
                told_of.append((await b.one("x@a.test")).enhanced)
            assert told_of == ["4.4.1", "5.4.6"] * 3
            assert set(connector.asked) == {"8.8.4.4"}

    asyncio.run(run())
