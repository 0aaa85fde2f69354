"""What waits is sent at each target's own pace, however long another is down."""

import asyncio
import contextlib
import functools
from collections import Counter

import pytest

from relay.events import dispatcher as dispatching
from relay.events.dispatcher import Dispatcher
from relay.events.retry_policy import LOCAL
from relay.ports.events import DONE, Gathering, NewItem, Sent, Verdict
from relay.runtime.observe.metrics import ProcessMetrics
from relay.store.event_queue import EventQueue
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog

DAY = 86400.0
AGAIN = Sent(Verdict.AGAIN, "500")
MINUTE = Gathering(1000, 60.0, 100)


def played(play):
    """Run a test on a loop of its own."""

    @functools.wraps(play)
    def run(*given, **named):
        asyncio.run(play(*given, **named))

    return run


async def until(happened):
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(at):
    task = asyncio.create_task(at.dispatcher.run())
    await asyncio.sleep(0.02)
    yield
    task.cancel()
    await asyncio.wait([task])
    await at.dispatcher.settled()


class Endpoint:
    """A courier in memory; `answer` decides what becomes of a post."""

    kind = "bus"

    def __init__(self, answer=lambda post: DONE, waits=None, parallel=8, *, endless=False):
        self.answer = answer
        self.endless = endless
        self.waits = waits
        self.tries = Counter()
        self.taken = []
        self.most = self.now = 0
        self._parallel = parallel

    def parallel(self, target):
        return self._parallel

    def patient(self, target):
        return self.endless

    async def send(self, post):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        self.tries[post.target] += 1
        answer = self.answer(post)
        if answer is DONE:
            self.taken.append(post.item.key)
        return answer

    def retry_seconds(self, post):
        return 60.0 if self.waits is None else self.waits(post)


class Files:
    """A gathering courier in memory."""

    kind = "stream"

    def __init__(self, answer=lambda post: DONE, gathering=MINUTE):
        self.answer = answer
        self.batches = []
        self._gathering = gathering

    def gathering(self, target):
        return self._gathering

    async def send_batch(self, target, posts):
        sent = [self.answer(post) for post in posts]
        self.batches.append([post.item.key for post, one in zip(posts, sent, strict=True) if one is DONE])
        return sent


