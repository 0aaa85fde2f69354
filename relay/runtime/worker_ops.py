"""What a worker answers at its socket: the queue, feedback from other workers, pruning of published events."""

import base64
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from relay.errors import UsageError
from relay.pipeline.mail_samples import MailSamples
from relay.ports import Clock, Json
from relay.runtime.commits import committed
from relay.runtime.peers import OPERATION
from relay.runtime.privacy_places import ERASE_IN_SHARD, FORGET_ACCOUNT
from relay.runtime.queue_work import TRIES, order_of
from relay.runtime.rpc import Ops, number, text
from relay.runtime.shard_line import ShardLine
from relay.runtime.standing_file import read_holds
from relay.schedule.standing import StandingHolds
from relay.store.spool_privacy import erase_in_spool, remove_events_of, write_spool_anew

SAMPLES_MAX = 4  # their base64 fits a line between processes


class WorkerOps:
    """The operations of one worker."""

    def __init__(self, lines: Mapping[int, ShardLine], samples: MailSamples, data_dir: Path, clock: Clock) -> None:
        self._lines = lines
        self._samples = samples
        self._data_dir = data_dir
        self._clock = clock

    def register(self, ops: Ops) -> None:
        """Make the operations known."""
        ops.add("queue.act", self.act)
        ops.add("queue.holds", self.read_holds)
        ops.add("queue.end_hold", self.end_hold)
        ops.add("stats", self.stats)
        ops.add("events.prune", self.prune)
        ops.add(OPERATION, self.take)
        ops.add("shaping.lanes", self.lanes)
        ops.add("samples.take", self.take_samples)
        ops.add(ERASE_IN_SHARD, self.erase)
        ops.add(FORGET_ACCOUNT, self.forget_account)

    async def act(self, request: Json) -> Json:
        """Do something to deliveries of one shard, given by key: how many changed, how many are under way."""
        line = self._find(request)
        order, keys = order_of(request)
        if order.action in TRIES:
            line.outbound.forgive()
        done = await line.work.act(order, keys)
        if order.action == "hold":
            line.ends.look()
        return {"changed": done.changed, "inFlight": done.in_flight, "also": done.also}

    def read_holds(self, _request: Json | None = None) -> Json:
        """Take on the standing holds as they are on disk; {"holds": how many are in force}."""
        holds = read_holds(self._data_dir, self._clock.now_ms())
        for line in self._lines.values():
            line.withhold.holds = StandingHolds(holds)
        return {"holds": len(holds)}

    async def end_hold(self, request: Json) -> Json:
        """Release some of what a standing hold holds in a shard; {"count": 0} when there is no more."""
        return {"count": await self._find(request).work.end_rule(number(request, "rule", least=1))}

    def stats(self, _request: Json) -> Json:
        """Return the number of deliveries by state of each shard, and those in memory."""
        return {"shards": [_stats(line) for line in self._lines.values()]}

    def lanes(self, request: Json) -> Json:
        """Return how the lanes to a destination are in this worker, shard by shard."""
        destination = text(request, "destination")
        return {"lines": [line.outbound.lanes(destination) for line in self._lines.values()]}

    def take_samples(self, _request: Json) -> Json:
        """Return a few samples of mail as account, time and base64 of the bytes, and forget them."""
        taken = self._samples.take(SAMPLES_MAX)
        return {"samples": [[one.account, one.accepted_ms, base64.b64encode(one.content).decode()] for one in taken]}

    async def prune(self, request: Json) -> None:
        """Drop events of a shard that every destination has."""
        await self._find(request).spool.prune_events(number(request, "seq"))

    async def erase(self, request: Json) -> Json:
        """Erase an address in a shard: in how many events, and how many messages on their way still have it."""
        force = bool(request.get("force"))
        erased = await erase_in_spool(self._find(request).spool, text(request, "address"), force=force)
        return {"events": erased.events, "open": erased.open_messages}

    async def forget_account(self, request: Json) -> None:
        """Drop the events of an account from a shard's log, and write its file anew without any trace of it."""
        spool = self._find(request).spool
        await remove_events_of(spool, text(request, "account"))
        await write_spool_anew(spool)

    async def take(self, request: Json) -> None:
        """Take feedback for a message of this shard; answered after its commit.

        A shard that is nowhere (a report may name any) has nothing to be told about.
        """
        item = base64.b64decode(text(request, "item"), validate=True)
        line = self._lines.get(number(request, "shard"))
        if line is not None:
            await committed(partial(line.returned.take, item))

    def _find(self, request: Json) -> ShardLine:
        line = self._lines.get(number(request, "shard"))
        if line is None:
            raise UsageError("this worker does not have that shard")
        return line


def _stats(line: ShardLine) -> Json:
    counts = {state.value: count for state, count in line.spool.counts().items()}
    return {"shard": line.spool.shard, "deliveries": counts, "window": len(line.dispatch)}
