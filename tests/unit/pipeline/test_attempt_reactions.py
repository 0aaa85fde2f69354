"""What replies make the relay do: on the delivery's own outcome, and on its lane through the gate."""

import asyncio
import time
from dataclasses import replace

import pytest

from relay.model.lane import Lane, Source
from relay.model.outcome import Stage, Verdict
from relay.pipeline.departure import PlainGate
from relay.pipeline.shaping import RuleShapes
from relay.schedule.effects import Effect, EffectKind
from relay.schedule.route import Route
from relay.schedule.shaping import Shape
from relay.schedule.shaping_rules import Limits, LimitsException, ProviderRules, Response, RuleSet
from tests.unit.pipeline.outbound_harness import bench, until

KINDS = [EffectKind.SLOW, EffectKind.PAUSE, EffectKind.SWITCH, EffectKind.SUSPEND_ACCOUNT, EffectKind.SUSPEND_SET]


def response(name, text, *effects, **more):
    made = tuple(Effect(kind, name, 60.0, 0.5 if kind is EffectKind.SLOW else 1.0) for kind in effects)
    return Response(name, texts=(text,), effects=made, **more)


BIG = ProviderRules(
    "big",
    hosts=("*.big.test", "*.other.test"),
    domains=("vanity.test",),
    limits=Limits(connections=2, connections_start=2, messages_per_connection=3),
    exceptions=(LimitsException(Limits(connections=1), source="127.0.99.7"),),
    responses=(
        *(response(f"big/{kind.name.lower()}", kind.name, kind) for kind in KINDS),
        response("big/bounce", "give up", EffectKind.BOUNCE),
        response("big/block", "blocked here", EffectKind.SWITCH, retries=2, wait_seconds=900.0),
    ),
)


class KeepingGate(PlainGate):
    """Keeps what it is told to put into force."""

    def __init__(self):
        super().__init__()
        self.applied = []
        self.most = {}

    def connect(self, lane, shape, wake):
        granted = super().connect(lane, shape, wake)
        self.most[lane] = max(self.most.get(lane, 0), self._open.get(lane, 0))
        return granted

    def apply(self, lane, delivery, effects, reply):
        self.applied.append((lane, delivery.recipient, tuple(effects), reply))


def shaped(*providers):
    shapes = RuleShapes(RuleSet(providers or (BIG,)), Shape())
    return {"shapes": shapes, "gate": KeepingGate()}


def run(scenario, domains, *, lanes=None, zones=None, **settings):
    async def inside():
        lanes_of = lanes or shaped()
        async with bench(domains, zones, lanes=lanes_of, **settings) as b:
            await scenario(b, lanes_of)

    asyncio.run(inside())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["greet", "mail", "rcpt", "dot"])
def test_an_effect_reaches_the_gate_with_its_lane_and_reply(kind, stage):
    async def scenario(b, lanes):
        b.net.hosts["mx1.big.test"].replies = {stage: f"451 4.7.0 please {kind.name}"}
        outcome = await b.one("x@big.test")
        assert (outcome.verdict, outcome.rule) == (Verdict.TEMPORARY, f"big/{kind.name.lower()}")
        assert outcome.effects == (str(Effect(kind, "", 60.0, 0.5 if kind is EffectKind.SLOW else 1.0)),)
        ((lane, recipient, effects, reply),) = lanes["gate"].applied
        assert (lane, recipient) == (Lane("", "big"), "x@big.test")
        assert [effect.kind for effect in effects] == [kind]
        assert reply == f"451 4.7.0 please {kind.name}"
        (line,) = [fields for event, fields in b.log.lines if event == "a reply changes how a lane is used"]
        assert line["rule"] == f"big/{kind.name.lower()}"

    run(scenario, {"big.test": [""]})


