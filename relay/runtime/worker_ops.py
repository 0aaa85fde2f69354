"""What a worker answers at its socket: the queue, feedback from other workers, pruning of published events."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

from relay.errors import UsageError
from relay.model.delivery import DeliveryState
from relay.pipeline.dispatch import Dispatch
from relay.pipeline.receive import Receive
from relay.ports import Json
from relay.runtime.peers import OPERATION
from relay.runtime.rpc import Ops, number, text
from relay.store.reader import QueueFilter
from relay.store.spool import ShardSpool

PAGE = 500
CHANGES_MAX = 1_000_000


class WorkerOps:
    """The operations of one worker."""

    def __init__(self, spool: ShardSpool, dispatch: Dispatch, receive: Receive) -> None:
        self._spool = spool
        self._dispatch = dispatch
        self._receive = receive

    def register(self, ops: Ops) -> None:
        """Make the operations known."""
        ops.add("queue.act", self.act)
        ops.add("stats", self.stats)
        ops.add("events.prune", self.prune)
        ops.add(OPERATION, self.take)

    async def act(self, request: Json) -> Json:
        """Do retry, hold, release or delete to the chosen deliveries; {"count": changed}."""
        action = text(request, "action")
        changes: dict[str, Callable[[int], Awaitable[list[int]]]] = {
            "retry": self._spool.retry_now,
            "hold": self._spool.hold,
            "release": self._spool.release,
            "delete": self._spool.delete,
        }
        change = changes.get(action)
        if change is None:
            raise UsageError(f"there is no action {action!r}")
        keys = request.get("keys")
        if keys is not None:
            return {"count": await self._change(change, _keys(keys))}
        return {"count": await self._change_chosen(change, _filter(request))}

    async def _change_chosen(self, change: Callable[[int], Awaitable[list[int]]], wanted: QueueFilter) -> int:
        count, after = 0, 0
        while True:
            page = self._spool.page(wanted, after, PAGE)
            count += await self._change(change, [delivery.key for delivery in page.deliveries])
            if page.next_after is None or count >= CHANGES_MAX:
                return count
            after = page.next_after

    async def _change(self, change: Callable[[int], Awaitable[list[int]]], keys: list[int]) -> int:
        """Change what is not in flight now; the ready window forgets it first and looks again afterwards."""
        free = [key for key in keys if self._dispatch.withdraw(key)]
        changed = await asyncio.gather(*(change(key) for key in free))
        self._dispatch.requeued()
        return sum(len(one) for one in changed)

    def stats(self, _request: Json) -> Json:
        """Return the number of deliveries by state, and those in memory."""
        counts = {state.value: count for state, count in self._spool.counts().items()}
        return {"shard": self._spool.shard, "deliveries": counts, "window": len(self._dispatch)}

    async def prune(self, request: Json) -> None:
        """Drop events that every destination has."""
        await self._spool.prune_events(number(request, "seq"))

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

        self._receive.take(base64.b64decode(text(request, "item"), validate=True), answer)
        await done


def _keys(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(isinstance(key, int) for key in value) or len(value) > CHANGES_MAX:
        raise UsageError("the argument 'keys' must be a list of delivery keys")
    return value


def _filter(request: Json) -> QueueFilter:
    state = text(request, "state", "")
    try:
        states = frozenset({DeliveryState(state)}) if state else QueueFilter().states
    except ValueError as error:
        raise UsageError(f"there is no state {state!r}") from error
    return QueueFilter(states, text(request, "domain", ""), text(request, "message_id", ""))
