"""Every event is archived once whatever dies, and found by everything it is filed under."""

import random
import sqlite3
import zlib
from datetime import UTC, datetime

import orjson
import pytest

from relay.errors import CorruptionError, StorageError, UsageError
from relay.model.event import LoggedEvent
from relay.model.message import NewEvent
from relay.model.search import EventQuery, event_facts
from relay.store import event_search, postings
from relay.store.event_archive import EventArchive
from relay.store.event_blocks import BLOCK_BYTES, EVENTS_MAX, Archived, BlockWriter, decoded, encoded
from relay.store.event_search import EventSearch, Follower, places_of
from relay.store.retention import days_of
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog

NOW_MS = ManualClock().now_ms()


def event(shard, seq, kind="Send", *, message=None, recipient="one@example.org", at_ms=NOW_MS, filler="", **mail):
    stamp = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message_id = f"message-{shard}-{seq if message is None else message}"
    record = {
        "timestamp": stamp,
        "messageId": message_id,
        "sendingAccountId": mail.get("account", "000000000001"),
        "destination": [recipient],
        "headers": [{"name": "Subject", "value": f"{filler} {message_id}"}],
        "tags": {"ses:configuration-set": [mail.get("configuration_set", "news")]},
    }
    name, part = {
        "Send": ("send", {}),
        "Delivery": ("delivery", {"timestamp": stamp, "recipients": [recipient]}),
        "Bounce": ("bounce", {"timestamp": stamp, "bouncedRecipients": [{"emailAddress": recipient}]}),
    }[kind]
    payload = orjson.dumps({"eventType": kind, "mail": record, name: part})
    return LoggedEvent(shard, seq, NewEvent(f"event-{shard}-{seq}", kind, message_id, payload, b'{"provider":"x"}'))


def opened(directory, clock=None, log=None):
    archive = EventArchive(directory, clock or ManualClock(), log or MemoryLog())
    archive.open()
    return archive


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(postings, "SEGMENT_ROWS", 100)
    monkeypatch.setattr(event_search, "LOOK_EVENTS", 7)
    archive = opened(tmp_path)
    yield archive
    archive.close()


def found(directory, **query):
    return [one.event.event_id for one in EventSearch(directory, {}, EventQuery(**query)).page(10_000).found]


# --- blocks ---------------------------------------------------------------------------------------------------


