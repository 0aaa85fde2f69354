"""kill -9 at random instants under load: 0 acknowledged messages lost, few duplicates (FLOW-005)."""

import random

import pytest

from tests.crash.kills import run


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.req("FLOW-005")
def test_nothing_acknowledged_is_lost_by_25_kills():
    seed = random.randrange(1 << 30)
    acknowledged, lost, duplicates, allowed, counts = run(25, seed)
    assert acknowledged > 100, f"seed {seed}"
    assert lost == 0, f"seed {seed}"
    assert duplicates <= allowed, f"seed {seed}"
    assert counts["Delivery"] >= acknowledged, f"seed {seed}"
