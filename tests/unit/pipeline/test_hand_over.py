"""What came back goes to the owner of its message until that took it, at a bounded cost."""

from types import SimpleNamespace

import pytest

from relay.errors import TemporaryError
from relay.pipeline import receive
from relay.pipeline.receive import Receive
from relay.testing.log import MemoryLog

AWAY = TemporaryError("the other worker is away")


class Place:
    """A worker with an inbox, and peers that answer as they are told to."""

    def __init__(self, items):
        self.items = dict(items)
        self.timers = []
        self.given = []
        self.pending = []
        self.answer = None
        self.unreadable = False
        self.receive = Receive(
            rules=None, inbox=self, spool=SimpleNamespace(shard=1), peers=self, returned=None, mail=None,
            is_mail_from=None, accepted=None, call_later=lambda _seconds, call: self.timers.append(call), clock=None,
            log=MemoryLog(), metrics=None,
        )  # fmt: skip

    def waiting(self, limit):
        if self.unreadable:
            raise AWAY
        return [(item_id, 2, item) for item_id, item in list(self.items.items())[:limit]]

    def forget(self, item_id, done):
        self.items.pop(item_id, None)
        done(None)

    def hand_over(self, _shard, item_id, _item, done):
        self.given.append(item_id)
        self.pending.append(done)

    def answers(self):
        """Answer what was asked; return how much that was."""
        pending, self.pending = self.pending, []
        for done in pending:
            done(self.answer)
        return len(pending)

    def turn(self):
        """Let all timers run out."""
        timers, self.timers = self.timers, []
        for call in timers:
            call()
        return len(timers)


def test_a_round_for_all_that_failed_however_long_the_owner_is_away():
    at = Place({f"i{number}": b"{}" for number in range(50)})
    at.answer = AWAY
    at.receive.start()
    for _ in range(4):
        assert at.answers() == 50
        assert at.turn() == 1
    at.answer = None
    assert at.answers() == 50
    assert (at.items, at.turn(), at.pending) == ({}, 0, [])


def test_what_is_under_way_is_not_handed_over_beside():
    at = Place({"i1": b"{}", "i2": b"{}"})
    at.receive.start()
    first, second = at.pending
    first(AWAY)
    at.turn()
    assert at.given == ["i1", "i2", "i1"]
    second(None)
    at.pending[-1](None)
    assert at.items == {}


def test_more_than_a_round_takes_follows(monkeypatch):
    monkeypatch.setattr(receive, "WAITING_BATCH", 3)
    at = Place({f"i{number}": b"{}" for number in range(10)})
    at.receive.start()
    while at.answers():
        pass
    assert (at.items, len(at.given)) == ({}, 10)


@pytest.mark.parametrize("rounds", [1, 3])
def test_an_inbox_that_cannot_be_read_is_read_later(rounds):
    at = Place({"i": b"{}"})
    at.unreadable = True
    at.receive.start()
    for _ in range(rounds):
        assert at.turn() == 1
    at.unreadable = False
    at.turn()
    assert at.given == ["i"]
