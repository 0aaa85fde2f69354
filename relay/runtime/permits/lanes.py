"""Lanes in the permits process: connections, rates, factors and standing effects, for all workers.

What is decided is pure (`relay.schedule.lane_book`, `lane_factor`, `standings`); here it meets connections, timers
and the file. A worker that lost its connection to us but lives keeps what it holds, because its connections to
receivers are open: it is forgotten when its process ends, or replaced when it announces again. Nothing is granted
before every worker that may have connections has announced them.

An effect is told to the workers once it is on disk; the one that reported it obeys it from the start.
"""

import asyncio
import math
import os
import select
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from relay.model.lane import Lane
from relay.ports import Clock, Json
from relay.runtime.permits import values
from relay.runtime.permits.keeper import Keeper
from relay.runtime.permits.protocol import Note, ProtocolError
from relay.schedule.effects import EffectKind, Standing
from relay.schedule.lane_book import LaneBook, LaneFigures, Limits, Word
from relay.schedule.lane_factor import LaneFactor
from relay.schedule.standings import Scope, Standings, scope_of
from relay.store.permits_file import Write

_SCOPE_FIELDS = ("kind", "destination", "source", "account", "configuration_set")
_EFFECT_FIELDS = (*_SCOPE_FIELDS, "until_ms", "factor", "rule", "reply")
LANES_OF_WORKER_MAX = 200_000
EFFECT_SECONDS_MAX = 30 * 86_400.0


class Peer(Protocol):
    """A worker's connection."""

    shard: int

    def tell(self, note: Note) -> None:
        """Send a note with the others of this turn."""
        ...


@dataclass(slots=True)
class WorkerLanes:
    """The lanes that a connection has numbered, and what it announced to hold."""

    lanes: dict[int, tuple[Lane, Limits]] = field(default_factory=dict)
    numbers: dict[Lane, int] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)

    def define(self, note: Note) -> None:
        """Take up a lane's number or its new limits."""
        _, number, source, destination, *limits = note
        number, lane = values.count(number), values.lane(source, destination)
        if len(self.lanes) >= LANES_OF_WORKER_MAX and number not in self.lanes:
            raise ProtocolError("too many lanes")
        self.lanes[number] = (lane, values.limits(*limits))
        self.numbers[lane] = number

    def find(self, number: object) -> tuple[Lane, Limits]:
        """Return a lane by its number. Raise KeyError, which ends the connection."""
        return self.lanes[values.count(number)]


