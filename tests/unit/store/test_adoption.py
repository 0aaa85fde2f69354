"""Taking a shard over: locks, leftovers, crash counts, damage of every kind (F07 to F17, F20, F21)."""

import asyncio
import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from relay.errors import ConfigurationError, CorruptionError, NewerVersionError
from relay.model.delivery import DeliveryState, Step
from relay.schedule.fair import NO_STRAND
from relay.store import operations
from relay.store.adoption import adopt, shard_paths, shards_on_disk
from relay.store.database import APPLICATION_ID
from relay.store.inflight import SLOTS_MAX
from relay.store.spool import ShardSpool
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.unit.store.shard import NOW_MS, new_message, shard, verdict, written


def run(tmp_path, case, **parts):
    async def inside():
        async with shard(tmp_path, **parts) as spool:
            return await case(spool)

    return asyncio.run(inside())


def fill(tmp_path, count=1, recipients=1, body=b"body\r\n"):
    async def case(spool):
        news = [new_message(spool, recipients=recipients, body=body) for _ in range(count)]
        await asyncio.gather(*(written(spool.append, new) for new in news))
        return news

    return run(tmp_path, case)


def give_up(adopted):
    adopted.in_flight.close()
    os.close(adopted.lock)


def test_a_second_owner_is_refused_with_a_sentence(tmp_path):
    async def case(_spool):
        with pytest.raises(ConfigurationError, match=rf"in use by another relay \(process {os.getpid()}\)"):
            adopt(tmp_path, 1, ManualClock(), MemoryLog())

    run(tmp_path, case)
    give_up(adopt(tmp_path, 1, ManualClock(), MemoryLog()))


def test_leftovers_go_and_hostile_names_stay_with_a_line(tmp_path):
    paths = shard_paths(tmp_path, 1)
    fill(tmp_path)
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (paths.incoming / "12-3.body").write_bytes(b"half")
    (paths.bodies / "0000000000ff").write_bytes(b"orphan")
    (paths.incoming / ".hidden").write_bytes(b"?")
    (paths.incoming / "a\nb").write_bytes(b"?")
    (paths.bodies / "..%2f..").write_bytes(b"?")
    (paths.bodies / "0000000000aa").symlink_to(outside)
    (paths.incoming / "directory").mkdir()
    os.mkfifo(paths.incoming / "pipe")
    log = MemoryLog()

    async def case(spool):
        assert spool.report.leftovers_removed == 2
        assert len(spool.report.names_ignored) == 6
        assert len(spool.due(NOW_MS, 10)) == 1

    run(tmp_path, case, log=log)
    assert log.events("warning") == ["spool name ignored"] * 6
    assert outside.read_text() == "precious"


@pytest.mark.parametrize("name", ["lock", "inflight", "spool.db"])
def test_a_symbolic_link_in_place_of_our_file_is_refused(tmp_path, name):
    paths = shard_paths(tmp_path, 1)
    paths.directory.mkdir(parents=True)
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (paths.directory / name).symlink_to(target)
    with pytest.raises(ConfigurationError):
        adopt(tmp_path, 1, ManualClock(), MemoryLog())
    assert target.read_bytes() == b"precious"


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "spool").write_text("a file is in the way")
    with pytest.raises(ConfigurationError, match="make it writable"):
        adopt(tmp_path, 1, ManualClock(), MemoryLog())


def test_a_newer_spool_is_refused_untouched(tmp_path):
    fill(tmp_path)
    database = shard_paths(tmp_path, 1).database
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID + 99}")
    connection.close()
    before = database.read_bytes()
    with pytest.raises(NewerVersionError, match="newer release"):
        adopt(tmp_path, 1, ManualClock(), MemoryLog())
    assert database.read_bytes() == before
    assert list(shard_paths(tmp_path, 1).quarantine.iterdir()) == []


def test_in_flight_at_three_crashes_is_quarantined(tmp_path):
    (new,) = fill(tmp_path, recipients=2)
    keys = [delivery.key for delivery in new.deliveries]
    log = MemoryLog()
    for crash in range(3):
        adopted = adopt(tmp_path, 1, ManualClock(), log)
        assert adopted.report.in_flight == (1 if crash else 0)
        adopted.in_flight.note(0, keys[0])
        adopted.in_flight.note(SLOTS_MAX + 5, keys[1])  # beyond the map: not noted, no harm
        give_up(adopted)

    async def case(spool):
        assert spool.report.quarantined == [keys[0]]
        assert [delivery.key for delivery in spool.due(NOW_MS, 10)] == [keys[1]]
        assert await spool.act(operations.step(keys[:1], Step.RELEASE, spool._clock.now_ms())) == keys[:1]
        assert spool.delivery(keys[0]).crashes == 0

    run(tmp_path, case, log=log)
    assert "deliveries quarantined" in log.events("error")


