"""History in the life of a shard: finished mail is kept for its time, waiting mail for as long as it waits."""

import asyncio

import pytest

from relay.model.search import MessageQuery
from relay.store import housekeeping, retention
from relay.store.event_archive import EventArchive
from relay.store.event_search import EventQuery, EventSearch
from relay.store.housekeeping import Retention
from relay.store.retention import Bounds, Keep, archive_directory, days_of, to_drop_of
from relay.store.search import MessageSearch
from relay.store.spool import SpoolOptions
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.unit.store.shard import new_message, shard, until, verdict, written
from tests.unit.store.test_event_archive import event

DAY_SECONDS = 86_400
FOREVER = Bounds(10_000, 1 << 60)


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(housekeeping, "_UPKEEP_SECONDS", 0.02)
    monkeypatch.setattr(housekeeping, "_IDLE_SECONDS", 0.02)


def ids(spool):
    places = {spool.shard: (spool.paths.database, spool.paths.history)}
    return [one.message.message_id for one in MessageSearch(places, MessageQuery(), b"").page(100).found]


async def accepted(spool, clock, *, deliver):
    new = new_message(spool, now_ms=clock.now_ms())
    assert await written(spool.append, new) is None
    if deliver:
        assert await written(spool.settle, verdict(new.deliveries[0])) is None
        await until(lambda: days_of(spool.paths.history) and spool.paths.history.exists())
    return new.message.message_id


@pytest.mark.parametrize("bounds", [Keep(Bounds(2, 1 << 60), FOREVER), Keep(Bounds(10_000, 0), FOREVER)])
def test_old_history_goes_and_waiting_mail_stays(tmp_path, bounds):
    asyncio.run(_grow_old(tmp_path, bounds))


async def _grow_old(tmp_path, bounds):
    clock = ManualClock()
    options = SpoolOptions(retention=Retention(keep=bounds))
    async with shard(tmp_path, clock=clock, options=options) as spool:
        finished = await accepted(spool, clock, deliver=True)
        waiting = await accepted(spool, clock, deliver=False)
        assert set(ids(spool)) == {finished, waiting}
        clock.advance(3 * DAY_SECONDS)
        await until(lambda: ids(spool) == [waiting])
        await accepted(spool, clock, deliver=True)
        clock.advance(400 * DAY_SECONDS)
        await until(lambda: ids(spool) == [waiting])


def test_a_full_disk_costs_history_and_no_waiting_mail(tmp_path, monkeypatch):
    asyncio.run(_fill_disk(tmp_path, monkeypatch))


async def _fill_disk(tmp_path, monkeypatch):
    clock = ManualClock()
    options = SpoolOptions(retention=Retention(keep=Keep(FOREVER, FOREVER, disk_free_bytes=1000)))
    async with shard(tmp_path, clock=clock, options=options) as spool:
        old = await accepted(spool, clock, deliver=True)
        waiting = await accepted(spool, clock, deliver=False)
        clock.advance(DAY_SECONDS)
        today = await accepted(spool, clock, deliver=True)
        await until(lambda: len(days_of(spool.paths.history)) == 2)
        assert set(ids(spool)) == {old, waiting, today}
        monkeypatch.setattr(retention, "_free_bytes", lambda _: 0)
        await until(lambda: set(ids(spool)) == {waiting, today})


def test_old_events_go_by_age_and_size_and_the_place_stays(tmp_path):
    clock = ManualClock()
    directory = archive_directory(tmp_path)
    archive = EventArchive(directory, clock, MemoryLog())
    archive.open()
    for day in range(5):
        archive.apply(1, [event(1, day + 1)])
        clock.advance(DAY_SECONDS)

    def left(keep):
        archive.drop(to_drop_of(tmp_path, directory, keep, clock.now_ms()))
        return [one.event.seq for one in EventSearch(directory, {}, EventQuery()).page(100).found]

    assert left(Keep(FOREVER, FOREVER)) == [5, 4, 3, 2, 1]
    assert left(Keep(FOREVER, Bounds(3, 1 << 60))) == [5, 4, 3]
    assert left(Keep(FOREVER, Bounds(3, 0))) == []
    assert archive.place(1) == 5
    archive.close()
