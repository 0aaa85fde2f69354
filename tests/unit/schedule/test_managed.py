"""How a managed pool grows and shrinks, by table (POOL-013)."""

import pytest

from relay.schedule.managed import HOUR_MS, ManagedRules, Volume, change

RULES = ManagedRules(address_a_day=1000)
START = 480_000 * HOUR_MS


def volume(*hours, deferred=0):
    """Return a volume that sent so much in each hour from the start on; `deferred` in the last one."""
    made, sent = Volume(START, 0, 0), 0
    for number, count in enumerate(hours):
        sent += count
        last = number == len(hours) - 1
        made.note(START + number * HOUR_MS, sent, deferred if last else 0)
    return made


@pytest.mark.req("POOL-013")
@pytest.mark.parametrize(
    ("have", "sent", "deferred", "wanted"),
    [
        (1, 0, 0, 0),
        (1, 800, 0, 0),
        (1, 801, 0, 1),
        (1, 4000, 0, 4),
        (3, 2400, 0, 0),
        (2, 150, 50, 1),  # receivers put off a quarter of it
        (2, 150, 30, 0),
        (2, 10, 10, 0),  # too little to say so
    ],
)
def test_growth(have, sent, deferred, wanted):
    assert change(have, volume(sent, deferred=deferred), RULES, START) == wanted


def test_it_shrinks_by_one_a_day_and_never_to_nothing():
    quiet = volume(10)
    assert change(3, quiet, RULES, START + 23 * HOUR_MS) == 0
    assert change(3, quiet, RULES, START + 24 * HOUR_MS) == -1
    quiet.shrunk_ms = START + 24 * HOUR_MS
    assert change(2, quiet, RULES, START + 30 * HOUR_MS) == 0
    assert change(2, quiet, RULES, START + 48 * HOUR_MS) == -1
    assert change(1, quiet, RULES, START + 99 * HOUR_MS) == 0
    assert change(2, volume(500), RULES, START + 48 * HOUR_MS) == 0  # half of what the one left would carry


def test_only_the_last_day_counts():
    assert volume(5000, *[0] * 23).day == 5000
    assert volume(5000, *[0] * 24).day == 0