def test_many_deliveries_with_one_reply_ask_for_its_effect_once():
    async def scenario(b, lanes):
        b.net.hosts["mx1.big.test"].replies = {"greet": "421 4.7.0 SLOW down"}
        for number in range(50):
            b.send(f"x{number}@big.test")
        outcomes = await b.wait(50)
        assert {outcome.rule for outcome in outcomes} == {"big/slow"}
        assert len(lanes["gate"].applied) == 1

    run(scenario, {"big.test": [""]})


def test_a_refused_connection_is_judged_though_others_go_on():
    wide = replace(BIG, limits=Limits(connections=5, connections_start=1))

    async def scenario(b, lanes):
        host = b.net.hosts["mx1.big.test"]
        for number in range(8):
            b.send(f"x{number}@big.test")
        await until(lambda: host.received)
        host.replies = {"greet": "421 4.7.0 SLOW and SUSPEND_SET"}
        for number in range(8, 12):  # one connection more is opened for them, now that one message arrived
            b.send(f"x{number}@big.test")
        await until(lambda: lanes["gate"].applied)
        host.replies = {}
        assert {outcome.verdict for outcome in await b.wait(12)} == {Verdict.DELIVERED}
        ((lane, _, effects, _),) = lanes["gate"].applied
        assert (lane, [effect.kind for effect in effects]) == (Lane("", "big"), [EffectKind.SLOW])

    run(scenario, {"big.test": ["slow-dot.0.1"]}, lanes=shaped(wide))


def test_a_rule_bounces_what_the_remote_only_puts_off():
    async def scenario(b, lanes):
        b.net.hosts["mx1.big.test"].replies = {"rcpt": "450 4.2.0 better give up"}
        outcome = await b.one("x@big.test")
        assert (outcome.verdict, outcome.code, outcome.rule) == (Verdict.PERMANENT, 450, "big/bounce")
        assert outcome.effects == ("bounce",)
        assert lanes["gate"].applied == []

    run(scenario, {"big.test": [""]})


def test_a_refusal_of_the_address_is_tried_again_a_few_times_then_believed():
    async def scenario(b, _lanes):
        b.net.hosts["mx1.big.test"].replies = {"mail": "550 5.7.1 blocked here"}
        before = time.time() * 1000
        first = await b.one("x@big.test")
        assert first.verdict is Verdict.TEMPORARY
        assert first.not_before_ms >= before + 900_000
        assert (await b.one("x@big.test", attempts=1)).verdict is Verdict.TEMPORARY
        last = await b.one("x@big.test", attempts=2)
        assert (last.verdict, last.not_before_ms) == (Verdict.PERMANENT, 0)

    run(scenario, {"big.test": [""]})


def test_a_time_that_the_reply_names_is_kept_without_any_rule():
    async def scenario(b, _lanes):
        b.net.hosts["mx1.small.test"].replies = {"rcpt": "451 4.7.1 Greylisted, try again in 5 minutes"}
        outcome = await b.one("x@small.test")
        assert outcome.not_before_ms >= outcome.finished_ms + 300_000
        assert outcome.rule == ""

    run(scenario, {"small.test": [""]})


@pytest.mark.req("DNSBL-002")
def test_a_refusal_by_a_block_list_is_tagged_with_its_name():
    async def scenario(b, _lanes):
        b.net.hosts["mx1.small.test"].replies = {
            "rcpt": "550 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org; see the page"
        }
        outcome = await b.one("x@small.test")
        assert (outcome.verdict, outcome.blocklist) == (Verdict.PERMANENT, "zen.spamhaus.org")

    run(scenario, {"small.test": [""]})


def test_words_of_our_own_are_no_reply():
    async def scenario(b, lanes):
        outcome = await b.one("SLOW@big.test")
        assert (outcome.stage, outcome.rule) == (Stage.CONNECT, "")
        assert lanes["gate"].applied == []

    run(scenario, {"big.test": ["greet-hang"]}, zones={"mx1.big.test": {"A": ["127.0.16.250"]}})