def test_a_clean_end_counts_nothing_and_a_verdict_resets_the_count(tmp_path):
    (new,) = fill(tmp_path)
    (delivery,) = new.deliveries

    async def clean(spool):
        spool.in_flight(0, delivery.key)

    for _ in range(4):
        run(tmp_path, clean)
    adopted = adopt(tmp_path, 1, ManualClock(), MemoryLog())
    adopted.in_flight.note(7, delivery.key)
    give_up(adopted)

    async def case(spool):
        assert spool.due(NOW_MS, 1)[0].crashes == 1
        await written(spool.settle, verdict(delivery, DeliveryState.QUEUED, next_ms=NOW_MS))
        assert spool.due(NOW_MS, 1)[0].crashes == 0

    run(tmp_path, case)


DAY_SECONDS = 86_400
LIFETIME_SECONDS = 50_400


@pytest.mark.parametrize(
    ("elapsed_seconds", "held"),
    [
        (LIFETIME_SECONDS - 1, False),
        (LIFETIME_SECONDS + 60, False),
        (LIFETIME_SECONDS + DAY_SECONDS, False),
        (LIFETIME_SECONDS + DAY_SECONDS + 1, True),
        (10 * DAY_SECONDS, True),  # F13: a clock that is ten days ahead looks the same
    ],
)
def test_what_should_have_been_given_up_a_day_ago_is_held(tmp_path, elapsed_seconds, held):
    """F24."""
    (new,) = fill(tmp_path, recipients=3)
    keys = [delivery.key for delivery in new.deliveries]
    clock, log = ManualClock(), MemoryLog()
    clock.advance(elapsed_seconds)

    async def case(spool):
        assert spool.report.held_late == (3 if held else 0)
        assert [one.key for one in spool.due(clock.now_ms(), 10)] == ([] if held else keys)
        assert spool.depth().counts.get(DeliveryState.HELD, 0) == (3 if held else 0)

    run(tmp_path, case, clock=clock, log=log)
    told = "deliveries held: they should have been given up more than a day ago"
    assert log.events("error").count(told) == (1 if held else 0)


def test_what_an_operator_released_or_made_due_is_not_held_again(tmp_path):
    (new,) = fill(tmp_path, recipients=3)
    keys = [delivery.key for delivery in new.deliveries]
    clock = ManualClock()
    clock.advance(3 * DAY_SECONDS)

    async def release(spool):
        assert spool.report.held_late == 3
        assert await spool.act(operations.step(keys[:1], Step.RELEASE, spool._clock.now_ms())) == keys[:1]

    async def again(spool):
        assert spool.report.held_late == 0
        assert [one.key for one in spool.due(clock.now_ms(), 10)] == [keys[0]]

    run(tmp_path, release, clock=clock)
    clock.advance(60)
    run(tmp_path, again, clock=clock)


def test_a_clock_set_right_again_lets_released_mail_go_on(tmp_path):
    """F13: ten days ahead at one start, right at the next: released deliveries have their whole lifetime."""
    (new,) = fill(tmp_path)
    (delivery,) = new.deliveries
    wrong = ManualClock()
    wrong.jump(10 * DAY_SECONDS)

    async def nothing(spool):
        assert spool.due(wrong.now_ms(), 10) == []

    async def released(spool):
        await spool.act(operations.step([delivery.key], Step.RELEASE, NOW_MS))
        (found,) = spool.due(NOW_MS, 10)
        assert (found.key, found.message.expires_ms, found.attempts) == (delivery.key, NOW_MS + 50_400_000, 0)

    run(tmp_path, nothing, clock=wrong)
    run(tmp_path, released)


def test_noise_in_the_in_flight_map_is_harmless(tmp_path):
    fill(tmp_path)
    (shard_paths(tmp_path, 1).directory / "inflight").write_bytes(random.Random(1).randbytes(5000))

    async def case(spool):
        assert len(spool.due(NOW_MS, 10)) == 1

    run(tmp_path, case)


def test_shards_on_disk_are_those_with_a_number(tmp_path):
    assert shards_on_disk(tmp_path) == []
    for name in ("0001", "0003", "lost+found", "0000", "٣"):
        (tmp_path / "spool" / name).mkdir(parents=True)
    (tmp_path / "spool" / "0009").symlink_to(tmp_path)
    assert shards_on_disk(tmp_path) == [1, 3]


