"""Replaying recorded attempts against rules."""

from relay.schedule.effects import Effect, EffectKind
from relay.schedule.replay import LANES_MAX, Replay
from relay.schedule.shaping_rules import ProviderRules, Response, RuleSet

SINCE = 1_700_000_000_000
PAUSE = Effect(EffectKind.PAUSE, "big/pause", 600.0)
BIG = ProviderRules(
    "big",
    hosts=("*.big.test",),
    responses=(
        Response("big/pause", texts=("pause",), effects=(PAUSE,)),
        Response("big/bounce", texts=("bounce",), effects=(Effect(EffectKind.BOUNCE, "big/bounce"),)),
        Response("big/keep", texts=("keep",), retries=2),
    ),
)


def attempt(minute, reply, *, host="mx.big.test", number=1, source="192.0.2.1"):
    at = SINCE + minute * 60_000
    return {"reply": reply, "remoteHost": host, "sourceAddress": source, "finishedMs": at, "attempt": number}


def replayed(attempts, rules=(BIG,)):
    made = Replay(RuleSet(rules), SINCE)
    for one in attempts:
        made.take("x@a.test", one)
    for one in attempts:
        made.take_again("x@a.test", one)
    return made


def test_what_each_rule_decided():
    made = replayed(
        [
            attempt(0, "421 pause"),
            attempt(1, "450 bounce"),
            attempt(2, "550 bounce"),
            attempt(3, "550 keep", number=2),
            attempt(4, "550 keep", number=3),
            attempt(5, "250 ok"),
            attempt(6, "4.4.1 pause: cannot connect"),
            attempt(-1, "421 pause"),
            attempt(7, "421 pause", host="mx.small.test"),
        ]
    )
    tallies = {name: (one.matches, one.bounced, one.retried) for name, one in made.tallies.items()}
    assert tallies == {"big/pause": (1, 0, 0), "big/bounce": (2, 2, 0), "big/keep": (2, 0, 1)}
    assert made.tallies["big/pause"].effects == {"pause": 1}


def test_pauses_of_a_lane_are_counted_once_however_they_overlap():
    made = replayed([attempt(0, "421 pause"), attempt(5, "421 pause"), attempt(60, "421 pause", source="192.0.2.2")])
    assert made.paused_minutes == {("192.0.2.1", "big"): 15, ("192.0.2.2", "big"): 10}


def test_attempts_in_a_pause_are_counted_in_the_second_pass():
    made = replayed(
        [
            attempt(3, "250 ok"),
            attempt(0, "421 pause"),
            attempt(9, "250 ok", source="192.0.2.2"),
            attempt(30, "250 ok"),
        ]
    )
    assert made.waits == 1


def test_a_site_of_its_own_is_a_lane_of_its_own():
    apart = ProviderRules("apart", hosts=("*.big.test",), rollup=False, responses=BIG.responses)
    made = replayed([attempt(0, "421 pause")], rules=(apart,))
    assert list(made.paused_minutes) == [("192.0.2.1", "mx.big.test")]


def test_a_domain_of_its_own_goes_before_its_hosts():
    made = Replay(RuleSet([ProviderRules("vanity", domains=("a.test",)), BIG]), SINCE)
    made.take("x@A.test", attempt(0, "421 pause"))
    assert made.tallies == {}


def test_lanes_are_bounded():
    made = replayed([attempt(0, "421 pause", source=f"10.0.{n >> 8}.{n & 255}") for n in range(LANES_MAX + 10)])
    assert len(made.paused_minutes) == LANES_MAX
    assert made.lanes_left_out == 10
