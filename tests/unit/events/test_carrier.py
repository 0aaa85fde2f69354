"""Files of effects get every event once, whatever fails."""

import asyncio
import threading

import pytest

from relay.errors import StorageError
from relay.events import batches
from relay.events import carrier as carrying
from relay.events.carrier import Carrier
from relay.model.message import NewEvent
from relay.testing.log import MemoryLog


class Log:
    def __init__(self, shard, count):
        self.shard = shard
        self.rows = [(n, NewEvent(f"id-{n}", "Send", f"m{n}", b'{"n":%d}' % n)) for n in range(1, count + 1)]
        self.reads = 0
        self.number = 7

    def log(self):
        return self.number

    def last(self):
        return self.rows[-1][0] if self.rows else 0

    def read(self, after, limit):
        self.reads += 1
        return [row for row in self.rows if row[0] > after][:limit]


class Ledger:
    """An applier in memory; `fails(event)` may raise."""

    def __init__(self, name="ledger", fails=lambda event: None):
        self.name = name
        self.fails = fails
        self.logs, self.places, self.kept = {}, {}, {}
        self.taken = []
        self.skipped = []
        self.threads = set()

    def open(self):
        self.threads.add(threading.get_ident())

    def follow(self, shard, log, last):
        place = self.kept.get((shard, log), 0)
        self.logs[shard], self.places[shard] = log, place if place <= last else 0

    def place(self, shard):
        return self.places.get(shard, 0)

    def apply(self, shard, events):
        self.threads.add(threading.get_ident())
        for event in events:
            self.fails(event)
        self.taken += [(shard, event.seq, event.record["n"]) for event in events]
        self.places[shard] = self.kept[shard, self.logs[shard]] = events[-1].seq

    def skip(self, shard, seq):
        self.skipped.append((shard, seq))
        self.places[shard] = self.kept[shard, self.logs[shard]] = seq

    def close(self):
        self.closed = True


class Counts:
    def __init__(self):
        self.counted = {}

    def count(self, name, *labels, amount=1):
        self.counted[name, *labels] = self.counted.get((name, *labels), 0) + amount


def _carry(sources, appliers, metrics=None):
    log = MemoryLog()
    made = Carrier({source.shard: source for source in sources}, appliers, log, metrics or Counts())
    return made, log


def test_every_applier_gets_every_event_once_on_a_thread_of_its_own():
    async def play():
        sources, ledgers = [Log(1, 1200), Log(7, 3)], [Ledger("one"), Ledger("two")]
        ledgers[1].kept[1, 7] = 1000  # it was further already
        carrier, _ = _carry(sources, ledgers)
        await carrier.open()
        await carrier.drain()
        await carrier.drain()
        assert sorted(ledgers[0].taken) == [(1, n, n) for n in range(1, 1201)] + [(7, n, n) for n in (1, 2, 3)]
        assert sorted(ledgers[1].taken)[:200] == [(1, n, n) for n in range(1001, 1201)]
        assert carrier.lowest(1) == 1200
        assert carrier.lowest(7) == 3
        assert [len(ledger.threads) for ledger in ledgers] == [1, 1]
        assert ledgers[0].threads.isdisjoint(ledgers[1].threads)
        await carrier.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("number", "last", "taken"), [(7, 20, range(11, 21)), (8, 20, range(1, 21)), (7, 5, range(1, 6)), (0, 20, ())]
)
def test_a_place_counts_in_its_own_log_alone(number, last, taken):
    """A log that was replaced, that ends before the place, or that nobody has made yet."""

    async def play():
        log, ledger = Log(1, 10), Ledger()
        carrier, _ = _carry([log], [ledger])
        await carrier.open()
        await carrier.drain()
        ledger.taken.clear()
        log.rows, log.number = Log(1, last).rows, number
        again, _ = _carry([log], [ledger])
        await again.open()
        await again.drain()
        assert [seq for _, seq, _ in ledger.taken] == list(taken)

    asyncio.run(play())


