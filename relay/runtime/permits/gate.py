"""A worker's side of lanes (port `relay.pipeline.departure.Gate`), over its connection to permits.

A lane without use is unknown on both sides. Of a lane in use we know the connections we *hold* the right to, and
how many of those are open; what is held and not open is given back within a quarter of a second, unless somebody
here takes it. So a message costs a comparison, and a connection one question.

While permits is away nothing more is granted; what is held may still be used. On the next connection everything is
announced, and asked for anew. Effects are obeyed here from the instant they are reported, and reported again until
permits has told everybody.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relay.model.lane import Lane
from relay.model.message import Delivery
from relay.model.outcome import Outcome, Verdict
from relay.pipeline.departure import Change, Recall, Wake
from relay.ports import Clock
from relay.runtime.permits import values
from relay.runtime.permits.client import PermitsClient
from relay.runtime.permits.protocol import Note
from relay.schedule.effects import Effect, EffectKind, Standing
from relay.schedule.lane_book import Limits
from relay.schedule.shaping import Shape
from relay.schedule.standings import REPLY_CHARACTERS_MAX, Scope, Standings, scope_of

IDLE_SECONDS = 0.25
MESSAGE_SECONDS = 0.4  # within relay.schedule.lane_rate.HOLD_SECONDS, with what the way here takes
SUCCESS_SECONDS = 1.0
REPORTED_MAX = 1000
_SECONDS = 6  # the place of the time in the note of an effect


@dataclass(slots=True)
class _Lane:
    """What this worker has of a lane and waits for."""

    number: int
    lane: Lane
    limits: Limits
    held: int = 0
    open: int = 0
    asked: int = 0
    recalls: int = 0
    free_since: float = 0.0
    messages: int = 0
    messages_until: float = 0.0
    messages_asked: int = 0
    connecting: dict[Wake, None] = field(default_factory=dict)
    sending: dict[Wake, None] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """True when permits need not know the lane."""
        return not (self.held or self.asked or self.messages_asked or self.connecting or self.sending)


class LaneGate:
    """Connections, messages and effects of one worker's lanes."""

    def __init__(self, permits: PermitsClient, clock: Clock) -> None:
        self._permits = permits
        self._clock = clock
        self._lanes: dict[Lane, _Lane] = {}
        self._numbers: dict[int, _Lane] = {}
        self._last_number = 0
        self._recalls: list[Recall] = []
        self._changes: list[Change] = []
        self._watchers: list[Callable[[Lane, Outcome], None]] = []
        self._standings = Standings()
        self._reported: dict[Scope, tuple[float, Note]] = {}  # until when on the monotonic clock
        self._slowed: dict[Lane, float] = {}  # when a success was last told
        self._timer: asyncio.TimerHandle | None = None
        permits.parts.append(self)

    def watch(self, on_settled: Callable[[Lane, Outcome], None]) -> None:
        """Tell somebody else what became of attempts too."""
        self._watchers.append(on_settled)

    # --- Gate ----------------------------------------------------------------------------------------------------

    def join(self, on_recall: Recall, on_change: Change) -> None:
        """Be told when a connection of a lane shall come back, and when an effect came into force."""
        self._recalls.append(on_recall)
        self._changes.append(on_change)

    def connect(self, lane: Lane, shape: Shape, wake: Wake) -> bool:
        """Take a connection that is at hand, or ask for one."""
        state = self._state(lane, shape)
        if state.held - state.open > state.recalls:
            state.open += 1
            return True
        if wake not in state.connecting:
            state.connecting[wake] = None
        if state.asked < len(state.connecting):
            state.asked += 1
            self._permits.send(["want", state.number, 1])
        return False

    def disconnect(self, lane: Lane) -> None:
        """Give one back to who waits here or elsewhere."""
        state = self._lanes[lane]
        state.open -= 1
        if state.recalls or state.limits.connections_per_minute:  # each new connection is counted there
            state.recalls = max(0, state.recalls - 1)
            self._give_back(state, 1)
            return
        state.free_since = self._clock.monotonic()
        self._wake_one(state)
        self._look_later()

    def message(self, lane: Lane, shape: Shape, wake: Wake) -> bool:
        """Take the right to a message, which is always there on a lane without a rate."""
        if not shape.messages_per_minute:
            return True
        state = self._state(lane, shape)
        if state.messages and self._clock.monotonic() < state.messages_until:
            state.messages -= 1
            return True
        state.messages = 0
        if wake not in state.sending:
            state.sending[wake] = None
        if not state.messages_asked:
            # One for each open connection, as they all wait for the same wake; and a twentieth of a second's worth.
            state.messages_asked = count = max(1, state.open, shape.messages_per_minute // 1200)
            self._permits.send(["messages", state.number, count])
        return False

    def apply(self, lane: Lane, delivery: Delivery, effects: Sequence[Effect], reply: str) -> None:
        """Obey from now on, and tell permits, which tells everybody."""
        message = delivery.message
        account, configuration_set = message.account, message.options.configuration_set
        for effect in effects:
            if effect.kind is EffectKind.BOUNCE or effect.seconds <= 0:
                continue
            scope = scope_of(effect.kind, lane, account, configuration_set)
            until_ms = self._clock.now_ms() + int(effect.seconds * 1000)
            reply = reply[:REPLY_CHARACTERS_MAX]
            self._put(scope, Standing(effect.kind, until_ms, effect.rule, reply, effect.factor))
            note: Note = ["effect", effect.kind.value, lane.source, lane.destination, account, configuration_set]
            note += [effect.seconds, effect.factor, effect.rule, reply]
            if len(self._reported) < REPORTED_MAX:
                self._reported[scope] = (self._clock.monotonic() + effect.seconds, note)
            self._permits.send(note)

    def standing(self, lane: Lane, delivery: Delivery) -> Standing | None:
        """Return what keeps a delivery back, from what is known here."""
        if not self._standings:
            return None
        message = delivery.message
        return self._standings.find(lane, message.account, message.options.configuration_set, self._clock.now_ms())

    def settled(self, lane: Lane, outcome: Outcome) -> None:
        """Note what became of a message: a slowed lane rises while it delivers."""
        for watcher in self._watchers:
            watcher(lane, outcome)
        if lane not in self._slowed or outcome.verdict is not Verdict.DELIVERED:
            return
        now = self._clock.monotonic()
        if now - self._slowed[lane] >= SUCCESS_SECONDS:
            self._slowed[lane] = now
            self._permits.send(["delivered", lane.source, lane.destination])

    # --- Part: what permits says ---------------------------------------------------------------------------------

    def announcement(self) -> list[Note]:
        """Return the lanes that have connections, and how many each."""
        notes: list[Note] = []
        for state in list(self._lanes.values()):
            if state.held:
                notes += [_definition(state), ["holds", state.number, state.held]]
        return notes

    def joined(self) -> None:
        """Ask anew for what is waited for; report what was not told to everybody."""
        for state in list(self._lanes.values()):
            if not state.held and (state.connecting or state.sending):
                self._permits.send(_definition(state))
            if state.connecting:
                state.asked = len(state.connecting)
                self._permits.send(["want", state.number, state.asked])
            if state.sending:
                state.messages_asked = max(1, state.open)
                self._permits.send(["messages", state.number, state.messages_asked])
            self._forget_idle(state)
        now = self._clock.monotonic()
        for scope, (until, note) in list(self._reported.items()):
            if until > now:
                self._permits.send([*note[:_SECONDS], until - now, *note[_SECONDS + 1 :]])
            else:
                del self._reported[scope]

    def left(self) -> None:
        """Nothing of what was asked for will come; connections that were asked back are kept for their users."""
        for state in self._lanes.values():
            state.asked = state.messages_asked = state.messages = state.recalls = 0

    def handle(self, note: Note) -> bool:
        """Act on a note about lanes."""
        match note:
            case ["connect", int() as number, int() as count]:
                self._granted(number, count)
            case ["message", int() as number, int() as count]:
                self._may_send(number, count)
            case ["recall", int() as number, int() as count]:
                self._recalled(number, count)
            case ["standing", kind, destination, source, account, set_name, until_ms, factor, rule, reply]:
                scope = values.scope(kind, destination, source, account, set_name)
                self._reported.pop(scope, None)
                self._put(scope, values.standing(kind, until_ms, factor, rule, reply))
            case ["ended", *fields]:
                self._standings.remove(values.scope(*fields))
            case ["slow", str() as source, str() as destination, int() | float() as factor]:
                self._slow(Lane(source, destination), factor)
            case ["afresh"]:
                for scope, _ in list(self._standings):
                    if scope not in self._reported:
                        self._standings.remove(scope)
                self._slowed.clear()
            case _:
                return False
        return True

    def _granted(self, number: int, count: int) -> None:
        state = self._numbers.get(number)
        if state is None:
            return  # permits took it back when we forgot the lane
        state.held += count
        state.asked = max(0, state.asked - count)
        state.free_since = self._clock.monotonic()
        for _ in range(min(count, len(state.connecting))):
            self._wake_one(state)
        self._look_later()

    def _may_send(self, number: int, count: int) -> None:
        state = self._numbers.get(number)
        if state is None:
            return
        now = self._clock.monotonic()
        state.messages = count + (state.messages if now < state.messages_until else 0)
        state.messages_asked = max(0, state.messages_asked - count)
        state.messages_until = now + MESSAGE_SECONDS
        waiting, state.sending = state.sending, {}
        for wake in waiting:
            wake()
        self._look_later()

    def _recalled(self, number: int, count: int) -> None:
        state = self._numbers.get(number)
        if state is None:
            return
        free = min(count, state.held - state.open - state.recalls)
        if free > 0:
            self._give_back(state, free)
            count -= free
        state.recalls = min(state.held, state.recalls + count)
        for _ in range(count):
            any(recall(state.lane) for recall in self._recalls)

    def _slow(self, lane: Lane, factor: float) -> None:
        if factor < 1:
            self._slowed.setdefault(lane, 0.0)
        else:
            self._slowed.pop(lane, None)
            self._standings.remove(scope_of(EffectKind.SLOW, lane, "", ""))

    def _put(self, scope: Scope, standing: Standing) -> None:
        known = self._standings.get(scope)
        self._standings.put(scope, standing)
        if scope.kind is not EffectKind.SLOW and (known is None or known.until_ms < standing.until_ms):
            for change in self._changes:
                asyncio.get_running_loop().call_soon(change, scope.destination)
        self._look_later()

    # --- inside --------------------------------------------------------------------------------------------------

    def _state(self, lane: Lane, shape: Shape) -> _Lane:
        state = self._lanes.get(lane)
        limits = Limits(shape.connections, shape.connections_per_minute, shape.messages_per_minute)
        if state is None:
            self._last_number += 1
            state = self._lanes[lane] = self._numbers[self._last_number] = _Lane(self._last_number, lane, limits)
            self._permits.send(_definition(state))
        elif state.limits != limits:
            state.limits = limits
            self._permits.send(_definition(state))
        return state

    def _wake_one(self, state: _Lane) -> None:
        if state.connecting:
            wake = next(iter(state.connecting))
            del state.connecting[wake]
            wake()

    def _give_back(self, state: _Lane, count: int) -> None:
        state.held -= count
        self._permits.send(["back", state.number, count])
        self._forget_idle(state)

    def _forget_idle(self, state: _Lane) -> None:
        if state.idle and self._lanes.pop(state.lane, None) is not None:
            del self._numbers[state.number]
            self._permits.send(["forget", state.number])

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._look)

    def _look(self) -> None:
        """Give back what nobody here took, or wake another who waits for it; forget what is over."""
        self._timer = None
        now = self._clock.monotonic()
        again = False
        for state in list(self._lanes.values()):
            free = state.held - state.open - state.recalls
            if free > 0 and state.connecting:
                self._wake_one(state)
            elif free > 0 and now - state.free_since >= IDLE_SECONDS:
                self._give_back(state, free)
                continue
            again |= free > 0
            self._forget_idle(state)
        self._standings.expire(self._clock.now_ms())
        if again:
            self._look_later()


def _definition(state: _Lane) -> Note:
    limits = state.limits
    return [
        "lane",
        state.number,
        state.lane.source,
        state.lane.destination,
        limits.connections,
        limits.connections_per_minute,
        limits.messages_per_minute,
    ]
