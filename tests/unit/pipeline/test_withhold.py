"""The stage that holds mail under a standing hold."""

import pytest

from relay.errors import StorageError
from relay.pipeline.withhold import BATCH_MAX, Withhold
from relay.ports import Job
from relay.schedule.selection import Selection
from relay.schedule.standing import StandingHold, StandingHolds
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.unit.schedule.test_selection import delivery

HOLD = StandingHold(4, Selection(domains=("held.test",)))


class Stage:
    def __init__(self, holds=(HOLD,)):
        self.passed, self.finished, self.written, self.timers, self.calls = [], [], [], [], []
        self.stage = Withhold(
            onward=self,
            write=lambda keys, hold, held: self.written.append((keys, hold, held)),
            finished=self.finished.append,
            again=lambda: self.calls.append("again"),
            ends=lambda: self.calls.append("ends"),
            clock=ManualClock(),
            call_later=lambda seconds, call: self.timers.append(call),
            log=MemoryLog(),
        )
        self.stage.holds = StandingHolds(holds)

    def enqueue(self, job):
        self.passed.append(job)

    def withdraw(self, key):
        return True

    def give(self, *recipients):
        jobs = [Job(_numbered(delivery(name), n), "", lambda: None) for n, name in enumerate(recipients, 1)]
        for job in jobs:
            self.stage.enqueue(job)
        return jobs


def _numbered(one, number):
    from dataclasses import replace

    return replace(one, index=number)


def test_without_holds_everything_passes():
    stage = Stage(())
    jobs = stage.give("a@held.test", "b@free.test")
    assert stage.passed == jobs
    assert stage.timers == []


def test_what_is_under_a_hold_is_written_once_together_and_leaves_the_window():
    stage = Stage()
    one, two, three = stage.give("a@held.test", "b@free.test", "c@held.test")
    assert stage.passed == [two]
    assert not stage.stage.withdraw(one.delivery.key)
    assert stage.stage.withdraw(two.delivery.key)
    (timer,) = stage.timers
    timer()
    ((keys, hold, held),) = stage.written
    assert (keys, hold) == ([one.delivery.key, three.delivery.key], HOLD)
    held([one.delivery.key], None)
    assert stage.finished == [one.delivery.key]
    assert stage.passed == [two, three], "an operator let go of the third"
    assert stage.calls == ["ends"]
    assert stage.stage.withdraw(one.delivery.key)


def test_a_hold_that_cannot_be_written_is_tried_again_and_nothing_is_sent():
    stage = Stage()
    (one,) = stage.give("a@held.test")
    stage.timers[0]()
    stage.written[0][2](None, StorageError("full"))
    assert (stage.passed, stage.finished, stage.calls) == ([], [one.delivery.key], ["again"])


def test_many_do_not_wait_for_the_timer():
    stage = Stage()
    stage.give(*["a@held.test"] * BATCH_MAX)
    assert len(stage.written[0][0]) == BATCH_MAX
    stage.timers[0]()
    assert len(stage.written) == 1


@pytest.mark.parametrize("recipient", ["a@held.test", "a@free.test"])
def test_a_hold_that_is_over_holds_nothing(recipient):
    stage = Stage([StandingHold(4, HOLD.selection, until_ms=1)])
    stage.give(recipient)
    assert len(stage.passed) == 1
    assert not stage.stage.holds