class Bench:
    def __init__(self, directory, *couriers, bytes_max=1 << 40):
        self.clock = ManualClock()
        self.log = MemoryLog()
        self.metrics = ProcessMetrics("test")
        self.queue = EventQueue(directory / "queue.db", self.log, bytes_max=bytes_max, age_seconds_max=14 * DAY)
        served = {courier.kind: courier for courier in couriers}
        self.dispatcher = Dispatcher(self.queue, served, self.clock, self.log, self.metrics, jitter=lambda: 0.5)

    def put(self, *keys, target="bus:a", body=b"{}"):
        self.queue.put([NewItem(key, "Send", body, (target,)) for key in keys], self.clock.now_ms())

    async def later(self, seconds=0.0):
        self.clock.advance(seconds)
        await self.dispatcher.run_once()

    def waiting(self, target="bus:a"):
        state = self.queue.target(target)
        return state.waiting if state else 0

    def close(self):
        asyncio.run(self.dispatcher.end(1))
        self.queue.close()


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(*couriers, **more):
        made.append(Bench(tmp_path, *couriers, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def keys(count, start=0):
    return [f"k{number}" for number in range(start, start + count)]


@played
async def test_posts_are_sent_a_few_at_a_time(bench):
    endpoint = Endpoint(parallel=3)
    at = bench(endpoint)
    at.put(*keys(10))
    await at.later()
    assert sorted(endpoint.taken) == sorted(keys(10))
    assert endpoint.most == 3
    assert at.waiting() == 0
    assert at.metrics.value("relay_events_published_total", "bus:a") == 10


@played
async def test_a_slow_post_holds_up_none_of_the_others(bench):
    class Slow(Endpoint):
        gate = asyncio.Event()

        async def send(self, post):
            if post.item.key == "k0":
                await self.gate.wait()
            return await super().send(post)

    endpoint = Slow(parallel=3)
    at = bench(endpoint)
    async with running(at):
        for key in keys(10):  # one by one: room is used also by what comes while the slow one is on its way
            at.put(key)
            at.dispatcher.wake(["bus:a"])
            await asyncio.sleep(0.005)
        await until(lambda: len(endpoint.taken) == 9 and at.waiting() == 1)
        endpoint.gate.set()
        await until(lambda: at.waiting() == 0)
    assert endpoint.taken[-1] == "k0"
    assert endpoint.tries["bus:a"] == 10
    assert endpoint.most <= 3


@played
async def test_what_was_on_its_way_when_a_rest_began_does_not_make_it_longer(bench):
    endpoint = Endpoint(lambda post: AGAIN, parallel=64)
    at = bench(endpoint)
    at.put(*keys(64))
    await at.later()
    assert endpoint.tries["bus:a"] == 64
    (seconds,) = [fields["seconds"] for _, text, fields in at.log.lines if text == "events wait"]
    assert seconds <= 1.2


@played
async def test_posts_that_are_held_use_up_no_try(bench):
    held = {"k1"}
    endpoint = Endpoint(lambda post: Sent(Verdict.HELD) if post.item.key in held else DONE)
    at = bench(endpoint)
    at.put(*keys(3))
    await at.later()
    assert sorted(endpoint.taken) == ["k0", "k2"]
    (post,) = at.queue.due("bus:a", at.clock.now_ms(), 10)
    assert (post.item.key, post.attempts) == ("k1", 0)
    held.clear()
    await at.later(dispatching.LOOK_SECONDS)
    assert at.waiting() == 0


@played
async def test_a_refused_post_is_a_dead_letter_and_a_failed_one_is_tried_again(bench):
    endpoint = Endpoint(lambda post: Sent(Verdict.REFUSED, "404") if post.item.key == "k0" else AGAIN)
    at = bench(endpoint)
    at.put("k0", "k1")
    await at.later()
    assert endpoint.tries["bus:a"] == 2
    assert [(each.post.item.key, each.post.error) for each in at.queue.dead_letters("", 0, 9)] == [("k0", "404")]
    await at.later(59)
    assert endpoint.tries["bus:a"] == 2
    endpoint.answer = lambda post: DONE
    await at.later(1)
    assert endpoint.taken == ["k1"]


@played
async def test_a_policy_that_ends_makes_a_dead_letter(bench):
    endpoint = Endpoint(lambda post: AGAIN, waits=lambda post: [0.0, 10.0, None][post.attempts])
    at = bench(endpoint)
    at.put("k0")
    await at.later()
    assert endpoint.tries["bus:a"] == 2
    await at.later(10)
    assert endpoint.tries["bus:a"] == 3
    assert (at.waiting(), len(at.queue.dead_ids("", 9))) == (0, 1)
    assert at.metrics.value("relay_events_dead_total", "bus:a") == 1


@pytest.mark.req("DEST-011")
@played
async def test_three_days_down_lose_nothing_and_cost_little(bench):
    endpoint = Endpoint(lambda post: AGAIN if post.target == "bus:down" else DONE, endless=True)
    at = bench(endpoint)
    at.put(*keys(2000), target="bus:down")
    at.put(*keys(100))
    for _ in range(72):
        await at.later(3600)
        at.put("fresh", target="bus:a")
        at.put("fresh", target="bus:down")
    assert len(endpoint.taken) == 100 + 71  # nobody else waited for it
    assert endpoint.tries["bus:down"] < 72 * 40  # not two thousand posts each time
    assert at.waiting("bus:down") == 2072
    assert at.queue.dead_ids("", 9) == []
    endpoint.answer = lambda post: DONE
    endpoint.taken.clear()
    await at.later(120)
    assert set(endpoint.taken) >= {*keys(2000), "fresh"}
    assert at.waiting("bus:down") == 0


@pytest.mark.req("DEST-011")
@played
async def test_consumers_that_hang_leave_room_for_others(bench, monkeypatch):
    monkeypatch.setattr(dispatching, "SERVED_MAX", 4)
    monkeypatch.setattr(dispatching, "AILING_MAX", 2)
    monkeypatch.setattr(dispatching, "TURN_SECONDS", 0.01)
    hanging, ends = [], asyncio.Event()

    class Hanging(Endpoint):
        async def send(self, post):
            if post.attempts < 3 or not post.target.startswith("bus:hang"):
                return await super().send(post)
            hanging.append(post.target)
            await ends.wait()
            return AGAIN

    endpoint = Hanging(lambda post: AGAIN if post.target.startswith("bus:hang") else DONE, waits=lambda post: 0.0)
    at = bench(endpoint)
    for number in range(20):
        at.put(*keys(3), target=f"bus:hang{number}")
    async with running(at):
        await until(lambda: len(set(hanging)) == 2)  # of twenty
        for number in range(5):
            at.put(*keys(3), target=f"bus:well{number}")
        at.dispatcher.wake([f"bus:well{number}" for number in range(5)])
        await until(lambda: len(endpoint.taken) == 15)
        assert len(set(hanging)) == 2
        ends.set()
        await until(lambda: len(set(hanging)) == 20)
    assert sum(at.waiting(f"bus:hang{number}") for number in range(20)) == 60


@pytest.mark.req("DEST-011")
@played
async def test_busy_targets_take_turns(bench, monkeypatch):
    monkeypatch.setattr(dispatching, "SERVED_MAX", 2)
    monkeypatch.setattr(dispatching, "TURN_SECONDS", 0.01)
    endpoint = Endpoint(parallel=1)
    at = bench(endpoint)
    for number in range(3):
        at.put(*keys(400), target=f"bus:{number}")
    at.put("k0", target="bus:last")
    async with running(at):
        await until(lambda: endpoint.tries["bus:last"])
        assert sum(endpoint.tries.values()) < 1000  # not when the others had all of theirs
        await until(lambda: len(endpoint.taken) == 1201)


def endless_seconds(post):
    return LOCAL.wait_ms(post.attempts + 1, 0.5) / 1000


@pytest.mark.req("DEST-011", "DEST-010")
@played
@pytest.mark.parametrize("endless", [True, False])
@pytest.mark.parametrize("poisoned", [1, 3, 8, 100])
async def test_posts_that_are_never_taken_are_in_nobodys_way(bench, endless, poisoned):
    endpoint = Endpoint(
        lambda post: AGAIN if post.item.key.startswith("poison") else DONE, waits=endless_seconds, endless=endless
    )
    at = bench(endpoint)
    at.put(*[f"poison{number}" for number in range(poisoned)])
    for _ in range(poisoned + 5):  # each was tried at the end of a rest
        await at.later(61)
    at.put(*keys(200))
    for _ in range(90):  # a rest is a minute at most
        await at.later(1)
    assert len(endpoint.taken) == 200
    assert at.waiting() == poisoned
    at.put("new")
    for _ in range(5):
        await at.later(1)
    assert "new" in endpoint.taken  # nor do they bring long rests about later


@pytest.mark.req("DEST-010")
@played
async def test_a_bus_that_is_down_is_asked_once_a_minute_however_long(bench):
    endpoint = Endpoint(lambda post: AGAIN, waits=endless_seconds, endless=True)
    at = bench(endpoint)
    at.put(*keys(500))
    for _ in range(360):
        await at.later(10)
    before = endpoint.tries["bus:a"]
    assert before < 100
    for _ in range(360):
        await at.later(10)
    assert endpoint.tries["bus:a"] - before <= 60
    endpoint.answer = lambda post: DONE
    for _ in range(10):  # a rest, and the last wait of those that failed
        await at.later(10)
    assert at.waiting() == 0
    assert len(endpoint.taken) == 500


@played
async def test_a_rest_lets_one_fresh_post_out_at_a_time(bench):
    endpoint = Endpoint(lambda post: AGAIN, waits=lambda post: 10_000.0)
    at = bench(endpoint)
    at.put(*keys(50))
    await at.later()
    assert endpoint.tries["bus:a"] == 8  # the first ones at once
    for seconds, tries in ((0.5, 8), (0.5, 9), (1, 9), (1, 10), (4, 11), (8, 12)):
        await at.later(seconds)
        assert endpoint.tries["bus:a"] == tries
    endpoint.answer = lambda post: DONE
    await at.later(60)
    assert len(endpoint.taken) == 50 - 12
    await at.later(10_000)
    assert len(endpoint.taken) == 50


@played
async def test_a_batch_goes_when_it_is_full_or_old(bench):
    files = Files()
    at = bench(files)
    at.put(*keys(3), target="stream:a")
    await at.later(59)
    assert files.batches == []
    await at.later(1)
    assert files.batches == [keys(3)]
    at.put(*keys(100), target="stream:a")
    await at.later()
    assert files.batches[1:] == [keys(100)]
    at.put("large", target="stream:a", body=bytes(2000))
    await at.later()
    assert files.batches[2:] == [["large"]]
    assert at.waiting("stream:a") == 0


@played
async def test_a_batch_that_fails_stays_as_it_is(bench):
    files = Files(lambda post: AGAIN)
    at = bench(files)
    at.put(*keys(3), target="stream:a")
    for _ in range(100):
        await at.later(60)
    assert len(files.batches) == 100
    (first, *_) = at.queue.due("stream:a", at.clock.now_ms(), 9)
    assert (first.attempts, at.waiting("stream:a")) == (0, 3)
    files.answer = lambda post: DONE if post.item.key != "k1" else Sent(Verdict.REFUSED, "too large")
    await at.later(72)
    assert files.batches[-1] == ["k0", "k2"]
    assert [each.post.item.key for each in at.queue.dead_letters("", 0, 9)] == ["k1"]


@played
async def test_it_runs_by_itself_and_wakes_when_something_comes(bench, monkeypatch):
    monkeypatch.setattr(dispatching, "LOOK_SECONDS", 3600.0)
    endpoint = Endpoint()
    at = bench(endpoint)
    async with running(at):
        at.put("k0")
        at.dispatcher.wake(["bus:a"])
        await until(lambda: endpoint.taken == ["k0"])


@played
async def test_what_is_over_the_bound_is_counted_and_logged(bench, monkeypatch):
    monkeypatch.setattr(dispatching, "TRIM_SECONDS", 0.01)
    at = bench(Endpoint(lambda post: AGAIN), bytes_max=1 << 20)
    at.put(*keys(2000), body=bytes(2000))
    async with running(at):
        await until(lambda: at.metrics.value("relay_events_dropped_total", "bus:a"))
    assert at.queue.used_bytes() <= 1 << 20
    assert any("dropped" in line for line in at.log.events("error"))


@played
async def test_a_kind_that_is_not_served_waits(bench):
    at = bench(Endpoint())
    at.put("k0", target="other:x")
    await at.later()
    assert at.waiting("other:x") == 1
    at.dispatcher.replace({"other": Endpoint()})
    await at.later()
    assert at.waiting("other:x") == 0


@played
async def test_a_fault_of_ours_holds_up_only_its_target(bench):
    def answer(post):
        if post.target == "bus:broken":
            raise ZeroDivisionError
        return DONE

    endpoint = Endpoint(answer)
    at = bench(endpoint)
    at.put("k0", target="bus:broken")
    at.put("k1")
    await at.later()
    assert endpoint.taken == ["k1"]
    assert at.waiting("bus:broken") == 1
    assert "a courier failed" in at.log.events("error")


@played
async def test_a_post_that_nobody_foresaw_takes_its_own_way_only(bench):
    def fault(post):
        if post.item.key == "k1":
            raise ValueError("nobody foresaw")
        return DONE

    endpoint = Endpoint(fault, waits=lambda post: 10.0 if post.attempts == 0 else None)
    at = bench(endpoint)
    at.put(*keys(4))
    await at.later()
    assert sorted(endpoint.taken) == ["k0", "k2", "k3"]
    await at.later(10)
    assert at.waiting() == 0
    assert sorted(endpoint.taken) == ["k0", "k2", "k3"]
    assert [each.post.item.key for each in at.queue.dead_letters("", 0, 9)] == ["k1"]


@played
async def test_other_couriers_take_over_with_the_next_post(bench):
    after = Endpoint()

    def answer(post):
        at.dispatcher.replace({"bus": after})
        return DONE

    before = Endpoint(answer, parallel=2)
    at = bench(before)
    at.put(*keys(6))
    await at.later()
    assert (before.taken, sorted(after.taken)) == (keys(2), keys(4, 2))


@played
async def test_how_far_each_target_is_behind_is_told(bench, monkeypatch):
    monkeypatch.setattr(dispatching, "LOOK_SECONDS", 0.01)
    endpoint = Endpoint(lambda post: AGAIN)
    at = bench(endpoint)
    at.put("k0", "k1")
    at.clock.advance(100)
    async with running(at):
        await until(lambda: at.metrics.value("relay_events_backlog", "bus:a") == 2)
        assert at.metrics.value("relay_events_lag_seconds", "bus:a") == 100
        endpoint.answer = lambda post: DONE
        at.clock.advance(100)
        await until(lambda: at.metrics.value("relay_events_backlog", "bus:a") == 0)
    assert at.metrics.value("relay_events_lag_seconds", "bus:a") == 0
