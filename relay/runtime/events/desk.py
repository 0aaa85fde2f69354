"""What waits for destinations, as a service of the events process: routing into the queue, sending out of it.

The desk is what both halves share: the open queue, and the way to wake who sends when something was routed. Routing
is an applier, and runs on its thread; sending runs on the loop. The queue is closed last.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

from relay.errors import NotFoundError, TemporaryError
from relay.events.counting import MetricsApplier
from relay.events.dispatcher import Dispatcher
from relay.events.router import BUS, STREAM, Router
from relay.model.facts import facts_of
from relay.ports import Applier, Json
from relay.ports.events import DeadLetter, NewItem, TargetState
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.events.couriers import Couriers, make_couriers
from relay.runtime.events.publishing import archived_events
from relay.runtime.events.topics import TopicService
from relay.runtime.office_jobs import end_tasks
from relay.runtime.privacy_places import ERASE_IN_ITEMS, REMOVE_ITEMS
from relay.runtime.rpc import number, text
from relay.store import event_counts, event_queue
from relay.store.event_counts import EventCounts
from relay.store.event_destinations import EventDestinationView
from relay.store.event_queue import EventQueue

POST_AGAIN: Final = "events.post_again"
PAGE_MAX: Final = 200
AT_ONCE_MAX: Final = 1000
BODY_MAX_BYTES: Final = 300_000  # of a page: escaped it still fits a line of 1 MiB
_LAST_POSTS_SECONDS: Final = 3.0


class Desk:
    """The open queue of this process, and who is woken."""

    def __init__(self) -> None:
        self.clock = SteadyClock()
        self.queue: EventQueue | None = None
        self._dispatcher: Dispatcher | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._topics: TopicService | None = None

    def topics(self, context: ChildContext) -> TopicService:
        """Return the topics of this process, made at the first call."""
        if self._topics is None:
            self._topics = TopicService(context, DeskOutgoing(self))
        return self._topics

    def router(self, context: ChildContext) -> Applier:
        """Return the applier that routes events into the queue."""

        def open_queue() -> EventQueue:
            bounds = context.config.event_queue
            self.queue = EventQueue(
                context.config.data_dir / event_queue.FILE,
                context.log,
                bytes_max=bounds.size_max,
                age_seconds_max=bounds.age_max,
            )
            return self.queue

        view, records = EventDestinationView(context.config.data_dir), self.topics(context).records
        return Router(open_queue, view, self.clock, self._routed, records)

    def put(self, items: Sequence[NewItem], once: str = "") -> None:
        """Keep items that come from no event, synced on return; from any thread. Raise StorageError."""
        if self.queue is None:
            raise TemporaryError("the event queue is not open")
        self.queue.put(items, self.clock.now_ms(), once)
        self._routed(frozenset(target for item in items for target in item.targets))

    def attend(self, dispatcher: Dispatcher) -> None:
        """Wake a dispatcher on this loop from now on."""
        self._dispatcher = dispatcher
        self._loop = asyncio.get_running_loop()

    def _routed(self, targets: frozenset[str]) -> None:
        """Tell who sends; what is routed before it begins is found by its first look."""
        if self._loop is not None and self._dispatcher is not None:
            with contextlib.suppress(RuntimeError):  # the loop ends; the next start finds what was routed
                self._loop.call_soon_threadsafe(self._dispatcher.wake, targets)


class DeskOutgoing:
    """The queue, asked from the loop without stopping it (`relay.runtime.events.topics.Outgoing`)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def put(self, items: Sequence[NewItem], once: str = "") -> None:
        """Keep items, synced on return; nothing under a name that was used before."""
        await asyncio.to_thread(self._desk.put, items, once)

    async def targets(self) -> Sequence[str]:
        """Return the names of all targets."""
        if self._desk.queue is None:
            return ()
        return [state.name for state in await asyncio.to_thread(self._desk.queue.targets)]

    async def drop(self, target: str) -> None:
        """Drop all that waits for a target that is no more."""
        if self._desk.queue is not None:
            await asyncio.to_thread(self._desk.queue.drop_target, target)


def metrics_applier(context: ChildContext) -> Applier:
    """Return the applier that counts events for metrics."""
    data_dir = context.config.data_dir

    def open_counts() -> EventCounts:
        series_max = context.config.event_metrics.series_max
        return EventCounts(data_dir / event_counts.FILE, context.log, series_max=series_max)

    return MetricsApplier(open_counts, EventDestinationView(data_dir))


