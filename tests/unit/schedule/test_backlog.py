"""Mail that waits for room in a warm-up."""

from relay.schedule.backlog import TOLD_MS, Backlog

DAY_MS = 86_400_000


def test_what_waits_counts_until_its_time():
    backlog = Backlog()
    assert [backlog.note("new", 2000, 1000), backlog.note("new", 3000, 1000), backlog.note("other", 9, 1)] == [
        1,
        2,
        1,
    ]
    assert backlog.note("new", 5000, 2500) == 2
    assert backlog.total(2500) == 2
    assert backlog.total(6000) == 0


def test_more_than_a_lifetime_allows_is_told_once_in_a_while():
    backlog, now_ms = Backlog(), DAY_MS
    assert not backlog.overdue("new", 50, 100, DAY_MS // 2, now_ms)
    assert backlog.overdue("new", 51, 100, DAY_MS // 2, now_ms)
    assert not backlog.overdue("new", 51, 100, DAY_MS // 2, now_ms + 1)
    assert backlog.overdue("other", 1, 0, DAY_MS // 2, now_ms + 1)
    assert backlog.overdue("new", 51, 100, DAY_MS // 2, now_ms + TOLD_MS)