class LaneDesk:
    """All lanes. Lives on the event loop of permits."""

    def __init__(self, clock: Clock, keeper: Keeper | None = None) -> None:
        self._clock = clock
        self._keeper = keeper
        self._book = LaneBook(self._tell, clock.monotonic())
        self._standings = Standings()
        self._factors: dict[Lane, LaneFactor] = {}
        self._peers: dict[int, tuple[Peer, WorkerLanes]] = {}
        self._processes: dict[int, int] = {}  # pid descriptors of holders
        self._orphans: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    # --- workers that come and go --------------------------------------------------------------------------------

    def _greet(self, peer: Peer) -> None:
        """Tell a worker what is in force; what it knew before does not count."""
        now_ms = self._clock.now_ms()
        peer.tell(["afresh"])
        for scope, standing in self._standings:
            if standing.until_ms > now_ms:
                peer.tell(["standing", *values.scope_fields(scope), *values.standing_fields(standing)])
        for lane, factor in self._factors.items():
            if not factor.whole:
                peer.tell(["slow", lane.source, lane.destination, factor.value])

    def announced(self, peer: Peer, lanes: WorkerLanes, process: int) -> None:
        """Replace what is known of a worker; `process` is its number, 0 when it is not known."""
        self._let_go(peer.shard)
        held = {lanes.lanes[number][0]: (lanes.lanes[number][1], count) for number, count in lanes.held.items()}
        self._peers[peer.shard] = (peer, lanes)
        self._processes[peer.shard] = _watch(process)
        self._book.announce(peer.shard, held, self._clock.monotonic())
        lanes.held.clear()
        self._greet(peer)
        self._plan()

    def left(self, peer: Peer) -> None:
        """A connection is gone: what its worker holds counts until its process ends or announces again."""
        known = self._peers.get(peer.shard)
        if known is None or known[0] is not peer:
            return
        del self._peers[peer.shard]
        self._orphans.add(peer.shard)
        self._book.quiet(peer.shard, self._clock.monotonic())
        self._bury()

    def open(self) -> None:
        """Begin to grant: everybody who may hold something has announced it."""
        self._book.open(self._clock.monotonic())
        self._plan()

    def tick(self) -> None:
        """Look after what only time changes; called a few times a second."""
        now = self._clock.monotonic()
        self._bury()
        for lane, factor in list(self._factors.items()):
            if factor.rise(now):
                self._use(lane, factor)
        for scope in self._standings.expire(self._clock.now_ms()):
            if scope.kind is not EffectKind.SLOW:  # a slowed lane keeps its row until it is whole
                self._keep("remove_standing", values.scope_fields(scope))
        self._book.tick(now)
        self._plan()

    def sweep(self) -> None:
        """Forget lanes without use; called about once a minute."""
        self._book.sweep(self._clock.monotonic())

    # --- what workers say ----------------------------------------------------------------------------------------

    def want(self, shard: int, lane: Lane, limits: Limits, count: int) -> None:
        """A worker asks for connections."""
        self._book.want(shard, lane, limits, count, self._clock.monotonic())
        self._plan()

    def back(self, shard: int, lane: Lane, count: int) -> None:
        """A worker gives connections back."""
        self._book.back(shard, lane, count, self._clock.monotonic())
        self._plan()

    def want_messages(self, shard: int, lane: Lane, limits: Limits, count: int) -> None:
        """A worker asks for messages."""
        self._book.want_messages(shard, lane, limits, count, self._clock.monotonic())
        self._plan()

    def forget(self, shard: int, lane: Lane) -> None:
        """A worker has and wants nothing of a lane."""
        self._book.forget(shard, lane, self._clock.monotonic())
        self._plan()

    def delivered(self, lane: Lane) -> None:
        """A slowed lane carries mail."""
        factor = self._factors.get(lane)
        if factor is not None:
            factor.delivered()

    def effect(self, note: Note) -> None:
        """Put an effect into force, for all workers, once it is kept."""
        _, kind, source, destination, account, configuration_set, seconds, factor, rule, reply = note
        kind, lane = EffectKind(kind), values.lane(source, destination)
        seconds = min(values.real(seconds), EFFECT_SECONDS_MAX)
        until_ms = self._clock.now_ms() + int(seconds * 1000)
        scope = scope_of(kind, lane, values.name(account), values.name(configuration_set))
        standing = values.standing(kind, until_ms, factor, rule, reply)
        if kind is EffectKind.SLOW:
            standing = self._slow(lane, standing, seconds)
        known = self._standings.get(scope)
        if known is not None and known.until_ms > standing.until_ms:
            standing = known  # told again, so that the one who reported it knows that it is known
        row = (*values.scope_fields(scope), *values.standing_fields(standing))
        writes: list[Write] = [("put_standing", row)]
        writes += [("remove_standing", values.scope_fields(gone)) for gone in self._standings.put(scope, standing)]
        told: Note = ["standing", *row]
        if self._keeper is None:
            self._tell_all(told)
        else:
            self._keeper.write(writes, lambda _kept: self._tell_all(told))

    def end(self, scope: Scope) -> bool:
        """End an effect before its time, as an operator asks; False when there is none."""
        found = self._standings.remove(scope)
        if scope.kind is EffectKind.SLOW and (factor := self._factors.get(Lane(scope.source, scope.destination))):
            factor.value, found = 1.0, True
            self._use(Lane(scope.source, scope.destination), factor)
        if found:
            self._keep("remove_standing", values.scope_fields(scope))
            self._tell_all(["ended", *values.scope_fields(scope)])
        return found

    # --- restart -------------------------------------------------------------------------------------------------

    def restore(self, rows: list[tuple[object, ...]]) -> None:
        """Take over what was in force when the last run ended; a clock that went back prolongs nothing for long."""
        now_ms, now = self._clock.now_ms(), self._clock.monotonic()
        most = now_ms + int(EFFECT_SECONDS_MAX * 1000)
        for kind, destination, source, account, configuration_set, until_ms, factor, rule, reply in rows:
            until = min(values.count(until_ms), most)
            scope = values.scope(kind, destination, source, account, configuration_set)
            standing = values.standing(kind, until, factor, rule, reply)
            if scope.kind is EffectKind.SLOW:
                lane = Lane(scope.source, scope.destination)
                cut = self._factors[lane] = LaneFactor(now)
                cut.restore(standing.factor, now + (until - now_ms) / 1000, now)
                self._use(lane, cut)
            if until > now_ms:
                self._standings.put(scope, standing)
            elif scope.kind is not EffectKind.SLOW:
                self._keep("remove_standing", values.scope_fields(scope))

    # --- for people ----------------------------------------------------------------------------------------------

    def listing(self, request: Json) -> Json:
        """Answer `lanes.list`: all lanes with use or a cut, sorted, in pages; each with its effects."""
        wanted, after, most = str(request.get("destination", "")), str(request.get("after", "")), 500
        figures = {str(one.lane): one for one in self._book.figures() if not wanted or one.lane.destination == wanted}
        keys = sorted(key for key in figures if key > after)
        items = [_figures(figures[key]) for key in keys[:most]]
        return {"items": items, "next": keys[most - 1] if len(keys) > most else None}

    def effects(self, request: Json) -> Json:
        """Answer `lanes.effects`: all effects in force, sorted, in pages."""
        after, most = tuple(map(str, request.get("after") or ())), 500
        rows = sorted((values.scope_fields(s), values.standing_fields(e)) for s, e in self._standings)
        rows = [row for row in rows if row[0] > after]
        items = [dict(zip(_EFFECT_FIELDS, (*scope, *standing), strict=True)) for scope, standing in rows[:most]]
        return {"items": items, "next": rows[most - 1][0] if len(rows) > most else None}

    def lift(self, request: Json) -> Json:
        """Answer `lanes.lift`: end an effect, given by its scope as `lanes.effects` has it."""
        return {"ended": self.end(values.scope(*(request[name] for name in _EFFECT_FIELDS[:5])))}

    def totals(self) -> dict[str, int]:
        """Return numbers for metrics: lanes, connections in use, waiting for one, slowed lanes."""
        figures = list(self._book.figures())
        return {
            "known": len(figures),
            "connections": sum(one.in_use for one in figures),
            "waiting": sum(1 for one in figures if one.waiting or one.messages_waiting),
            "slowed": sum(1 for factor in self._factors.values() if not factor.whole),
        }

    def standing_totals(self) -> dict[EffectKind, int]:
        """Return the number of effects in force by kind."""
        totals = dict.fromkeys(EffectKind, 0)
        for scope, _ in self._standings:
            totals[scope.kind] += 1
        return totals

    # --- inside --------------------------------------------------------------------------------------------------

    def _slow(self, lane: Lane, standing: Standing, seconds: float) -> Standing:
        factor = self._factors.get(lane)
        now = self._clock.monotonic()
        if factor is None:
            factor = self._factors[lane] = LaneFactor(now)
        factor.cut(standing.factor, seconds, now)
        self._use(lane, factor)
        until_ms = self._clock.now_ms() + int((factor.until - now) * 1000)
        return Standing(EffectKind.SLOW, until_ms, standing.rule, standing.reply, factor.value)

    def _use(self, lane: Lane, factor: LaneFactor) -> None:
        """Let the book and the workers know a factor; a whole one is forgotten."""
        self._book.use(lane, factor.value, self._clock.monotonic())
        self._tell_all(["slow", lane.source, lane.destination, factor.value])
        if factor.whole:
            self._factors.pop(lane, None)
            self._keep("remove_standing", values.scope_fields(scope_of(EffectKind.SLOW, lane, "", "")))
        self._plan()

    def _keep(self, name: str, row: tuple[object, ...]) -> None:
        if self._keeper is not None:
            self._keeper.write([(name, row)])

    def _tell(self, shard: int, lane: Lane, word: Word, count: int) -> None:
        known = self._peers.get(shard)
        number = known[1].numbers.get(lane) if known is not None else None
        if known is not None and number is not None:
            known[0].tell([word.value, number, count])

    def _tell_all(self, note: Note) -> None:
        for peer, _ in self._peers.values():
            peer.tell(note)

    def _plan(self) -> None:
        """Come back when a rate allows the next one."""
        at = self._book.due(self._clock.monotonic())
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.001, at - self._clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self._plan()

    def _bury(self) -> None:
        """Forget workers whose process has ended."""
        for shard in [shard for shard in self._orphans if _ended(self._processes.get(shard, -1))]:
            self._let_go(shard)
            self._book.drop(shard, self._clock.monotonic())
            self._plan()

    def _let_go(self, shard: int) -> None:
        self._orphans.discard(shard)
        descriptor = self._processes.pop(shard, -1)
        if descriptor >= 0:
            os.close(descriptor)


