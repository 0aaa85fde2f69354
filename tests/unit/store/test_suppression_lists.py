"""Suppression lists as commands write them."""

import pytest

from relay.errors import NotFoundError, UsageError
from relay.store import suppression
from relay.store.suppression import Filter, SuppressionLists
from relay.store.suppression_file import SuppressionFile

A, B = "000000000001", "000000000002"


class Clock:
    now_ms = 1000

    def __call__(self):
        return self.now_ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path, clock):
    opened = SuppressionFile(tmp_path / "suppression.db", clock)
    yield opened
    opened.close()


@pytest.fixture
def lists(file):
    return SuppressionLists(file, "relay.example")


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


def filled(lists, count):
    for number in range(count):
        lists.add(A, f"u{number:04}@x.example", "COMPLAINT" if number % 10 == 0 else "BOUNCE")


def test_pages(lists):
    filled(lists, 25)
    page = lists.page(A, limit=10)
    assert [entry.address for entry in page.entries] == [f"u{n:04}@x.example" for n in range(10)]
    assert lists.page(A, after=page.after, limit=1).entries[0].address == "u0010@x.example"
    assert len(list(lists.entries(A))) == 25
    assert [entry.address for entry in lists.entries(A, after="u0022@x.example")] == [
        "u0023@x.example",
        "u0024@x.example",
    ]
    assert lists.page(B).after == ""


def test_a_filter_looks_at_a_bounded_number_of_entries_for_a_page(lists, clock, monkeypatch):
    monkeypatch.setattr(suppression, "ROWS_LOOKED_AT", 7)
    filled(lists, 25)
    clock.now_ms = 5000
    lists.add(A, "u0003@x.example")
    complaints = Filter("COMPLAINT")
    assert [e.address[:5] for e in lists.entries(A, complaints)] == ["u0000", "u0010", "u0020"]
    page = lists.page(A, chosen=complaints)
    assert ([e.address[:5] for e in page.entries], page.after) == (["u0000"], "u0006@x.example")
    assert [e.address[:5] for e in lists.entries(A, Filter(since_ms=1001))] == ["u0003"]
    assert len(list(lists.entries(A, Filter(until_ms=1000)))) == 24


def test_the_simulator_is_never_listed(lists):
    for address in ("bounce@simulator.relay.example", "bounce+x@Simulator.AmazonSES.com"):
        with pytest.raises(UsageError, match="simulator"):
            lists.add(A, address)
    assert lists.count(A) == 0


def test_what_is_not_there_cannot_be_removed(lists):
    with pytest.raises(NotFoundError):
        lists.remove(A, "a@x.example")


def test_a_list_is_emptied_in_small_steps(lists, monkeypatch):
    monkeypatch.setattr(suppression, "REMOVED_TOGETHER", 10)
    filled(lists, 25)
    lists.add(B, "u0001@x.example")
    assert lists.remove_all(A) == 25
    assert (lists.count(A), lists.count(B), lists.remove_all(A)) == (0, 1, 0)


def test_an_address_is_found_and_erased_everywhere(lists):
    lists.add(A, "Joe@x.example")
    lists.add(B, "joe@X.example", "COMPLAINT")
    lists.add(B, "jo@x.example")
    found = lists.export("JOE@x.example")
    assert [(one["account"], one["emailAddress"], one["reason"]) for one in found] == [
        (A, "Joe@x.example", "BOUNCE"),
        (B, "joe@x.example", "COMPLAINT"),
    ]
    assert lists.erase("joe@x.example") == 2
    assert (lists.export("joe@x.example"), lists.count(B), lists.erase("joe@x.example")) == ([], 1, 0)
