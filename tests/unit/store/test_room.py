"""Room for mail on a disk: what is free above the reserve, and pages of spools that can be used again."""

import os
import sqlite3
from types import SimpleNamespace

import pytest

from relay.store.room import room_bytes

MB = 1 << 20


@pytest.fixture
def drained(tmp_path):
    """A database of 2 MB that holds next to nothing any more."""
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (b BLOB)")
        connection.executemany("INSERT INTO t VALUES (?)", [(bytes(100_000),)] * 20)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM t")
    return path


@pytest.fixture
def disk(monkeypatch):
    def has(free_bytes, *, files=100, free_files=10):
        facts = SimpleNamespace(f_bavail=free_bytes // 4096, f_frsize=4096, f_files=files, f_favail=free_files)
        monkeypatch.setattr(os, "statvfs", lambda path: facts)

    return has


def test_above_the_reserve_only_the_disk_counts(tmp_path, disk, drained):
    disk(100 * MB)
    assert room_bytes(tmp_path, 10 * MB, [drained]) == 90 * MB


def test_below_the_reserve_pages_of_mail_that_left_count(tmp_path, disk, drained):
    disk(9 * MB)
    assert 0 < room_bytes(tmp_path, 10 * MB, [drained]) < 2 * MB
    assert room_bytes(tmp_path, 10 * MB, []) == -1 * MB
    assert room_bytes(tmp_path, 10 * MB, [tmp_path / "missing.db"]) == -1 * MB


def test_below_half_of_the_reserve_nothing_counts(tmp_path, disk, drained):
    disk(4 * MB)
    assert room_bytes(tmp_path, 10 * MB, [drained]) < 0
    disk(100 * MB, free_files=0)
    assert room_bytes(tmp_path, 10 * MB, [drained]) < 0


def test_a_directory_that_is_gone_has_no_room(tmp_path):
    assert room_bytes(tmp_path / "gone", 0, []) == 0