def snapshot(tmp_path) -> tuple[Path, dict[int, bytes], set[int]]:
    """Make a shard with a log that is not in its file yet; return a copy, the bodies by message, finished keys."""

    async def case(spool):
        news = [new_message(spool, recipients=2, body=bytes([65 + number]) * 3000) for number in range(40)]
        for new in news:
            await written(spool.append, new)
        for new in news[:10]:
            await written(spool.settle, verdict(new.deliveries[0]))
            await written(spool.settle, verdict(new.deliveries[1], DeliveryState.QUEUED, next_ms=NOW_MS + 5))
        shutil.copytree(spool.paths.directory, tmp_path / "copy")
        return {new.message.key: new.content.body for new in news}

    bodies = run(tmp_path / "original", case)
    return tmp_path / "copy", bodies, set()


def read_due(spool):
    found = {}
    strands = [strand for strand, _ in spool.strands(NO_STRAND, 1000)]
    keys = [key for strand in strands for _, key in spool.waiting(strand, NOW_MS + 10, 1000)]
    for delivery in spool.queued(keys):
        try:
            found[delivery.key] = (delivery.recipient, spool.content(delivery.message.key).body)
        except CorruptionError:
            continue
    return found


def restart(tmp_path, copy, number, change):
    """Adopt a changed copy, read everything that is due and write something; return what was read."""
    data_dir = tmp_path / f"run{number}"
    directory = shard_paths(data_dir, 1).directory
    shutil.copytree(copy, directory)
    change(directory)
    found = {}

    async def case(spool):
        found.update(read_due(spool))
        new = new_message(spool)
        assert await written(spool.append, new) is None
        assert new.message.key not in {key >> 16 for key in found}
        assert spool.content(new.message.key) == new.content
        return spool.report

    report = run(data_dir, case)
    shutil.rmtree(data_dir)
    return found, report


