"""Carries the events of all shards into files of effects, each event once (`relay.ports.Applier`).

Every applier works on a thread of its own and at its own pace: one that fails is called again with growing waits and
holds up nobody else. Its place is in its file, so that neither this process nor the file can be ahead of the other.
A place belongs to a log: a spool that was replaced has another, which is carried from its beginning.
An event that an applier cannot digest (a fault of ours) is tried alone, then left out with an error in the log: the
events behind it matter more.

Each batch costs every applier a synced transaction, so events are let gather: a moment at the end of the log, longer
while there are many for appliers that nobody waits for.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from relay.errors import RelayError
from relay.events.batches import BATCH_BYTES_MAX, BATCH_EVENTS, Backoff, is_large, read_batch
from relay.model.event import LoggedEvent
from relay.ports import Applier, EventSource, Log, Metrics

POLL_SECONDS: Final = 0.25
GATHER_SECONDS: Final = 1.0  # between two batches of those that nobody waits for, after one of `MANY_EVENTS`
MANY_EVENTS: Final = 50
ALONE_MAX: Final = 3  # attempts at an event that fails by itself
_BATCHES_SHARED: Final = 8


class SharedReader:
    """Reads one shard's log for several appliers, which mostly ask for the same batch."""

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._batches: dict[int, Sequence[LoggedEvent]] = {}
        self._log = 0

    @property
    def shard(self) -> int:
        """The shard it reads."""
        return self._source.shard

    def log(self) -> int:
        """Return which log the shard has now, 0 for none yet, and drop batches of another. Raise TemporaryError."""
        log = self._source.log()
        if log != self._log:
            self._batches.clear()
            self._log = log
        return log

    def last(self) -> int:
        """Return the highest number in the log. Raise TemporaryError."""
        return self._source.last()

    def read(self, after: int) -> Sequence[LoggedEvent]:
        """Return a batch of events above `after`, bounded in number and octets. Raise TemporaryError.

        For whoever comes later than others, what they read is joined.
        """
        found = self._batches.get(after)
        if found:
            return self._joined(found)
        batch = [LoggedEvent(self.shard, *row) for row in read_batch(self._source, after)]
        if batch:
            self._batches[after] = batch
            while len(self._batches) > _BATCHES_SHARED:
                del self._batches[next(iter(self._batches))]
        return batch

    def _joined(self, first: Sequence[LoggedEvent]) -> Sequence[LoggedEvent]:
        found = self._batches.get(first[-1].seq)
        if not found:
            return first
        batch, size_bytes = list(first), sum(len(event.payload) for event in first)
        while found and len(batch) + len(found) <= BATCH_EVENTS:
            size_bytes += sum(len(event.payload) for event in found)
            if size_bytes > BATCH_BYTES_MAX:
                break
            batch += found
            found = self._batches.get(batch[-1].seq)
        return batch

    def goes_on(self, batch: Sequence[LoggedEvent]) -> bool:
        """Say whether more is behind a batch: another applier has read it, or it is about as large as may be."""
        return batch[-1].seq in self._batches or is_large([event.event for event in batch])

    def drop(self) -> None:
        """Read everything anew: what waits for one that fails may be erased from the log meanwhile (PRIV-006)."""
        self._batches.clear()

    def forget(self, lowest: int) -> None:
        """Drop batches that every applier has."""
        for after in [key for key, batch in self._batches.items() if batch[-1].seq <= lowest]:
            del self._batches[after]


