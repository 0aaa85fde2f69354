"""Sends what waits in the queue: each target by a courier of its kind, at its own pace (DEST-011).

A target that is down delays no other and costs little: it *rests* (`relay.events.rests`). So a destination may be
down for days with a million posts waiting, and neither they nor memory are used up.

Turns are of a second, and half of them are for targets that did not fail lately: many that hang, or have much to
take, keep no other waiting. Within its turn a target is sent as many posts at a time as its courier allows, and a
slow one holds up no other.

A batch (`GatheringCourier`) is all or nothing for its target: what was not taken stays as it is while the target
rests. What is settled is noted after the other side has it: at least once.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from relay.errors import RelayError
from relay.events.rests import REST_MAX_SECONDS, Look, Rests
from relay.ports import Clock, Log, Metrics
from relay.ports.events import (
    Courier,
    GatheringCourier,
    Post,
    Sent,
    Settled,
    TargetState,
    Verdict,
    Waiting,
)

SERVED_MAX: Final = 64  # targets at a time
AILING_MAX: Final = 32  # of them that failed lately, so that consumers which hang leave room for the others
TURN_SECONDS: Final = 1.0  # then a target with more due takes its place behind the others that are due
BATCHES_MAX: Final = 2  # batches in memory at a time
BYTES_MAX: Final = 4 * 1024 * 1024  # of posts read at a time for a target
LOOK_SECONDS: Final = 10.0
TRIM_SECONDS: Final = 1.0
GATHER_SECONDS: Final = (
    0.002  # for more posts to end, so that they are settled together: a tenth of the CPU at full speed
)

AnyCourier = Courier | GatheringCourier


@dataclass(frozen=True, slots=True)
class _Try:
    """A post, by which courier it was tried, and what became of it."""

    courier: Courier
    post: Post
    sent: Sent


@dataclass(frozen=True, slots=True)
class _OnItsWay:
    """A post that is being sent; `again`: it was tried before."""

    task: "asyncio.Task[None]"
    again: bool


@dataclass(frozen=True, slots=True)
class _Turn:
    """When a turn ends, in seconds of the loop, and whether its target did well when it began."""

    ends: float
    well: bool


class Dispatcher:
    """Empties the queue. `couriers` by the kind of target they serve."""

    def __init__(
        self,
        queue: Waiting,
        couriers: Mapping[str, AnyCourier],
        clock: Clock,
        log: Log,
        metrics: Metrics,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._couriers = dict(couriers)
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._rests = Rests(jitter)
        self._next_ms: dict[str, int] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._tried: dict[str, asyncio.Queue[_Try | None]] = {}  # of those served; None: there may be more to send
        self._batches = asyncio.Semaphore(BATCHES_MAX)
        self._woken = asyncio.Event()
        self._to_look: set[str] = set()
        self._unknown: set[str] = set()
        self._told: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="events-queue")

    # --- from outside --------------------------------------------------------------------------------------------

    def wake(self, targets: Iterable[str]) -> None:
        """Look at targets that have something new; on the loop's thread."""
        self._to_look.update(targets)
        self._woken.set()

    def replace(self, couriers: Mapping[str, AnyCourier]) -> None:
        """Use other couriers from the next post on, and give every target a fresh chance."""
        self._couriers = dict(couriers)
        self._unknown.clear()
        self._rests.clear()
        self.wake(self._next_ms)

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_forever())
            group.create_task(self._trim_forever())
            group.create_task(self._serve_forever())

    async def settled(self) -> None:
        """Wait for what is on its way."""
        while self._serving:
            await asyncio.wait(list(self._serving.values()))

    async def end(self, seconds: float) -> None:
        """Let what is on its way end, within a time, and end the thread that reads and writes the queue."""
        if self._serving:
            await asyncio.wait(list(self._serving.values()), timeout=seconds)
        late = list(self._serving.values())
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        await asyncio.to_thread(self._thread.shutdown)

    async def run_once(self) -> None:
        """Look at all targets and send what is due now; for an orderly end, and for tests with a clock."""
        for state in await self._call(self._queue.targets):
            self._plan(state)
        while self._begin_due():
            await self.settled()

    # --- loops ---------------------------------------------------------------------------------------------------

    async def _look_forever(self) -> None:
        """Look at all targets now and then, and say how they are."""
        while True:
            try:
                states = await self._call(self._queue.targets)
            except RelayError as error:
                self._log.warning("events wait", error=str(error))
            else:
                for state in states:
                    self._plan(state)
                self._tell(states)
                self._woken.set()
            await asyncio.sleep(LOOK_SECONDS)

    async def _trim_forever(self) -> None:
        while True:
            await asyncio.sleep(TRIM_SECONDS)
            try:
                lost = await self._call(self._queue.trim, self._clock.now_ms())
            except RelayError as error:
                self._log.warning("the event queue could not be trimmed", error=str(error))
                continue
            for target, count in lost.items():
                self._metrics.count("relay_events_dropped_total", target, amount=count)
                self._log.error(
                    "events dropped: the event queue is full or they are too old", target=target, count=count
                )

    async def _serve_forever(self) -> None:
        while True:
            await self._look_at_woken()
            self._begin_due()
            await self._until_next()

    async def _look_at_woken(self) -> None:
        targets, self._to_look = self._to_look, set()
        try:
            for name in targets:
                state = await self._call(self._queue.target, name)
                if state is not None:
                    self._plan(state)
        except RelayError as error:  # the next look finds them
            self._log.warning("events wait", error=str(error))

    def _begin_due(self) -> bool:
        """Begin to serve the targets that are due; say whether there was one."""
        now = self._clock.now_ms()
        begun = False
        room, ailing_room = self._room()
        for target in [name for name, due in self._next_ms.items() if due <= now]:
            if target in self._serving:
                self._nudge(target)
                continue
            ailing = target in self._rests
            if not room or (ailing and not ailing_room):
                continue
            del self._next_ms[target]
            if self._courier(target) is not None:
                self._serving[target] = task = asyncio.create_task(self._serve(target))
                task.add_done_callback(partial(self._ended, target))
                begun = True
                room, ailing_room = room - 1, ailing_room - ailing
        return begun

    def _nudge(self, target: str) -> None:
        """Let who serves a target look for more, beside what is on its way."""
        tried = self._tried.get(target)
        if tried is not None:
            del self._next_ms[target]
            tried.put_nowait(None)

    def _room(self) -> tuple[int, int]:
        """Return how many more targets may be served, and how many of them may be such that failed lately."""
        room = SERVED_MAX - len(self._serving)
        return room, max(0, min(room, AILING_MAX - self._rests.count(self._serving)))

    def _may_go(self, target: str, room: int, ailing_room: int) -> bool:
        """Say whether more may be sent to a target when it is due; a batch looks by itself when it ended."""
        if target in self._serving:
            return target in self._tried
        return bool(ailing_room if target in self._rests else room)

    async def _until_next(self) -> None:
        """Wait until a target is due, one ended, or something new came."""
        room, ailing_room = self._room()
        waiting = [due for name, due in self._next_ms.items() if self._may_go(name, room, ailing_room)]
        seconds = max(0.0, (min(waiting) - self._clock.now_ms()) / 1000) if waiting else None
        if self._woken.is_set():
            seconds = 0
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    def _ended(self, target: str, task: "asyncio.Task[None]") -> None:
        self._serving.pop(target, None)
        self._woken.set()
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._log.error("a courier failed", target=target, error=error)
            self._next_ms[target] = self._clock.now_ms() + int(REST_MAX_SECONDS * 1000)

    # --- one target ----------------------------------------------------------------------------------------------

    def _courier(self, target: str) -> AnyCourier | None:
        kind = target.partition(":")[0]
        courier = self._couriers.get(kind)
        if courier is None and kind not in self._unknown:
            self._unknown.add(kind)
            self._log.warning("events wait for a kind of destination that is not served", kind=kind)
        return courier

    def _plan(self, state: TargetState) -> None:
        """Note when a target is to be served next."""
        due = self._due_ms(state)
        if due is None:
            self._next_ms.pop(state.name, None)
        else:
            self._next_ms[state.name] = due

    def _due_ms(self, state: TargetState) -> int | None:
        courier = self._couriers.get(state.name.partition(":")[0])
        return self._rests.due_ms(state, courier, self._clock.now_ms()) if courier is not None else None

    async def _serve(self, target: str) -> None:
        """Send what is due to a target, until nothing is or its turn ends; by the courier of now (`replace`).

        One that begins to fail ends its turn, so that from then on it counts as ailing.
        """
        turn = _Turn(asyncio.get_running_loop().time() + TURN_SECONDS, target not in self._rests)
        try:
            more = True
            while more and isinstance(courier := self._courier(target), GatheringCourier):
                if self._is_over(turn, target):
                    self._next_ms[target] = self._clock.now_ms()
                    return
                more = await self._serve_batch(target, courier)
            if more and courier is not None:
                await self._serve_posts(target, turn)
        except RelayError as error:
            self._log.warning("events wait", target=target, error=str(error))
            self._look_later(target)

    async def _serve_posts(self, target: str, turn: _Turn) -> None:
        """Keep as many posts on their way as the courier allows, until none is due: a slow one holds up no other."""
        under_way: dict[int, _OnItsWay] = {}
        tried = self._tried[target] = asyncio.Queue()
        held = over = False
        try:
            while True:
                courier = self._courier(target)
                over = over or self._is_over(turn, target)
                if courier is not None and not isinstance(courier, GatheringCourier) and not (held or over):
                    for post in await self._due_posts(target, courier, under_way):
                        task = asyncio.create_task(self._try(courier, post, tried))
                        under_way[post.item.id] = _OnItsWay(task, again=bool(post.attempts))
                if not under_way:
                    break
                ended = await _gathered(tried)
                for one in ended:
                    del under_way[one.post.item.id]
                held = await self._settle(target, ended) or held
        finally:
            del self._tried[target]
            for left in under_way.values():
                left.task.cancel()
            if under_way:
                await asyncio.wait([left.task for left in under_way.values()])
        if held:
            self._look_later(target)  # those held are still the first that are due
        elif over and target not in self._rests:
            self._next_ms[target] = self._clock.now_ms()
        else:
            await self._plan_again(target)

    async def _settle(self, target: str, tries: Sequence[_Try]) -> bool:
        """Note what became of posts; say whether the courier holds some."""
        now = self._clock.now_ms()
        results = [self._result(one, now) for one in tries if one.sent.verdict is not Verdict.HELD]
        if results:
            await self._call(self._queue.settle, results, now)
        if tries:
            self._note(target, [one.sent for one in tries], fresh=any(not one.post.attempts for one in tries))
        return len(results) < len(tries)

    def _look_later(self, target: str) -> None:
        self._next_ms[target] = self._clock.now_ms() + int(LOOK_SECONDS * 1000)

    def _is_over(self, turn: _Turn, target: str) -> bool:
        """Say whether a turn ends: its time is over, or a target that did well began to fail and is ailing now."""
        return asyncio.get_running_loop().time() >= turn.ends or (turn.well and target in self._rests)

    async def _try(self, courier: Courier, post: Post, tried: "asyncio.Queue[_Try | None]") -> None:
        tried.put_nowait(_Try(courier, post, await self._send(courier, post)))

    async def _send(self, courier: Courier, post: Post) -> Sent:
        """Try a post. A fault of ours is a try that failed, so that it neither repeats nor holds up the others."""
        try:
            return await courier.send(post)
        except RelayError as error:
            return Sent(Verdict.AGAIN, str(error))
        except Exception as error:  # noqa: BLE001 (one post that nobody foresaw must not stop all behind it)
            self._log.error("a courier failed", target=post.target, key=post.item.key, error=error)
            return Sent(Verdict.AGAIN, f"a fault of the relay: {type(error).__name__}")

    async def _due_posts(self, target: str, courier: Courier, under_way: "Mapping[int, _OnItsWay]") -> Sequence[Post]:
        """Return posts for which there is room beside those of the items that are on their way."""
        again = sum(one.again for one in under_way.values())
        now = self._clock.now_ms()
        found: list[Post] = []
        for look in self._rests.looks(target, courier, now, fresh=len(under_way) - again, again=again):
            if look.limit > len(found):
                found += await self._read(target, now, look, look.limit - len(found), under_way)
        return found

    async def _read(
        self, target: str, now_ms: int, look: Look, limit: int, besides: Collection[int]
    ) -> Sequence[Post]:
        others = tuple(besides)  # those on their way change while the thread reads
        read = partial(self._queue.due, tried_max=look.tried_max, fresh=look.fresh, besides=others)
        return tuple(await self._call(read, target, now_ms, limit, BYTES_MAX))

    async def _serve_batch(self, target: str, courier: GatheringCourier) -> bool:
        """Send one batch when it is full; say whether another may be."""
        state = await self._call(self._queue.target, target)
        now = self._clock.now_ms()
        due = self._due_ms(state) if state is not None else None
        if due is None or due > now:
            if due is not None:
                self._next_ms[target] = due
            return False
        gathering = courier.gathering(target)
        async with self._batches:
            posts = await self._call(lambda: self._queue.due(target, now, gathering.count, gathering.size_bytes))
            if not posts:  # the clock went back
                self._look_later(target)
                return False
            sent = await courier.send_batch(target, posts)
            now = self._clock.now_ms()
            results = [
                Settled(target, post.item.id, dead=answer.verdict is Verdict.REFUSED, error=answer.detail)
                for post, answer in zip(posts, sent, strict=True)
                if answer.verdict is not Verdict.AGAIN
            ]
            if results:
                await self._call(self._queue.settle, results, now)
        self._note(target, sent)
        return True

    async def _plan_again(self, target: str) -> None:
        state = await self._call(self._queue.target, target)
        if state is not None:
            self._plan(state)

    def _result(self, tried: _Try, now_ms: int) -> Settled:
        courier, post, sent = tried.courier, tried.post, tried.sent
        if sent.verdict is Verdict.DONE:
            return Settled(post.target, post.item.id)
        wait = courier.retry_seconds(post) if sent.verdict is Verdict.AGAIN else None
        if wait is None:
            self._metrics.count("relay_events_dead_total", post.target)
            self._log.warning(
                "an event is a dead letter now", target=post.target, key=post.item.key, reason=sent.detail
            )
            return Settled(post.target, post.item.id, dead=True, error=sent.detail)
        return Settled(post.target, post.item.id, due_ms=now_ms + int(wait * 1000), error=sent.detail)

    def _note(self, target: str, sent: Sequence[Sent], *, fresh: bool = True) -> None:
        """Count what became of posts, and let a target rest that keeps failing. `fresh`: one was new."""
        done = sum(answer.verdict is Verdict.DONE for answer in sent)
        again = [answer for answer in sent if answer.verdict is Verdict.AGAIN]
        if done:
            self._metrics.count("relay_events_published_total", target, amount=done)
            self._rests.worked(target)
        if not again:
            return
        self._metrics.count("relay_events_failures_total", target, amount=len(again))
        if done:
            return
        at_once = isinstance(self._courier(target), GatheringCourier)
        seconds = self._rests.failed(target, len(again), self._clock.now_ms(), fresh=fresh, at_once=at_once)
        if seconds is not None:
            self._log.warning("events wait", target=target, error=again[-1].detail, seconds=round(seconds, 1))

    # --- small things --------------------------------------------------------------------------------------------

    def _tell(self, states: Sequence[TargetState]) -> None:
        """Say how far each target is behind; what is gone is at zero."""
        now = self._clock.now_ms()
        gone = self._told - {state.name for state in states}
        for state in (*states, *(TargetState(name, 0, 0, 0, None, None, None) for name in gone)):
            lag = (now - state.oldest_ms) / 1000 if state.oldest_ms is not None else 0.0
            self._metrics.gauge("relay_events_lag_seconds", max(0.0, lag), state.name)
            self._metrics.gauge("relay_events_backlog", state.waiting, state.name)
            self._metrics.gauge("relay_events_dead_letters", state.dead, state.name)
        self._told = {state.name for state in states}

    async def _call(self, call: Callable[..., Any], *values: object) -> Any:
        """Run on the queue's thread; what has begun goes on when the caller is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, call, *values))


async def _gathered(tried: "asyncio.Queue[_Try | None]") -> Sequence[_Try]:
    """Wait for the end of a post, or for a nudge, and a moment longer; return what ended."""
    found = [await tried.get()]
    await asyncio.sleep(GATHER_SECONDS)
    while not tried.empty():
        found.append(tried.get_nowait())
    return [one for one in found if one is not None]
