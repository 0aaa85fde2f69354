"""The clock believes the wall clock only while it moves steadily."""

from relay.runtime.clock import HOLD_SECONDS, SteadyClock


class Hands:
    def __init__(self):
        self.wall = 1_000_000.0
        self.mono = 50.0

    def tick(self, seconds):
        self.wall += seconds
        self.mono += seconds


def make():
    hands = Hands()
    return hands, SteadyClock(lambda: hands.wall, lambda: hands.mono)


def test_follows_small_corrections_at_once():
    hands, clock = make()
    hands.wall += 5
    assert clock.now_ms() == 1_000_005_000


def test_a_day_back_and_ten_days_forward_are_not_believed_at_first():
    for jump in (-86_400, 864_000):
        hands, clock = make()
        hands.wall += jump
        assert clock.now_ms() == 1_000_000_000
        assert clock.jumped
        hands.tick(HOLD_SECONDS - 1)
        assert clock.now_ms() == int((1_000_000 + HOLD_SECONDS - 1) * 1000)
        hands.tick(1)
        assert clock.now_ms() == int((1_000_000 + jump + HOLD_SECONDS) * 1000)
        assert not clock.jumped
