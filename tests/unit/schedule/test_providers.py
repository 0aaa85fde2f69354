"""Which provider a name belongs to."""

import time

import pytest

from relay.schedule.providers import NameTable

TABLE = NameTable(
    [
        ("*.example.com", "wide"),
        ("*.mx.example.com", "closer"),
        ("one.mx.example.com", "exact"),
        ("mx*.example.com", "glob"),
        ("in?.*.example.org", "deep"),
        ("*.example.com", "second"),
    ]
)


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("a.example.com", "wide"),
        ("a.b.example.com", "wide"),
        ("a.mx.example.com", "closer"),
        ("one.mx.example.com", "exact"),
        ("two.one.mx.example.com", "closer"),
        ("mx1.example.com", "glob"),
        ("in1.west.example.org", "deep"),
        ("in12.west.example.org", None),
        ("example.com", None),
        ("badexample.com", None),
        ("example.com.evil.example", None),
        ("", None),
    ],
)
def test_table(name, provider):
    found = TABLE.find(name)
    assert (found[0] if found else None) == provider


def test_thousands_of_patterns_cost_no_more():
    table = NameTable([(f"*.p{number}.example", f"p{number}") for number in range(20_000)])
    started = time.process_time()
    for number in range(2000):
        assert table.find(f"mx.p{number}.example") == (f"p{number}", f"*.p{number}.example")
        assert table.find(f"mx.q{number}.example") is None
    assert time.process_time() - started < 1


def test_an_empty_table_says_so():
    assert not NameTable()
    assert TABLE
