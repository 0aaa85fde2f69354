"""Publishing: at least once, in order, each destination at its own pace, and what may be pruned."""

import asyncio

import pytest

from relay.errors import TemporaryError
from relay.events import batches
from relay.events import outbox as outbox_module
from relay.events.batches import BATCH_EVENTS
from relay.events.file import FileDestination
from relay.events.outbox import Outbox, Subscription, kinds_of
from relay.model.message import NewEvent
from relay.store.outbox import OutboxCursors
from relay.testing.log import MemoryLog
from relay.testing.spool import MemorySpool


class Destination:
    """Keeps what it gets; fails as often as it is told."""

    def __init__(self, name, failures=0):
        self.name = name
        self.kept = []
        self.failures = failures

    async def publish(self, events):
        if self.failures:
            self.failures -= 1
            raise TemporaryError("not now")
        self.kept += [event.event_id for event in events]


def log_of(count, *, shard=1, size=10, first=0):
    kinds = ("Send", "Delivery")
    return MemorySpool(
        shard=shard,
        events=[NewEvent(f"{shard}:{n}", kinds[n % 2], "m", b"x" * size) for n in range(first, first + count)],
    )


@pytest.fixture
def cursors(tmp_path):
    kept = OutboxCursors(tmp_path / "office" / "outbox.db", MemoryLog())
    yield kept
    kept.close()


def make(sources, subscriptions, cursors, pruned=None):
    async def prune(shard, seq):
        if pruned is not None:
            pruned.append((shard, seq))

    return Outbox({source.shard: source for source in sources}, subscriptions, cursors, prune, MemoryLog())


def test_every_event_of_every_shard_reaches_every_destination_in_order(cursors):
    first, second = Destination("a"), Destination("b")
    sources = [log_of(BATCH_EVENTS * 2 + 3), log_of(5, shard=2)]
    asyncio.run(make(sources, [Subscription(first), Subscription(second)], cursors).drain())
    for destination in (first, second):
        for source in sources:
            mine = [event_id for event_id in destination.kept if event_id.startswith(f"{source.shard}:")]
            assert mine == [event.event_id for event in source.events]


def test_a_failing_destination_loses_nothing_and_holds_up_nobody(cursors):
    broken, sound = Destination("broken", failures=1), Destination("sound")
    source = log_of(7)
    outbox = make([source], [Subscription(broken), Subscription(sound)], cursors)
    asyncio.run(outbox.drain())
    assert (len(broken.kept), len(sound.kept)) == (0, 7)
    assert cursors.get(1, "broken") == 0
    asyncio.run(outbox.drain())
    assert broken.kept == sound.kept


def test_a_crash_between_publishing_and_the_cursor_publishes_again_with_the_same_ids(cursors, monkeypatch):
    destination, source = Destination("a"), log_of(3)
    outbox = make([source], [Subscription(destination)], cursors)
    monkeypatch.setattr(OutboxCursors, "move", lambda *_: (_ for _ in ()).throw(TemporaryError("killed here")))
    asyncio.run(outbox.drain())
    monkeypatch.undo()
    asyncio.run(outbox.drain())
    assert destination.kept == ["1:0", "1:1", "1:2"] * 2


@pytest.mark.parametrize(
    ("types", "kinds"), [("all", None), (["Send"], {"Send"}), (["Send", "all"], None), ("Bounce", {"Bounce"})]
)
def test_types_name_kinds(types, kinds):
    assert kinds_of(types) == (None if kinds is None else frozenset(kinds))


def test_kinds_choose_and_the_cursor_passes_the_others(cursors):
    destination = Destination("a")
    asyncio.run(make([log_of(6)], [Subscription(destination, kinds_of(["Delivery"]))], cursors).drain())
    assert destination.kept == ["1:1", "1:3", "1:5"]
    assert cursors.get(1, "a") == 6


