"""What an operator does to chosen deliveries of one shard: the same code in a worker and on a stopped relay.

An `Order` says what; the deliveries are given by key, a bounded number at a time, so that the event loop is never
kept for long. Each step goes through the table in `relay.model.delivery`, in the transaction that writes it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from relay.errors import CorruptionError, UsageError
from relay.model.delivery import OPEN_STATES, DeliveryState, Step
from relay.model.message import Delivery, NewMessage
from relay.pipeline.give_back import GiveBack, require_reason
from relay.ports import Clock, Json
from relay.runtime.commits import committed
from relay.runtime.rpc import number, text
from relay.store import operations
from relay.store.spool import ShardSpool

TURN_SECONDS: Final = 0.005
BOUNCES_MAX: Final = 100  # each may write a report of its own
ACTIONS: Final = {
    "retry": frozenset({DeliveryState.QUEUED}),
    "hold": frozenset({DeliveryState.QUEUED, DeliveryState.HELD}),
    "release": frozenset({DeliveryState.HELD, DeliveryState.QUARANTINED}),
    "delete": OPEN_STATES,
    "bounce": OPEN_STATES,
    "move": OPEN_STATES,
}
# What is under way keeps going, and is held, or leaves from the other pool, when it is tried again.
ALSO_IN_FLIGHT: Final = frozenset({"hold", "move"})
TRIES: Final = frozenset({"retry", "release"})  # what an operator asks for now is tried now


@dataclass(frozen=True, slots=True)
class Order:
    """What to do to deliveries in one of `states`; `until_ms` ends a hold, `reason` explains a bounce."""

    action: str
    states: frozenset[DeliveryState]
    until_ms: int = 0
    rule: int = 0
    reason: str = ""
    pool: str = ""

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise UsageError(f"there is no action {self.action!r}")

    @property
    def batch(self) -> int:
        """How many deliveries may be asked for at once."""
        return BOUNCES_MAX if self.action == "bounce" else operations.KEYS_MAX

    def as_json(self) -> Json:
        """Return it as the arguments of a request."""
        return {
            "action": self.action,
            "states": sorted(self.states),
            "until_ms": self.until_ms,
            "rule": self.rule,
            "reason": self.reason,
            "pool": self.pool,
        }


@dataclass(frozen=True, slots=True)
class Done:
    """How many deliveries changed, how many are left alone because they are under way.

    `also` counts those that changed with them, because they are of the same message.
    """

    changed: int = 0
    in_flight: int = 0
    also: int = 0

    def __add__(self, other: "Done") -> "Done":
        """Return both together."""
        return Done(self.changed + other.changed, self.in_flight + other.in_flight, self.also + other.also)


class Window(Protocol):
    """What must let go of a delivery before it is changed; `relay.pipeline.dispatch.Dispatch` has these methods."""

    def withdraw(self, key: int) -> bool:
        """Let go of a delivery; False when it is under way."""
        ...

    def requeued(self) -> None:
        """Look at the queue again."""
        ...

    def accepted(self, new: NewMessage) -> None:
        """Take a report that was just committed."""
        ...


class NoWindow:
    """The window of a stopped relay."""

    def withdraw(self, key: int) -> bool:
        """Nothing is under way."""
        del key
        return True

    def requeued(self) -> None:
        """Nobody looks."""

    def accepted(self, new: NewMessage) -> None:
        """It is found at the next start."""


class QueueWork:
    """Carries out orders on one shard, one after the other."""

    def __init__(self, spool: ShardSpool, window: Window, give_back: GiveBack, clock: Clock) -> None:
        self._spool = spool
        self._window = window
        self._give_back = give_back
        self._clock = clock
        self._turn = asyncio.Lock()

    async def act(self, order: Order, keys: Sequence[int]) -> Done:
        """Do it to some deliveries. Raise StorageError: then nothing of it was done."""
        async with self._turn:
            try:
                free = await self._withdraw(keys)
                wanted = keys if order.action in ALSO_IN_FLIGHT else free
                changed = await self._change(order, wanted)
                also = set(changed).difference(keys)
                await self._withdraw(list(also))
            finally:
                self._window.requeued()
        return Done(len(changed) - len(also), len(keys) - len(free), len(also))

    async def end_rule(self, rule: int) -> int:
        """Release some of what a standing hold holds; return how many, 0 when there is no more."""
        async with self._turn:
            ended = await self._spool.act(operations.end_rule(rule, self._clock.now_ms(), operations.KEYS_MAX))
            self._window.requeued()
        return len(ended)

    async def _withdraw(self, keys: Sequence[int]) -> list[int]:
        free, turn = [], time.monotonic()
        for key in keys:
            if self._window.withdraw(key):
                free.append(key)
            turn = await _breathe(turn)
        return free

    async def _change(self, order: Order, keys: Sequence[int]) -> list[int]:
        now_ms, states = self._clock.now_ms(), order.states & ACTIONS[order.action]
        match order.action:
            case "retry":
                return await self._spool.act(operations.retry(keys, now_ms, states))
            case "hold":
                until_ms, rule = order.until_ms, order.rule
                return await self._spool.act(operations.hold(keys, now_ms, states, until_ms=until_ms, rule=rule))
            case "release":
                return await self._spool.act(operations.step(keys, Step.RELEASE, now_ms, states))
            case "delete":
                return await self._spool.act(operations.step(keys, Step.DELETE, now_ms, states))
            case "move":
                return await self._spool.act(operations.move(keys, order.pool, states))
            case _:
                return await self._bounce(order.reason, keys, states)

    async def _bounce(self, reason: str, keys: Sequence[int], states: frozenset[DeliveryState]) -> list[int]:
        settlements, turn = [], time.monotonic()
        for key in keys:
            delivery = self._read(key)
            if delivery is not None and delivery.state in states:
                settlement = self._give_back.settlement(delivery, reason)
                settlements += [settlement] if settlement else []
            turn = await _breathe(turn)
        if not settlements:
            return []
        await committed(partial(self._spool.settle_all, settlements))
        for settlement in settlements:
            for report in settlement.messages:
                self._window.accepted(report)
        return [settlement.delivery.key for settlement in settlements]

    def _read(self, key: int) -> Delivery | None:
        try:
            return self._spool.delivery(key)
        except CorruptionError:  # nobody to write to can be read from it: it stays for `delete`
            return None


def order_of(request: Json) -> tuple[Order, list[int]]:
    """Return the order of a request and the keys it is about. Raise UsageError."""
    keys, names = request.get("keys"), request.get("states")
    if not isinstance(keys, list) or not all(type(key) is int and 0 < key < 1 << 63 for key in keys):
        raise UsageError("the argument 'keys' must be a list of delivery keys")
    if not isinstance(names, list) or not all(isinstance(name, str) and name in set(DeliveryState) for name in names):
        raise UsageError("the argument 'states' must be a list of states")
    order = Order(
        text(request, "action"),
        frozenset(map(DeliveryState, names)),
        number(request, "until_ms", 0, most=1 << 53),
        number(request, "rule", 0),
        require_reason(text(request, "reason", "")),
        text(request, "pool", ""),
    )
    if len(keys) > order.batch:
        raise UsageError(f"at most {order.batch} deliveries at once")
    return order, keys


def done_of(result: Any) -> Done:
    """Return what a worker answered."""
    return Done(int(result["changed"]), int(result["inFlight"]), int(result["also"]))


async def _breathe(since: float) -> float:
    """Let others have their turn when this one has taken its time; return when this turn began."""
    if time.monotonic() - since < TURN_SECONDS:
        return since
    await asyncio.sleep(0)
    return time.monotonic()
