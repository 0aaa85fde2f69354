"""A query reads the files it is given and nothing else, within its limits, and cannot change anything."""

import gzip
import json
import sys

import pytest

from relay.errors import ConfigurationError, TemporaryError, UsageError
from relay.store.analysis import SHOWN, Analysis
from tests.unit.store.test_event_archive import event


@pytest.fixture
def files(tmp_path):
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(event(1, 1).payload + b"\n" + event(1, 2, "Bounce").payload + b"\n")
    packed.write_bytes(gzip.compress(event(1, 3, "Delivery").payload + b'\n{"cut": '))
    return [plain, packed]


def opened(tmp_path, files, *, memory_bytes=256 << 20, seconds_max=30.0):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return Analysis(files, scratch, memory_bytes=memory_bytes, threads=1, seconds_max=seconds_max)


def rows(analysis, sql):
    return [tuple(row) for row in analysis.query(sql)[1]]


@pytest.mark.req("ANALYT-002", "ANALYT-003")
def test_plain_and_packed_files_are_one_table(tmp_path, files):
    with opened(tmp_path, files) as analysis:
        found = rows(analysis, "select event_type from ses order by 1")
        names, _ = analysis.query("select * from ses")
    assert found == [("Bounce",), ("Delivery",), ("Send",)]
    assert names == [
        "message_id",
        "event_type",
        "sending_account_id",
        "timestamp",
        "destination",
        "configuration_set",
        "campaign",
    ]


@pytest.mark.req("ANALYT-007")
def test_names_need_no_quotes_and_every_table_is_there(tmp_path, files):
    with opened(tmp_path, files) as analysis:
        sql = "select ses_timestamp, ses_to, ses_configuration_set from events where eventType = 'Send'"
        assert rows(analysis, sql)[0][2] == "news"
        for table in SHOWN:
            analysis.query(f"select * from {table}")


def test_no_file_is_no_row(tmp_path):
    with opened(tmp_path, []) as analysis:
        assert rows(analysis, "select count(*) from ses") == [(0,)]


REFUSED = [
    "drop view ses",
    "create table x (a int)",
    "copy ses to '/tmp/x'",
    "attach '/tmp/x'",
    "install httpfs",
    "set threads = 8",
    "select 1; select 2",
    "",
    "pragma version",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_does_not_read_is_refused(tmp_path, files, sql):
    with opened(tmp_path, files) as analysis, pytest.raises(UsageError, match="one statement that reads"):
        analysis.query(sql)


def test_what_is_explained_reads_too(tmp_path, files):
    before = files[0].read_bytes()
    copy = f"COPY (SELECT 1) TO '{files[0].resolve()}' (FORMAT csv, USE_TMP_FILE false)"
    with opened(tmp_path, files) as analysis:
        for words in (
            "EXPLAIN ANALYZE",
            "explain analyze",
            "EXPLAIN",
            "EXPLAIN (ANALYZE)",
            "EXPLAIN ANALYZE/**/",
            "/**/EXPLAIN/**/ANALYZE",
        ):
            with pytest.raises(UsageError):
                analysis.query(f"{words} {copy}")
        for words in ("EXPLAIN", "EXPLAIN ANALYZE", "\nexplain\tanalyze\n"):
            assert rows(analysis, f"{words} SELECT * FROM ses")
    assert files[0].read_bytes() == before


@pytest.mark.parametrize("path", ["/etc/passwd", "https://example.org/x.csv", "s3://bucket/x.csv"])
def test_nothing_else_is_read(tmp_path, files, path):
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"eventType": "Send"}))
    with opened(tmp_path, files) as analysis:
        for where in (path, str(other)):
            with pytest.raises(UsageError, match="failed"):
                rows(analysis, f"select * from read_csv('{where}')")


def test_time_and_memory_end(tmp_path, files):
    with opened(tmp_path, files, seconds_max=0.2) as analysis, pytest.raises(TemporaryError, match="longer than"):
        rows(analysis, "select count(*) from range(100000000000) a, range(100) b where a.range % 7 = b.range")
    with opened(tmp_path, files, memory_bytes=64 << 20) as analysis, pytest.raises(TemporaryError, match="memory"):
        rows(analysis, "select list(range) from range(200000000)")


def test_without_duckdb_it_says_what_to_install(tmp_path, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ConfigurationError, match=r"relay-mta\[analysis\]"):
        opened(tmp_path, files)