def test_batches_are_bounded_in_bytes_too(cursors, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_BYTES_MAX", 250)
    sizes = []

    class Counting(Destination):
        async def publish(self, events):
            events = list(events)
            sizes.append(len(events))
            await super().publish(events)

    source = log_of(5, size=100)
    source.events.append(NewEvent("big", "Send", "m", b"x" * 1000))
    destination = Counting("a")
    asyncio.run(make([source], [Subscription(destination)], cursors).drain())
    assert sizes == [2, 2, 1, 1]
    assert destination.kept[-1] == "big"


def test_pruning_follows_the_slowest_destination(cursors):
    pruned = []
    slow, fast = Destination("slow", failures=1), Destination("fast")
    outbox = make([log_of(9)], [Subscription(slow), Subscription(fast)], cursors, pruned)

    async def work():
        await outbox.drain()
        await outbox.prune_once()
        assert pruned == []
        await outbox.drain()
        await outbox.prune_once()
        await outbox.prune_once()

    asyncio.run(work())
    assert pruned == [(1, 9)]


def test_without_destinations_logs_are_pruned_whole(cursors):
    pruned = []
    asyncio.run(make([log_of(4)], [], cursors, pruned).prune_once())
    assert pruned == [(1, 4)]


def test_a_destination_that_is_gone_holds_back_no_pruning(cursors):
    cursors.move(1, "old", 2)
    cursors.move(1, "kept", 5)
    make([log_of(4)], [Subscription(Destination("kept"))], cursors)
    assert (cursors.get(1, "old"), cursors.get(1, "kept")) == (0, 5)


def test_cursors_never_go_back_and_survive(tmp_path):
    path = tmp_path / "outbox.db"
    first = OutboxCursors(path, MemoryLog())
    first.move(1, "a", 7)
    first.move(1, "a", 3)
    first.close()
    second = OutboxCursors(path, MemoryLog())
    assert second.get(1, "a") == 7
    second.close()


def test_damaged_cursors_are_set_aside_and_all_is_published_again(tmp_path):
    path, log = tmp_path / "outbox.db", MemoryLog()
    path.write_bytes(b"noise" * 5000)
    cursors = OutboxCursors(path, log)
    assert cursors.get(1, "a") == 0
    cursors.move(1, "a", 1)
    cursors.close()
    assert "event cursors damaged, starting anew" in log.events("error")
    assert (tmp_path / "outbox.db.damaged").exists()


def test_run_follows_the_log_until_it_is_cancelled(cursors, tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(outbox_module, "PRUNE_SECONDS", 0.01)
    monkeypatch.setattr(batches, "BACKOFF_FIRST_SECONDS", 0.01)
    source, pruned, flaky = log_of(2), [], Destination("flaky", failures=3)
    file = FileDestination("file", tmp_path / "events.jsonl")

    async def work():
        task = asyncio.create_task(make([source], [Subscription(flaky), Subscription(file)], cursors, pruned).run())
        deadline = asyncio.get_running_loop().time() + 20
        source.events += log_of(2, first=2).events
        while len(flaky.kept) < 4 or not pruned or pruned[-1] != (1, 4):
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    file.close()
    assert flaky.kept == [event.event_id for event in source.events]
    assert len((tmp_path / "events.jsonl").read_bytes().splitlines()) == 4


def test_a_log_that_was_replaced_is_published_from_its_beginning(cursors):
    destination, source = Destination("a"), log_of(4)
    asyncio.run(make([source], [Subscription(destination)], cursors).drain())
    other = log_of(2, first=10)
    other.number = 2
    asyncio.run(make([other], [Subscription(destination)], cursors).drain())
    assert destination.kept == ["1:0", "1:1", "1:2", "1:3", "1:10", "1:11"]
    source.events.append(NewEvent("1:4", "Send", "m", b"x"))  # the first is back
    asyncio.run(make([source], [Subscription(destination)], cursors).drain())
    assert destination.kept[6:] == ["1:4"]
