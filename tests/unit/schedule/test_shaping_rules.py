"""Rules as values: which apply to a destination, what they allow, and what they make of a reply."""

import pytest

from relay.model.lane import Source
from relay.model.outcome import Outcome, Stage, Verdict
from relay.ports import MailHost
from relay.schedule.effects import NO_REACTION, Effect, EffectKind
from relay.schedule.replayed import outcome_of, recorded
from relay.schedule.shaping import Shape
from relay.schedule.shaping_rules import Limits, LimitsException, ProviderRules, Response, RuleSet

SLOW = Effect(EffectKind.SLOW, "big/slow", 60.0, 0.5)
BIG = ProviderRules(
    "big",
    hosts=("*.big.example",),
    domains=("vanity.example",),
    routes=("smart.big.example",),
    limits=Limits(connections=4, recipients=7),
    exceptions=(
        LimitsException(Limits(connections=1), pool="new"),
        LimitsException(Limits(connections=2), source="192.0.2.1"),
    ),
    responses=(
        Response("big/slow", codes=frozenset({421}), enhanced=("4.7",), texts=("slow", "rate"), effects=(SLOW,)),
        Response("big/greeting", codes=frozenset({554}), stages=frozenset({"greeting"}), retries=2),
        Response("big/bounce", codes=frozenset({450}), effects=(Effect(EffectKind.BOUNCE, "big/bounce"),)),
        Response("big/ok", codes=frozenset({250}), texts=("deferred inside",), wait_seconds=1),
    ),
)
APART = ProviderRules("apart", hosts=("*.apart.example",), rollup=False, limits=Limits(messages_per_minute=9))
EVERYBODY = ProviderRules(
    "default",
    limits=Limits(messages_per_connection=33),
    responses=(Response("default/late", codes=frozenset(range(400, 500)), texts=("late",), wait_seconds=30),),
)
RULES = RuleSet([BIG, APART, EVERYBODY])
BASE = Shape(connections=20)


def hosts(*names):
    return [MailHost(preference, host) for preference, host in names]


@pytest.mark.parametrize(
    ("given", "domain", "name"),
    [
        (hosts((10, "mx.big.example")), "", "big"),
        (hosts((10, "MX.BIG.example")), "", "big"),
        (hosts((10, "mx.own.example"), (20, "mx.big.example")), "", "default"),  # a backup says nothing
        (hosts((10, "mx.own.example"), (10, "mx.big.example")), "", "big"),
        (hosts((10, "mx.own.example")), "vanity.example", "big"),
        (hosts((10, "mx.apart.example")), "vanity.example", "big"),  # the domain goes before its hosts
        (hosts((10, "mx.apart.example")), "other.example", "apart"),
        ([], "", "default"),
    ],
)
def test_rules_of_a_destination(given, domain, name):
    assert RULES.find(given, domain=domain).rules.name == name


def test_rules_of_a_smart_host():
    assert RULES.find(hosts((0, "smart.big.example")), routed=True).kind == "route"
    assert RULES.find(hosts((0, "mx.apart.example")), routed=True).rules.name == "apart"
    assert RULES.find(hosts((0, "10.0.0.5")), domain="vanity.example", routed=True).rules.name == "default"


def test_shape_of_a_provider_and_its_exceptions():
    shape = RULES.shape(RULES.find(hosts((1, "a.big.example"))), BASE)
    assert (shape.provider, shape.rules, shape.connections, shape.recipients) == ("big", "big", 4, 7)
    assert shape.messages_per_connection == 33  # of everybody
    assert shape.at(Source("192.0.2.9")) is shape
    assert shape.at(Source("192.0.2.9", pool="new")).connections == 1
    assert shape.at(Source("192.0.2.1", pool="new")).connections == 2  # the address goes before its pool
    assert shape.at(Source("192.0.2.1")).recipients == 7


def test_sites_that_share_nothing_have_no_provider_and_still_its_rules():
    shape = RULES.shape(RULES.find(hosts((1, "a.apart.example"))), BASE)
    assert (shape.provider, shape.rules, shape.connections, shape.messages_per_minute) == ("", "apart", 20, 9)


def test_nobody_in_particular():
    shape = RULES.shape(RULES.find(hosts((1, "a.own.example"))), BASE)
    assert shape == Shape(connections=20, messages_per_connection=33)


@pytest.mark.parametrize(
    ("rules", "reply", "stage", "decided"),
    [
        ("big", "421 4.7.0 please SLOW down", "mail", "big/slow"),
        ("big", "421 4.7.28 rate", "mail", "big/slow"),
        ("big", "421 4.71.0 rate", "mail", ""),  # the beginning is compared in whole numbers
        ("big", "421 4.3.0 rate", "mail", ""),
        ("big", "421 4.7.0 something else", "mail", ""),
        ("big", "421 4.7.0 too late", "mail", "default/late"),
        ("big", "554 no", "greeting", "big/greeting"),
        ("big", "554 no", "mail", ""),
        ("big", "250 2.0.0 ok", "final dot", ""),
        ("big", "250 deferred inside", "final dot", "big/ok"),
        ("", "421 4.7.0 slow", "mail", ""),
        ("gone", "421 late", "mail", "default/late"),
    ],
)
def test_the_first_rule_that_fits_decides(rules, reply, stage, decided):
    assert RULES.react(rules, outcome_of(reply, stage)).rule == decided


def test_a_class_of_enhanced_codes():
    rule = Response("x/y", enhanced=("x.7.1",), wait_seconds=1)
    assert rule.fits(outcome_of("550 5.7.1 no"))
    assert rule.fits(outcome_of("450 4.7.1 no"))
    assert not rule.fits(outcome_of("450 4.7.10 no"))


def test_what_a_reply_says_itself_holds_without_a_rule():
    asked = RULES.react("", outcome_of("451 4.7.1 try again in 7 minutes"))
    assert (asked.rule, asked.wait_seconds, asked.effects) == ("", 420, ())
    listed = RULES.react("", outcome_of("550 5.7.1 blocked using zen.spamhaus.org; see x"))
    assert (listed.blocklist, listed.wait_seconds) == ("zen.spamhaus.org", 0)
    assert RULES.react("", outcome_of("250 2.0.0 try again in 7 minutes, zen.spamhaus.org")) is NO_REACTION
    assert RULES.react("", outcome_of("550 5.1.1 no such user")) is NO_REACTION


def test_a_bounce_is_told_from_what_lasts():
    reaction = RULES.react("big", outcome_of("450 whatever"))
    assert reaction.bounces
    assert reaction.lasting == ()


def test_a_recorded_attempt_is_read_back():
    made = recorded(
        {"reply": "421 4.7.0 slow", "stage": "mail", "remoteHost": "mx.big.example", "finishedMs": 7, "outcome": "x"}
    )
    assert made == Outcome(
        Verdict.TEMPORARY, Stage.MAIL, 421, "4.7.0", "slow", remote_host="mx.big.example", finished_ms=7
    )
    assert recorded({"reply": "4.4.1 Cannot connect", "stage": "connect"}).local
    assert recorded({}).local
