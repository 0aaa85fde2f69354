"""Fair shares: turns by weight, transactional before bulk, nobody starved, and always room for the next one."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.model.message import WEIGHT_MAX, Delivery, Message, SendOptions
from relay.schedule.fair import (
    BULK_BIT,
    RETRY_BIT,
    FairQueue,
    Flow,
    Tenancy,
    domain_allowance,
    flow_of,
    strand_beside,
    strand_number,
    strand_of,
)

BUSY = 100_000


def message(account="000000000001", **options):
    return Message(1, "m", account, "", 0, 0, 0, smtputf8=False, eight_bit=False, mail_json=b"",
                   options=SendOptions(**options))  # fmt: skip


def turns(backlog, count):
    """Give every flow a long backlog and return how often each of them went among the first `count`."""
    queue = FairQueue()
    for flow, waiting in backlog.items():
        for _ in range(min(waiting, count)):
            queue.add(flow, flow, first=True)
    return Counter(queue.take() for _ in range(count))


A, B, C = Flow("a"), Flow("b"), Flow("c")


def test_accounts_take_turns_however_much_they_have():
    queue = FairQueue()
    for number in range(1000):
        queue.add(A, f"a{number}", first=True)
    for number in range(3):
        queue.add(B, f"b{number}", first=True)
    assert [queue.take() for _ in range(7)] == ["a0", "b0", "a1", "b1", "a2", "b2", "a3"]
    assert len(queue) == 996


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((10, 10), (600, 600)),
        ((10, 20), (400, 800)),
        ((10, 50), (200, 1000)),
        ((1, 2), (400, 800)),
        ((1000, 500), (800, 400)),
        ((7, 13), (420, 780)),
    ],
)
def test_accounts_share_by_weight(weights, expected):
    found = turns({Flow(name, weight=weight): BUSY for name, weight in zip("ab", weights, strict=True)}, 1200)
    for (_, count), wanted in zip(sorted(found.items()), expected, strict=True):
        assert count == pytest.approx(wanted, abs=max(weights) / 10 + 1)


def test_configuration_sets_share_what_their_account_has():
    small, large = Flow("a", False, "small", set_weight=10), Flow("a", False, "large", set_weight=30)
    found = turns({small: BUSY, large: BUSY, B: BUSY}, 800)
    assert found[B] == 400
    assert found[large] == pytest.approx(300, abs=4)
    assert found[small] == pytest.approx(100, abs=4)


def test_transactional_mail_goes_first_and_bulk_is_not_starved():
    queue = FairQueue()
    bulk = Flow("a", bulk=True)
    for _ in range(20):
        queue.add(bulk, "b", first=True)
    for _ in range(20):
        queue.add(A, "t", first=True)
    assert "".join(queue.take() for _ in range(40)) == "ttttb" * 5 + "b" * 15


def test_nobody_gains_by_calling_all_mail_transactional():
    assert turns({A: BUSY, Flow("b", bulk=True): BUSY}, 1000) == {A: 500, Flow("b", bulk=True): 500}


def test_a_share_does_not_grow_with_the_number_of_flows():
    many = {Flow("a", bulk, f"set{number}"): BUSY for number in range(50) for bulk in (True, False)}
    found = turns({**many, B: BUSY}, 2000)
    assert found[B] == 1000


def test_what_was_accepted_last_says_what_a_sender_weighs():
    queue = FairQueue()
    for _ in range(300):
        queue.add(A, "a", first=True)
        queue.add(B, "b", first=True)
    queue.add(Flow("a", weight=40), "a", first=True)
    found = Counter(queue.take() for _ in range(100))
    assert found["a"] == pytest.approx(80, abs=5)


def test_a_site_takes_the_same_message_out_of_line():
    queue = FairQueue()
    for item in ("m1", "m1", "m2", "m1"):
        queue.add(A, item, first=True)
    queue.add(B, "other", first=True)
    assert queue.take_while(A, lambda item: item == "m1", first=True) == ["m1", "m1"]
    assert queue.take_while(A, lambda item: item == "m1", first=False) == []
    assert queue.take_while(C, lambda item: item == "m1", first=True) == []
    queue.put_back(A, "m0", first=True)
    assert len(queue) == 4
    assert sorted(queue.take() for _ in range(4)) == ["m0", "m1", "m2", "other"]
    assert queue.take_while(A, lambda _item: True, first=True) == []
    assert not queue


def test_taking_out_of_line_may_empty_a_flow():
    queue = FairQueue()
    queue.add(A, "x", first=True)
    queue.add(B, "y", first=True)
    assert queue.take_while(B, lambda _item: True, first=True) == ["y"]
    assert queue.peek().account == "a"
    assert queue.take() == "x"
    with pytest.raises(IndexError):
        queue.take()
    with pytest.raises(IndexError):
        queue.peek()


flows = st.builds(
    Flow,
    st.sampled_from("abc"),
    st.booleans(),
    st.sampled_from(("", "x", "y")),
    st.integers(1, WEIGHT_MAX),
    st.integers(1, WEIGHT_MAX),
)


@settings(deadline=None)
@given(st.lists(st.one_of(st.tuples(flows, st.booleans()), st.none()), max_size=120))
def test_nothing_is_lost_or_overtaken_by_its_own_kind(steps):
    queue, waiting, left = FairQueue(), [], []
    for number, step in enumerate(steps):
        if step is not None:
            flow, first = step
            waiting.append((flow[:3], first, number))
            queue.add(flow, waiting[-1], first=first)
        elif queue:
            left.append(queue.take())
        assert len(queue) == len(waiting) - len(left)
    left += [queue.take() for _ in range(len(queue))]
    assert sorted(left) == sorted(waiting)
    last = {}
    for flow, first, number in left:
        assert last.get((flow, first), -1) < number
        last[flow, first] = number


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 100), min_size=2, max_size=5), st.integers(0, 2**32))
def test_no_weight_starves_anybody(weights, seed):
    """Whoever waits goes before the others have had twice what their weights allow them for his one turn."""
    queue = FairQueue()
    each = {Flow(str(number), weight=weight): weight for number, weight in enumerate(weights)}
    enough = sum(2 * weight // min(weights) + 2 * weight // 10 + 2 for weight in weights) + 1
    order = list(each)
    random.Random(seed).shuffle(order)
    for flow in order:
        for _ in range(enough):
            queue.add(flow, flow, first=True)
    assert {queue.take() for _ in range(enough)} == set(each)


def test_strands_tell_flows_and_kinds_apart():
    options = [{}, {"configuration_set": "x"}, {"bulk": True}, {"bulk": True, "configuration_set": "x"}]
    deliveries = [
        Delivery(message(account, **each), 0, f"u@{domain}", attempts=attempts)
        for account in ("000000000001", "000000000002")
        for each in options
        for attempts in (0, 1)
        for domain in ("a.example",)
    ]
    numbers = [strand_of(delivery) for delivery in deliveries] + [strand_beside(delivery) for delivery in deliveries]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 1 << 62 for number in numbers)
    for delivery in deliveries:
        for number in (strand_of(delivery), strand_beside(delivery)):
            assert bool(number & RETRY_BIT) is (delivery.attempts > 0)
            assert bool(number & BULK_BIT) is delivery.message.options.bulk
    again = Delivery(message(weight=50), 3, "u@b.example", attempts=7)
    assert strand_of(again) == strand_of(Delivery(message(), 0, "v@a.example", attempts=1))
    assert strand_beside(again) != strand_beside(Delivery(message(), 0, "v@a.example", attempts=1))


def test_strand_numbers_are_the_same_for_ever():
    """They are on disk."""
    assert strand_number("000000000001", "", "", 0) == STRAND
    assert strand_number("000000000001", "", "", BULK_BIT | RETRY_BIT) == STRAND | BULK_BIT | RETRY_BIT


STRAND = 721074606763277312


def test_the_flow_of_a_message_is_what_was_fixed_at_acceptance():
    found = flow_of(message("7", bulk=True, configuration_set="news", weight=30, set_weight=5))
    assert found == Flow("7", True, "news", 30, 5)
    assert flow_of(message("7")) == Flow("7")


# --- a bounded place ---


def fill(most, senders, rounds=0):
    """Let greedy senders take a place by turns until nobody may take more; return what each holds.

    In every round one that is held, whoever's, is finished, and all take again.
    """
    held = {flow: Tenancy() for flow in senders}
    free, chance = grab(held, most), random.Random(1)
    for _ in range(rounds):
        (flow,) = chance.choices(senders, [tenancy.held for tenancy in held.values()])
        held[flow].add(flow, -1)
        free = grab(held, free + 1)
    return {flow: tenancy.held for flow, tenancy in held.items()}, free


def grab(held, free):
    going = True
    while going:
        going = False
        for flow, tenancy in held.items():
            if free > 0 and tenancy.room(flow, free) > 0:
                tenancy.add(flow)
                free -= 1
                going = True
    return free


def test_one_sender_alone_gets_most_of_a_place_and_leaves_room():
    held, free = fill(5000, [A])
    assert 4000 < held[A] < 4400
    assert free >= 600


@pytest.mark.parametrize("senders", [2, 10, 100, 500])
def test_many_senders_get_the_same_and_leave_room(senders):
    held, free = fill(5000, [Flow(str(number)) for number in range(senders)])
    assert max(held.values()) - min(held.values()) <= 1
    assert free >= 1
    assert sum(held.values()) > 4000


def test_senders_share_a_place_by_weight():
    held, _ = fill(1000, [Flow("a", weight=10), Flow("b", weight=20), Flow("c", weight=40)], rounds=5 * 1000)
    a, b, c = held.values()
    assert b / a == pytest.approx(2, rel=0.05)
    assert c / a == pytest.approx(4, rel=0.05)


def test_bulk_leaves_a_quarter_of_a_share_to_transactional_mail():
    tenancy, bulk, free = Tenancy(), Flow("a", bulk=True), 1000
    while tenancy.room(bulk, free) > 0:
        tenancy.add(bulk)
        free -= 1
    assert free > 100
    assert tenancy.room(A, free) > 20


def test_a_full_share_admits_nothing_and_a_returned_one_does():
    tenancy = Tenancy()
    while tenancy.room(A, 2) > 0:
        tenancy.add(A)
    assert tenancy.held
    tenancy.add(A, -1)
    assert tenancy.room(A, 2) > 0
    while tenancy.held:
        tenancy.add(A, -1)
    assert (tenancy.bulk, tenancy.sets) == (0, {})


@pytest.mark.parametrize(
    ("free", "most", "expected"), [(5000, 1000, 1000), (1000, 1000, 500), (3, 1000, 10), (1, 50, 1), (0, 9, 1)]
)
def test_the_share_of_a_domain(free, most, expected):
    assert domain_allowance(free, most) == expected


@pytest.mark.parametrize("domains", [1, 5, 20, 100, 400])
def test_slow_domains_leave_room_for_the_next_one(domains):
    """Whatever number of domains keeps what it takes, another one finds room."""
    free, held = 5000, Counter()
    going = True
    while going:
        going = False
        for number in range(domains):
            if held[number] < domain_allowance(free, 1000) and free > 2:
                held[number] += 1
                free -= 1
                going = True
    assert free >= 2
    assert held["another"] < domain_allowance(free, 1000)


@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_who_waits_can_be_looked_at(count):
    queue = FairQueue()
    for number in range(count):
        queue.add(Flow(str(number % 3), number % 2 == 1, str(number % 5)), number, first=number % 7 > 0)
    assert sorted(queue) == list(range(count))
    assert len(queue) == count
