"""How long an address stays on the list of the relay: 1, 2, 4, 8, then always 14 days (SUPP-003)."""

from relay.policy.stays import DAY_MS, REMEMBERED_MS, Stay, stay_after


def test_each_bounce_lengthens_the_stay_up_to_14_days():
    stay, at, days = None, 1000, []
    for _ in range(7):
        stay = stay_after(stay, at)
        days.append((stay.until_ms - at) // DAY_MS)
        assert stay.listed(stay.until_ms - 1)
        assert not stay.listed(stay.until_ms)
        at = stay.until_ms + 1
    assert days == [1, 2, 4, 8, 14, 14, 14]


def test_a_bounce_within_a_stay_counts_from_its_own_time():
    first = stay_after(None, 0)
    assert stay_after(first, DAY_MS // 2) == Stay(1, DAY_MS // 2, DAY_MS // 2 + 2 * DAY_MS)


def test_an_older_bounce_never_brings_the_end_nearer():
    first = stay_after(None, 10 * DAY_MS)
    assert stay_after(first, 0) == Stay(1, 10 * DAY_MS, 12 * DAY_MS)


def test_after_a_month_without_a_bounce_it_begins_anew():
    old = Stay(4, 0, 14 * DAY_MS)
    assert stay_after(old, old.until_ms + REMEMBERED_MS).step == 4
    assert stay_after(old, old.until_ms + REMEMBERED_MS + 1).step == 0
