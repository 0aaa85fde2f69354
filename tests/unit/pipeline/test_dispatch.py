"""The ready window: bounds, and room for new mail while a great many retries are due."""

import asyncio
from dataclasses import replace

import pytest

from relay.pipeline.dispatch import Dispatch, WindowLimits
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from relay.testing.spool import MemorySpool
from tests.unit.store.shard import NOW_MS, new_message

LIMITS = WindowLimits(window_max=40, domain_max=8)


class Outbound:
    """Keeps what it is given."""

    def __init__(self):
        self.jobs = []

    def enqueue(self, job):
        self.jobs.append(job)

    def withdraw(self, key):
        before = len(self.jobs)
        self.jobs = [job for job in self.jobs if job.delivery.key != key]
        return len(self.jobs) < before

    def kinds(self):
        return "".join("r" if job.delivery.attempts else "f" for job in self.jobs)


class Place:
    """A dispatch over a spool in memory, with timers that a test fires in their order."""

    def __init__(self, limits=LIMITS):
        self.spool, self.outbound, self.clock = MemorySpool(), Outbound(), ManualClock()
        self.timers = []
        self.dispatch = Dispatch(
            spool=self.spool,
            outbound=self.outbound,
            return_path=lambda _delivery: "",
            clock=self.clock,
            call_later=lambda seconds, call: self.timers.append((self.clock.monotonic() + seconds, call)),
            log=MemoryLog(),
            limits=limits,
        )

    def message(self, domain, attempts=0):
        """Write a message with one delivery, due now; retries were due before any new mail."""
        new = new_message(self.spool, domain=domain)
        due_ms = NOW_MS - 1000 if attempts else NOW_MS
        new = replace(new, deliveries=[replace(new.deliveries[0], attempts=attempts, next_ms=due_ms)])

        async def write():
            self.spool.append(new, lambda _error: None)

        asyncio.run(write())
        return new

    def run(self, seconds):
        """Let time pass, firing timers as they come due."""
        end = self.clock.monotonic() + seconds
        while due := [timer for timer in self.timers if timer[0] <= end]:
            timer = min(due, key=lambda one: one[0])
            self.timers.remove(timer)
            self.clock.advance(max(0.0, timer[0] - self.clock.monotonic()))
            timer[1]()
        self.clock.advance(max(0.0, end - self.clock.monotonic()))

    def deliver(self, count):
        """Finish the first deliveries in the window, as a settled verdict does."""
        jobs, self.outbound.jobs = self.outbound.jobs[:count], self.outbound.jobs[count:]
        for job in jobs:
            del self.spool.deliveries[job.delivery.key]
            self.dispatch.finished(job.delivery.key)
        return jobs


@pytest.fixture
def place():
    return Place()


def test_new_mail_finds_room_beside_retries_of_its_domain(place):
    for _ in range(100):
        place.message("slow.example", attempts=1)
    place.dispatch.start()
    assert place.outbound.kinds() == "r" * 6
    new = [place.message("slow.example") for _ in range(3)]
    for one in new:
        place.dispatch.accepted(one)
    assert place.outbound.kinds() == "rrrrrrff"  # the third one is left in the index: the domain has eight
    place.outbound.jobs.reverse()
    place.deliver(1)
    place.run(1.5)
    assert place.outbound.kinds().count("f") == 2
    assert new[2].deliveries[0].key in {job.delivery.key for job in place.outbound.jobs}


def test_retries_find_room_beside_new_mail_of_their_domain(place):
    for _ in range(100):
        place.dispatch.accepted(place.message("busy.example"))
    assert place.outbound.kinds() == "f" * 6
    for _ in range(5):
        place.message("busy.example", attempts=1)
    place.dispatch.start()
    assert place.outbound.kinds() == "ffffffrr"


def test_a_window_full_of_retries_keeps_a_quarter_for_new_mail(place):
    for number in range(400):
        place.message(f"d{number % 50}.example", attempts=1)
    place.dispatch.start()
    assert place.outbound.kinds() == "r" * 30
    for number in range(20):
        place.dispatch.accepted(place.message(f"new{number}.example"))
    assert place.outbound.kinds() == "r" * 30 + "f" * 10
    assert len(place.dispatch) == 40


def test_everything_is_attempted_once_whatever_the_mixture(place):
    for number in range(150):
        place.message(f"d{number % 4}.example", attempts=number % 3)
    place.dispatch.start()
    seen = []
    for round_number in range(200):
        if round_number < 60:
            place.dispatch.accepted(place.message(f"d{round_number % 4}.example"))
        seen += place.deliver(3)
        place.run(1.1)
    keys = [job.delivery.key for job in seen]
    assert len(keys) == len(set(keys)) == 210
    assert len(place.dispatch) == 0
    assert not place.spool.deliveries


def test_the_index_is_left_alone_while_nothing_in_it_could_be_taken(place, monkeypatch):
    """A window with its part of retries does not read the rest of them again and again."""
    for number in range(4000):
        place.message(f"d{number}.example", attempts=1)
    reads = []
    due = MemorySpool.due
    monkeypatch.setattr(MemorySpool, "due", lambda spool, *values: reads.append(values) or due(spool, *values))
    place.dispatch.start()
    place.run(2)  # the first pass looks for first attempts that an earlier run left
    first_pass = len(reads)
    assert first_pass == 4000 // 500 + 1
    place.run(10)
    assert len(reads) == first_pass
    place.dispatch.accepted(place.message("new.example"))
    assert len(reads) == first_pass
    place.deliver(5)
    place.run(2)
    assert len(reads) > first_pass


def test_what_an_operator_withdraws_leaves_its_place(place):
    news = [place.message("a.example") for _ in range(8)]
    for new in news:
        place.dispatch.accepted(new)
    assert place.outbound.kinds() == "f" * 6
    assert place.dispatch.withdraw(news[0].deliveries[0].key)
    place.run(2)
    assert place.outbound.kinds() == "f" * 6


def test_a_scan_between_a_commit_and_its_callback_does_not_deliver_twice(place):
    new = place.message("y.example")
    place.dispatch.start()  # sees what is committed
    place.dispatch.accepted(new)  # and only then the acceptance is told
    assert len(place.outbound.jobs) == 1
