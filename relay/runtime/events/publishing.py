"""What follows from events, as a service of the events process: one reader of the logs of all shards.

Files of effects get each event once (`relay.events.carrier`), the operator's destinations at least once
(`relay.events.outbox`). The logs are read with connections of our own, the cursors of destinations are kept in
`office/outbox.db`, and the owners of the shards are asked to prune what everybody has. A reload that changes
destinations ends the old outbox between two batches and begins a new one from the same cursors.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from relay.errors import NotFoundError, RelayError, TemporaryError, UsageError
from relay.events.carrier import Carrier
from relay.events.file import FileDestination
from relay.events.outbox import Outbox, Subscription, kinds_of
from relay.model.erasure import Erasure
from relay.model.event import LoggedEvent
from relay.model.facts import facts_of
from relay.model.message import NewEvent
from relay.ports import EventDestination, Json, Metrics
from relay.runtime.children import ChildContext, Role
from relay.runtime.config.model import Config
from relay.runtime.events.appliers import ApplierFactory, default_appliers
from relay.runtime.office_jobs import end_tasks
from relay.runtime.peers import worker_socket
from relay.runtime.privacy_places import ERASE_IN_FILES
from relay.runtime.rpc import ask, text
from relay.store.adoption import shard_paths, shards_on_disk
from relay.store.line_files import erase_in_rotated
from relay.store.outbox import OutboxCursors
from relay.store.reader import ShardEvents

AGAIN = "events.publish_again"
_PRUNE_SECONDS = 30.0
_LAST_BATCHES_SECONDS = 2.0  # each for files of effects and destinations
_BACKLOG_SECONDS = 10.0
_PATIENT = ("statistics", "metrics", "archive")  # all of them are read by people, or every some seconds


class ShardLog(ShardEvents):
    """The event log of a shard, empty while its worker has not made the file yet."""

    def __init__(self, shard: int, path: Path) -> None:
        super().__init__(shard, path)
        self._file = path
        self._made = False

    def log(self) -> int:
        """Return the random number of the log, 0 while there is none. Raise TemporaryError."""
        self._made = self._made or self._file.exists()
        return super().log() if self._made else 0

    def read(self, after: int, limit: int) -> Sequence[tuple[int, NewEvent]]:
        """Return events with a sequence number above `after`, in order. Raise TemporaryError."""
        self._made = self._made or self._file.exists()
        return super().read(after, limit) if self._made else ()


class CountedDestination:
    """A file destination that counts, and that is closed only between two batches."""

    def __init__(self, inner: FileDestination, metrics: Metrics) -> None:
        self.name = inner.name
        self._inner = inner
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None

    async def publish(self, events: Iterable[NewEvent]) -> None:
        """Publish one batch; the logs of several shards take turns. Raise TemporaryError."""
        batch = list(events)
        async with self._turn:
            await self._finished()
            self._running = asyncio.create_task(self._publish(batch))
            try:
                await asyncio.shield(self._running)
            except TemporaryError:
                self._metrics.count("relay_events_failures_total", self.name)
                raise

    async def erase(self, erasure: Erasure) -> int:
        """Erase an address in the file and those it was rotated to, between two batches; return in how many lines."""
        async with self._turn:
            await self._finished()
            self._inner.close()
            return await asyncio.to_thread(erase_in_rotated, erasure, self._inner.path)

    async def _publish(self, batch: list[NewEvent]) -> None:
        """Publish and count: also when whoever asked for it is gone meanwhile."""
        await self._inner.publish(batch)
        self._metrics.count("relay_events_published_total", self.name, amount=len(batch))

    async def close(self) -> None:
        """Wait for the batch being written, and close."""
        await self._finished()
        self._inner.close()

    async def _finished(self) -> None:
        """Wait for a batch whose publisher was cancelled: a thread may still be writing it."""
        if self._running is not None and not self._running.done():
            with contextlib.suppress(TemporaryError):
                await asyncio.shield(self._running)


class EventService:
    """The service that the events process runs."""

    def __init__(self, context: ChildContext, appliers: Sequence[ApplierFactory] | None = None) -> None:
        self._context = context
        factories = default_appliers() if appliers is None else appliers
        self._appliers = [make(context) for make in factories]
        self._carrier: Carrier | None = None
        self._carrying: asyncio.Task[None] | None = None
        self._cursors: OutboxCursors | None = None
        self._sources: dict[int, ShardLog] = {}
        self._destinations: list[CountedDestination] = []
        self._outbox: Outbox | None = None
        self._tasks: list[asyncio.Task[None]] = []
        context.ops.add(AGAIN, self.publish_again)
        context.ops.add(ERASE_IN_FILES, self.erase)

    async def publish_again(self, request: Json) -> Json:
        """Publish events of the archive again to one destination; answered when it has them."""
        name, events = text(request, "destination"), archived_events(request)
        found = next((one for one in self._destinations if one.name == name), None)
        if found is None:
            raise NotFoundError(f"There is no event destination {name}.")
        await found.publish([one.event for one in events])
        return {"published": len(events)}

    async def erase(self, request: Json) -> Json:
        """Erase an address in the files of all destinations; {"count": in how many lines}."""
        erasure = Erasure(text(request, "address"))
        return {"count": sum([await one.erase(erasure) for one in self._destinations])}

    async def start(self) -> None:
        """Open the cursors and begin. Raise ConfigurationError when a destination cannot be opened."""
        config = self._context.config
        self._cursors = OutboxCursors(config.data_dir / "office" / "outbox.db", self._context.log)
        for shard in self._shards(config):
            self._sources[shard] = ShardLog(shard, shard_paths(config.data_dir, shard).database)
        self._carrier = Carrier(
            self._sources, self._appliers, self._context.log, self._context.metrics, patient=_PATIENT
        )
        await self._carrier.open()
        self._begin(config)
        if self._appliers:
            self._carrying = asyncio.create_task(self._carrier.run())

    async def reload(self, config: Config) -> None:
        """Take on other destinations; the old ones stay when a new one cannot be opened."""
        old = self._context.config
        if config.events == old.events:
            return
        await self._end()
        try:
            self._begin(config)
        except RelayError:
            self._begin(old)
            raise

    async def close(self) -> None:
        """Publish what is there, within a few seconds, and close everything."""
        await self._stop_tasks()
        await self._end_carrying()
        if self._outbox is not None:
            with contextlib.suppress(TimeoutError, RelayError):
                await asyncio.wait_for(self._outbox.drain(), _LAST_BATCHES_SECONDS)
        await self._end()
        for source in self._sources.values():
            source.close()
        if self._cursors is not None:
            self._cursors.close()

    def check(self) -> None:
        """Raise when publishing has ended by itself."""
        for task in (*self._tasks, *([self._carrying] if self._carrying else ())):
            if task.done():
                task.result()
                raise RuntimeError("publishing events ended")

    def _shards(self, config: Config) -> Sequence[int]:
        """Return the shards of all workers, and what an earlier run with more workers left."""
        return sorted({*range(1, len(self._workers()) + 1), *shards_on_disk(config.data_dir)})

    def _workers(self) -> Sequence[str]:
        return [row.name for row in self._context.board.facts() if row.name.startswith(Role.WORKER)]

    def _begin(self, config: Config) -> None:
        assert self._cursors is not None
        files = [
            FileDestination(entry.name, config.event_file(entry), rotate_bytes=entry.rotate_bytes, keep=entry.keep)
            for entry in config.events
        ]
        try:
            for file in files:
                file.check()
        except RelayError:
            for file in files:
                file.close()
            raise
        self._destinations = [CountedDestination(file, self._context.metrics) for file in files]
        subscriptions = [
            Subscription(destination, kinds_of(entry.types))
            for destination, entry in zip(self._destinations, config.events, strict=True)
        ]
        self._outbox = Outbox(
            self._sources, subscriptions, self._cursors, self._prune, self._context.log, others=self._carried
        )
        self._tasks = [asyncio.create_task(self._outbox.run()), asyncio.create_task(self._tell_backlog())]

    async def _end(self) -> None:
        await self._stop_tasks()
        if self._outbox is not None:
            await self._outbox.settled()
        for destination in self._destinations:
            await destination.close()
            self._context.metrics.gauge("relay_events_backlog", 0, destination.name)
            self._context.metrics.gauge("relay_events_lag_seconds", 0, destination.name)
        self._destinations = []
        self._outbox = None

    async def _stop_tasks(self) -> None:
        await end_tasks(self._tasks)
        self._tasks = []

    def _carried(self, shard: int) -> int | None:
        return self._carrier.lowest(shard) if self._carrier is not None else None

    async def _end_carrying(self) -> None:
        """Let the files of effects take what is in the logs, within a few seconds, and close them."""
        if self._carrier is None:
            return
        await end_tasks([self._carrying] if self._carrying is not None else [])
        with contextlib.suppress(TimeoutError, RelayError):
            await asyncio.wait_for(self._carrier.drain(), _LAST_BATCHES_SECONDS)
        await self._carrier.close()

    async def _prune(self, shard: int, seq: int) -> None:
        """Ask the owner of a shard to drop events up to `seq`."""
        path = worker_socket(self._context.run_dir, shard, len(self._workers()))
        try:
            await ask(path, "events.prune", _PRUNE_SECONDS, shard=shard, seq=seq)
        except RelayError as error:  # a worker that refuses is asked again, like one that is away
            raise TemporaryError(str(error)) from error

    async def _tell_backlog(self) -> None:
        """Say now and then how far each destination is behind."""
        while True:
            for destination in self._destinations:
                self._tell_backlog_of(destination)
            await asyncio.sleep(_BACKLOG_SECONDS)

    def _tell_backlog_of(self, destination: EventDestination) -> None:
        assert self._outbox is not None
        behind, oldest_ms = 0, None
        for shard, source in self._sources.items():
            with contextlib.suppress(TemporaryError):  # its file is not there yet
                cursor = self._outbox.place(source, destination.name)
                behind += source.backlog(cursor)
                for seq, event in source.read(cursor, 1):
                    at_ms = _at_ms(LoggedEvent(shard, seq, event))
                    oldest_ms = at_ms if oldest_ms is None else min(oldest_ms, at_ms)
        lag_seconds = max(0.0, time.time() - oldest_ms / 1000) if oldest_ms is not None else 0.0
        self._context.metrics.gauge("relay_events_backlog", behind, destination.name)
        self._context.metrics.gauge("relay_events_lag_seconds", lag_seconds, destination.name)


def archived_events(request: Json) -> list[LoggedEvent]:
    """Return the events that a request to publish again has. Raise UsageError."""
    rows = request.get("events")
    if not isinstance(rows, list):
        raise UsageError("the argument 'events' must be a list")
    return [
        LoggedEvent(0, 0, NewEvent(event_id, kind, message_id, record.encode()))
        for event_id, kind, message_id, record in rows
    ]


def _at_ms(event: LoggedEvent) -> int:
    """Return when an event happened; now for one that does not say."""
    try:
        return facts_of(event).at_ms
    except (KeyError, TypeError, ValueError):
        return time.time_ns() // 1_000_000
