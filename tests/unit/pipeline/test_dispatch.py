"""The ready window: bounds, and room for new mail while a great many retries are due."""

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest

from relay.errors import TemporaryError
from relay.model.message import SendOptions
from relay.pipeline.dispatch import Dispatch
from relay.pipeline.ready_window import WindowLimits
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

    def message(self, domain, attempts=0, account="000000000001", **options):
        """Write a message with one delivery, due now; retries were due before any new mail."""
        new = new_message(self.spool, domain=domain, account=account, options=SendOptions(**options))
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
    place.run(1)
    retries = len(place.outbound.jobs)
    assert place.outbound.kinds() == "r" * retries
    assert 25 <= retries <= 30
    for number in range(20):
        place.dispatch.accepted(place.message(f"new{number}.example"))
    firsts = place.outbound.kinds().count("f")
    assert firsts >= 8
    for number in range(20):
        place.dispatch.accepted(place.message(f"new{number}.example", account="000000000002"))
    assert place.outbound.kinds().count("f") > firsts  # the share of an account is not all of it
    assert len(place.dispatch) < 40


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
    for number in range(1500):
        place.message(f"d{number}.example", attempts=1)
    reads = []
    queued = MemorySpool.queued
    monkeypatch.setattr(MemorySpool, "queued", lambda spool, keys: reads.append(len(keys)) or queued(spool, keys))
    place.dispatch.start()
    place.run(2)
    assert sum(reads) < 50
    place.run(10)
    assert sum(reads) < 50 + 50 * 10 // 5  # a strand is looked at anew every five seconds
    before = sum(reads)
    place.dispatch.accepted(place.message("new.example"))
    assert sum(reads) == before
    place.deliver(5)
    place.run(1)
    assert sum(reads) > before


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


# --- fair shares ---

A, B = "000000000001", "000000000002"


def accounts(jobs):
    return Counter(job.delivery.message.account for job in jobs)


def test_a_queue_of_one_account_does_not_delay_anothers_mail(place):
    for number in range(600):
        place.message(f"d{number}.example", account=A)
    for number in range(20):
        place.message(f"d{number}.example", account=B)
    place.dispatch.start()
    place.run(1)
    seen = Counter()
    for _ in range(12):
        seen += accounts(place.deliver(10))
        place.run(0.3)
    assert seen[B] == 20
    assert seen[A] == 100


def test_mail_of_another_account_finds_room_at_once_when_one_fills_the_window(place):
    for number in range(500):
        place.dispatch.accepted(place.message(f"d{number}.example", account=A))
    held = len(place.outbound.jobs)
    assert held < 40
    place.dispatch.accepted(place.message("d1.example", account=B))
    assert place.outbound.jobs[held].delivery.message.account == B


def test_mail_of_one_account_for_a_domain_does_not_keep_anothers_out(place):
    for _ in range(100):
        place.dispatch.accepted(place.message("large.example", account=A))
    assert len(place.outbound.jobs) == 6
    place.dispatch.accepted(place.message("large.example", account=B))
    assert accounts(place.outbound.jobs) == {A: 6, B: 1}


def test_accounts_hold_the_window_by_weight():
    place = Place(WindowLimits(window_max=400, domain_max=400))
    for number in range(600):
        place.message(f"d{number}.example", account=A, weight=10)
    for number in range(1500):
        place.message(f"d{number}.example", account=B, weight=40)
    place.dispatch.start()
    chance = random.Random(1)
    seen = Counter()
    for _ in range(60):
        place.run(0.3)
        chance.shuffle(place.outbound.jobs)
        seen += accounts(place.deliver(20))
    held = accounts(place.outbound.jobs)
    assert held[B] / held[A] == pytest.approx(4, rel=0.35)
    assert seen[B] > 2 * seen[A]


def test_bulk_leaves_room_for_transactional_mail_of_the_same_account():
    place = Place(WindowLimits(window_max=400, domain_max=100))
    for number in range(1000):
        place.message(f"d{number}.example", bulk=True)
    place.dispatch.start()
    place.run(1)
    bulk = len(place.outbound.jobs)
    assert 150 < bulk < 300
    for number in range(3):
        place.dispatch.accepted(place.message(f"t{number}.example"))
    assert [job.delivery.domain for job in place.outbound.jobs[bulk:]] == ["t0.example", "t1.example", "t2.example"]


def test_one_configuration_set_leaves_room_for_another(place):
    for number in range(500):
        place.message(f"d{number}.example", configuration_set="news")
    place.dispatch.start()
    place.run(1)
    held = len(place.outbound.jobs)
    place.dispatch.accepted(place.message("t.example", configuration_set="shop"))
    assert len(place.outbound.jobs) == held + 1


