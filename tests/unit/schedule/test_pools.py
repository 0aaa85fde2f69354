"""Which source addresses mail may leave from, by tables."""

from collections import Counter
from dataclasses import replace

import pytest

from relay.model.pool import (
    DEFAULT_POOL,
    NO_OVERFLOW,
    SHARED_POOL,
    AccountSending,
    Pool,
    PoolRule,
    PoolSnapshot,
    Reverse,
    ReverseDns,
    ScalingMode,
    SourceAddress,
    WarmUp,
)
from relay.schedule.pools import PoolBook, Turns

A, B = "000000000001", "000000000002"
BOTH, V4, V6 = frozenset({4, 6}), frozenset({4}), frozenset({6})


def address(text, account="", pool="", **more):
    return SourceAddress(text, account, pool, **more)


def book(*addresses, pools=(), rules=(), accounts=()):
    return PoolBook(PoolSnapshot(tuple(addresses), tuple(pools), tuple(rules), tuple(accounts)))


def leaves(of, account, pool="", families=BOTH, *, late=False):
    """Return the addresses in order of preference, warming ones with a `~` in front."""
    found = of.plan(account, pool).candidates(families, 0.0, lambda: late)
    return ["~" * one.warming + one.source.address for one in found]


def test_without_addresses_the_host_chooses():
    assert book().plan(A, "").system
    assert book().plan(A, SHARED_POOL).system
    assert book().plain


def test_the_host_does_not_choose_where_it_could_choose_another_accounts_address():
    of = book(address("192.0.2.1", A))
    assert not of.plan(B, "").system
    assert "another account's" in of.plan(B, "").why
    assert leaves(of, A) == ["192.0.2.1"]
    assert not book(address("192.0.2.1", reserve=True)).plan(A, "").system


def test_own_addresses_go_before_shared_ones_and_carry_nobody_elses_mail():
    of = book(address("192.0.2.1", A), address("192.0.2.9"))
    assert leaves(of, A) == leaves(of, A, DEFAULT_POOL) == ["192.0.2.1"]
    assert leaves(of, B) == leaves(of, B, DEFAULT_POOL) == leaves(of, A, SHARED_POOL) == ["192.0.2.9"]


def test_a_pool_is_left_by_nothing_but_warm_up():
    pool = Pool(A, "news")
    of = book(
        address("192.0.2.1", A, "news"), address("192.0.2.2", A), address("192.0.2.9"), pools=[pool, Pool(A, "empty")]
    )
    assert leaves(of, A, "news") == ["192.0.2.1"]
    assert leaves(of, A) == ["192.0.2.2"]
    assert leaves(of, A, "empty") == []
    assert of.plan(A, "empty").why == "Pool empty has no address"
    assert leaves(of, B, "news") == ["192.0.2.9"]  # another account's pool is as none


@pytest.mark.parametrize(
    ("rest", "overflow", "expected"),
    [
        ((), "", ["~192.0.2.1", "192.0.2.9"]),  # no warm address: shared ones (WARM-004)
        ([address("192.0.2.2", A)], "", ["~192.0.2.1", "192.0.2.2"]),  # else its warm ones
        ([address("192.0.2.2", A, "news")], "", ["~192.0.2.1", "192.0.2.2"]),  # those of the pool first
        ([address("192.0.2.2", A)], NO_OVERFLOW, ["~192.0.2.1"]),
        ([address("192.0.2.2", A), address("192.0.2.3", A, "spare")], "spare", ["~192.0.2.1", "192.0.2.3"]),
        ((), SHARED_POOL, ["~192.0.2.1", "192.0.2.9"]),
    ],
)
def test_what_a_warm_up_has_no_room_for(rest, overflow, expected):
    warming = address("192.0.2.1", A, "news", warmup=WarmUp.AUTO)
    pools = [Pool(A, "news", overflow=overflow), Pool(A, "spare")]
    assert leaves(book(warming, *rest, address("192.0.2.9"), pools=pools), A, "news") == expected


def test_an_overflow_pool_stands_in_for_addresses_that_are_gone():
    gone = address("192.0.2.1", A, "news", absent_ms=5)
    pools = [Pool(A, "news", overflow="spare"), Pool(A, "spare")]
    assert leaves(book(gone, address("192.0.2.3", A, "spare"), pools=pools), A, "news") == ["192.0.2.3"]
    of = book(gone, address("192.0.2.9"), pools=[Pool(A, "news")])
    assert leaves(of, A, "news") == []
    assert "192.0.2.1 is not an address of this host" in of.plan(A, "news").why


def test_a_managed_pool_leaves_for_shared_addresses_in_its_early_phase_only():
    warming = address("192.0.2.1", A, "m", warmup=WarmUp.AUTO, warmup_started_ms=1000, managed=True)
    of = book(warming, address("192.0.2.9"), pools=[Pool(A, "m", ScalingMode.MANAGED)])
    assert leaves(of, A, "m") == ["~192.0.2.1", "192.0.2.9"]
    assert leaves(of, A, "m", late=True) == ["~192.0.2.1"]


def test_who_may_not_use_shared_addresses_waits():
    of = book(address("192.0.2.9"), accounts=[AccountSending(A, shared_barred=True)])
    assert leaves(of, A) == leaves(of, A, SHARED_POOL) == []
    assert "may not use the shared ones" in of.plan(A, "").why
    assert not of.may_carry(of.address("192.0.2.9"), A)
    assert of.may_carry(of.address("192.0.2.9"), B)


