"""First attempts go before retries, three to one, and neither kind fills a place alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.schedule.lanes import FIRSTS_A_RETRY, Lanes, admits, first_goes, share


@pytest.mark.parametrize(
    ("firsts", "retries", "since_retry", "first"),
    [
        (1, 0, 0, True),
        (1, 0, 1000, True),  # alone, no matter what went before
        (0, 1, 0, False),
        (0, 0, 0, False),
        (5, 100_000, 0, True),
        (5, 100_000, 1, True),
        (5, 100_000, 2, True),
        (5, 100_000, 3, False),
        (5, 1, 50, False),  # a retry that comes after many first attempts does not wait for three more
    ],
)
def test_who_goes_next(firsts, retries, since_retry, first):
    assert first_goes(firsts, retries, since_retry) is first


@pytest.mark.parametrize(("most", "expected"), [(1, 1), (2, 2), (3, 3), (4, 3), (8, 6), (1000, 750), (5000, 3750)])
def test_the_share_of_one_kind(most, expected):
    assert share(most) == expected


@pytest.mark.parametrize(
    ("own", "others", "most", "expected"),
    [
        (0, 0, 1, True),
        (1, 0, 1, False),
        (749, 0, 1000, True),
        (750, 0, 1000, False),
        (0, 750, 1000, True),
        (249, 750, 1000, True),
        (250, 750, 1000, False),
        (500, 500, 1000, False),
    ],
)
def test_room_for_one_more(own, others, most, expected):
    assert admits(own, others, most) is expected


def order(text):
    """Put firsts (f) and retries (r) into lanes and return the order in which they leave."""
    lanes = Lanes()
    for place, kind in enumerate(text):
        lanes.lane(first=kind == "f").append((kind, place))
    assert len(lanes) == len(text)
    return [lanes.take() for _ in text]


@pytest.mark.parametrize(
    ("waiting", "leaving"),
    [
        ("", ""),
        ("fff", "fff"),
        ("rrr", "rrr"),
        ("rrrrf", "frrrr"),
        ("rrrrffffffff", "fffrfffrffrr"),
        ("ffffffffr", "fffrfffff"),
    ],
)
def test_the_order_of_a_site(waiting, leaving):
    assert "".join(kind for kind, _ in order(waiting)) == leaving


@given(st.text(alphabet="fr", max_size=60))
def test_nobody_is_lost_overtaken_by_his_kind_or_starved(waiting):
    left = order(waiting)
    assert sorted(place for _, place in left) == list(range(len(waiting)))
    for kind in "fr":
        places = [place for one, place in left if one == kind]
        assert places == sorted(places)
    kinds = "".join(kind for kind, _ in left)
    assert "f" * (FIRSTS_A_RETRY + 1) not in kinds[: kinds.rfind("r") + 1]
    assert "rr" not in kinds[: kinds.rfind("f") + 1]


def test_nothing_waits():
    with pytest.raises(IndexError):
        Lanes().take()
