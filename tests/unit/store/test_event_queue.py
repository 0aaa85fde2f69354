"""The queue of what waits for destinations: all or nothing, by due time, within its bounds."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.errors import StorageError
from relay.ports.events import NewItem, Settled
from relay.store.event_queue import EventQueue
from relay.testing.log import MemoryLog

DAY_MS = 86_400_000
ROOMY = 1 << 40


def item(key: str, *targets: str, body: bytes = b"{}") -> NewItem:
    return NewItem(key, "Send", body, targets, "000000000001")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events" / "queue.db"


@pytest.fixture
def queue(path: Path) -> Iterator[EventQueue]:
    opened = EventQueue(path, MemoryLog(), bytes_max=ROOMY, age_seconds_max=14 * 86400)
    yield opened
    opened.close()


def keys(queue: EventQueue, target: str, now_ms: int = 1000) -> list[str]:
    return [post.item.key for post in queue.due(target, now_ms, 100)]


def test_an_item_is_kept_once_and_goes_to_each_of_its_targets(queue: EventQueue) -> None:
    queue.accept(1, 7, [item("a", "bus:x", "stream:y", "bus:x"), item("b")], 1000)
    assert queue.place(1) == 7
    assert keys(queue, "bus:x") == keys(queue, "stream:y") == ["a"]
    queue.settle([Settled("bus:x", queue.due("bus:x", 1000, 1)[0].item.id)], 1000)
    assert keys(queue, "bus:x") == []
    (post,) = queue.due("stream:y", 1000, 10)
    assert (post.item.body, post.item.account, post.item.created_ms, post.attempts) == (
        b"{}",
        "000000000001",
        1000,
        0,
    )
    queue.settle([Settled("stream:y", post.item.id)], 1000)
    assert queue.export("{") == []


def test_a_place_never_goes_back(queue: EventQueue) -> None:
    queue.accept(1, 7, [], 0)
    queue.accept(1, 5, [], 0)
    assert (queue.place(1), queue.place(2)) == (7, 0)


def test_what_fails_in_the_middle_leaves_nothing(queue: EventQueue) -> None:
    with pytest.raises(StorageError):
        queue.accept(1, 7, [item("a", "new:1"), NewItem("b", None, b"", ("new:2",))], 1000)  # type: ignore[arg-type]
    assert queue.place(1) == 0
    assert queue.targets() == []
    queue.put([item("c", "new:1")], 1000)
    assert keys(queue, "new:1") == ["c"]


def test_posts_come_by_due_time_and_later_ones_not_yet(queue: EventQueue) -> None:
    queue.put([item("a", "t:1"), item("b", "t:1")], 1000)
    first = queue.due("t:1", 1000, 1)[0]
    queue.settle([Settled("t:1", first.item.id, due_ms=5000, error="500")], 1000)
    assert keys(queue, "t:1") == ["b"]
    again = queue.due("t:1", 5000, 10)[0]
    assert (again.item.key, again.attempts, again.error) == ("a", 1, "500")
    state = queue.target("t:1")
    assert state is not None
    assert (state.waiting, state.waiting_bytes, state.oldest_ms, state.fresh_due_ms) == (2, 4, 1000, 1000)
    assert state.tried_due_ms == 5000
    assert [post.item.key for post in queue.due("t:1", 5000, 10, tried_max=0)] == ["b"]
    assert [post.item.key for post in queue.due("t:1", 5000, 10, fresh=False)] == ["a"]


def test_large_bodies_come_a_few_at_a_time(queue: EventQueue) -> None:
    queue.put([item(str(number), "t:1", body=bytes(100)) for number in range(10)], 0)
    assert len(queue.due("t:1", 0, 10, 250)) == 3
    assert len(queue.due("t:1", 0, 10, 1)) == 1


def test_dead_letters_are_listed_replayed_and_deleted(queue: EventQueue) -> None:
    queue.put([item("a", "t:1"), item("b", "t:1", "t:2")], 0)
    for post in queue.due("t:1", 0, 10):
        queue.settle([Settled("t:1", post.item.id, dead=True, error="x" * 1000)], 50)
    assert keys(queue, "t:1") == []
    letters = queue.dead_letters("", 0, 10)
    assert [(each.post.item.key, each.post.target, each.post.attempts, each.died_ms) for each in letters] == [
        ("a", "t:1", 1, 50), ("b", "t:1", 1, 50),
    ]  # fmt: skip
    assert len(letters[0].post.error) == 300
    assert queue.dead_letters("t:2", 0, 10) == []
    assert queue.replay([letters[0].id, 999], 1000) == ["t:1"]
    assert keys(queue, "t:1") == ["a"]
    assert queue.due("t:1", 1000, 1)[0].attempts == 0
    assert queue.delete_dead(queue.dead_ids("t:1", 10)) == 1
    assert keys(queue, "t:2") == ["b"]
    assert {state.name: state.dead for state in queue.targets()} == {"t:1": 0, "t:2": 0}


def test_a_target_that_is_no_more_takes_its_posts_along(queue: EventQueue) -> None:
    queue.put([item(str(number), "t:1", "t:2") for number in range(1200)], 0)
    post = queue.due("t:1", 0, 1)[0]
    queue.settle([Settled("t:1", post.item.id, dead=True)], 0)
    assert queue.drop_target("t:1") == 1200
    assert queue.target("t:1") is None
    assert queue.drop_target("t:1") == 0
    assert len(queue.due("t:2", 0, 2000)) == 1200
    queue.put([item("new", "t:1")], 0)
    assert keys(queue, "t:1") == ["new"]


def test_what_is_too_old_goes(queue: EventQueue) -> None:
    queue.put([item("old", "t:1", "t:2")], 0)
    queue.put([item("young", "t:1")], 2 * DAY_MS)
    queue.settle([Settled("t:2", 1, dead=True)], 0)
    assert queue.trim(13 * DAY_MS) == {}
    assert queue.trim(15 * DAY_MS) == {"t:1": 1, "t:2": 1}
    assert keys(queue, "t:1", 20 * DAY_MS) == ["young"]


def test_at_the_bound_the_oldest_of_the_fullest_go(path: Path) -> None:
    queue = EventQueue(path, MemoryLog(), bytes_max=8 * 1024 * 1024, age_seconds_max=1e9)
    queue.put([item(f"small-{number}", "t:small", body=bytes(2000)) for number in range(100)], 0)
    for part in range(10):
        queue.put([item(f"{part}-{number}", "t:full", body=bytes(2000)) for number in range(1000)], part)
        queue.trim(part)
    assert queue.used_bytes() <= 8 * 1024 * 1024
    assert len(queue.due("t:small", 100, 200)) == 100
    state = queue.target("t:full")
    assert state is not None
    assert 2000 < state.waiting < 10_000
    assert queue.due("t:full", 100, 1)[0].item.key > "5"  # the oldest are gone
    newest = queue.due("t:full", 100, 100_000, 1 << 30)[-1]
    assert newest.item.key == "9-999"
    queue.close()
    assert path.stat().st_size < 12 * 1024 * 1024


def test_all_of_it_survives_a_restart(path: Path) -> None:
    queue = EventQueue(path, MemoryLog(), bytes_max=ROOMY, age_seconds_max=1e9)
    queue.accept(3, 9, [item("a", "t:1")], 0)
    queue.close()
    queue = EventQueue(path, MemoryLog(), bytes_max=ROOMY, age_seconds_max=1e9)
    assert queue.place(3) == 9
    assert keys(queue, "t:1") == ["a"]
    queue.close()


def test_personal_data_is_found_and_erased(queue: EventQueue) -> None:
    queue.put([item("a", "t:1", body=b'{"to":"Ann@x.example"}'), item("b", "t:1", body=b'{"to":"bob@x.example"}')], 0)
    assert [body for _, body in queue.export("ann@X.example")] == [b'{"to":"Ann@x.example"}']
    assert queue.erase("ann@x.example") == 1
    assert keys(queue, "t:1") == ["b"]
    assert queue.erase("ann@x.example") == 0


def test_a_closed_file_is_a_storage_error(queue: EventQueue) -> None:
    queue.close()
    with pytest.raises(StorageError):
        queue.place(1)
    with pytest.raises(StorageError):
        queue.put([item("a", "t:1")], 0)


def test_a_file_that_began_anew_in_other_hands_is_routed_from_the_beginning(tmp_path: Path) -> None:
    """The dispatcher meets the damage; the router, which knows where it was, must not go on there."""
    log, path = MemoryLog(), tmp_path / "queue.db"
    queue = EventQueue(path, log, bytes_max=1 << 40, age_seconds_max=1e9)
    queue.follow(1, 7, 100)
    queue.accept(1, 50, [item("a", "bus:a")], 1)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    with pytest.raises(StorageError):
        queue.targets()
    assert queue.targets() == []
    with pytest.raises(StorageError, match="anew"):
        queue.accept(1, 60, [item("b", "bus:a")], 1)
    assert queue.targets() == []
    queue.follow(1, 7, 100)
    assert queue.place(1) == 0
    queue.accept(1, 60, [item("b", "bus:a")], 1)
    assert [post.item.key for post in queue.due("bus:a", 10, 10)] == ["b"]
    queue.close()