def test_an_address_of_a_range_needs_its_reverse_dns():
    bare = address("192.0.2.1", A, registered=True)
    assert book(bare).plan(A, "").awaits_reverse
    good = replace(bare, reverse=ReverseDns(Reverse.CONFIRMED, ("a.example",), helo=True))
    assert leaves(book(good), A) == ["192.0.2.1"]
    other = replace(bare, reverse=ReverseDns(Reverse.CONFIRMED, ("a.example",), helo=False))
    assert book(other).plan(A, "").awaits_reverse
    assert not book(replace(bare, absent_ms=1)).plan(A, "").awaits_reverse


def test_suspended_resting_and_reserved_addresses_are_not_used():
    of = book(address("192.0.2.1", suspended="listed"), address("192.0.2.2", weight=0), address("192.0.2.3"))
    assert leaves(of, A) == ["192.0.2.3"]
    only = book(address("192.0.2.1", suspended="listed"), address("192.0.2.3", reserve=True))
    assert leaves(only, A) == []
    assert "is suspended (listed)" in only.plan(A, "").why


def test_families():
    of = book(address("192.0.2.1"), address("2001:db8::1"))
    assert leaves(of, A, families=V4) == ["192.0.2.1"]
    assert leaves(of, A, families=V6) == ["2001:db8::1"]
    assert sorted(leaves(of, A)) == ["192.0.2.1", "2001:db8::1"]


def test_one_address_for_a_test_is_that_one_or_none():
    of = book(
        address("192.0.2.1", A), address("192.0.2.9", weight=0, suspended="new"), address("192.0.2.8", absent_ms=1)
    )
    assert leaves(of, A, "@192.0.2.1") == ["192.0.2.1"]
    assert leaves(of, B, "@192.0.2.1") == []
    assert leaves(of, B, "@192.0.2.9") == ["192.0.2.9"]  # tried before it is let loose
    assert of.plan(A, "@192.0.2.8").why
    assert of.plan(A, "@192.0.2.77").why


@pytest.mark.parametrize(
    ("set_pool", "identity_pool", "sender", "recipients", "expected"),
    [
        ("s", "i", "a.example", ["x@big.example"], "s"),
        ("gone", "i", "a.example", ["x@big.example"], "r"),
        ("", "i", "a.example", ["x@mx.big.example", "y@a.big.example"], "sub"),
        ("", "i", "a.example", ["x@mx.big.example", "y@other.example"], "i"),
        ("", "gone", "a.example", ["x@other.example"], "acc"),
        ("", "", "b.example", ["x@other.example"], "relay"),
        ("", "", "a.example", ["x@other.example"], "acc"),
        (SHARED_POOL, "i", "a.example", ["x@big.example"], SHARED_POOL),
    ],
)
def test_who_names_the_pool(set_pool, identity_pool, sender, recipients, expected):
    pools = [Pool(A, name) for name in ("s", "i", "r", "sub", "acc")] + [Pool("", "relay")]
    rules = [
        PoolRule(1, A, "", "nowhere.example", "gone"),
        PoolRule(2, A, "", "big.example", "r"),
        PoolRule(3, A, "", "*.big.example", "sub"),
        PoolRule(4, B, "", "other.example", "s"),
        PoolRule(5, "", "b.example", "", "relay"),
    ]
    of = book(pools=pools, rules=rules, accounts=[AccountSending(A, "acc")])
    assert of.resolve(A, set_pool, identity_pool, sender, recipients) == expected


def test_the_address_is_certain_where_there_is_one():
    pools = [Pool(A, "one"), Pool(A, "two")]
    of = book(
        address("192.0.2.1", A, "one"), address("192.0.2.2", A, "two"), address("192.0.2.3", A, "two"), pools=pools
    )
    assert of.certain(A, "one") == "192.0.2.1"
    assert of.certain(A, "two") == ""
    assert of.certain(A, "@192.0.2.2") == "192.0.2.2"
    assert book().certain(A, "") == ""
    warming = address("192.0.2.1", A, "one", warmup=WarmUp.AUTO)
    assert book(warming, address("192.0.2.9"), pools=pools).certain(A, "one") == ""


@pytest.mark.parametrize("stride", [1, 2, 3, 34, 89])
def test_weights_are_kept_at_any_length(stride):
    """Each run of choices is within two of its exact share, however many destinations take turns."""
    of = book(address("192.0.2.1", weight=100), address("192.0.2.2", weight=50), address("192.0.2.3", weight=250))
    plan, turns = of.plan(A, ""), Turns(1)
    found = Counter()
    for count in range(1, 801):
        for other in range(stride - 1):
            turns.next(f"other{other}")
        found[next(plan.candidates(BOTH, turns.next("big"), bool)).source.address] += 1
        for one, share in (("192.0.2.1", 0.25), ("192.0.2.2", 0.125), ("192.0.2.3", 0.625)):
            assert abs(found[one] - share * count) <= 3


def test_destinations_of_one_message_each_are_spread_too():
    of = book(*(address(f"192.0.2.{n}") for n in range(1, 5)))
    plan, turns = of.plan(A, ""), Turns(0)
    found = Counter(
        next(plan.candidates(BOTH, turns.next(f"mx{n}.example"), bool)).source.address for n in range(4000)
    )
    assert all(850 < count < 1150 for count in found.values())


def test_every_address_is_a_candidate_once():
    of = book(*(address(f"192.0.2.{n}", weight=n) for n in range(1, 30)))
    for turn in (0.0, 0.3, 0.999999):
        found = [one.source.address for one in of.plan(A, "").candidates(BOTH, turn, bool)]
        assert len(found) == len(set(found)) == 29