def test_a_block_gives_back_what_it_was_given():
    events = [Archived(n, event(1, n, "Send" if n % 2 else "Delivery", message=n // 2)) for n in range(1, 100)]
    given = [None if n == 50 else one for n, one in enumerate(events)]
    for before, after in zip(given, decoded(encoded(given)), strict=True):
        if before is None:
            assert after is None
        else:
            assert after.time_ms == before.time_ms
            assert after.event.event == before.event.event
            assert (after.event.shard, after.event.seq) == (before.event.shard, before.event.seq)


def test_the_mail_object_is_kept_once_for_the_events_of_a_message_in_a_block():
    noise = random.Random(1).randbytes(2000).hex()
    once = len(encoded([Archived(1, event(1, 1, filler=noise))]))
    between = [Archived(1, event(2, n, filler=random.Random(n).randbytes(20_000).hex())) for n in range(2)]
    first, last = (
        Archived(1, event(1, 1, filler=noise)),
        Archived(1, event(1, 2, "Delivery", message=1, filler=noise)),
    )
    alone, twice = len(encoded([first, *between])), len(encoded([first, *between, last]))
    assert twice - alone < once / 5


def test_a_block_is_full_by_number_or_size():
    writer = BlockWriter()
    while not writer.full:
        writer.add(1, event(1, writer.events + 1))
    assert writer.events == EVENTS_MAX
    writer = BlockWriter()
    writer.add(1, event(1, 1, filler="x" * BLOCK_BYTES))
    assert writer.full


@pytest.mark.parametrize("data", [b"\x07", b"\xff\xff\xff", zlib.compress(b"[1]\n\n{}\n")[2:-4]])
def test_damage_is_an_error_of_ours(data):
    with pytest.raises(CorruptionError, match="damaged"):
        list(decoded(data))


# --- exactly once ----------------------------------------------------------------------------------------------


def test_events_are_archived_once_in_their_order(archive, tmp_path):
    archive.apply(1, [event(1, seq) for seq in range(1, 6)])
    archive.apply(1, [event(1, seq) for seq in range(4, 9)])  # after a crash before the answer: some again
    archive.apply(2, [event(2, 7)])
    assert found(tmp_path) == ["event-2-7", *(f"event-1-{seq}" for seq in range(8, 0, -1))]
    assert [one.event.seq for one in EventSearch(tmp_path, {}, EventQuery()).oldest_first()] == [*range(1, 9), 7]
    assert (archive.place(1), archive.place(2), archive.place(3)) == (8, 7, 0)


def test_a_batch_that_fails_leaves_neither_events_nor_place(archive, tmp_path, monkeypatch):
    archive.apply(1, [event(1, 1)])
    with monkeypatch.context() as patch:
        patch.setattr("relay.store.event_archive.file_keys", _full)
        with pytest.raises(StorageError, match="full"):
            archive.apply(1, [event(1, 2), event(1, 3)])
    assert archive.place(1) == 1
    assert found(tmp_path) == ["event-1-1"]
    archive.apply(1, [event(1, 2), event(1, 3)])
    assert found(tmp_path) == ["event-1-3", "event-1-2", "event-1-1"]


def _full(*_):
    raise sqlite3.OperationalError("database or disk is full")


def test_places_live_on_in_the_next_day_and_outlive_the_files_before(tmp_path):
    clock = ManualClock()
    archive = opened(tmp_path, clock)
    archive.apply(1, [event(1, 1)])
    archive.apply(2, [event(2, 5)])
    clock.advance(86_400)
    archive.apply(1, [event(1, 2)])
    archive.drop(days_of(tmp_path)[1:])
    assert len(days_of(tmp_path)) == 1
    archive.close()
    again = opened(tmp_path, clock)
    assert (again.place(1), again.place(2)) == (2, 5)
    clock.advance(10 * 86_400)  # nothing happens for long, and the last file with a place becomes too old
    again.drop(days_of(tmp_path))
    again.close()
    assert places_of(tmp_path) == {(1, 0): 2, (2, 0): 5}
    assert opened(tmp_path, clock).place(2) == 5


def test_a_clock_that_goes_back_changes_no_order(tmp_path):
    clock = ManualClock()
    archive = opened(tmp_path, clock)
    archive.apply(1, [event(1, 1)])
    clock.jump(-3 * 86_400)
    archive.apply(1, [event(1, 2)])
    archive.close()
    assert found(tmp_path) == ["event-1-2", "event-1-1"]


def test_an_event_that_cannot_be_archived_is_passed(archive, tmp_path):
    archive.skip(1, 4)
    assert places_of(tmp_path) == {(1, 0): 4}
    archive.apply(1, [event(1, 4), event(1, 5)])
    assert found(tmp_path) == ["event-1-5"]


@pytest.mark.parametrize(
    "payload", [b"{}", b'{"mail":[]}', b'{"eventType":"Send","mail":{"tags":[],"destination":3}}']
)
def test_a_record_of_another_shape_is_archived_all_the_same(archive, tmp_path, payload):
    archive.apply(1, [LoggedEvent(1, 1, NewEvent("odd", "Subscription", "m", payload))])
    assert found(tmp_path, event_id="odd", kind="Subscription") == ["odd"]


def test_a_damaged_file_of_today_is_set_aside(tmp_path):
    log = MemoryLog()
    archive = opened(tmp_path)
    archive.apply(1, [event(1, 1)])
    archive.close()
    path = days_of(tmp_path)[0].path
    path.write_bytes(b"no database at all" * 1000)
    archive = opened(tmp_path, log=log)
    with pytest.raises(StorageError):
        archive.apply(1, [event(1, 2)])
    archive.apply(1, [event(1, 2)])
    archive.close()
    assert found(tmp_path) == ["event-1-2"]
    assert path.with_name(path.name + ".damaged").exists()


# --- search ----------------------------------------------------------------------------------------------------


def fill(archive, count=400):
    chance = random.Random(3)
    events = []
    for seq in range(1, count + 1):
        one = event(
            1,
            seq,
            chance.choice(("Send", "Delivery", "Bounce")),
            message=chance.randrange(count // 2),
            recipient=f"User{chance.randrange(20)}@example.org",
            account=f"{chance.randrange(3):012d}",
            configuration_set=chance.choice(("news", "alerts")),
            at_ms=NOW_MS + seq * 1000,
        )
        events.append(one)
    at = 0
    while at < count:
        step = chance.randrange(1, 60)
        archive.apply(1, events[at : at + step])
        at += step
    return events


QUERIES = [
    {},
    {"event_id": "event-1-7"},
    {"message_id": "message-1-17"},
    {"recipient": "user3@example.org"},
    {"kind": "Bounce", "account": "000000000001"},
    {"configuration_set": "alerts", "recipient": "USER4@example.org"},
    {"since_ms": NOW_MS + 100_000, "until_ms": NOW_MS + 200_000},
    {"kind": "Send", "since_ms": NOW_MS + 350_000},
    {"event_id": "event-1-7", "kind": "none"},
]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_what_is_meant_is_found_newest_first_and_in_pages(archive, tmp_path, query):
    events = fill(archive)
    asked = EventQuery(**query)
    expected = [one.event_id for one in reversed(events) if asked.meant(event_facts(one))]
    assert found(tmp_path, **query) == expected
    paged, cursor = [], ""
    while True:
        page = EventSearch(tmp_path, {}, asked).page(13, cursor)
        paged += [one.event.event_id for one in page.found]
        cursor = page.cursor
        if not cursor:
            break
    assert paged == expected
    oldest = [one.event.event_id for one in EventSearch(tmp_path, {}, asked).oldest_first()]
    assert oldest == expected[::-1]


@pytest.mark.parametrize("cursor", ["x", "2026-01-01", "2026-01-01.g", "2026-01-01.1.2"])
def test_a_cursor_that_is_none(tmp_path, cursor):
    with pytest.raises(UsageError, match="no cursor"):
        EventSearch(tmp_path, {}, EventQuery()).page(1, cursor)


def test_a_follower_sees_what_is_archived_from_now_on_once(archive, tmp_path):
    clock = archive._clock
    archive.apply(1, [event(1, seq) for seq in range(1, 4)])
    follower = Follower(tmp_path, EventQuery(kind="Bounce"))
    assert follower.more() == []
    archive.apply(1, [event(1, 4), event(1, 5, "Bounce")])
    assert [one.event.seq for one in follower.more()] == [5]
    archive.apply(1, [event(1, seq, "Bounce") for seq in range(6, 300)])
    clock.advance(86_400)
    archive.apply(1, [event(1, seq, "Bounce") for seq in range(300, 320)])
    assert [one.event.seq for one in follower.more()] == list(range(6, 320))
    assert follower.more() == []


def test_a_follower_of_nothing_begins_at_the_first_event(tmp_path):
    follower = Follower(tmp_path, EventQuery())
    archive = opened(tmp_path)
    archive.apply(1, [event(1, 1)])
    assert [one.event.seq for one in follower.more()] == [1]
    archive.close()