class PostService:
    """Sends what waits, and answers commands about it."""

    def __init__(self, context: ChildContext, desk: Desk) -> None:
        self._context = context
        self._desk = desk
        self._couriers = Couriers({})
        self._dispatcher: Dispatcher | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to send. Raise ConfigurationError."""
        context = self._context
        self._couriers = self._make(context.config)
        self._dispatcher = Dispatcher(
            self._queue, self._couriers.by_kind, self._desk.clock, context.log, context.metrics
        )
        context.ops.add("events.targets", self._targets)
        context.ops.add("events.dead_letters", self._dead_letters)
        context.ops.add("events.replay", self._replay)
        context.ops.add(POST_AGAIN, self._post_again)
        context.ops.add("events.delete_dead", self._delete_dead)
        context.ops.add(ERASE_IN_ITEMS, self._erase)
        context.ops.add(REMOVE_ITEMS, self._remove_account)
        self._desk.attend(self._dispatcher)
        self._running = asyncio.create_task(self._dispatcher.run())

    async def reload(self, config: Config) -> None:
        """Take on other streams, buses and bounds. Raise ConfigurationError, and go on as before."""
        assert self._dispatcher is not None
        made = self._make(config)
        before, self._couriers = self._couriers, made
        self._dispatcher.replace(made.by_kind)
        self._queue.bound(bytes_max=config.event_queue.size_max, age_seconds_max=config.event_queue.age_max)
        await before.close()

    async def close(self) -> None:
        """Let posts on their way end, within a few seconds, and close everything."""
        if self._running is not None:
            await end_tasks([self._running])
        if self._dispatcher is not None:
            await self._dispatcher.end(_LAST_POSTS_SECONDS)
        await self._couriers.close()
        await self._desk.topics(self._context).release()
        self._queue.close()

    def check(self) -> None:
        """Raise when sending has ended by itself."""
        if self._running is not None and self._running.done():
            self._running.result()
            raise RuntimeError("sending events ended")

    def _make(self, config: Config) -> Couriers:
        made = make_couriers(self._context, config, self._desk.clock)
        courier = self._desk.topics(self._context).courier
        made.by_kind[courier.kind] = courier
        return made

    @property
    def _queue(self) -> EventQueue:
        if self._desk.queue is None:
            raise TemporaryError("the event queue is not open")
        return self._desk.queue

    # --- commands ------------------------------------------------------------------------------------------------

    async def _targets(self, _request: Json) -> Json:
        states = await asyncio.to_thread(self._queue.targets)
        now = self._desk.clock.now_ms()
        return {"targets": [_state(state, now) for state in states]}

    async def _dead_letters(self, request: Json) -> Json:
        target, after = text(request, "target", ""), number(request, "after", 0)
        limit = number(request, "limit", PAGE_MAX, least=1, most=PAGE_MAX)
        found = await asyncio.to_thread(self._queue.dead_letters, target, after, limit)
        shown = _page(found)
        return {"items": [_letter(one) for one in shown], "next": shown[-1].id if shown else None}

    async def _replay(self, request: Json) -> Json:
        ids = await self._ids(request)
        targets = await asyncio.to_thread(self._queue.replay, ids, self._desk.clock.now_ms())
        if self._dispatcher is not None:
            self._dispatcher.wake(targets)
        return {"count": len(ids)}

    async def _post_again(self, request: Json) -> Json:
        """Let events of the archive wait once more for a stream, a bus, a topic or one subscription."""
        target, events = text(request, "target"), archived_events(request)
        config, (kind, _, name) = self._context.config, target.partition(":")
        known = {STREAM: [one.name for one in config.streams], BUS: [one.name for one in config.buses]}
        if kind in known:
            if name not in known[kind]:
                raise NotFoundError(f"There is no {kind} {name}.")
            items = [NewItem(one.event_id, one.kind, one.payload, (target,), facts_of(one).account) for one in events]
        else:
            items = self._desk.topics(self._context).again(target, events)
        if items:
            await asyncio.to_thread(self._desk.put, items)
        return {"published": len(items)}

    async def _delete_dead(self, request: Json) -> Json:
        return {"count": await asyncio.to_thread(self._queue.delete_dead, await self._ids(request))}

    async def _erase(self, request: Json) -> Json:
        return {"count": await asyncio.to_thread(self._queue.erase, text(request, "address"))}

    async def _remove_account(self, request: Json) -> Json:
        return {"count": await asyncio.to_thread(self._queue.remove_account, text(request, "account"))}

    async def _ids(self, request: Json) -> list[int]:
        """Return the numbers that a request names, or the first of those of a target ("" for all)."""
        given = request.get("ids")
        if isinstance(given, list):
            known = await asyncio.to_thread(self._queue.dead_among, [int(one) for one in given[:AT_ONCE_MAX]])
            return list(known)
        limit = min(number(request, "limit", AT_ONCE_MAX, least=1), AT_ONCE_MAX)
        return await asyncio.to_thread(self._queue.dead_ids, text(request, "target"), limit)


def _state(state: TargetState, now_ms: int) -> Json:
    lag_ms = now_ms - state.oldest_ms if state.oldest_ms is not None else 0
    return {
        "target": state.name,
        "waiting": state.waiting,
        "waitingBytes": state.waiting_bytes,
        "deadLetters": state.dead,
        "lagSeconds": max(0.0, round(lag_ms / 1000, 1)),
    }


def _page(letters: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
    """Return the first letters that fit a line between processes, at least one if there is any."""
    size = 0
    for index, one in enumerate(letters):
        size += min(len(one.post.item.body), BODY_MAX_BYTES)
        if size > BODY_MAX_BYTES and index:
            return letters[:index]
    return letters


def _letter(one: DeadLetter) -> Mapping[str, object]:
    item = one.post.item
    return {
        "id": one.id,
        "target": one.post.target,
        "key": item.key,
        "kind": item.kind,
        "account": item.account,
        "createdMs": item.created_ms,
        "diedMs": one.died_ms,
        "attempts": one.post.attempts,
        "error": one.post.error,
        "body": item.body[:BODY_MAX_BYTES].decode("utf-8", "replace"),
    }
