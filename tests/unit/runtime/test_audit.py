"""The audit log: whole lines, private, bounded, written by several at a time."""

import json
import subprocess
import sys

import pytest

from relay.errors import StorageError
from relay.runtime import audit

A = "000000000001"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_has_who_what_and_when(tmp_path):
    audit.record(tmp_path, "account.create", A, {"sandbox": True, "contact": None, "odd": "a\nb\u2028"}, caller="me")
    (line,) = lines(tmp_path / "audit.jsonl")
    assert line.pop("time").endswith("Z")
    assert line == {
        "operation": "account.create",
        "account": A,
        "caller": "me",
        "parameters": {"sandbox": True, "odd": "a\nb\u2028"},
    }
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_full_files_are_renamed_and_the_oldest_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "SIZE_MAX_BYTES", 1)
    monkeypatch.setattr(audit, "KEPT", 2)
    for number in range(5):
        audit.record(tmp_path, "x", A, {"number": number})
    kept = {path.name: lines(path)[0]["parameters"]["number"] for path in tmp_path.iterdir()}
    assert kept == {"audit.jsonl": 4, "audit.jsonl.1": 3, "audit.jsonl.2": 2}


def test_several_writers_lose_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; from relay.runtime.audit import record\n"
        "for n in range(20): record(Path(sys.argv[1]), 'x', sys.argv[2], {'n': n})"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"{n:012d}"]) for n in range(3)]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    found = lines(tmp_path / "audit.jsonl")
    for number in range(3):
        own = [line["parameters"]["n"] for line in found if line["account"] == f"{number:012d}"]
        assert own == list(range(20))


def test_a_link_in_its_place_is_not_followed(tmp_path):
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="The change is made"):
        audit.record(tmp_path, "x", A, {})
    assert not (tmp_path / "elsewhere").exists()