def test_what_waits_for_a_slow_domain_is_out_of_others_way(place):
    """Older mail for a domain that takes nothing delays no other mail of its own sender, and is read once."""
    for _ in range(1000):
        place.message("tarpit.example")
    for number in range(30):
        place.message(f"good{number}.example")
    place.dispatch.start()
    good = set()
    for _ in range(30):
        place.run(0.3)
        place.outbound.jobs.sort(key=lambda job: job.delivery.domain == "tarpit.example")
        fast = sum(job.delivery.domain != "tarpit.example" for job in place.outbound.jobs)
        good.update(job.delivery.domain for job in place.deliver(fast))
    assert len(good) == 30
    assert {job.delivery.domain for job in place.outbound.jobs} == {"tarpit.example"}
    assert len(place.outbound.jobs) == 6
    assert len(place.spool.moved) >= 900
    delivered = 0
    while place.outbound.jobs and delivered < 1000:  # the domain takes mail again
        delivered += len(place.deliver(6))
        place.run(1.0)
    assert delivered == 1000
    assert not place.spool.deliveries


@pytest.mark.parametrize("domains", [3, 10, 20])
def test_however_many_domains_are_slow_there_is_room_for_the_next(domains):
    place = Place(WindowLimits(window_max=200, domain_max=100))
    for number in range(domains * 50):
        place.message(f"tarpit{number % domains}.example")
    for number in range(5):
        place.message(f"good{number}.example")
    place.dispatch.start()
    seen = set()
    for _ in range(60):
        place.run(1)
        place.outbound.jobs.sort(key=lambda job: job.delivery.domain.startswith("tarpit"))
        seen.update(
            job.delivery.domain
            for job in place.deliver(sum(job.delivery.domain.startswith("good") for job in place.outbound.jobs))
        )
        if len(seen) == 5:
            break
    assert len(seen) == 5


@pytest.mark.parametrize("bulk", [False, True])
def test_new_mail_to_another_domain_passes_when_a_hundred_slow_ones_fill_the_share(bulk):
    place = Place(WindowLimits(window_max=2000, domain_max=400))
    for number in range(100 * 30):
        place.dispatch.accepted(place.message(f"tarpit{number // 30}.example", account=A, bulk=bulk))
    held = len(place.outbound.jobs)
    assert held < 1500
    for number in range(10):
        place.dispatch.accepted(place.message(f"good{number}.example", account=A, bulk=bulk))
    assert [job.delivery.domain for job in place.outbound.jobs[held:]] == [f"good{n}.example" for n in range(10)]
    place.dispatch.accepted(place.message("good1.example", account=A, bulk=bulk))
    assert len(place.outbound.jobs) == held + 10  # one for each domain
    for number in range(50):
        place.dispatch.accepted(place.message(f"d{number}.example", account=B))
    assert accounts(place.outbound.jobs)[B] == 50  # and nobody else's room
    while place.outbound.jobs or place.spool.deliveries:  # everything has its turn, once
        seen = place.deliver(100)
        assert seen
        place.run(6)


def test_a_stream_of_new_mail_does_not_keep_older_mail_on_disk(place):
    old = [place.message(f"old{number}.example") for number in range(200)]
    place.dispatch.start()
    seen = set()
    for round_number in range(400):
        for number in range(8):  # more than leaves
            place.dispatch.accepted(place.message(f"new{round_number}-{number}.example"))
        seen.update(job.delivery.key for job in place.deliver(5))
        place.run(0.3)
    assert {new.deliveries[0].key for new in old} <= seen


def test_a_delivery_that_is_due_later_is_found_when_its_time_comes(place):
    new = place.message("later.example", attempts=1)
    key = new.deliveries[0].key
    place.spool.deliveries[key] = replace(place.spool.deliveries[key], next_ms=NOW_MS + 3000)
    place.dispatch.start()
    place.run(2.5)
    assert place.outbound.jobs == []
    place.run(1)
    assert len(place.outbound.jobs) == 1


def test_hundreds_of_accounts_each_get_their_mail_out(place):
    for number in range(350):
        place.message("d.example", account=f"{number:012d}")
    place.dispatch.start()
    seen = set()
    for _ in range(400):
        seen.update(job.delivery.message.account for job in place.deliver(4))
        place.run(0.3)
    assert len(seen) == 350


def test_a_queue_that_cannot_be_read_now_is_read_later(place, monkeypatch):
    place.message("a.example")
    strands, faults = MemorySpool.strands, [TemporaryError("the disk does not answer")]

    def faulty(spool, *values):
        if faults:
            raise faults.pop()
        return strands(spool, *values)

    monkeypatch.setattr(MemorySpool, "strands", faulty)
    place.dispatch.start()
    assert place.outbound.jobs == []
    place.run(6)
    assert len(place.outbound.jobs) == 1
