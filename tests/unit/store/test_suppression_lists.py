"""Suppression lists as commands write them."""

import json
import tracemalloc

import pytest

from relay.store import suppression
from relay.store.suppression import Form, SuppressionLists

A, B = "000000000001", "000000000002"


@pytest.fixture
def lists(tmp_path):
    opened = SuppressionLists(tmp_path / "suppression.db", lambda: 1000)
    yield opened
    opened.close()


@pytest.mark.req("SUPP-018")
def test_add_get_remove_without_case(lists):
    assert lists.add(A, "Joe@Bücher.example").address == "Joe@xn--bcher-kva.example"
    lists.add(A, "JOE@xn--bcher-kva.example", "complaint")
    assert lists.count(A) == 1
    entry = lists.get(A, "joe@BÜCHER.example")
    assert (entry.address, entry.reason, entry.updated_ms) == ("JOE@xn--bcher-kva.example", "COMPLAINT", 1000)
    assert lists.get(B, "joe@bücher.example") is None
    lists.remove(A, "jOe@bücher.example")
    assert lists.count(A) == 0


@pytest.mark.req("SUPP-024", "SUPP-029")
@pytest.mark.parametrize("form", list(Form))
def test_an_export_is_what_an_import_reads(lists, form):
    lists.add(A, "a@x.example")
    lists.add(A, '"b,c"@x.example', "COMPLAINT")
    lists.add(A, '"d\\"e"@x.example')
    lists.add(A, "ü@x.example")
    lines = list(lists.export(A, form))
    assert all(line.endswith("\n") for line in lines)
    assert lists.import_lines(B, lines, form).processed == 4
    assert list(lists.export(B, form)) == lines
    report = lists.import_lines(B, lines, form, delete=True)
    assert (report.processed, report.changed, lists.count(B)) == (4, 4, 0)


@pytest.mark.req("SUPP-024")
def test_forms_to_the_letter(lists):
    lists.import_lines(A, ["a@x.example,BOUNCE\r\n", "b@x.example,COMPLAINT"], Form.CSV)
    assert list(lists.export(A, Form.CSV)) == ["a@x.example,BOUNCE\n", "b@x.example,COMPLAINT\n"]
    assert [json.loads(line) for line in lists.export(A, Form.JSON)] == [
        {"emailAddress": "a@x.example", "reason": "BOUNCE"},
        {"emailAddress": "b@x.example", "reason": "COMPLAINT"},
    ]
    lists.import_lines(A, ["a@x.example\n"], Form.CSV, delete=True)
    lists.import_lines(A, ['{"emailAddress": "B@X.example"}'], Form.JSON, delete=True)
    assert lists.count(A) == 0


def test_bad_lines_are_counted_and_good_ones_applied(lists):
    lines = [
        "\ufeffa@x.example,BOUNCE",
        "",
        "nonsense",
        "b@x.example",
        "c@x.example,SPITE",
        "d@x.example,BOUNCE,more",
        '"unclosed,BOUNCE',
        "x" * 5000,
        "e@x.example, bounce ",
        "A@X.example,COMPLAINT",
    ]
    report = lists.import_lines(A, lines, Form.CSV)
    assert (report.processed, report.failed) == (3, 6)
    assert [number for number, _ in report.failures] == [3, 4, 5, 6, 7, 8]
    assert {entry.address: entry.reason for entry in lists.entries(A)} == {
        "A@x.example": "COMPLAINT",
        "e@x.example": "BOUNCE",
    }


@pytest.mark.parametrize(
    "line", ["[]", "1", "{", '{"emailAddress": 1}', '{"emailAddress": "a@x.example", "reason": 1}']
)
def test_bad_json(lists, line):
    report = lists.import_lines(A, [line], Form.JSON)
    assert (report.processed, report.failed) == (0, 1)


def test_pages(lists):
    lists.import_lines(A, (f"u{n:04}@x.example,BOUNCE" for n in range(2500)), Form.CSV)
    page = lists.page(A, limit=10)
    assert [entry.address for entry in page.entries] == [f"u{n:04}@x.example" for n in range(10)]
    assert lists.page(A, after=page.after, limit=1).entries[0].address == "u0010@x.example"
    assert len(list(lists.entries(A))) == 2500
    assert lists.page(B).after == ""


def test_imports_take_little_memory_and_let_others_write(lists, tmp_path, monkeypatch):
    monkeypatch.setattr(suppression, "BATCH_SIZE", 2000)
    other = SuppressionLists(tmp_path / "suppression.db", lambda: 2000)
    seen = []
    tracemalloc.start()
    lines = (f"user{n}@example{n % 100}.com,BOUNCE\n" for n in range(50_000))
    report = lists.import_lines(
        A, lines, Form.CSV, progress=lambda done: seen.append((done, other.add(B, f"u{done}@x.example")))
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.processed, report.changed) == (50_000, 50_000)
    assert [done for done, _ in seen] == list(range(2000, 50_001, 2000))
    assert other.count(B) == 25
    assert peak < 8_000_000
    assert lists.import_lines(A, ["USER1@example1.com,BOUNCE"], Form.CSV).processed == 1
    assert lists.count(A) == 50_000
    other.close()
