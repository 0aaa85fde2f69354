"""The relay's own mail on its way from the catalog to a worker: nothing lost, nothing twice, whatever is killed."""

import asyncio
from collections import Counter
from contextlib import closing

import pytest

from relay.errors import RelayError, TemporaryError
from relay.mail.letter import Letterhead, letter
from relay.runtime.courier import hand_over_all
from relay.signing.secrets import encode_master_key
from relay.store import catalog_notices
from relay.store.adoption import shard_paths
from relay.store.catalog import open_catalog
from relay.testing.log import MemoryLog
from tests.commands import run_command

KEY = bytes(range(32))
ACCOUNT = "000000000001"
OURS = Letterhead("Relay", "local-1", "relay.example", "no-reply@relay.example", "abuse@relay.example")
COUNT = 5


class Book:
    def __init__(self, ids):
        self.ids = list(ids)

    async def waiting(self, limit, after):
        return [one for one in self.ids if one > after][:limit]

    async def forget(self, notice_ids):
        self.ids = [one for one in self.ids if one not in notice_ids]


def go(book, hand_over):
    return asyncio.run(hand_over_all(book, hand_over, MemoryLog()))


def test_all_are_handed_over_in_order_and_forgotten():
    book, seen = Book(range(1, 121)), []

    async def hand_over(notice_id):
        seen.append(notice_id)

    assert go(book, hand_over) == 0
    assert seen == list(range(1, 121))
    assert book.ids == []


def test_one_that_fails_does_not_hold_up_the_others():
    book = Book(range(1, 11))

    async def hand_over(notice_id):
        if notice_id in (1, 5):
            raise RelayError("no")

    assert go(book, hand_over) == 2
    assert book.ids == [1, 5]


def test_without_a_worker_the_rest_waits_and_what_was_taken_is_forgotten():
    book = Book(range(1, 11))

    async def hand_over(notice_id):
        if notice_id == 4:
            raise TemporaryError("nobody there")

    with pytest.raises(TemporaryError):
        go(book, hand_over)
    assert book.ids == list(range(4, 11))


@pytest.fixture
def data(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "master.key").write_bytes(encode_master_key(KEY))
    with open_catalog(tmp_path, KEY) as catalog:
        catalog.accounts.create(ACCOUNT)
        add(catalog, range(COUNT))
    return tmp_path


def add(catalog, numbers):
    with catalog._tables.writing(ACCOUNT):
        for number in numbers:
            made = letter(OURS, f"r{number}@x.example", "Hi", ["Hello."], 1_790_000_000_000)
            assert catalog.notices.add_letter(ACCOUNT, f"r{number}@x.example", made)


def child(data, point="", count=1):
    return run_command([str(data), point, str(count)], module="tests.unit.runtime.notice_child")


def spooled(data):
    """Return how often each recipient has a delivery in the shard."""
    import sqlite3

    with closing(sqlite3.connect(shard_paths(data, 1).database)) as connection:
        return Counter(row[0] for row in connection.execute("SELECT recipient FROM delivery"))


def waiting(data):
    with open_catalog(data, KEY) as catalog:
        return len(catalog.notices.waiting())


@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("look", 1),
        ("look", 2),
        ("hand over", 1),
        ("hand over", 2),
        ("before commit", 1),
        ("before commit", 3),
        ("after commit", 1),
        ("after commit", 3),
        ("taken", 1),
        ("taken", 2),
        ("forget", 1),
        ("forgotten", 1),
        ("forget", 3),
        ("forgotten", 3),
    ],
)
def test_killed_at_any_step_each_mail_is_spooled_once(data, point, count):
    killed = child(data, point, count)
    assert killed.returncode == -9, killed.stderr
    assert waiting(data) + len(spooled(data)) >= COUNT  # each is here, or there, or both
    ended = child(data)
    assert ended.returncode == 0, ended.stderr
    assert spooled(data) == Counter({f"r{number}@x.example": 1 for number in range(COUNT)})
    assert waiting(data) == 0


def test_a_catalog_of_yesterday_repeats_nothing_and_swallows_nothing(data, tmp_path):
    """A restored catalog gives its numbers out again: the same mail is a repeat, another one is not."""
    backup = (data / "catalog.db").read_bytes()
    assert child(data).returncode == 0
    for path in data.glob("catalog.db*"):
        path.unlink()
    (data / "catalog.db").write_bytes(backup)
    with open_catalog(data, KEY) as catalog:
        catalog.notices.forget(catalog.notices.waiting()[1:])
        catalog._tables.connection.execute("DELETE FROM sqlite_sequence WHERE name = 'notice'")
        add(catalog, [7])
        assert catalog.notices.waiting() == [1, 2]
    assert child(data).returncode == 0
    assert spooled(data) == Counter({f"r{number}@x.example": 1 for number in (*range(COUNT), 7)})


def test_large_mails_of_an_account_are_cut_too(data, monkeypatch):
    monkeypatch.setattr(catalog_notices, "WAITING_BYTES_MAX", 10_000)
    with open_catalog(data, KEY) as catalog, catalog._tables.writing(ACCOUNT):
        assert not catalog.notices.add(ACCOUNT, "a@x.example", b"\r\n", b"x" * 10_000)
