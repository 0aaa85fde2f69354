"""Small files: set aside when damaged, and no transaction survives a commit that failed."""

import contextlib
import sqlite3

import pytest

from relay.errors import StorageError
from relay.store.small_file import KeptReader, OwnedFile, open_or_anew, whole
from relay.testing.log import MemoryLog


def test_a_damaged_file_is_set_aside(tmp_path):
    path, log = tmp_path / "office" / "outbox.db", MemoryLog()
    open_or_anew(path, "outbox", log, "event cursors").close()
    assert log.lines == []
    path.write_bytes(b"no database" * 1000)
    connection = open_or_anew(path, "outbox", log, "event cursors")
    assert connection.execute("SELECT count(*) FROM place").fetchone() == (0,)
    assert path.with_name("outbox.db.damaged").read_bytes().startswith(b"no database")
    assert [text for _, text, _ in log.lines] == ["event cursors unreadable", "event cursors damaged, starting anew"]


def test_a_commit_that_fails_leaves_no_transaction_behind():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE a (id INTEGER PRIMARY KEY);"
        "CREATE TABLE b (a INTEGER REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED);"
    )
    with pytest.raises(sqlite3.IntegrityError), whole(connection):
        connection.execute("INSERT INTO b VALUES (7)")  # is found out at the commit
    with whole(connection):
        connection.execute("INSERT INTO a VALUES (7)")
    assert connection.execute("SELECT count(*) FROM b").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM a").fetchone() == (1,)


def damage(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))


def test_damage_that_shows_later_fails_once_and_the_next_use_begins_anew(tmp_path):
    path, log = tmp_path / "outbox.db", MemoryLog()
    file = OwnedFile(path, "outbox", log, "event cursors")
    file.open()
    reader = KeptReader(path, "outbox", "event cursors")
    put = "INSERT INTO place VALUES ('all', ?, 1, 1)"
    file.run(put, (1,))
    assert reader.run("SELECT shard FROM place") == [(1,)]
    damage(path)
    with pytest.raises(StorageError, match="cannot be used"), file.whole():
        file.run(put, (2,))
    assert log.lines == []
    with file.whole():
        file.run(put, (3,))
    assert [text for _, text, _ in log.lines] == ["event cursors damaged, starting anew"]
    assert path.with_name("outbox.db.damaged").exists()
    assert reader.run("SELECT shard FROM place") == [(3,)]  # the reader left the file that was set aside
    file.close()
    reader.close()


def test_a_full_disk_or_a_fault_of_ours_is_no_damage(tmp_path):
    file = OwnedFile(tmp_path / "outbox.db", "outbox", MemoryLog(), "event cursors")
    file.open()
    file.run("INSERT INTO place VALUES ('all', 1, 1, 1)")
    with pytest.raises(StorageError):
        file.run("SELECT nothing FROM nowhere")
    file.run("PRAGMA max_page_count = 1")
    many = "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 9999) "
    with pytest.raises(StorageError, match="full"), file.whole():
        file.run(f"{many} INSERT INTO place SELECT 'all', n, 1, 1 FROM n")
    assert file.run("SELECT shard FROM place") == [(1,)]
    file.close()


def test_a_file_that_is_not_there_reads_as_empty(tmp_path):
    path = tmp_path / "outbox.db"
    reader = KeptReader(path, "outbox", "event cursors")
    assert reader.run("SELECT * FROM place") == []
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="cannot be read"):
        reader.run("SELECT * FROM place")