def _watch(process: int) -> int:
    """Return a descriptor that tells when a process ends; -1 when it has ended."""
    try:
        return os.pidfd_open(process) if process else -1
    except OSError:
        return -1


def _ended(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _figures(one: LaneFigures) -> Json:
    return {
        "source": one.lane.source,
        "destination": one.lane.destination,
        "connections": one.connections,
        "in_use": one.in_use,
        "waiting": one.waiting,
        "messages_waiting": one.messages_waiting,
        "connections_per_minute": one.connections_per_minute,
        "messages_per_minute": one.messages_per_minute,
        "factor": one.factor,
    }


# --- notes ---------------------------------------------------------------------------------------------------------


class Speaker(Peer, Protocol):
    """A connection whose notes are handled here."""

    lanes: WorkerLanes


def _lane(peer: Speaker, _desk: LaneDesk, note: Note) -> None:
    peer.lanes.define(note)


def _want(peer: Speaker, desk: LaneDesk, note: Note) -> None:
    desk.want(peer.shard, *peer.lanes.find(note[1]), values.count(note[2]))


def _back(peer: Speaker, desk: LaneDesk, note: Note) -> None:
    known = peer.lanes.lanes.get(values.count(note[1]))
    if known is not None:  # what was granted while it was being forgotten was taken back then
        desk.back(peer.shard, known[0], values.count(note[2]))


def _messages(peer: Speaker, desk: LaneDesk, note: Note) -> None:
    desk.want_messages(peer.shard, *peer.lanes.find(note[1]), values.count(note[2]))


def _forget(peer: Speaker, desk: LaneDesk, note: Note) -> None:
    lane, _ = peer.lanes.lanes.pop(values.count(note[1]), (None, None))
    if lane is not None and peer.lanes.numbers.get(lane) == note[1]:
        del peer.lanes.numbers[lane]
        desk.forget(peer.shard, lane)


def _effect_note(_peer: Speaker, desk: LaneDesk, note: Note) -> None:
    desk.effect(note)


def _delivered(_peer: Speaker, desk: LaneDesk, note: Note) -> None:
    desk.delivered(values.lane(note[1], note[2]))


ACTIONS: dict[str, Callable[[Speaker, LaneDesk, Note], None]] = {
    "lane": _lane,
    "want": _want,
    "back": _back,
    "messages": _messages,
    "forget": _forget,
    "effect": _effect_note,
    "delivered": _delivered,
}
