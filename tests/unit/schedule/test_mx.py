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
    orders = Counter(tuple(host.host for host in mx.order(records, shuffle)) for _ in range(1000))
    assert set(orders) == {("a", "b", "c", "d"), ("b", "a", "c", "d")}
    assert min(orders.values()) > 400


def test_at_most_ten():
    records = hosts(*((n, f"h{n}") for n in range(1000)))
    assert [host.preference for host in mx.order(records, random.Random(1).shuffle)] == list(range(10))


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
