"""Counts on disk: each event once, by time and by what it is about, and what rates are made of."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import orjson
import pytest

from relay.errors import StorageError
from relay.events import payload
from relay.events.notes import lane_notes
from relay.events.payload import RecipientStatus, timestamp
from relay.model.event import LoggedEvent
from relay.model.message import NewEvent
from relay.reputation.counting import Count, Dimension, Rules
from relay.reputation.rates import CELL_LONG_MS, CELL_SHORT_MS, DAY_MS, Cell, rates
from relay.store import statistics
from relay.store.statistics import DAY, FILE, HOUR, QUARTER, Retention, Statistics, StatisticsReader
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog

A, B = "000000000001", "000000000002"
NOW = ManualClock().now_ms() // (900 * 1000) * (900 * 1000) + 60_000


def mail(at_ms, account=A, configuration_set="", identity="example.com"):
    tags = {"ses:configuration-set": [configuration_set]} if configuration_set else {}
    return orjson.dumps(
        {
            "timestamp": timestamp(at_ms),
            "messageId": "m",
            "sourceArn": f"arn:aws:ses:local-1:{account}:identity/{identity}",
            "sendingAccountId": account,
            "destination": ["user@remote.example"],
            "tags": {**tags, "ses:source-ip": ["192.0.2.1"]},
        }
    )


def send(at_ms=NOW, **more):
    return NewEvent("s", "Send", "m", payload.send(mail(at_ms, **more)))


def delivery(at_ms=NOW, *, later_ms=0, provider="", pool="", **more):
    body = payload.delivery(
        mail(at_ms, **more),
        timestamp_ms=at_ms + later_ms,
        processing_ms=1,
        recipients=("user@remote.example",),
        smtp_response="250",
        reporting_mta="relay.example",
    )
    return NewEvent("d", "Delivery", "m", body, lane_notes(provider, pool))


def bounce(at_ms=NOW, *, later_ms=0, event_id="m/0/Bounce/0", **more):
    body = payload.bounce(
        mail(at_ms, **more),
        timestamp_ms=at_ms + later_ms,
        bounce_type="Permanent",
        bounce_sub_type="General",
        recipients=(RecipientStatus("user@remote.example", "failed", "5.1.1", "smtp; 550"),),
        feedback_id=event_id,
    )
    return NewEvent(event_id, "Bounce", "m", body)


def logged(events, first=1, shard=1):
    return [LoggedEvent(shard, seq, event) for seq, event in enumerate(events, first)]


@pytest.fixture
def clock():
    return ManualClock(NOW)


@pytest.fixture
def made(tmp_path, clock):
    found = Statistics(
        tmp_path, Rules(reporting=frozenset({"yahoo"})), lambda _account, _to: False, clock.now_ms, MemoryLog()
    )
    found.open()
    yield found
    found.close()


@pytest.fixture
def reader(tmp_path):
    found = StatisticsReader(tmp_path)
    yield found
    found.close()


def total(reader, count=Count.SENDS, dimension=Dimension.ACCOUNT, **more):
    return sum(
        point.counts[count]
        for grain in statistics.GRAINS
        for point in reader.points(dimension, 0, NOW + 400 * DAY_MS, grain, **more)
    )


@pytest.mark.req("STAT-001")
def test_an_event_is_counted_once_whatever_is_given_again(made, reader):
    assert made.place(1) == 0
    events = logged([send() for _ in range(5)])
    made.apply(1, events[:3])
    made.apply(1, events)  # a carrier that had lost its place
    made.apply(1, events[:2])
    assert (made.place(1), total(reader)) == (5, 5)
    made.apply(7, logged([send()], shard=7))  # each shard counts by itself
    made.skip(1, 6)
    made.apply(1, logged([send(), send()], first=6))
    assert (made.place(1), made.place(7), total(reader)) == (7, 1, 7)


def test_one_event_that_cannot_be_counted_leaves_nothing_of_its_batch(made, reader):
    broken = NewEvent("x", "Delivery", "m", payload.send(mail(NOW)))
    with pytest.raises(KeyError):
        made.apply(1, logged([send(), broken]))
    assert (made.place(1), total(reader)) == (0, 0)


@pytest.mark.req("STAT-001")
def test_points_are_of_fifteen_minutes_and_by_what_mail_was_about(made, reader):
    quarter = NOW - NOW % (QUARTER * 1000)
    made.apply(
        1,
        logged(
            [
                send(configuration_set="news"),
                delivery(configuration_set="news", provider="yahoo", pool="bulk"),
                send(NOW + QUARTER * 1000),
                bounce(NOW, later_ms=QUARTER * 1000),
                send(account=B, identity="other.example"),
            ]
        ),
    )
    points = reader.points(Dimension.ACCOUNT, 0, NOW * 2, account=A)
    assert [point.start_ms for point in points] == [quarter, quarter + QUARTER * 1000]
    assert [point.counts[Count.SENDS] for point in points] == [1, 1]
    assert [point.counts[Count.HARD_BOUNCES] for point in points] == [0, 1]  # when it happened
    assert total(reader) == 3
    sets = reader.totals(Dimension.CONFIGURATION_SET, 0, NOW * 2)
    assert [(one.account, one.name, one.counts[Count.DELIVERIES]) for one in sets] == [(A, "news", 1)]
    assert [one.name for one in reader.totals(Dimension.IDENTITY, 0, NOW * 2)] == ["example.com", "other.example"]
    assert {one.name: one.counts[Count.SENDS] for one in reader.totals(Dimension.PROVIDER, 0, NOW * 2)} == {
        "yahoo": 1,
        "other": 1,
    }
    assert total(reader, Count.DELIVERIES, Dimension.POOL, name="bulk") == 1


def test_points_become_coarser_and_nothing_is_counted_twice_or_lost(tmp_path, clock):
    keep = Retention(hours_ms=30 * DAY_MS, days_ms=90 * DAY_MS)
    made = Statistics(tmp_path, Rules(), lambda _a, _r: False, clock.now_ms, MemoryLog(), retention=keep)
    made.open()
    reader = StatisticsReader(tmp_path)
    made.apply(1, logged([send(NOW + n * 600_000) for n in range(200)]))
    seq = 200
    for days, grains in ((13, {QUARTER}), (16, {HOUR}), (33, {DAY}), (60, {DAY})):
        clock.advance(NOW / 1000 + days * 86400 - clock.now_ms() / 1000)
        seq += 1
        made.skip(1, seq - 1)
        made.apply(1, [LoggedEvent(1, seq, send(clock.now_ms(), account=B))])
        kept = {
            grain for grain in statistics.GRAINS if reader.points(Dimension.ACCOUNT, 0, NOW * 2, grain, account=A)
        }
        assert (kept, total(reader, account=A)) == (grains, 200)
    made.apply(1, [LoggedEvent(1, seq + 1, send(NOW, account=A))])  # a bounce of old times may come late
    clock.advance(3601)
    made.apply(1, [LoggedEvent(1, seq + 2, send(clock.now_ms(), account=B))])
    assert total(reader, account=A) == 201
    clock.advance(40 * 86400)
    made.apply(1, [LoggedEvent(1, seq + 3, send(clock.now_ms(), account=B))])
    assert total(reader, account=A) == 0
    made.close()
    reader.close()


@pytest.mark.req("REP-004")
def test_cells_follow_the_mail_and_late_news_goes_where_its_message_was(made, reader):
    made.apply(1, logged([send(NOW + n) for n in range(150)]))
    assert reader.cells(A) == [Cell(NOW, sent=150)]  # a minute is not over
    made.apply(1, logged([send(NOW + CELL_SHORT_MS), send(NOW + CELL_SHORT_MS + CELL_LONG_MS)], first=151))
    made.apply(
        1,
        logged(
            [
                bounce(NOW + 5, later_ms=5 * DAY_MS, event_id="m/0/Bounce/returned"),
                bounce(NOW + CELL_SHORT_MS + CELL_LONG_MS + 7),
                send(NOW + 100),  # of a shard that lags behind
                delivery(NOW + 100, provider="yahoo"),
            ],
            first=153,
        ),
    )
    assert reader.cells(A) == [
        Cell(NOW + CELL_SHORT_MS + CELL_LONG_MS, sent=1, hard_bounces=1),
        Cell(NOW + CELL_SHORT_MS, sent=1),
        Cell(NOW, sent=151, hard_bounces=1, reporting=1),
    ]
    assert reader.subjects() == [(A, "", NOW)]


def test_a_bounce_of_mail_before_all_cells_is_kept_with_its_own_time(made, reader):
    made.apply(1, logged([send(NOW)]))
    made.apply(1, logged([bounce(NOW - 5000)], first=2))
    assert reader.cells(A) == [Cell(NOW, sent=1), Cell(NOW - 5000, hard_bounces=1)]


def test_cells_are_the_same_for_many_events_at_a_time_and_for_one(tmp_path, clock):
    moments = [NOW + (n * 7919) % 90_000 for n in range(900)] + [NOW + CELL_LONG_MS + n for n in range(50)]
    events = logged([send(at) for at in moments] + [bounce(at, later_ms=5) for at in moments[::9]])
    found = []
    for size in (len(events), 1, 100):
        directory = tmp_path / str(size)
        one = Statistics(directory, Rules(), lambda *_: False, clock.now_ms, MemoryLog())
        one.open()
        one.follow(1, 1, len(events))
        in_turn = sorted(events, key=lambda event: event.outline["mail"]["timestamp"])  # as one transaction has them
        renumbered = [LoggedEvent(1, seq, event.event) for seq, event in enumerate(in_turn, 1)]
        for at in range(0, len(events), size):
            one.apply(1, renumbered[at : at + size])
        one.close()
        found.append(StatisticsReader(directory).cells(A))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 2


@pytest.mark.req("REP-013")
def test_a_fresh_start_divides_cells_to_the_millisecond(tmp_path, clock, reader):
    begun = {"": 0}
    made = Statistics(
        tmp_path,
        Rules(),
        lambda _a, _r: False,
        clock.now_ms,
        MemoryLog(),
        fresh_start_ms=lambda _account, name: begun.get(name, 0),
    )
    made.open()
    made.apply(1, logged([event(NOW + n) for n in range(10) for event in (send, bounce)]))
    begun[""] = NOW + 10
    made.apply(1, logged([*(send(NOW + 10 + n) for n in range(5)), bounce(NOW + 9)], first=21))
    found = rates(reader.cells(A), NOW + 1000, begun[""])
    assert (found.bounce.bad, found.bounce.volume) == (0, 5)
    before = rates(reader.cells(A), NOW + 1000)
    assert (before.bounce.bad, before.bounce.volume) == (11, 15)
    made.close()


def test_old_cells_are_dropped_when_newer_mail_represents_the_account(made, reader, clock):
    both = [send(NOW), delivery(NOW, provider="yahoo")]
    made.apply(1, logged([*(both * 3000), send(NOW, account=B)]))
    clock.advance(61 * 86400)
    later = [send(clock.now_ms()), delivery(clock.now_ms(), provider="yahoo")]
    made.apply(1, logged(later * 1999, first=6002))
    clock.advance(3601)
    made.apply(1, logged([bounce(clock.now_ms())], first=10_000))
    assert [cell.sent for cell in reader.cells(A)] == [0, 1999, 3000]  # not enough yet
    clock.advance(3601)
    made.apply(1, logged([send(clock.now_ms()), delivery(clock.now_ms(), provider="yahoo")] * 2, first=10_001))
    assert [cell.sent for cell in reader.cells(A)] == [2, 0, 1999]
    assert [cell.sent for cell in reader.cells(B)] == [1]  # it sends little: all of its mail is needed


def test_series_of_an_account_are_bounded(made, reader, monkeypatch):
    monkeypatch.setattr(statistics, "SERIES_MAX", 3)
    made.apply(1, logged([send(identity=f"{n}.example") for n in range(10)]))
    names = [one.name for one in reader.totals(Dimension.IDENTITY, 0, NOW * 2)]
    assert sorted(names) == ["0.example", "1.example", "2.example", "other"]
    assert total(reader, dimension=Dimension.IDENTITY) == 10


@pytest.mark.req("REP-027")
def test_messages_to_traps_are_counted_and_traps_kept_nowhere(tmp_path, made, reader):
    made.rules = Rules(traps=frozenset({"user@remote.example"}))
    made.apply(1, logged([send(), send()]))
    assert (reader.trap_hits(A, 0), reader.trap_hits(A, NOW + 1000), reader.trapped(0)) == (2, 0, [A])
    made.close()
    assert all(b"remote.example" not in path.read_bytes() for path in (tmp_path / "events").iterdir())


def test_a_damaged_file_is_set_aside_and_what_the_logs_still_have_is_counted_anew(tmp_path, clock, made):
    made.apply(1, logged([send()]))
    made.close()
    (tmp_path / FILE).write_bytes(b"this is no database" * 1000)
    again = Statistics(tmp_path, Rules(), lambda _a, _r: False, clock.now_ms, MemoryLog())
    again.open()
    assert again.place(1) == 0
    assert (tmp_path / "events" / "statistics.db.damaged").exists()
    again.close()


def test_a_reader_before_the_first_event_finds_nothing_and_a_broken_file_is_an_error(tmp_path, reader):
    assert (reader.points(Dimension.ACCOUNT, 0, NOW), reader.cells(A), reader.trap_hits(A, 0)) == ([], [], 0)
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_bytes(b"x" * 5000)
    with pytest.raises(StorageError):
        reader.cells(A)


CHILD = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from tests.unit.store.test_statistics import logged, send, NOW
    from relay.reputation.counting import Rules
    from relay.store.statistics import Statistics
    from relay.testing.log import MemoryLog

    made = Statistics(Path(sys.argv[1]), Rules(), lambda a, r: False, lambda: NOW, MemoryLog())
    made.open()
    made.follow(1, 5, 1 << 60)
    place = made.place(1)
    print("ready", flush=True)
    while place < 100_000:
        made.apply(1, logged([send() for _ in range(7)], first=place + 1))
        place += 7
        print(place, flush=True)
    """
)


@pytest.mark.req("STAT-001")
def test_a_kill_at_any_moment_neither_loses_nor_doubles_a_count(tmp_path, reader):
    place = 0
    for batches in (1, 5, 20):
        command = [sys.executable, "-c", CHILD, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            told = 0
            for number, line in enumerate(child.stdout):
                told = int(line) if line.strip() != "ready" else told
                if number >= batches:
                    os.kill(child.pid, signal.SIGKILL)
                    break
            child.stdout.read()
        with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
            (place,) = connection.execute("SELECT seq FROM place WHERE shard = 1 AND log = 5").fetchone()
        counted = total(reader)
        assert counted == place  # effects and place are one
        assert place >= told  # what was reported is kept
    connection = sqlite3.connect(tmp_path / FILE)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
