"""When /healthz and /readyz turn red (P11: within 60 seconds)."""

import pytest

from relay.runtime.board import Phase, RowFacts
from relay.runtime.office_health import Health, unready

NOW = 10_000_000
WALL = 1_790_000_000_000


def _row(name="worker-0001", phase=Phase.READY, *, silent=0, starts=1, due=0, progress=0):
    """A row at NOW; `silent`, `due` and `progress` in seconds before it, due 0: nothing is due."""
    return RowFacts(
        name=name,
        pid=7,
        starts=starts,
        phase=phase,
        heartbeat_ms=NOW - silent * 1000,
        sessions=0,
        due_since_ms=WALL - due * 1000 if due else 0,
        progress_ms=NOW - progress * 1000,
    )


def _faults(health, row, seconds):
    """Look at a row frozen in time, so many seconds later."""
    return health.faults([row], NOW + seconds * 1000, WALL + seconds * 1000)


def test_a_process_that_answers_is_well():
    health = Health()
    assert _faults(health, _row(), 0) == []


@pytest.mark.parametrize("phase", [Phase.READY, Phase.DRAINING, Phase.ABSENT])
def test_silence_turns_red_within_a_minute(phase):
    health = Health()
    health.look([_row()], NOW)
    row = _row(phase=phase)
    assert _faults(health, row, 30) == []
    assert "worker-0001 has not answered for" in _faults(health, row, 60)[0]
    assert _faults(health, _row(silent=-61), 61) == []


def test_a_long_adoption_is_no_fault_but_a_start_that_never_ends_is():
    health = Health()
    health.look([_row()], NOW)
    starting = _row(phase=Phase.STARTING, starts=2)
    assert _faults(health, starting, 600) == []
    assert _faults(health, starting, 901)


def test_dying_again_and_again_turns_red():
    health = Health()
    health.look([_row()], NOW)
    assert _faults(health, _row(phase=Phase.STARTING, starts=9), 60)


@pytest.mark.parametrize(
    ("due", "progress", "red"),
    [
        (0, 999, False),  # nothing is due
        (60, 60, True),  # due for a minute and nothing moves
        (600, 5, False),  # a long queue that moves
        (30, 999, False),  # not for long yet
        (46, 46, True),
    ],
)
def test_a_stuck_queue(due, progress, red):
    faults = _faults(Health(), _row(due=due, progress=progress), 0)
    assert bool(faults) is red
    assert all("worker-0001 is stuck" in fault for fault in faults)


def test_ready_means_that_every_process_is():
    rows = [_row("permits"), _row("worker-0001")]
    assert unready(rows, NOW) == []
    assert unready([_row("permits", Phase.ABSENT), rows[1]], NOW) == ["permits is absent"]
    assert unready([rows[0], _row(phase=Phase.DRAINING)], NOW) == ["worker-0001 is draining"]
    assert unready([rows[0], _row(silent=20)], NOW) == ["worker-0001 does not answer"]