class _Lane:
    """An applier with its thread, and where it stands in each shard."""

    def __init__(self, applier: Applier) -> None:
        self.applier = applier
        self.logs: dict[int, int] = {}
        self.places: dict[int, int] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"events-{applier.name}")

    async def open(self) -> None:
        await self._run(self.applier.open)

    async def follow(self, shard: int, log: int, last: int) -> None:
        await self._run(self.applier.follow, shard, log, last)
        self.places[shard] = await self._run(self.applier.place, shard)
        self.logs[shard] = log

    async def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        await self._run(self.applier.apply, shard, events)
        self.places[shard] = events[-1].seq

    def ask_places(self) -> None:
        """Ask for every place again before the next batch: a file that was damaged may have begun anew."""
        self.logs.clear()

    async def skip(self, event: LoggedEvent) -> None:
        await self._run(self.applier.skip, event.shard, event.seq)
        self.places[event.shard] = event.seq

    async def close(self) -> None:
        await self._run(self.applier.close)
        self._thread.shutdown()

    async def _run(self, call: Callable[..., Any], *values: object) -> Any:
        """Run on the applier's thread; what has begun goes on when the caller is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, call, *values))


class Carrier:
    """Runs appliers over the logs of all shards. `patient` are the names of those that nobody waits for."""

    def __init__(
        self,
        sources: Mapping[int, EventSource],
        appliers: Sequence[Applier],
        log: Log,
        metrics: Metrics,
        *,
        patient: Collection[str] = (),
    ) -> None:
        self._patient = patient
        self._readers = {shard: SharedReader(source) for shard, source in sources.items()}
        self._lanes = [_Lane(applier) for applier in appliers]
        self._log = log
        self._metrics = metrics

    async def open(self) -> None:
        """Open every applier's file. Raise RelayError when one cannot be used."""
        for lane in self._lanes:
            await lane.open()

    async def run(self) -> None:
        """Carry until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                for reader in self._readers.values():
                    group.create_task(self._follow(lane, reader))

    async def drain(self) -> None:
        """Carry what is in the logs now, once, without waiting for appliers that fail."""
        for lane in self._lanes:
            for reader in self._readers.values():
                with contextlib.suppress(RelayError):
                    while await self._carry(lane, reader):
                        pass

    async def close(self) -> None:
        """Close every applier's file, after what it is doing."""
        for lane in self._lanes:
            await lane.close()

    def lowest(self, shard: int) -> int | None:
        """Return the number up to which every applier has a shard's events, None without appliers."""
        return min((lane.places.get(shard, 0) for lane in self._lanes), default=None)

    async def _follow(self, lane: _Lane, reader: SharedReader) -> None:
        backoff = Backoff()
        while True:
            try:
                batch = await self._carry(lane, reader)
                backoff.reset()
                if batch and reader.goes_on(batch):
                    await asyncio.sleep(0)
                elif len(batch) >= MANY_EVENTS and lane.applier.name in self._patient:
                    await asyncio.sleep(GATHER_SECONDS)
                else:
                    await asyncio.sleep(POLL_SECONDS)
            except RelayError as error:
                lane.ask_places()
                reader.drop()
                self._count("relay_events_applier_failures_total", lane)
                self._log.warning("effects wait", applier=lane.applier.name, shard=reader.shard, error=str(error))
                await backoff.wait()

    async def _carry(self, lane: _Lane, reader: SharedReader) -> Sequence[LoggedEvent]:
        """Carry one batch and return it, empty at the end of the log. Raise RelayError."""
        log = reader.log()
        if not log:
            return ()
        if lane.logs.get(reader.shard) != log:
            await lane.follow(reader.shard, log, reader.last())
        batch = reader.read(lane.places[reader.shard])
        if not batch:
            return ()
        if reader.log() != log:
            return batch  # the file was replaced between the two: nothing was applied yet
        try:
            await lane.apply(reader.shard, batch)
        except RelayError:
            raise
        except Exception as error:  # noqa: BLE001 (one event that nobody foresaw must not stop all behind it)
            self._log.error("a batch of events could not be applied", applier=lane.applier.name, error=error)
            await self._one_by_one(lane, batch)
        self._count("relay_events_applied_total", lane, len(batch))
        reader.forget(self.lowest(reader.shard) or 0)
        return batch

    async def _one_by_one(self, lane: _Lane, batch: Sequence[LoggedEvent]) -> None:
        for event in batch:
            if event.seq > lane.places[event.shard]:
                await self._alone(lane, event)

    async def _alone(self, lane: _Lane, event: LoggedEvent) -> None:
        for attempt in range(1, ALONE_MAX + 1):
            try:
                return await lane.apply(event.shard, (event,))
            except RelayError:
                raise
            except Exception as error:  # noqa: BLE001 (as above)
                self._log.error(
                    "an event could not be applied",
                    applier=lane.applier.name,
                    event_id=event.event_id,
                    message_id=event.message_id,
                    attempt=attempt,
                    error=error,
                )
        await lane.skip(event)
        self._count("relay_events_applier_skipped_total", lane)
        return None

    def _count(self, metric: str, lane: _Lane, amount: int = 1) -> None:
        self._metrics.count(metric, lane.applier.name, amount=amount)
