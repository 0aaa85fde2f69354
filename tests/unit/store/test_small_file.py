"""Small files: set aside when damaged, and no transaction survives a commit that failed."""

import sqlite3

import pytest

from relay.store.small_file import open_or_anew, whole
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
