"""The shared limits of lanes: exact, fair, and never before everything is known."""

import random
from collections import Counter

import pytest

from relay.model.lane import Lane
from relay.schedule.lane_book import SLICE_SECONDS, LaneBook, Limits, Word

LANE = Lane("192.0.2.1", "gmail")


class Table:
    """A book, and holders that do what they are told when asked to."""

    def __init__(self, opened=True):
        self.now = 100.0
        self.held = Counter()
        self.told = []
        self.recalled = Counter()
        self.messages = Counter()
        self.book = LaneBook(self.tell, self.now)
        if opened:
            self.book.open(self.now)

    def tell(self, holder, lane, word, count):
        self.told.append((holder, word, count))
        if word is Word.CONNECT:
            self.held[holder] += count
        elif word is Word.RECALL:
            self.recalled[holder] += count
        else:
            self.messages[holder] += count

    def want(self, holder, count=1, connections=2, per_minute=0):
        self.book.want(holder, LANE, Limits(connections, per_minute), count, self.now)

    def back(self, holder, count=1):
        self.held[holder] -= count
        self.recalled[holder] = max(0, self.recalled[holder] - count)
        self.book.back(holder, LANE, count, self.now)

    def passes(self, seconds):
        self.now += seconds
        self.book.tick(self.now)
        self.book.due(self.now)


def test_no_more_than_the_limit_and_the_rest_when_one_comes_back():
    table = Table()
    table.want(1, 3)
    assert table.held[1] == 2
    table.back(1)
    assert table.held[1] == 2


def test_nothing_is_granted_before_everything_is_known():
    table = Table(opened=False)
    table.want(1)
    assert not table.held
    table.book.announce(2, {LANE: (Limits(2), 2)}, table.now)
    table.book.open(table.now)
    assert not table.held[1]
    table.book.back(2, LANE, 1, table.now)
    assert table.held[1] == 1


def test_what_is_free_goes_to_who_has_the_fewest():
    table = Table()
    table.want(1, 2, connections=4)
    table.want(2, 1, connections=4)
    table.want(1, 5, connections=4)
    table.want(2, 5, connections=4)
    assert table.held == {1: 3, 2: 1}
    assert table.recalled == {1: 1}
    table.back(1)
    assert table.held == {1: 2, 2: 2}
    table.passes(10)
    assert table.recalled[1] == table.recalled[2] == 0  # even: nobody is asked


def test_a_single_connection_goes_round_in_slices():
    table = Table()
    for holder in (1, 2, 3):
        table.want(holder, 1, connections=1)
    order = []
    for _ in range(9):
        assert sum(table.held.values()) == 1
        holder = next(one for one, held in table.held.items() if held)
        order.append(holder)
        table.passes(SLICE_SECONDS / 2)
        assert not table.recalled[holder]
        table.passes(SLICE_SECONDS)
        assert table.recalled[holder] == 1
        table.back(holder)
        table.want(holder, 1, connections=1)
    assert Counter(order) == {1: 3, 2: 3, 3: 3}


def test_the_lowest_limit_counts_while_holders_disagree():
    table = Table()
    table.want(1, 5, connections=5)
    assert table.held[1] == 5
    table.want(2, 1, connections=2)  # a reload that the first has not seen yet
    assert table.recalled[1] == 3
    for _ in range(3):
        table.back(1)
    assert table.held[2] == 0
    assert table.recalled[1] == 1
    table.back(1)
    assert table.held == {1: 1, 2: 1}
    table.want(2, 1, connections=7)
    table.want(1, 3, connections=7)
    assert sum(table.held.values()) == 6


def test_a_holder_that_is_gone_leaves_its_connections_to_others():
    table = Table()
    table.want(1, 2)
    table.want(2, 2)
    table.book.quiet(1, table.now)  # its connection to us is gone, its connections to receivers are not
    assert table.held[2] == 0
    table.book.drop(1, table.now)
    assert table.held[2] == 2


def test_a_factor_cuts_connections_and_recalls_what_is_too_much():
    table = Table()
    table.want(1, 10, connections=10)
    table.book.use(LANE, 0.5, table.now)
    assert table.recalled[1] == 5
    table.book.use(LANE, 0.02, table.now)
    assert table.recalled[1] == 9  # one is always left
    for _ in range(9):
        table.back(1)
    table.want(1, 9, connections=10)
    assert table.held[1] == 1
    table.book.use(LANE, 1.0, table.now)
    assert table.held[1] == 10


def test_new_connections_come_at_their_rate():
    table = Table()
    table.want(1, 10, connections=10, per_minute=61)  # one a second
    assert table.held[1] == 0
    assert table.book.due(table.now) == pytest.approx(table.now + 1.0)
    for second in range(1, 5):
        table.passes(1.0)
        assert table.held[1] == second


def test_messages_are_given_in_turns_at_their_rate():
    table = Table()
    limits = Limits(5, 0, 610)  # ten a second, five of them at once
    table.book.want_messages(1, LANE, limits, 50, table.now)
    table.book.want_messages(2, LANE, limits, 50, table.now)
    for _ in range(100):
        table.passes(0.05)
    assert 49 <= sum(table.messages.values()) <= 51
    assert abs(table.messages[1] - table.messages[2]) <= 1


def test_messages_without_a_rate_are_given_at_once():
    table = Table()
    table.book.want_messages(1, LANE, Limits(5), 7, table.now)
    assert table.messages[1] == 7


def test_lanes_without_use_are_forgotten_and_stay_slow_while_they_are_cut():
    table = Table()
    table.want(1, 1)
    table.book.use(LANE, 0.5, table.now)
    table.back(1)
    table.book.forget(1, LANE, table.now)
    table.now += 100
    table.book.sweep(table.now)
    assert [figures.factor for figures in table.book.figures()] == [0.5]
    table.book.use(LANE, 1.0, table.now)
    table.book.sweep(table.now)
    assert len(table.book) == 0


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_no_limit_is_exceeded_and_everybody_is_served(seed):
    """Random requests, ends, recalls, lost workers and changed limits; the sum is checked at every step."""
    chance = random.Random(seed)
    table, limit = Table(), chance.randint(1, 6)
    wanting, served = Counter(), Counter()
    for _ in range(2000):
        holder = chance.randint(1, 4)
        match chance.randint(0, 9):
            case 0 | 1 | 2 | 3:
                if wanting[holder] < 3:
                    wanting[holder] += 1
                    table.want(holder, 1, connections=limit)
            case 4 | 5 | 6 | 7:
                if table.held[holder]:
                    table.back(holder)
            case 8:
                table.passes(chance.uniform(0.0, 1.0))
            case _:
                if chance.random() < 0.1:
                    table.book.drop(holder, table.now)
                    table.held[holder] = table.recalled[holder] = wanting[holder] = 0
        for who, word, count in table.told:
            if word is Word.CONNECT:
                wanting[who] -= count
                served[who] += count
        table.told.clear()
        assert sum(table.held.values()) <= limit
        assert all(table.recalled[one] <= table.held[one] for one in range(1, 5))
        if sum(table.held.values()) < limit:
            assert not +wanting  # nothing is kept from who waits
    assert min(served[one] for one in range(1, 5)) > 20
