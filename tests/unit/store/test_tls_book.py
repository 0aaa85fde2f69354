"""The file of policies and counts: what is kept, what repeats change, what is bounded."""

import pytest

from relay.errors import StorageError
from relay.model.tls import KnownPolicy, StsMode, StsPolicy
from relay.policy.tls_report import Count
from relay.store import tls_book
from relay.store.tls_book import DueReport, TlsBook, TlsReader
from relay.testing.log import MemoryLog

POLICY = StsPolicy(StsMode.ENFORCE, ("mx.a.test", "*.b.test"), 1000)
DAY = 20_000


@pytest.fixture
def book(tmp_path):
    made = TlsBook(tmp_path, MemoryLog())
    yield made
    made.close()


def known(domain, *, fetched_ms=0, record_id="1", policy=POLICY):
    return KnownPolicy(domain, record_id, policy, fetched_ms, fetched_ms + policy.max_age_seconds * 1000)


def test_a_policy_is_kept_and_replaced(book, tmp_path):
    reader = TlsReader(tmp_path)
    assert book.policy("a.test") is reader.policy("a.test") is None
    book.put(known("a.test"))
    newer = known("a.test", fetched_ms=5, record_id="2", policy=StsPolicy(StsMode.NONE, (), 7))
    assert book.policy("a.test") == reader.policy("a.test") == known("a.test")
    book.put(newer)
    assert book.policy("a.test") == reader.policy("a.test") == newer
    book.looked("a.test", 6, "gone")
    assert reader.failure("a.test") == "gone"
    assert reader.policy("a.test") == newer
    reader.close()


def test_a_reader_needs_no_file(tmp_path):
    assert TlsReader(tmp_path).policy("a.test") is None
    assert TlsReader(tmp_path).counts(1, "a.test") == {}


def test_what_is_due(book):
    """Once a day, or at half of a shorter time; only what had mail lately."""
    day_ms = 86_400_000
    book.put(known("short.test", policy=StsPolicy(StsMode.ENFORCE, ("x.test",), 1000)))
    book.put(known("long.test", policy=StsPolicy(StsMode.ENFORCE, ("x.test",), 10_000_000)))

    def due(now_ms, used_since_ms=0):
        return [one.domain for one in book.due(now_ms, day_ms, used_since_ms, 10)]

    assert due(499_000) == []
    assert due(500_000) == ["short.test"]
    assert due(day_ms) == ["long.test", "short.test"]
    assert due(day_ms, used_since_ms=1) == []
    book.looked("long.test", day_ms)
    assert due(day_ms) == ["short.test"]
    book.drop_expired(1_000_000)
    assert book.policy("short.test") is None
    assert book.policy("long.test") is not None


def test_policies_are_bounded(book, monkeypatch):
    monkeypatch.setattr(tls_book, "POLICIES_MAX", 3)
    for number in range(5):
        book.put(known(f"{number}.test", fetched_ms=number))
        book.add("worker", f"{number}", {}, ["0.test"], now_ms=100 + number, domains_max=10)
    assert book.policy("0.test") is not None  # the one that is used stays
    assert [book.policy(f"{number}.test") is not None for number in range(1, 5)] == [False, False, True, True]


def test_a_batch_that_comes_again_adds_nothing(book):
    count = Count(DAY, "a.test", "sts", ("v",), ("mx",), "certificate-expired", "192.0.2.1", "mx", "192.0.2.2", "why")
    assert book.add("worker-0001", "x.1", {count: 2}, [], now_ms=0, domains_max=10)
    assert not book.add("worker-0001", "x.1", {count: 2}, [], now_ms=0, domains_max=10)
    assert book.add("worker-0002", "x.1", {count: 3}, [], now_ms=0, domains_max=10)
    assert book.add("worker-0001", "x.2", {count: 1}, [], now_ms=0, domains_max=10)
    assert book.counts(DAY, "a.test") == {count: 6}


def test_counts_are_bounded(book, monkeypatch):
    monkeypatch.setattr(tls_book, "KINDS_MAX", 2)
    counts = {Count(DAY, f"{domain}.test", "sts", result=f"{kind}"): 1 for domain in range(3) for kind in range(3)}
    book.add("worker", "1", counts, [], now_ms=0, domains_max=2)
    assert [len(book.counts(DAY, f"{domain}.test")) for domain in range(3)] == [2, 2, 0]


def test_the_life_of_a_report(book):
    for domain in ("a.test", "b.test", "c.test"):
        book.add("worker", domain, {Count(DAY, domain, "sts"): 1}, [], now_ms=0, domains_max=10)
    assert book.counted(DAY - 1, (0, ""), 10) == []
    assert book.counted(DAY, (0, ""), 2) == [(DAY, "a.test"), (DAY, "b.test")]
    assert book.counted(DAY, (DAY, "b.test"), 2) == [(DAY, "c.test")]
    book.plan(DAY, "a.test", ["mailto:x@a.test", "https://a.test/"], 5)
    book.plan(DAY, "b.test", [], 5)
    assert book.counted(DAY, (0, ""), 10) == [(DAY, "c.test")]
    assert book.counts(DAY, "b.test") == {}
    assert book.due_reports(4, 10) == []
    first, second = book.due_reports(5, 10)
    assert {first.rua, second.rua} == {"mailto:x@a.test", "https://a.test/"}
    book.later(first, 100)
    assert book.due_reports(5, 10) == [second]
    book.done(second)
    assert book.counts(DAY, "a.test")  # the other one needs them still
    assert book.due_reports(100, 10) == [DueReport(DAY, "a.test", first.rua, 1)]
    book.done(first)
    assert book.counts(DAY, "a.test") == {}
    book.drop_old(DAY + 1)
    assert book.counts(DAY, "c.test") == {}


def test_a_damaged_file_is_set_aside(tmp_path):
    path = tmp_path / tls_book.FILE
    path.parent.mkdir()
    path.write_bytes(b"junk" * 5000)
    with pytest.raises(StorageError):
        TlsReader(tmp_path).policy("a.test")
    book = TlsBook(tmp_path, MemoryLog())
    book.put(known("a.test"))
    assert book.policy("a.test") == known("a.test")
    book.close()
    assert path.with_name("tls.db.damaged").exists()
