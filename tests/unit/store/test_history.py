"""Files of days are dropped whole, by age, by size and for want of disk; and every statement has its sentence."""

import pytest

from relay.store import retention
from relay.store.retention import DAY_MS, Bounds, Keep, day_path, days_of, to_drop, to_drop_of
from relay.store.sql import migrations, queries, repeated

TODAY_MS = 20_000 * DAY_MS + 5


def make(directory, ages, size=1000):
    directory.mkdir(parents=True, exist_ok=True)
    for age in ages:
        path = day_path(directory, TODAY_MS - age * DAY_MS)
        path.write_bytes(bytes(size))
        path.with_name(path.name + "-wal").write_bytes(b"")


def ages(files):
    return sorted((TODAY_MS - file.day_ms) // DAY_MS for file in files)


@pytest.mark.parametrize(
    ("days_max", "bytes_max", "left"),
    [
        (30, 1 << 40, [0, 1, 2, 29, 30]),
        (1, 1 << 40, [0, 1]),
        (0, 1 << 40, [0]),
        (30, 3000, [0, 1, 2]),
        (30, 0, [0]),
        (40, 1 << 40, [0, 1, 2, 29, 30, 31, 40]),
    ],
)
def test_old_days_go_and_today_stays(tmp_path, days_max, bytes_max, left):
    make(tmp_path, [0, 1, 2, 29, 30, 31, 40])
    (tmp_path / "notes.txt").write_text("not ours")
    (tmp_path / "1999-01-01.db").symlink_to(tmp_path / "notes.txt")
    (tmp_path / "1999-99-99.db").write_text("no day")
    for file in to_drop([(Bounds(days_max, bytes_max), days_of(tmp_path))], TODAY_MS):
        file.remove()
    assert ages(days_of(tmp_path)) == left
    assert len(list(tmp_path.glob("*-wal"))) == len(left)
    assert (tmp_path / "notes.txt").exists()
    assert (tmp_path / "1999-01-01.db").is_symlink()
    assert (tmp_path / "1999-99-99.db").exists()


def test_the_size_of_all_shards_together_counts(tmp_path):
    for shard in ("0001", "0002"):
        make(tmp_path / "history" / shard, [0, 1, 2, 3])
    keep = Keep(Bounds(30, 5000), Bounds(30, 5000))
    for shard in ("0001", "0002"):
        own = tmp_path / "history" / shard
        dropped = to_drop_of(tmp_path, own, keep, TODAY_MS)
        assert all(file.path.parent == own for file in dropped)
        assert 3 in ages(dropped)
    both = to_drop([(keep.messages, retention.history_files(tmp_path))], TODAY_MS)
    assert sum(file.size_bytes for file in both) == 3000


def test_a_disk_that_fills_up_costs_the_oldest_days_of_both_kinds_first(tmp_path, monkeypatch):
    make(tmp_path / "history" / "0001", [0, 1, 5])
    make(tmp_path / "events" / "archive", [0, 2, 9])
    monkeypatch.setattr(retention, "_free_bytes", lambda _: 100_000)
    for wanted, messages, events in [
        (100_000, [], []),
        (100_001, [], [9]),
        (101_001, [5], [9]),
        (102_001, [5], [2, 9]),
        (1 << 40, [1, 5], [2, 9]),
    ]:
        keep = Keep(Bounds(30, 1 << 40), Bounds(30, 1 << 40), wanted)
        history, archive = tmp_path / "history" / "0001", tmp_path / "events" / "archive"
        assert ages(to_drop_of(tmp_path, history, keep, TODAY_MS)) == messages
        assert ages(to_drop_of(tmp_path, archive, keep, TODAY_MS)) == events


def test_a_directory_that_is_not_there_has_nothing_to_drop(tmp_path):
    assert days_of(tmp_path / "none") == []
    assert to_drop_of(tmp_path, tmp_path / "none", Keep(), TODAY_MS) == []


def test_every_statement_has_a_name_and_a_sentence():
    names = ("write.sql", "read.sql", "history.sql", "salvage.sql", "places.sql", "postings.sql", "search.sql")
    for name in (*names, "archive.sql"):
        for statement in queries(name).values():
            assert statement.startswith("-- ")
            assert statement.splitlines()[1]
    for schema in ("spool", "history", "outbox", "archive"):
        assert len(migrations(schema)) == 1


def test_rows_are_repeated_as_marked():
    assert repeated("VALUES /*row*/ (?, ?) /*row*/ END", 3) == "VALUES (?, ?), (?, ?), (?, ?) END"
    with pytest.raises(ValueError, match="marks no row"):
        repeated("VALUES (?)", 2)
