"""Effects in force: for whom, until when, and how many."""

import pytest

from relay.model.lane import Lane
from relay.schedule.effects import EffectKind, Standing
from relay.schedule.standings import Standings, scope_of

LANE = Lane("192.0.2.1", "gmail")


def put(standings, kind, until_ms=1000, lane=LANE, account="a", configuration_set="s"):
    return standings.put(scope_of(kind, lane, account, configuration_set), Standing(kind, until_ms, "r", "421 no"))


@pytest.mark.parametrize(
    ("kind", "lane", "account", "configuration_set", "kept_back"),
    [
        (EffectKind.PAUSE, LANE, "b", "", True),
        (EffectKind.PAUSE, Lane("192.0.2.2", "gmail"), "a", "s", False),
        (EffectKind.PAUSE, Lane("192.0.2.1", "yahoo"), "a", "s", False),
        (EffectKind.SWITCH, LANE, "b", "", True),
        (EffectKind.SWITCH, Lane("192.0.2.2", "gmail"), "a", "s", False),
        (EffectKind.SUSPEND_ACCOUNT, Lane("192.0.2.2", "gmail"), "a", "other", True),
        (EffectKind.SUSPEND_ACCOUNT, LANE, "b", "s", False),
        (EffectKind.SUSPEND_ACCOUNT, Lane("192.0.2.1", "yahoo"), "a", "s", False),
        (EffectKind.SUSPEND_SET, Lane("192.0.2.2", "gmail"), "a", "s", True),
        (EffectKind.SUSPEND_SET, LANE, "a", "other", False),
        (EffectKind.SUSPEND_SET, LANE, "b", "s", False),
        (EffectKind.SLOW, LANE, "a", "s", False),
    ],
)
def test_who_is_kept_back(kind, lane, account, configuration_set, kept_back):
    standings = Standings()
    put(standings, kind)
    found = standings.find(lane, account, configuration_set, 999)
    assert (found is not None) == kept_back
    assert standings.find(lane, account, configuration_set, 1000) is None


def test_the_one_that_ends_last_counts_and_is_not_shortened():
    standings = Standings()
    put(standings, EffectKind.PAUSE, 2000)
    put(standings, EffectKind.PAUSE, 1000)
    put(standings, EffectKind.SUSPEND_ACCOUNT, 3000)
    assert len(standings) == 2
    assert standings.find(LANE, "a", "s", 0).until_ms == 3000
    assert standings.find(LANE, "b", "s", 0).until_ms == 2000


def test_effects_end_and_their_number_is_bounded():
    standings = Standings(most=3)
    for number in (5, 4, 1, 3, 2):
        put(standings, EffectKind.PAUSE, number * 1000, Lane("", f"d{number}"))
    assert sorted(scope.destination for scope, _ in standings) == ["d3", "d4", "d5"]
    assert [scope.destination for scope in standings.expire(4000)] == ["d4", "d3"]
    assert standings.remove(scope_of(EffectKind.PAUSE, Lane("", "d5"), "", ""))
    assert not standings.remove(scope_of(EffectKind.PAUSE, Lane("", "d5"), "", ""))
    assert len(standings) == 0
