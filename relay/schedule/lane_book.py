"""Who may use a lane now: connections and rates of all lanes, shared exactly among workers. Pure.

A *holder* is a worker by its number. It asks for connections and messages, is granted them one by one, and gives
connections back; a message's right is used at once or lost. At no instant do the connections of all holders exceed
the limit. Limits come with each holder's requests: while holders disagree (a reload) the lowest one counts.

Fairness: what is free goes to the holder with the fewest. When nothing is free, the richest is asked to give one
back if that brings the two closer, or if the other has none and the richest has had its for a slice of time. Messages
are given to those that wait in turns.

Nothing is granted before `open`: what holders have must be known first.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from relay.model.lane import Lane
from relay.schedule.lane_rate import MinuteRate

SLICE_SECONDS = 0.5
REMEMBERED_SECONDS = 61.0  # longer ago, a rate is as if new
UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a lane as a holder knows them; 0: none."""

    connections: int
    connections_per_minute: int = 0
    messages_per_minute: int = 0


class Word(StrEnum):
    """What a holder is told."""

    CONNECT = "connect"  # it may open so many more connections
    RECALL = "recall"  # it shall give so many back soon
    MESSAGE = "message"  # it may send so many messages now


Tell = Callable[[int, Lane, Word, int], None]


@dataclass(slots=True)
class _Part:
    """What one holder has of a lane and wants of it."""

    limits: Limits
    held: int = 0
    wants: int = 0
    recalled: int = 0
    since: float = 0.0
    messages: int = 0


@dataclass(slots=True)
class _State:
    """One lane."""

    lane: Lane
    connecting: MinuteRate
    sending: MinuteRate
    parts: dict[int, _Part] = field(default_factory=dict)
    turns: deque[int] = field(default_factory=deque)  # holders that wait for messages
    factor: float = 1.0
    due_at: float = math.inf

    def limit(self, name: str) -> float:
        """Return the lowest limit that any holder knows, with the factor; infinity for none."""
        given = [value for part in self.parts.values() if (value := getattr(part.limits, name))]
        return min(given) * self.factor if given else math.inf

    @property
    def connections(self) -> int:
        """The connections that all holders may have."""
        limit = self.limit("connections")
        return UNLIMITED if limit == math.inf else max(1, int(limit + 1e-9))

    @property
    def in_use(self) -> int:
        """The connections that all holders have."""
        return sum(part.held for part in self.parts.values())


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """What is known of a lane, for people."""

    lane: Lane
    connections: int
    in_use: int
    waiting: int
    messages_waiting: int
    connections_per_minute: float
    messages_per_minute: float
    factor: float


