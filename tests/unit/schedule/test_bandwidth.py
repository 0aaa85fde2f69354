"""Large messages of an account share a bandwidth (QUOTA-008)."""

import pytest

from relay.schedule.bandwidth import LargeMail

MB = 1024 * 1024


@pytest.mark.req("QUOTA-008")
def test_one_of_40_mb_or_two_of_20_mb_a_second():
    line = LargeMail()
    assert [line.wait_seconds("a", 40 * MB, 0.0) for _ in range(3)] == [0.0, 1.0, 2.0]
    assert [line.wait_seconds("b", 20 * MB, 0.0) for _ in range(3)] == [0.0, 0.5, 1.0]


def test_small_messages_never_wait_and_reserve_nothing():
    line = LargeMail()
    assert line.wait_seconds("a", 40 * MB, 0.0) == 0.0
    assert line.wait_seconds("a", 10 * MB, 0.0) == 0.0
    assert line.wait_seconds("a", 11 * MB, 5.0) == 0.0


def test_a_wait_over_a_minute_is_refused_and_reserves_nothing():
    line = LargeMail(share=0.01)
    assert line.wait_seconds("a", 40 * MB, 0.0) == 0.0
    assert line.wait_seconds("a", 40 * MB, 0.0) is None
    assert line.wait_seconds("a", 40 * MB, 41.0) == pytest.approx(59.0)


def test_accounts_are_forgotten_when_their_turn_is_over():
    line = LargeMail()
    for number in range(5000):
        line.wait_seconds(str(number), 40 * MB, float(number))
    assert len(line._free_at) <= 1000
