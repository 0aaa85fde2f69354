"""Streams as sources of analysis: which files they have, what is new in them, and where results may go."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from relay.errors import NotFoundError, UsageError
from relay.model.search import EventQuery
from relay.runtime.analysis_sources import Archive, SavedStream, Stream
from tests.unit.store.test_event_archive import event, opened


def lines(paths):
    found = []
    for path in paths:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found += [json.loads(line) for line in data.splitlines()]
    return found


@pytest.fixture
def scratch(tmp_path):
    directory = tmp_path / "scratch"
    directory.mkdir()
    return directory


def test_a_directory_has_its_finished_files(tmp_path, scratch):
    stream = tmp_path / "stream"
    hour = stream / "2026" / "11" / "26" / "02"
    hour.mkdir(parents=True)
    (stream / ".incoming").mkdir()
    (stream / ".incoming" / "part.jsonl").write_text('{"n": 0}\n')
    (hour / ".hidden.jsonl").write_text('{"n": 0}\n')
    (hour / "notes.txt").write_text("no stream")
    (hour / "a.jsonl").write_text('{"n": 1}\n')
    (hour / "b.jsonl.gz").write_bytes(gzip.compress(b'{"n": 2}\n'))
    source = Stream(stream)
    assert lines(source.all(scratch)) == [{"n": 1}, {"n": 2}]
    source.begin()
    assert source.new(scratch) == []
    (hour / "c.jsonl").write_text('{"n": 3}\n')
    (hour / "d.jsonl.gz").write_bytes(gzip.compress(b'{"n": 4}\n'))
    assert lines(source.new(scratch)) == [{"n": 3}, {"n": 4}]
    assert source.new(scratch) == []


def test_a_file_that_grows_gives_whole_lines(tmp_path, scratch):
    path = tmp_path / "events.jsonl"
    path.write_text('{"n": 1}\n')
    source = Stream(path)
    source.begin()
    with path.open("a") as stream:
        stream.write('{"n": 2}\n{"n": ')
    assert lines(source.new(scratch)) == [{"n": 2}]
    assert source.new(scratch) == []
    with path.open("a") as stream:
        stream.write("3}\n")
    assert lines(source.new(scratch)) == [{"n": 3}]
    path.write_text('{"n": 4}\n')  # rotated: it begins anew
    assert lines(source.new(scratch)) == [{"n": 4}]


def test_the_archive_gives_its_events_and_what_is_new(tmp_path, scratch):
    archive = opened(tmp_path / "archive")
    archive.apply(1, [event(1, 1), event(1, 2, "Bounce")])
    source = Archive(tmp_path / "archive", EventQuery())
    assert [one["eventType"] for one in lines(source.all(scratch))] == ["Send", "Bounce"]
    source.begin()
    assert source.new(scratch) == []
    archive.apply(1, [event(1, 3, "Delivery")])
    assert [one["eventType"] for one in lines(source.new(scratch))] == ["Delivery"]
    archive.close()


def test_a_stream_that_is_not_there(tmp_path):
    with pytest.raises(NotFoundError, match="no stream"):
        Stream(tmp_path / "none")


def test_results_are_lines_below_their_hour(tmp_path):
    saved = SavedStream(tmp_path / "out", [tmp_path / "in"])
    moment = datetime(2026, 11, 26, 2, 3, 4, tzinfo=UTC)
    assert saved.write([{"a": 1, "at": moment}], moment) == 1
    assert saved.write([], moment) == 0
    (path,) = (tmp_path / "out").rglob("*.*")
    assert path.parent == tmp_path / "out" / "2026" / "11" / "26" / "02"
    assert lines([path]) == [{"a": 1, "at": "2026-11-26T02:03:04+00:00"}]


@pytest.mark.req("ANALYT-008")
@pytest.mark.parametrize("target", ["in", "in/below", "."])
def test_results_do_not_go_where_they_come_from(tmp_path, target):
    with pytest.raises(UsageError, match="another"):
        SavedStream(tmp_path / target, [tmp_path / "in"])
