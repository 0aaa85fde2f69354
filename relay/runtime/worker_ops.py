"""What a worker answers at its socket: the queue, feedback from other workers, pruning of published events."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping

from relay.errors import UsageError
from relay.model.delivery import DeliveryState
from relay.ports import Json
from relay.runtime.peers import OPERATION
from relay.runtime.rpc import Ops, number, text
from relay.runtime.shard_line import ShardLine
from relay.store.reader import QueueFilter

PAGE = 500
CHANGES_MAX = 1_000_000
TRIES = frozenset({"retry", "release"})  # what an operator asks for now is tried now
ACTIONS = {"retry": "retry_now", "hold": "hold", "release": "release", "delete": "delete"}


class WorkerOps:
    """The operations of one worker."""

    def __init__(self, lines: Mapping[int, ShardLine]) -> None:
        self._lines = lines

    def register(self, ops: Ops) -> None:
        """Make the operations known."""
        ops.add("queue.act", self.act)
        ops.add("stats", self.stats)
        ops.add("events.prune", self.prune)
        ops.add(OPERATION, self.take)
        ops.add("shaping.lanes", self.lanes)

    async def act(self, request: Json) -> Json:
        """Do retry, hold, release or delete to the chosen deliveries; {"count": changed}."""
        action, wanted = text(request, "action"), _filter(request)
        if action not in ACTIONS:
            raise UsageError(f"there is no action {action!r}")
        if action in TRIES:
            for line in self._lines.values():
                line.outbound.forgive()
        return {"count": sum([await _act_on(line, action, wanted) for line in self._lines.values()])}

    def stats(self, _request: Json) -> Json:
        """Return the number of deliveries by state of each shard, and those in memory."""
        return {"shards": [_stats(line) for line in self._lines.values()]}

    def lanes(self, request: Json) -> Json:
        """Return how the lanes to a destination are in this worker, shard by shard."""
        destination = text(request, "destination")
        return {"lines": [line.outbound.lanes(destination) for line in self._lines.values()]}

    async def prune(self, request: Json) -> None:
        """Drop events of a shard that every destination has."""
        await self._find(request).spool.prune_events(number(request, "seq"))

    async def take(self, request: Json) -> None:
        """Take feedback for a message of this shard; answered after its commit."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answer(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self._find(request).receive.take(base64.b64decode(text(request, "item"), validate=True), answer)
        await done

    def _find(self, request: Json) -> ShardLine:
        line = self._lines.get(number(request, "shard"))
        if line is None:
            raise UsageError("this worker does not have that shard")
        return line


async def _act_on(line: ShardLine, action: str, wanted: QueueFilter) -> int:
    change: Callable[[int], Awaitable[list[int]]] = getattr(line.spool, ACTIONS[action])
    count, after = 0, 0
    while True:
        page = line.spool.page(wanted, after, PAGE)
        # What is in flight now is left alone; the ready window forgets the rest and looks again afterwards.
        free = [delivery.key for delivery in page.deliveries if line.dispatch.withdraw(delivery.key)]
        changed = await asyncio.gather(*(change(key) for key in free))
        line.dispatch.requeued()
        count += sum(len(one) for one in changed)
        if page.next_after is None or count >= CHANGES_MAX:
            return count
        after = page.next_after


def _stats(line: ShardLine) -> Json:
    counts = {state.value: count for state, count in line.spool.counts().items()}
    return {"shard": line.spool.shard, "deliveries": counts, "window": len(line.dispatch)}


def _filter(request: Json) -> QueueFilter:
    state = text(request, "state", "")
    try:
        states = frozenset({DeliveryState(state)}) if state else QueueFilter().states
    except ValueError as error:
        raise UsageError(f"there is no state {state!r}") from error
    return QueueFilter(states, text(request, "domain", ""), text(request, "message_id", ""))
