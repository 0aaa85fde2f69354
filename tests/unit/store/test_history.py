"""Days of history are dropped whole, by age and by size."""

import pytest

from relay.store.history import DAY_MS, drop_old, history_path
from relay.store.sql import migrations, queries, repeated

TODAY_MS = 20_000 * DAY_MS + 5


def make(directory, ages, size=1000):
    for age in ages:
        path = history_path(directory, TODAY_MS - age * DAY_MS)
        path.write_bytes(bytes(size))
        path.with_name(path.name + "-wal").write_bytes(b"")


def ages_left(directory):
    return [age for age in range(50) if history_path(directory, TODAY_MS - age * DAY_MS).exists()]


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
    drop_old(tmp_path, TODAY_MS, days_max, bytes_max)
    assert ages_left(tmp_path) == left
    assert len(list(tmp_path.glob("*-wal"))) == len(left)
    assert (tmp_path / "notes.txt").exists()
    assert (tmp_path / "1999-01-01.db").is_symlink()


def test_a_directory_that_is_not_there_has_nothing_to_drop(tmp_path):
    assert drop_old(tmp_path / "none", TODAY_MS, 1, 1) == []


def test_every_statement_has_a_name_and_a_sentence():
    for name in ("write.sql", "read.sql", "history.sql", "salvage.sql", "outbox.sql"):
        for statement in queries(name).values():
            assert statement.startswith("-- ")
            assert statement.splitlines()[1]
    for schema in ("spool", "history", "outbox"):
        assert len(migrations(schema)) == 1


def test_rows_are_repeated_as_marked():
    assert repeated("VALUES /*row*/ (?, ?) /*row*/ END", 3) == "VALUES (?, ?), (?, ?), (?, ?) END"
    with pytest.raises(ValueError, match="marks no row"):
        repeated("VALUES (?)", 2)
