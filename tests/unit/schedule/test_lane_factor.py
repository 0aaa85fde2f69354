"""How a slowed lane is cut and comes back."""

from relay.schedule.lane_factor import FACTOR_MIN, IDLE_SECONDS, RISE_SECONDS, SPACING_SECONDS, LaneFactor


def test_a_cut_is_a_fraction_and_holds_for_its_time():
    factor = LaneFactor(0.0)
    assert factor.whole
    assert factor.cut(0.5, 60.0, 10.0)
    assert (factor.value, factor.until) == (0.5, 70.0)
    factor.delivered()
    assert not factor.rise(69.0)
    assert factor.value == 0.5


def test_answers_to_what_was_sent_before_the_cut_prolong_it_only():
    factor = LaneFactor(0.0)
    assert factor.cut(0.5, 60.0, 10.0)
    assert not factor.cut(0.5, 60.0, 10.0 + SPACING_SECONDS / 2)
    assert (factor.value, factor.until) == (0.5, 70.0 + SPACING_SECONDS / 2)
    assert factor.cut(0.5, 1.0, 10.0 + SPACING_SECONDS)
    assert factor.value == 0.25
    assert factor.until == 70.0 + SPACING_SECONDS / 2  # never shortened


def test_there_is_always_a_little_left():
    factor = LaneFactor(0.0)
    for number in range(1, 20):
        factor.cut(0.1, 1.0, number * SPACING_SECONDS)
    assert factor.value == FACTOR_MIN


def test_it_rises_in_steps_faster_while_mail_is_delivered():
    factor = LaneFactor(0.0)
    factor.cut(0.8, 10.0, 10.0)
    factor.delivered()
    assert not factor.rise(19.0)  # what was delivered before the end counts for nothing
    assert not factor.rise(20.0 + RISE_SECONDS - 1)
    assert not factor.rise(20.0 + RISE_SECONDS)
    factor.delivered()
    assert factor.rise(20.0 + RISE_SECONDS)
    assert factor.value == 0.9
    assert not factor.rise(20.0 + 2 * RISE_SECONDS)
    assert factor.rise(20.0 + RISE_SECONDS + IDLE_SECONDS)
    assert factor.whole
    assert not factor.rise(1e9)


def test_a_restart_takes_over_what_is_left_of_a_cut():
    now = 1000.0
    fresh, old, older = LaneFactor(now), LaneFactor(now), LaneFactor(now)
    fresh.restore(0.5, now + 30, now)
    assert not fresh.rise(now + 29)
    assert fresh.value == 0.5
    old.restore(0.5, now - 2 * IDLE_SECONDS, now)
    assert old.value == 0.7
    older.restore(0.5, now - 3600, now)
    assert older.whole
