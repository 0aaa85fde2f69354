"""What an operator's choice of deliveries means."""

import pytest

from relay.errors import UsageError
from relay.model.delivery import DeliveryState
from relay.model.message import Delivery, Message, SendOptions
from relay.model.queue_entry import entry_of
from relay.schedule.selection import Selection, selection_of
from relay.schedule.standing import StandingHold, StandingHolds, require_standing, standing_hold_of

NOW = 1_800_000_000_000
HOUR = 3_600_000


def delivery(recipient="a@one.test", **values):
    message = Message(
        key=1,
        message_id="id",
        account=values.pop("account", "000000000001"),
        sender=values.pop("sender", "app@example.com"),
        accepted_ms=values.pop("accepted_ms", NOW - HOUR),
        expires_ms=NOW + HOUR,
        size_bytes=1,
        smtputf8=False,
        eight_bit=False,
        mail_json=b"",
        options=SendOptions(configuration_set=values.pop("set", ""), pool=values.pop("pool", "")),
    )
    return Delivery(message, 0, recipient, **values)


@pytest.mark.parametrize(
    ("selection", "fits"),
    [
        (Selection(), True),
        (Selection(states=frozenset({DeliveryState.HELD})), False),
        (Selection(domains=("one.test",)), True),
        (Selection(domains=("ONE.test",)), True),
        (Selection(domains=("test",)), False),
        (Selection(domains=(".test",)), True),
        (Selection(domains=(".one.test",)), True),
        (Selection(domains=(".e.test",)), False),
        (Selection(domains=("ne.test",)), False),
        (Selection(domains=("two.test", "one.test")), True),
        (Selection(recipients=("A@ONE.test",)), True),
        (Selection(recipients=("a@*",)), True),
        (Selection(recipients=("?@one.test",)), True),
        (Selection(recipients=("??@one.test",)), False),
        (Selection(recipients=("a@one",)), False),
        (Selection(senders=("*@example.com", "x@y.test")), True),
        (Selection(senders=("",) * 0 + ("*@other.test",)), False),
        (Selection(accounts=("000000000001",)), True),
        (Selection(accounts=("000000000002",)), False),
        (Selection(configuration_sets=("news",)), True),
        (Selection(configuration_sets=("alerts",)), False),
        (Selection(pools=("bulk",)), True),
        (Selection(pools=("bulk",), domains=("two.test",)), False),
        (Selection(sources=("192.0.2.1",)), True),
        (Selection(sources=("192.0.2.2",)), False),
        (Selection(older_ms=HOUR), True),
        (Selection(older_ms=HOUR + 1), False),
        (Selection(newer_ms=HOUR), True),
        (Selection(newer_ms=HOUR - 1), False),
        (Selection(reply="GREY"), True),
        (Selection(reply="white"), False),
        (Selection(reply_pattern=r"^451 .*list"), True),
        (Selection(reply_pattern=r"^450"), False),
        (Selection(message_ids=("id", "other")), True),
        (Selection(message_ids=("other",)), False),
        (Selection(sites=("mx.test",)), True),
        (Selection(sites=("mx.test",), pools=("none",)), False),
    ],
)
def test_every_criterion(selection, fits):
    one = delivery(set="news", pool="bulk", source="192.0.2.1", last_reply="451 4.7.1 greylisted")
    assert selection.matcher(NOW, {"one.test"})(entry_of(one)) is fits


def test_a_site_that_serves_nothing_selects_nothing():
    assert not Selection(sites=("mx.test",)).matcher(NOW)(entry_of(delivery()))


@pytest.mark.parametrize(
    "values",
    [
        {"reply_pattern": "("},
        {"reply_pattern": "a" * 201},
        {"reply_pattern": "(?<n"},
        {"reply": "a" * 1001},
        {"domains": ("",)},
        {"domains": ("a",) * 1001},
        {"senders": ("a" * 1001,)},
    ],
)
def test_bad_criteria_are_refused(values):
    with pytest.raises(UsageError):
        Selection(**values)


def test_a_glob_of_an_enemy_takes_no_time():
    hostile = Selection(recipients=("*a" * 300 + "b",)).matcher(NOW)
    assert not hostile(entry_of(delivery("a" * 900 + "@one.test")))


def test_what_is_given():
    assert Selection().everything
    assert Selection(states=frozenset({DeliveryState.HELD})).everything
    assert not Selection(reply="x").everything
    assert Selection(states=frozenset({DeliveryState.HELD}), domains=("a.test",)).as_json() == {
        "domains": ("a.test",),
        "states": [DeliveryState.HELD],
    }


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"domains": []} | {"states": ["held"]},
        {"domains": "a.test"},
        {"domains": [1]},
        {"reply": "x"},
        {"x": ["y"]},
    ],
)
def test_only_a_choice_of_mail_to_come_stands(values):
    with pytest.raises(UsageError):
        selection_of(values)


def test_a_standing_hold_is_kept_as_it_is():
    hold = StandingHold(3, Selection(domains=(".one.test",), senders=("a@*",)), NOW, NOW - 1, "me", "outage")
    assert standing_hold_of(hold.as_json() | {"selection": {"domains": [".one.test"], "senders": ["a@*"]}}) == hold


@pytest.mark.parametrize(
    "damage",
    [{"number": -1}, {"number": "1"}, {"until_ms": True}, {"caller": None}, {"selection": []}, {"reason": 1}],
)
def test_a_damaged_standing_hold_is_refused(damage):
    good = {"number": 1, "until_ms": 0, "created_ms": 0, "caller": "", "reason": "", "selection": {"domains": ["a"]}}
    assert standing_hold_of(good).number == 1
    with pytest.raises(UsageError):
        standing_hold_of(good | damage)


def test_of_several_standing_holds_the_longest_counts_and_those_that_ended_do_not():
    one = Selection(domains=("one.test",))
    short, long, endless = (StandingHold(n, one, until) for n, until in ((1, NOW + 10), (2, NOW + 20), (3, 0)))
    holds = StandingHolds([short, long])
    assert holds.of(delivery(), NOW) == long
    assert StandingHolds([short, endless, long]).of(delivery(), NOW) == endless
    assert holds.of(delivery("a@two.test"), NOW) is None
    assert holds.of(delivery(), NOW + 20) is None
    assert not holds, "an empty one costs nothing"


@pytest.mark.parametrize(
    "selection", [Selection(), Selection(reply="x", domains=("a.test",)), Selection(sites=("m",))]
)
def test_what_cannot_stand_is_refused_by_name(selection):
    with pytest.raises(UsageError):
        require_standing(selection)
