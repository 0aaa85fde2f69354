"""The table of a check's life (IDENT-009 to 012, MFROM-006 and 007)."""

import pytest

from relay.model.check import HOLDING, TIMED, TRANSITIONS, Aspect, Check, CheckState, Step, after

LIVES = (
    ((Step.START, Step.FOUND), CheckState.SUCCESS),
    ((Step.START, Step.MISSING, Step.TIME_OVER), CheckState.FAILED),
    ((Step.START, Step.FOUND, Step.MISSING), CheckState.TEMPORARY_FAILURE),
    ((Step.START, Step.FOUND, Step.MISSING, Step.FOUND), CheckState.SUCCESS),
    ((Step.START, Step.FOUND, Step.MISSING, Step.MISSING, Step.TIME_OVER), CheckState.FAILED),
    ((Step.START, Step.TIME_OVER, Step.START), CheckState.PENDING),
    ((Step.START, Step.FOUND, Step.STOP), CheckState.NOT_STARTED),
)


@pytest.mark.parametrize(("steps", "expected"), LIVES)
def test_lives(steps, expected):
    state = CheckState.NOT_STARTED
    for step in steps:
        state = after(state, step)
        assert state is not None
    assert state is expected


def test_a_failed_check_sees_nothing_until_it_is_started_again():
    assert {step for step in Step if after(CheckState.FAILED, step)} == {Step.START, Step.STOP}


def test_every_state_has_a_row_and_only_those_with_an_end_are_timed():
    assert set(TRANSITIONS) == set(CheckState)
    assert {state for state, steps in TRANSITIONS.items() if Step.TIME_OVER in steps} == TIMED
    assert [state for state in CheckState if Check(Aspect.DKIM, state, 0).holds] == [
        state for state in CheckState if state in HOLDING
    ]