class LaneBook:
    """All lanes. `tell` is called from inside the methods. Times are monotonic seconds."""

    def __init__(self, tell: Tell, now: float) -> None:
        self._tell = tell
        self._started = now
        self._open = False
        self._lanes: dict[Lane, _State] = {}
        self._hungry: dict[Lane, _State] = {}
        self._due: list[tuple[float, str, str]] = []

    # --- what holders say ---

    def announce(self, holder: int, held: dict[Lane, tuple[Limits, int]], now: float) -> None:
        """Replace all that is known of a holder: limits and connections it has by lane."""
        self.drop(holder, now)
        for lane, (limits, count) in held.items():
            part = self._part(holder, lane, limits)
            part.held, part.since = count, now

    def open(self, now: float) -> None:
        """Begin to grant."""
        self._open = True
        for state in list(self._lanes.values()):
            self._serve(state, now)

    def want(self, holder: int, lane: Lane, limits: Limits, count: int, now: float) -> None:
        """Ask for connections more."""
        self._part(holder, lane, limits).wants += count
        self._serve(self._lanes[lane], now)

    def back(self, holder: int, lane: Lane, count: int, now: float) -> None:
        """Take connections back."""
        state = self._lanes.get(lane)
        part = state.parts.get(holder) if state else None
        if state is None or part is None:
            return
        part.held = max(0, part.held - count)
        part.recalled = max(0, min(part.recalled - count, part.held))
        self._serve(state, now)

    def want_messages(self, holder: int, lane: Lane, limits: Limits, count: int, now: float) -> None:
        """Ask for the right to send messages."""
        part = self._part(holder, lane, limits)
        state = self._lanes[lane]
        if not part.messages:
            state.turns.append(holder)
        part.messages += count
        self._serve(state, now)

    def forget(self, holder: int, lane: Lane, now: float) -> None:
        """Note that a holder has nothing of a lane and wants nothing."""
        state = self._lanes.get(lane)
        if state is None or state.parts.pop(holder, None) is None:
            return
        if holder in state.turns:
            state.turns.remove(holder)
        self._serve(state, now)

    def drop(self, holder: int, now: float) -> None:
        """Forget a holder that is gone, with its connections."""
        for lane in [lane for lane, state in self._lanes.items() if holder in state.parts]:
            self.forget(holder, lane, now)

    def quiet(self, holder: int, now: float) -> None:
        """Note that a holder cannot be told anything: it keeps what it has, and waits for nothing."""
        for state in list(self._lanes.values()):
            part = state.parts.get(holder)
            if part is not None:
                part.wants = part.messages = 0
                if holder in state.turns:
                    state.turns.remove(holder)
                self._serve(state, now)

    def use(self, lane: Lane, factor: float, now: float) -> None:
        """Let a lane use a part of its limits from now on."""
        state = self._lanes.get(lane)
        if state is None:
            if factor == 1.0:
                return
            state = self._make(lane)
        state.factor = factor
        self._serve(state, now)

    # --- time ---

    def tick(self, now: float) -> None:
        """Look at lanes whose holders wait for each other; call it a few times a second."""
        for state in list(self._hungry.values()):
            self._serve(state, now)

    def due(self, now: float) -> float:
        """Grant what rates allow by now; return when to call again, infinity when something must happen first."""
        while self._due and self._due[0][0] <= now:
            at, source, destination = heapq.heappop(self._due)
            state = self._lanes.get(Lane(source, destination))
            if state is not None and state.due_at == at:
                state.due_at = math.inf
                self._serve(state, now)
        return self._due[0][0] if self._due else math.inf

    def sweep(self, now: float) -> None:
        """Forget lanes without holders whose rates have nothing to remember; call it about once a minute."""
        for lane, state in list(self._lanes.items()):
            if not state.parts and state.factor == 1.0 and now - self._stamp_of(state) > REMEMBERED_SECONDS:
                del self._lanes[lane]

    # --- for people ---

    def __len__(self) -> int:
        return len(self._lanes)

    def figures(self) -> Iterator[LaneFigures]:
        """Return all lanes."""
        for state in self._lanes.values():
            yield LaneFigures(
                state.lane,
                0 if state.connections == UNLIMITED else state.connections,
                state.in_use,
                sum(part.wants for part in state.parts.values()),
                sum(part.messages for part in state.parts.values()),
                _finite(state.limit("connections_per_minute")),
                _finite(state.limit("messages_per_minute")),
                state.factor,
            )

    # --- inside ---

    def _make(self, lane: Lane) -> _State:
        # Tokens gather from the start on: a lane that is new, or was quiet for a minute, may begin at once.
        state = _State(lane, MinuteRate(self._started), MinuteRate(self._started))
        self._lanes[lane] = state
        return state

    def _part(self, holder: int, lane: Lane, limits: Limits) -> _Part:
        state = self._lanes.get(lane) or self._make(lane)
        part = state.parts.get(holder)
        if part is None:
            part = state.parts[holder] = _Part(limits)
        part.limits = limits
        return part

    @staticmethod
    def _stamp_of(state: _State) -> float:
        return max(state.connecting.stamp, state.sending.stamp)

    def _serve(self, state: _State, now: float) -> None:
        """Grant what can be granted, recall what should come back, and note when to look again."""
        if not self._open:
            return
        self._grant_connections(state, now)
        self._grant_messages(state, now)
        if any(part.wants for part in state.parts.values()):
            self._hungry[state.lane] = state
        else:
            self._hungry.pop(state.lane, None)

    def _grant_connections(self, state: _State, now: float) -> None:
        limit, rate = state.connections, state.limit("connections_per_minute")
        in_use = state.in_use
        granted: dict[int, int] = {}
        while in_use < limit and (holder := _poorest(state)) is not None:
            if rate != math.inf:
                if not state.connecting.available(rate, now):
                    self._look_at(state, state.connecting.next_at(rate))
                    break
                state.connecting.take(1)
            part = state.parts[holder]
            part.held += 1
            part.wants -= 1
            part.since = now
            in_use += 1
            granted[holder] = granted.get(holder, 0) + 1
        for holder, count in granted.items():
            self._tell(holder, state.lane, Word.CONNECT, count)
        if in_use >= limit:
            self._recall(state, in_use - limit, now)

    def _recall(self, state: _State, excess: int, now: float) -> None:
        """Ask the richest for what is above the limit, and for what makes room for the poorest who waits."""
        recalled = sum(part.recalled for part in state.parts.values())
        for _ in range(excess - recalled):
            self._recall_one(state)
        if excess > 0 or recalled > 0 or (poor := _poorest(state)) is None:
            return
        rich, most = _richest(state)
        if rich is None or rich == poor:
            return
        least = state.parts[poor].held
        waited = least == 0 and most == 1 and now - state.parts[rich].since >= SLICE_SECONDS
        if most >= least + 2 or waited:
            self._recall_one(state)

    def _recall_one(self, state: _State) -> None:
        rich, _ = _richest(state)
        if rich is not None:
            state.parts[rich].recalled += 1
            self._tell(rich, state.lane, Word.RECALL, 1)

    def _grant_messages(self, state: _State, now: float) -> None:
        if not state.turns:
            return
        rate = state.limit("messages_per_minute")
        available = UNLIMITED if rate == math.inf else state.sending.available(rate, now)
        granted: dict[int, int] = {}
        while available and state.turns:
            holder = state.turns.popleft()
            part = state.parts[holder]
            part.messages -= 1
            available -= 1
            granted[holder] = granted.get(holder, 0) + 1
            if part.messages:
                state.turns.append(holder)
        for holder, count in granted.items():
            if rate != math.inf:
                state.sending.take(count)
            self._tell(holder, state.lane, Word.MESSAGE, count)
        if state.turns:
            self._look_at(state, state.sending.next_at(rate))

    def _look_at(self, state: _State, at: float) -> None:
        if at < state.due_at:
            state.due_at = at
            heapq.heappush(self._due, (at, state.lane.source, state.lane.destination))


def _poorest(state: _State) -> int | None:
    """Return the holder that wants a connection and has the fewest; among equals, whose turn is the longest ago."""
    wanting = [(part.held, part.since, holder) for holder, part in state.parts.items() if part.wants]
    return min(wanting)[2] if wanting else None


def _richest(state: _State) -> tuple[int | None, int]:
    """Return the holder with the most connections that were not recalled, and their number."""
    having = [(part.held - part.recalled, -part.since, holder) for holder, part in state.parts.items()]
    most, _, holder = max(having, default=(0, 0.0, 0))
    return (holder, most) if most > 0 else (None, 0)


def _finite(value: float) -> float:
    return 0.0 if value == math.inf else value
