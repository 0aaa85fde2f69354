"""What an operator asks a worker for: bad requests are refused whole, good ones change what may be changed."""

import asyncio

import pytest

from relay.errors import UsageError
from relay.model.delivery import DeliveryState
from relay.pipeline.give_back import GiveBack
from relay.runtime.queue_work import NoWindow, Order, QueueWork, order_of
from relay.testing.clock import ManualClock
from tests.unit.store.shard import new_message, shard, written

GOOD = {"action": "hold", "states": ["queued"], "keys": [65536]}


def test_a_good_request():
    order, keys = order_of(GOOD | {"until_ms": 5, "reason": " two\twords "})
    assert keys == [65536]
    assert order == Order("hold", frozenset({DeliveryState.QUEUED}), 5, 0, "two words")
    assert order_of({**order.as_json(), "keys": keys}) == (order, keys)


@pytest.mark.parametrize(
    "bad",
    [
        {"action": "destroy"},
        {"action": 1},
        {"keys": None},
        {"keys": "1"},
        {"keys": ["1"]},
        {"keys": [0]},
        {"keys": [-1]},
        {"keys": [True]},
        {"keys": [1.5]},
        {"keys": [1 << 63]},
        {"keys": list(range(1, 1002))},
        {"action": "bounce", "keys": list(range(1, 102))},
        {"states": None},
        {"states": ["lost"]},
        {"states": [["queued"]]},
        {"until_ms": -1},
        {"until_ms": "5"},
        {"rule": -1},
        {"reason": "x" * 501},
        {"reason": "\x1b[2J"},
        {"reason": 5},
        {"pool": None},
    ],
)
def test_a_bad_request_is_refused(bad):
    with pytest.raises(UsageError):
        order_of(GOOD | bad)


class Busy(NoWindow):
    """A window in which some deliveries are under way."""

    def __init__(self, *keys):
        self.keys = set(keys)
        self.withdrawn, self.reports, self.looks = [], [], 0

    def withdraw(self, key):
        self.withdrawn.append(key)
        return key not in self.keys

    def requeued(self):
        self.looks += 1

    def accepted(self, new):
        self.reports.append(new)


def on_a_shard(tmp_path, case):
    async def inside():
        async with shard(tmp_path) as spool:
            new = new_message(spool, recipients=4)
            await written(spool.append, new)
            keys = [delivery.key for delivery in new.deliveries]
            window = Busy(keys[0])
            give_back = GiveBack(
                spool=spool,
                reports=lambda cause, job, outcome: (new_message(spool, recipients=1),),
                hostname=lambda: "relay.example",
                clock=ManualClock(),
            )
            await case(spool, QueueWork(spool, window, give_back, ManualClock()), window, keys)

    asyncio.run(inside())


OPEN = frozenset({DeliveryState.QUEUED, DeliveryState.HELD})


def states(spool, keys):
    return [spool.delivery(key).state.value for key in keys]


def test_what_is_under_way_is_left_alone_except_by_a_hold(tmp_path):
    async def case(spool, work, window, keys):
        done = await work.act(Order("delete", OPEN), keys[:2])
        assert (done.changed, done.in_flight) == (1, 1)
        assert states(spool, keys) == ["queued", "deleted", "queued", "queued"]
        done = await work.act(Order("hold", OPEN), keys)
        assert (done.changed, done.in_flight) == (3, 1)
        assert states(spool, keys) == ["held", "deleted", "held", "held"]
        assert window.looks == 2

    on_a_shard(tmp_path, case)


def test_a_delivery_that_left_the_chosen_state_meanwhile_is_not_touched(tmp_path):
    async def case(spool, work, _window, keys):
        await work.act(Order("hold", OPEN), keys[1:2])
        done = await work.act(Order("delete", frozenset({DeliveryState.HELD})), keys)
        assert done.changed == 1
        assert states(spool, keys) == ["queued", "deleted", "queued", "queued"]

    on_a_shard(tmp_path, case)


def test_a_bounce_is_told_once_however_often_it_is_asked_for(tmp_path):
    async def case(spool, work, window, keys):
        order = Order("bounce", OPEN, reason="gone")
        both = await asyncio.gather(work.act(order, keys[1:3]), work.act(order, keys[1:3]))
        assert sorted(done.changed for done in both) == [0, 2]
        assert len(window.reports) == 1, "the other recipient is under NOTIFY=DELAY: its sender wants no such report"
        events = [event for _, event in spool._reader.events(0, 100) if event.kind == "Bounce"]
        assert len(events) == 2
        assert all(b"gone" in event.payload for event in events)
        (found,) = [
            one for one, _ in spool._reader.deliveries_of(spool.delivery(keys[1]).message) if one.key == keys[1]
        ]
        assert (found.state.value, found.last_reply) == ("bounced", "5.3.0 gone")

    on_a_shard(tmp_path, case)


def test_keys_that_are_nobodys_change_nothing(tmp_path):
    async def case(spool, work, _window, keys):
        for action in ("retry", "hold", "release", "delete", "bounce", "move"):
            done = await work.act(Order(action, OPEN), [999 << 16, (1 << 62) + 1])
            assert (done.changed, done.also) == (0, 0)
        assert states(spool, keys) == ["queued"] * 4

    on_a_shard(tmp_path, case)
