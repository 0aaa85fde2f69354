"""A shard's file is built anew without traces, and its tables begin where they did: salvage relies on that."""

import sqlite3

import pytest

from relay.errors import StorageError
from relay.model.erasure import Erasure
from relay.store import scrub
from relay.store.database import open_writer
from relay.store.salvage import salvage
from relay.store.scrub import Fate, erase_in, found_in
from relay.store.spool_privacy import rebuild
from relay.store.traces import traces

ANN = "ann@example.org"


def roots(connection):
    return connection.execute("SELECT name, rootpage FROM sqlite_master ORDER BY name").fetchall()


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "spool.db"
    connection = open_writer(path, "spool")
    for seq in range(1, 2000):
        values = (seq, f"e{seq}", "Send", "m", b'{"to":"%s"}' % ANN.encode() * 20, b"")
        connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", values)
    connection.execute("INSERT INTO meta VALUES ('event_seq', 1999)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    yield path, connection
    connection.close()


def test_nothing_is_left_and_tables_stay_where_they_begin(shard, tmp_path):
    path, connection = shard
    before = roots(connection)
    connection.execute("DELETE FROM event WHERE seq > 10")
    connection.execute("UPDATE event SET payload = '{}'")
    assert traces(path, ANN)
    rebuild(connection, path, tmp_path / "fresh.db")
    assert roots(connection) == before
    assert not traces(path, ANN)
    assert connection.execute("SELECT count(*) FROM event").fetchone() == (10,)
    assert connection.execute("SELECT value FROM meta").fetchone() == (1999,)
    assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["spool.db", "spool.db-shm", "spool.db-wal"]


def test_a_damaged_first_page_can_be_mended_afterwards(shard, tmp_path):
    path, connection = shard
    rebuild(connection, path, tmp_path / "fresh.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.write(bytes(8192))
    saved = salvage(path, tmp_path / "kept")
    assert saved.rows["event"] == 1999


def test_readers_see_the_old_file_or_the_new_one(shard, tmp_path):
    path, connection = shard
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM event").fetchone() == (1999,)
    connection.execute("DELETE FROM event")
    reader.rollback()
    rebuild(connection, path, tmp_path / "fresh.db")
    assert reader.execute("SELECT count(*) FROM event").fetchone() == (0,)
    reader.close()


@pytest.fixture
def anything(tmp_path):
    path = tmp_path / "anything.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE listed (address TEXT PRIMARY KEY) WITHOUT ROWID;"
        "CREATE TABLE told (id INTEGER PRIMARY KEY, text TEXT, data BLOB);"
        "CREATE TABLE kept (text TEXT)"
    )
    connection.executemany("INSERT INTO listed VALUES (?)", [(ANN,), ("joann@example.org",), ("o'ann@example.org",)])
    connection.execute("INSERT INTO told VALUES (1, 'to Ann@Example.org', ?)", (ANN.encode(),))
    connection.execute("INSERT INTO kept VALUES (?)", (ANN,))
    connection.commit()
    connection.close()
    return path


def test_rows_go_or_lose_the_address_as_their_table_says(anything):
    erasure = Erasure(ANN)
    assert {table: len(rows) for table, rows in found_in(anything, erasure).items()} == {
        "listed": 1,
        "told": 1,
        "kept": 1,
    }
    fates = {"listed": Fate.REMOVE, "kept": Fate.KEEP}
    assert erase_in(anything, erasure, fates) == {"listed": 1, "told": 1}
    assert set(found_in(anything, erasure)) == {"kept"}
    connection = sqlite3.connect(anything)
    assert len(connection.execute("SELECT * FROM listed").fetchall()) == 2
    assert connection.execute("SELECT text, data FROM told").fetchone() == (
        "to erased@erased.invalid",
        b"erased@erased.invalid",
    )
    connection.close()
    assert erase_in(anything, erasure, {}) == {"kept": 1}
    assert erase_in(anything, erasure, {}) == {}


def test_what_an_earlier_run_left_in_free_pages_goes_too(anything):
    connection = sqlite3.connect(anything)
    for table in ("listed", "told", "kept"):
        connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.close()
    path = anything
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE filled (text TEXT)")
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("INSERT INTO filled VALUES (?)", (ANN,))
    connection.execute("DELETE FROM filled")
    connection.close()
    assert traces(path, ANN)
    assert erase_in(path, Erasure(ANN), {}) == {}
    assert not traces(path, ANN)


def test_a_file_in_use_is_said(anything, monkeypatch):
    monkeypatch.setattr(scrub, "READERS_SECONDS", 0.2)
    connection = sqlite3.connect(anything, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    reader = sqlite3.connect(anything, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM told").fetchall()
    with pytest.raises(StorageError, match="Erase again"):
        scrub.write_anew(connection, anything)
    reader.execute("ROLLBACK")
    scrub.write_anew(connection, anything)
    reader.close()
    connection.close()
