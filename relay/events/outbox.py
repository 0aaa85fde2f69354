"""Publishes the event logs of all shards to all destinations, at least once, in the order of each log.

A log is read beyond the destination's cursor; the cursor moves after `publish` returned, that is, after the
destination kept the events. A destination that fails is tried again with growing waits and holds up nobody else.
The lowest cursor of a shard tells its owner what may be pruned.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from relay.errors import TemporaryError
from relay.events.batches import BATCH_EVENTS, Backoff, is_large, read_batch
from relay.model.message import NewEvent
from relay.ports import EventDestination, EventSource, Log

POLL_SECONDS: Final = 0.5
PRUNE_SECONDS: Final = 10.0
ALL: Final = "all"

Prune = Callable[[int, int], Awaitable[None]]


class EventCursors(Protocol):
    """Where each destination stands in each shard's log; kept on disk by an adapter."""

    def follow(self, shard: int, log: int, last: int) -> None:
        """Say which log a shard has from now on, and the highest number in it; cursors are kept by log."""
        ...

    def get(self, shard: int, destination: str) -> int:
        """Return the last sequence number that the destination has, 0 when it has none."""
        ...

    def move(self, shard: int, destination: str, seq: int) -> None:
        """Note that a destination has all events up to `seq`; synced on return."""
        ...

    def forget_others(self, destinations: frozenset[str]) -> None:
        """Drop the cursors of all other destinations."""
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """A destination and the kinds of event it takes: None for all."""

    destination: EventDestination
    kinds: frozenset[str] | None = None

    def wants(self, event: NewEvent) -> bool:
        """Say whether the destination takes an event."""
        return self.kinds is None or event.kind in self.kinds


def kinds_of(types: str | Sequence[str]) -> frozenset[str] | None:
    """Return the kinds that a setting `types: all | list` names, None for all."""
    if types == ALL or ALL in types:
        return None
    return frozenset([types] if isinstance(types, str) else types)


def _nobody(_shard: int) -> int | None:
    return None


class Outbox:
    """The publisher. `sources` maps shards to their logs; `prune(shard, seq)` asks the shard's owner to prune.

    `others(shard)` says how far readers beside this one are, None when there are none: the log is pruned below the
    lowest of all. Without any of them every log is pruned whole.
    """

    def __init__(
        self,
        sources: Mapping[int, EventSource],
        subscriptions: Sequence[Subscription],
        cursors: EventCursors,
        prune: Prune,
        log: Log,
        *,
        others: Callable[[int], int | None] = _nobody,
    ) -> None:
        self._others = others
        self._sources = dict(sources)
        self._subscriptions = tuple(subscriptions)
        self._cursors = cursors
        self._prune = prune
        self._log = log
        self._logs: dict[int, int] = {}
        self._pruned: dict[int, int] = {}
        self._tails: dict[int, int] = {}
        self._running: dict[tuple[int, str], asyncio.Task[Sequence[tuple[int, NewEvent]]]] = {}
        cursors.forget_others(frozenset(subscription.destination.name for subscription in subscriptions))

    async def run(self) -> None:
        """Publish and prune until cancelled."""
        async with asyncio.TaskGroup() as group:
            for subscription in self._subscriptions:
                for source in self._sources.values():
                    group.create_task(self._follow(subscription, source))
            group.create_task(self._prune_forever())

    async def publish_once(self, subscription: Subscription, source: EventSource) -> Sequence[tuple[int, NewEvent]]:
        """Publish one batch, move the cursor and return the batch, empty at the end of the log. Raise TemporaryError.

        A batch that has begun goes on when its caller is cancelled: an orderly end publishes nothing twice.
        """
        key = (source.shard, subscription.destination.name)
        if key in self._running:
            await asyncio.wait([self._running[key]])
        task = self._running[key] = asyncio.create_task(self._publish_batch(subscription, source))
        task.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(task)

    async def settled(self) -> None:
        """Wait for the batches that have begun."""
        if self._running:
            await asyncio.wait(list(self._running.values()))

    def _ended(self, key: tuple[int, str], task: "asyncio.Task[Sequence[tuple[int, NewEvent]]]") -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # whoever waited for it was told; if nobody did, the next batch meets it again

    async def _publish_batch(self, subscription: Subscription, source: EventSource) -> Sequence[tuple[int, NewEvent]]:
        name = subscription.destination.name
        after = self.place(source, name)
        log = self._logs.get(source.shard)
        events = read_batch(source, after) if log else ()
        if not events:
            return events
        if source.log() != log:
            return events  # the file was replaced meanwhile: nothing was published yet
        wanted = [event for _, event in events if subscription.wants(event)]
        if wanted:
            await subscription.destination.publish(wanted)
        self._cursors.move(source.shard, name, events[-1][0])
        return events

    def place(self, source: EventSource, destination: str) -> int:
        """Return up to where a destination has a shard's events, in the log that the shard has now."""
        log = source.log()
        if log and self._logs.get(source.shard) != log:
            self._cursors.follow(source.shard, log, source.last())
            self._logs[source.shard] = log
        return self._cursors.get(source.shard, destination) if log else 0

    async def drain(self) -> None:
        """Publish what is in the logs now, once, without waiting for failing destinations."""
        for subscription in self._subscriptions:
            for source in self._sources.values():
                try:
                    while await self.publish_once(subscription, source):
                        pass
                except TemporaryError as error:
                    self._log.warning("events wait", destination=subscription.destination.name, error=str(error))

    async def prune_once(self) -> None:
        """Ask owners to drop what every destination has."""
        for shard, source in self._sources.items():
            seq = self._lowest(source)
            if seq <= self._pruned.get(shard, 0):
                continue
            try:
                await self._prune(shard, seq)
            except TemporaryError as error:
                self._log.debug("pruning waits", shard=shard, error=str(error))
                continue
            self._pruned[shard] = seq

    async def _follow(self, subscription: Subscription, source: EventSource) -> None:
        backoff = Backoff()
        while True:
            try:
                batch = await self.publish_once(subscription, source)
                backoff.reset()
                await asyncio.sleep(
                    0 if is_large([event for _, event in batch]) else POLL_SECONDS
                )  # at the end events gather
            except TemporaryError as error:
                self._logs.pop(source.shard, None)  # a file of cursors that was damaged may have begun anew
                self._log.warning(
                    "events wait",
                    destination=subscription.destination.name,
                    shard=source.shard,
                    error=str(error),
                    seconds=backoff.seconds,
                )
                await backoff.wait()

    async def _prune_forever(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            try:
                await self.prune_once()
            except TemporaryError as error:
                self._log.debug("pruning waits", error=str(error))

    def _lowest(self, source: EventSource) -> int:
        places = [self.place(source, item.destination.name) for item in self._subscriptions]
        others = self._others(source.shard)
        if others is not None:
            places.append(others)
        if places:
            return min(places)
        while batch := source.read(self._tails.get(source.shard, 0), BATCH_EVENTS):
            self._tails[source.shard] = batch[-1][0]
        return self._tails.get(source.shard, 0)