def test_bit_flips_at_100_places_never_stop_a_start_nor_change_a_mail(tmp_path):
    copy, bodies, _ = snapshot(tmp_path)
    connection = sqlite3.connect(copy / "spool.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    size = (copy / "spool.db").stat().st_size
    dice = random.Random(2)
    whole = 0
    for number in range(100):
        place = number if number < 20 else dice.randrange(size)

        def flip(directory, place=place):
            with (directory / "spool.db").open("r+b") as file:
                file.seek(place)
                octet = file.read(1)[0] ^ 1 << dice.randrange(8)
                file.seek(place)
                file.write(bytes([octet]))

        found, _ = restart(tmp_path, copy, number, flip)
        for key, (recipient, body) in found.items():
            assert recipient == f"r{key & 0xFFFF}@example.org"
            assert body == bodies[key >> 16]
        whole += len(found) == 70
        assert len(found) >= 60, f"a flip at {place} lost much of the queue"
        assert number >= 20 or len(found) == 70, f"a flip at {place} of the header lost something"
    assert whole >= 40


def test_a_log_cut_at_200_places_loses_only_its_end(tmp_path):
    copy, bodies, _ = snapshot(tmp_path)
    size = (copy / "spool.db-wal").stat().st_size
    assert size > 100_000
    dice, seen = random.Random(3), []
    for number, place in enumerate(sorted(dice.sample(range(size), 200))):

        def cut(directory, place=place):
            os.truncate(directory / "spool.db-wal", place)
            (directory / "spool.db-shm").unlink()

        data_dir = tmp_path / f"run{number}"
        directory = shard_paths(data_dir, 1).directory
        shutil.copytree(copy, directory)
        cut(directory)
        spool = ShardSpool.open(data_dir, 1, ManualClock(), MemoryLog())
        found = read_due(spool)
        assert spool.report.salvaged is None
        spool.close()
        shutil.rmtree(data_dir)
        assert all(body == bodies[key >> 16] for key, (_, body) in found.items())
        seen.append(max(found, default=0) >> 16)
    assert seen == sorted(seen)
    assert seen[-1] == max(bodies)


@pytest.mark.parametrize("kind", ["zeros", "noise", "empty", "text", "first page"])
def test_a_file_that_is_no_database_is_kept_and_the_start_goes_on(tmp_path, kind):
    copy, bodies, _ = snapshot(tmp_path)
    connection = sqlite3.connect(copy / "spool.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    size = (copy / "spool.db").stat().st_size
    content = {
        "zeros": bytes(size),
        "noise": random.Random(4).randbytes(size),
        "empty": b"",
        "text": b"hello\n" * 1000,
        "first page": bytes(8192) + (copy / "spool.db").read_bytes()[8192:],
    }[kind]

    def replace(directory):
        for companion in ("-wal", "-shm"):
            (directory / f"spool.db{companion}").unlink(missing_ok=True)
        (directory / "spool.db").write_bytes(content)

    found, report = restart(tmp_path, copy, 0, replace)
    if kind == "first page":
        assert report.salvaged is not None
        assert len(found) == 70
        assert all(body == bodies[key >> 16] for key, (_, body) in found.items())
        return
    assert found == {}
    assert kind == "empty" or report.salvaged is not None


def test_what_salvage_could_not_keep_whole_is_quarantined(tmp_path):
    news = fill(tmp_path, count=3, body=b"x" * 20_000)
    database = shard_paths(tmp_path, 1).database
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM content WHERE key = ?", (news[1].message.key,))
    connection.close()
    shard_paths(tmp_path, 1).damage_mark.touch()
    log = MemoryLog()

    async def case(spool):
        assert spool.report.quarantined == [news[1].deliveries[0].key]
        assert [d.message.key for d in spool.due(NOW_MS, 10)] == [news[0].message.key, news[2].message.key]
        assert len(list(spool.paths.quarantine.iterdir())) == 1
        assert not spool.paths.damage_mark.exists()
        await written(spool.append, new_message(spool))

    run(tmp_path, case, log=log)
    assert {"spool salvaged", "deliveries quarantined"} <= set(log.events("error"))


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_crash_within_a_salvage_loses_nothing(tmp_path, monkeypatch, moved):
    news = fill(tmp_path, count=3)
    paths = shard_paths(tmp_path, 1)
    paths.damage_mark.touch()
    real, calls = Path.rename, []

    def crash(self, target):
        calls.append(self.name)
        if len(calls) > moved:
            raise OSError(5, "killed here")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(ConfigurationError):
        adopt(tmp_path, 1, ManualClock(), MemoryLog())
    monkeypatch.undo()

    async def case(spool):
        assert [d.message.key for d in spool.due(NOW_MS, 10)] == [new.message.key for new in news]
        assert spool.content(news[0].message.key) == news[0].content

    run(tmp_path, case, clock=ManualClock(NOW_MS + 1))


def test_event_numbers_after_a_salvage_are_beyond_every_cursor(tmp_path):
    fill(tmp_path, count=3)
    database = shard_paths(tmp_path, 1).database
    database.write_bytes(b"")
    database.write_bytes(bytes(16384))
    adopted = adopt(tmp_path, 1, ManualClock(), MemoryLog())
    assert adopted.next_seq > NOW_MS
    assert 3 < adopted.next_key < 1 << 47
    give_up(adopted)


@pytest.mark.parametrize("what", ["database", "shard"])
def test_an_older_format_is_migrated_and_delivered(tmp_path, what, monkeypatch):
    (new,) = fill(tmp_path)
    from relay.store import database, sql

    scripts = (*sql.migrations("spool"), "ALTER TABLE message ADD COLUMN note TEXT;")
    monkeypatch.setattr(database, "migrations", lambda _schema: scripts)
    connection = database.open_writer(shard_paths(tmp_path, 1).database, "spool")
    assert database.version_of(connection) == 2
    assert connection.execute("SELECT message_id, note FROM message").fetchall() == [(new.message.message_id, None)]
    connection.close()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_refuses_and_recovers(tmp_path):
    import subprocess

    data_dir = tmp_path / "small"
    data_dir.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", data_dir], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    clock = ManualClock()

    async def case(spool):
        kept = []
        for _ in range(100):
            new = new_message(spool, body=b"x" * 60_000)
            if await written(spool.append, new) is not None:
                break
            kept.append(new)
        assert 3 < len(kept) < 60
        assert spool.room_bytes() == 0
        for new in kept:
            assert spool.content(new.message.key) == new.content
        filler = data_dir / "filler"
        assert not filler.exists()
        for new in kept:  # a verdict either lands whole or is refused whole
            error = await written(spool.settle, verdict(new.deliveries[0]))
            due = {delivery.key for delivery in spool.due(NOW_MS, 100)}
            assert (new.deliveries[0].key in due) == (error is not None)
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=30m", data_dir], check=True)
        clock.advance(2)
        assert spool.room_bytes() > 10_000_000
        assert await written(spool.append, new_message(spool, body=b"x" * 60_000)) is None
        for delivery in spool.due(NOW_MS, 100):
            assert await written(spool.settle, verdict(delivery)) is None

    try:
        run(data_dir, case, clock=clock)
    finally:
        subprocess.run(["umount", data_dir], check=True)
