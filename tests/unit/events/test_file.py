"""The file destination: one object a line, synced, rotated, whole after a crash (F22, F23)."""

import asyncio
import os

import pytest

from relay.errors import ConfigurationError, TemporaryError
from relay.events.file import FileDestination
from relay.model.message import NewEvent


def events(*numbers):
    return [NewEvent(str(number), "Send", "m", b'{"n":%d}' % number) for number in numbers]


def publish(destination, *numbers):
    asyncio.run(destination.publish(events(*numbers)))


def numbers_in(path):
    return [int(line[5:-1]) for line in path.read_bytes().splitlines()]


def test_one_object_a_line_in_order(tmp_path):
    path = tmp_path / "made" / "events.jsonl"
    destination = FileDestination("all", path)
    publish(destination, 1, 2)
    publish(destination)
    publish(destination, 3)
    destination.close()
    assert path.read_bytes() == b'{"n":1}\n{"n":2}\n{"n":3}\n'


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"", b""),
        (b'{"n":1}\n', b'{"n":1}\n'),
        (b'{"n":1}\n{"n"', b'{"n":1}\n'),
        (b'{"n":1}', b""),
        (b'{"n":1}\n' + b"x" * 200_000, b'{"n":1}\n'),
    ],
)
def test_a_partial_last_line_is_cut_off(tmp_path, before, kept):
    path = tmp_path / "events.jsonl"
    path.write_bytes(before)
    destination = FileDestination("all", path)
    publish(destination, 2)
    destination.close()
    assert path.read_bytes() == kept + b'{"n":2}\n'


def test_rotation_keeps_every_line_under_one_name(tmp_path):
    path = tmp_path / "events.jsonl"
    destination = FileDestination("all", path, rotate_bytes=40, keep=3)
    for number in range(100, 120):
        publish(destination, number)
    destination.close()
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["events.jsonl", "events.jsonl.1", "events.jsonl.2", "events.jsonl.3"]
    kept = [number for name in reversed(names) for number in numbers_in(tmp_path / name)]
    assert kept == list(range(120 - len(kept), 120))
    assert all((tmp_path / name).stat().st_size <= 40 for name in names)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_crash_within_rotation_loses_nothing(tmp_path, monkeypatch, stop):
    path = tmp_path / "events.jsonl"
    destination = FileDestination("all", path, rotate_bytes=20, keep=5)
    publish(destination, 10, 11)
    publish(destination, 12, 13)
    publish(destination, 14, 15)
    calls = [0]
    real = type(path).replace

    def crash(self, target):
        calls[0] += 1
        if calls[0] == stop:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(type(path), "replace", crash)
    with pytest.raises(TemporaryError):
        publish(destination, 16, 17)
    monkeypatch.undo()
    publish(FileDestination("all", path, rotate_bytes=20, keep=5), 16, 17)
    kept = sorted(number for entry in tmp_path.iterdir() for number in numbers_in(entry))
    assert kept == list(range(10, 18))


def test_a_file_moved_by_another_program_is_made_anew(tmp_path):
    path = tmp_path / "events.jsonl"
    destination = FileDestination("all", path, rotate_bytes=0)
    publish(destination, 1)
    path.rename(tmp_path / "events.old")
    publish(destination, 2)
    path.unlink()
    publish(destination, 3)
    destination.close()
    assert numbers_in(tmp_path / "events.old") == [1]
    assert numbers_in(path) == [3]


def test_a_write_that_fails_half_way_is_cut_off_and_published_again(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    destination = FileDestination("all", path)
    publish(destination, 1)
    real = os.write
    calls = []

    def short(descriptor, data):
        if calls:
            raise OSError(28, "No space left on device")
        calls.append(1)
        return real(descriptor, data[:4])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(TemporaryError, match="No space left"):
        publish(destination, 2, 3)
    monkeypatch.undo()
    assert path.read_bytes() == b'{"n":1}\n'
    publish(destination, 2, 3)
    destination.close()
    assert numbers_in(path) == [1, 2, 3]


def test_a_failed_sync_is_not_taken_for_success(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    destination = FileDestination("all", path)
    publish(destination, 1)

    def broken(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(TemporaryError):
        publish(destination, 2)
    monkeypatch.undo()
    publish(destination, 2)
    destination.close()
    assert numbers_in(path) == [1, 2]


@pytest.mark.parametrize("kind", ["directory", "link", "pipe"])
def test_what_is_no_plain_file_is_refused(tmp_path, kind):
    path = tmp_path / "events.jsonl"
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)
    destination = FileDestination("all", path)
    with pytest.raises(ConfigurationError, match=r"events\.jsonl"):
        destination.check()
    with pytest.raises(TemporaryError):
        publish(destination, 1)