def test_a_log_that_is_replaced_while_it_is_read_is_carried_from_its_beginning():
    async def play():
        log, ledger = Log(1, 10), Ledger()
        carrier, _ = _carry([log], [ledger])
        await carrier.open()
        await carrier.drain()
        whole, other = log.read, Log(1, 12)

        def replaced(after, limit):
            log.rows, log.number = other.rows, 8
            log.read = whole
            return whole(after, limit)

        log.rows, log.read = Log(1, 11).rows, replaced
        ledger.taken.clear()
        await carrier.drain()
        assert [seq for _, seq, _ in ledger.taken] == list(range(1, 13))
        assert (ledger.kept, carrier.lowest(1)) == ({(1, 7): 10, (1, 8): 12}, 12)

    asyncio.run(play())


def test_batches_are_bounded_in_octets(monkeypatch):
    monkeypatch.setattr(batches, "BATCH_BYTES_MAX", 20)

    async def play():
        ledger = Ledger()
        sizes = []
        ledger.fails = lambda event: None
        carrier, _ = _carry([Log(1, 10)], [ledger])
        inner = ledger.apply
        ledger.apply = lambda shard, events: (sizes.append(len(events)), inner(shard, events))
        await carrier.open()
        await carrier.drain()
        assert sum(sizes) == 10
        assert max(sizes) == 2

    asyncio.run(play())


@pytest.mark.req("PRIV-006")
def test_what_was_erased_from_the_log_never_comes_to_one_that_failed(monkeypatch):
    monkeypatch.setattr(batches, "BACKOFF_FIRST_SECONDS", 0.01)

    async def play():
        log = Log(1, 2)

        def fails(event):
            if log.rows[0][1].payload != b'{"n":0}':
                log.rows = [(n, NewEvent(f"id-{n}", "Send", f"m{n}", b'{"n":0}')) for n in (1, 2)]
                raise StorageError("disk full")

        ledger = Ledger("broken", fails)
        carrier, _ = _carry([log], [ledger])
        await carrier.open()
        running = asyncio.create_task(carrier.run())
        async with asyncio.timeout(30):
            while len(ledger.taken) < 2:  # noqa: ASYNC110 (threads have no event)
                await asyncio.sleep(0.01)
        running.cancel()
        assert ledger.taken == [(1, 1, 0), (1, 2, 0)]

    asyncio.run(play())


def test_one_that_fails_is_called_again_and_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(batches, "BACKOFF_FIRST_SECONDS", 0.01)

    async def play():
        down = {"left": 3}

        def fails(_event):
            if down["left"]:
                down["left"] -= 1
                raise StorageError("disk full")

        broken, well, metrics = Ledger("broken", fails), Ledger("well"), Counts()
        carrier, log = _carry([Log(1, 5)], [broken, well], metrics)
        await carrier.open()
        assert carrier.lowest(1) == 0
        running = asyncio.create_task(carrier.run())
        async with asyncio.timeout(30):
            while len(well.taken) < 5 or len(broken.taken) < 5:  # noqa: ASYNC110 (threads have no event)
                await asyncio.sleep(0.01)
        running.cancel()
        assert broken.taken == well.taken
        assert metrics.counted["relay_events_applier_failures_total", "broken"] == 3
        assert "effects wait" in str(log.lines)

    asyncio.run(play())


def test_an_event_nobody_foresaw_is_left_out_alone():
    async def play():
        def fails(event):
            if event.seq == 3:
                raise KeyError("mail")

        ledger, metrics = Ledger("ledger", fails), Counts()
        carrier, log = _carry([Log(1, 5)], [ledger], metrics)
        await carrier.open()
        await carrier.drain()
        assert [seq for _, seq, _ in ledger.taken] == [1, 2, 4, 5]
        assert ledger.skipped == [(1, 3)]
        assert metrics.counted["relay_events_applier_skipped_total", "ledger"] == 1
        assert "id-3" in str(log.lines)

    asyncio.run(play())


def test_a_fault_of_the_file_in_between_is_no_reason_to_leave_an_event_out():
    async def play():
        calls = []

        def fails(event):
            calls.append(event.seq)
            raise (KeyError("x") if len(calls) == 1 else StorageError("disk full"))

        ledger = Ledger("ledger", fails)
        carrier, _ = _carry([Log(1, 2)], [ledger])
        await carrier.open()
        await carrier.drain()
        assert ledger.skipped == []
        assert carrier.lowest(1) == 0

    asyncio.run(play())