def test_sites_of_one_provider_share_their_connections():
    async def scenario(b, lanes):
        for number in range(30):
            b.send(f"x{number}@{'big' if number % 2 else 'other'}.test")
        await b.wait(30)
        hosts = b.net.hosts.values()
        assert lanes["gate"].most == {Lane("", "big"): 2}
        assert all(host.open_most <= 2 for host in hosts)
        assert sum(host.connections for host in hosts) >= 10  # 3 messages a connection

    run(scenario, {"big.test": ["slow-dot.0.01"], "other.test": ["slow-dot.0.01"]})


def test_an_address_may_have_limits_of_its_own():
    class Seven:
        def choose(self, delivery, site, provider, families, then):
            then(Source("127.0.99.7"))

        def settled(self, *_):
            pass

    async def scenario(b, _lanes):
        for number in range(10):
            b.send(f"x{number}@big.test")
        await b.wait(10)
        assert b.net.hosts["mx1.big.test"].open_most == 1

    run(scenario, {"big.test": ["slow-dot.0.01"]}, lanes={**shaped(), "sources": Seven()})


def test_a_domain_may_have_rules_whatever_its_hosts_are():
    async def scenario(b, lanes):
        b.net.hosts["mx1.vanity.test"].replies = {"rcpt": "451 4.7.0 SLOW"}
        assert (await b.one("x@vanity.test")).rule == "big/slow"
        assert lanes["gate"].applied[0][0].destination == "big"

    run(scenario, {"vanity.test": [""]})


def test_a_smart_host_bears_so_many_recipients():
    smart = ProviderRules("smart", routes=("127.0.16.1",), limits=Limits(recipients=3))

    async def scenario(b, _lanes):
        job = b.job("r0@a.test", key=5)
        for number in range(9):
            b.outbound.enqueue(b.job(f"r{number}@a.test", key=5, index=number, sender=job.return_path))
        await b.wait(9)
        assert all(len(mail.recipients) <= 3 for mail in b.net.received)
        assert max(len(mail.recipients) for mail in b.net.received) == 3

    async def inside():
        async with bench({"smart.test": [""]}, lanes=shaped(smart)) as b:
            settings = b.outbound.settings
            route = Route("a.test", "127.0.16.1", b.net.port, several_recipients=True)
            b.outbound.apply(type(settings)(helo_name=settings.helo_name, port=settings.port, routes=(route,)))
            await scenario(b, None)

    asyncio.run(inside())


def test_other_rules_hold_from_the_next_delivery_on():
    async def scenario(b, lanes):
        host = b.net.hosts["mx1.big.test"]
        host.replies = {"rcpt": "451 4.7.0 SLOW"}
        assert (await b.one("x@big.test")).rule == "big/slow"
        lanes["shapes"].use(
            RuleSet([ProviderRules("new", hosts=("*.big.test",), limits=Limits(connections=1))]), Shape()
        )
        b.outbound.apply(b.outbound.settings)
        assert (await b.one("x@big.test")).rule == ""
        host.replies = {}
        for number in range(10):
            b.send(f"y{number}@big.test")
        await b.wait(12)
        assert host.open_most == 1

    run(scenario, {"big.test": ["slow-dot.0.01"]})


def test_lanes_tell_how_they_are_and_what_was_last():
    async def scenario(b, _lanes):
        await b.one("x@big.test")
        b.net.hosts["mx1.big.test"].replies = {"mail": "451 4.7.0 SLOW"}
        await b.one("y@big.test")
        found = b.outbound.lanes("big")
        assert found["sites"][0]["site"] == "mx1.big.test"
        (notes,) = found["notes"]
        assert notes["hour"] == [1, 1, 0]
        assert notes["replies"][-1]["rule"] == "big/slow"
        assert notes["replies"][-1]["reply"] == "451 4.7.0 SLOW"
        assert b.outbound.lanes("elsewhere") == {"sites": [], "notes": []}

    run(scenario, {"big.test": [""]})
