"""The order of mail exchangers."""

import random
from collections import Counter

import pytest

from relay.ports import MailHost
from relay.schedule import mx


def hosts(*pairs):
    return tuple(MailHost(preference, name) for preference, name in pairs)


@pytest.mark.req("FLOW-019")
def test_preference_first_and_random_inside():
    records = hosts((20, "c"), (10, "a"), (10, "b"), (30, "d"))
    shuffle = random.Random(1).shuffle
    orders = Counter(tuple(host.host for host in mx.Deck().deal(records, shuffle)) for _ in range(1000))
    assert set(orders) == {("a", "b", "c", "d"), ("b", "a", "c", "d")}
    assert min(orders.values()) > 400


def test_connections_are_dealt_evenly_whatever_chance_says():
    records = hosts(*((10, f"h{n}") for n in range(12)), (20, "spare"))
    deck, shuffle = mx.Deck(), random.Random(1).shuffle
    dealt = [deck.deal(records, shuffle) for _ in range(24)]
    assert set(Counter(one[0].host for one in dealt).values()) == {2}
    assert all(len({host.host for host in one}) == mx.HOSTS_MAX for one in dealt)
    assert mx.Deck().deal(hosts((20, "b"), (10, "a")), shuffle) == [*hosts((10, "a"), (20, "b"))]
    assert deck.deal((), shuffle) == []
    assert {deck.deal(hosts((10, "new"), (10, "h1")), shuffle)[0].host for _ in range(2)} == {"new", "h1"}


def test_at_most_ten():
    records = hosts(*((n, f"h{n}") for n in range(1000)))
    assert [host.preference for host in mx.Deck().deal(records, random.Random(1).shuffle)] == list(range(10))


@pytest.mark.parametrize(
    ("own", "left"),
    [((), ["a", "b", "c"]), (("c",), ["a"]), (("b",), ["a"]), (("a",), []), (("x",), ["a", "b", "c"])],
)
def test_we_and_those_behind_us_are_dropped(own, left):
    """RFC 5321 section 5.1."""
    assert [host.host for host in mx.without_us(hosts((10, "a"), (20, "b"), (20, "c")), own)] == left


def test_site_name_is_the_set():
    assert mx.site_name(hosts((1, "b"), (2, "a"))) == mx.site_name(hosts((5, "a"), (9, "b"), (9, "b")))
    assert mx.site_name(hosts((1, "b"))) != mx.site_name(hosts((1, "b"), (2, "a")))


@pytest.mark.parametrize(
    ("ipv6", "prefer", "expected"),
    [
        (True, False, ["1.1.1.1", "2::", "2.2.2.2", "3.3.3.3"]),
        (True, True, ["2::", "1.1.1.1", "2.2.2.2", "3.3.3.3"]),
        (False, True, ["1.1.1.1", "2.2.2.2", "3.3.3.3"]),
    ],
)
def test_families_take_turns(ipv6, prefer, expected):
    addresses = ["1.1.1.1", "2.2.2.2", "3.3.3.3", "2::"]
    assert mx.families(addresses, ipv6=ipv6, prefer_ipv6=prefer) == expected