def test_without_appliers_there_is_no_lowest_place():
    assert _carry([Log(1, 2)], [])[0].lowest(1) is None


@pytest.mark.parametrize("count", [0, 1, 501])
def test_appliers_in_step_take_all(count):
    async def play():
        source = Log(1, count)
        carrier, _ = _carry([source], [Ledger("one"), Ledger("two"), Ledger("three")])
        await carrier.open()
        running = asyncio.create_task(carrier.run())
        async with asyncio.timeout(30):
            while carrier.lowest(1) != count:  # noqa: ASYNC110 (threads have no event)
                await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(play())


def test_events_gather_at_the_end_of_a_log_instead_of_costing_a_transaction_each(monkeypatch):
    monkeypatch.setattr(carrying, "POLL_SECONDS", 3600)

    async def play():
        log, ledger, told = Log(1, 3), Ledger(), asyncio.Event()
        loop = asyncio.get_running_loop()
        ledger.fails = lambda event: loop.call_soon_threadsafe(told.set)
        carrier, _ = _carry([log], [ledger])
        await carrier.open()
        running = asyncio.create_task(carrier.run())
        await asyncio.wait_for(told.wait(), 30)
        while ledger.places.get(1) != 3:  # noqa: ASYNC110 - the applier's thread sets it, just after it told
            await asyncio.sleep(0.01)
        log.rows += Log(1, 4).rows[3:]
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert log.reads == 1, "what comes later waits for the next look"
        running.cancel()
        await asyncio.wait([running])
        await carrier.close()

    asyncio.run(play())


def test_who_comes_later_gets_what_others_read_in_one_batch():
    log = Log(1, 2)
    reader = carrying.SharedReader(log)
    first = reader.read(0)
    log.rows = Log(1, 5).rows
    second = reader.read(2)
    assert [event.seq for event in reader.read(0)] == [1, 2, 3, 4, 5]
    assert reader.read(0)[:2] == first
    assert reader.read(2) == second
    assert log.reads == 2
    reader.forget(2)
    assert reader.read(2) == second


def test_what_others_read_is_joined_up_to_a_batch():
    log = Log(1, batches.BATCH_EVENTS - 1)
    reader = carrying.SharedReader(log)
    first = reader.read(0)
    log.rows = Log(1, batches.BATCH_EVENTS + 1).rows
    reader.read(first[-1].seq)
    assert reader.read(0) == first
    assert reader.goes_on(first)


def test_whom_nobody_waits_for_lets_many_events_gather(monkeypatch):
    monkeypatch.setattr(carrying, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(carrying, "GATHER_SECONDS", 3600)
    many = carrying.MANY_EVENTS

    async def play():
        log, prompt, patient = Log(1, many), Ledger("prompt"), Ledger("patient")
        made = Carrier({1: log}, [prompt, patient], MemoryLog(), Counts(), patient=("patient",))
        await made.open()
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(30):
            while patient.places.get(1) != many:  # noqa: ASYNC110 - set on another thread
                await asyncio.sleep(0.01)
            for last in range(many + 1, many + 4):
                log.rows = Log(1, last).rows
                while prompt.places.get(1) != last:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
        assert patient.places[1] == many
        running.cancel()
        await asyncio.wait([running])
        await made.drain()
        assert patient.taken == prompt.taken
        await made.close()

    asyncio.run(play())


def test_a_batch_that_was_as_large_as_may_be_is_followed_at_once(monkeypatch):
    monkeypatch.setattr(carrying, "POLL_SECONDS", 3600)

    async def play():
        ledger = Ledger()
        carrier, _ = _carry([Log(1, batches.BATCH_EVENTS * 2 + 1)], [ledger])
        await carrier.open()
        running = asyncio.create_task(carrier.run())
        async with asyncio.timeout(30):
            while ledger.places.get(1) != batches.BATCH_EVENTS * 2 + 1:  # noqa: ASYNC110 - set on another thread
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
        await carrier.close()

    asyncio.run(play())
