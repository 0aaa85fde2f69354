"""The ready window: which deliveries are in memory, on their way, and when the next ones come from the spool.

Memory holds at most `window_max` deliveries; everything else waits in the shard's index. A message just accepted goes
straight into the window with its bytes; when there is no room (`relay.pipeline.ready_window`) it is found later by a
scan.

The index is kept by strands: one for each flow, apart for first attempts and for retries. A scan deals visits to the
strands in turn; a visit takes what is due from the head of one until the account has its share. What is due for a
domain that has enough moves to a strand of its own beside the flow's, once, and is in nobody's way there. So the next
delivery is found at the same cost however much is queued.

A delivery is in the window from the moment it is handed to `Outbound` until its settlement is on disk.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from relay.errors import CorruptionError, TemporaryError
from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.message import RECIPIENT_INDEX_BITS, WEIGHT_DEFAULT, Delivery, NewMessage
from relay.pipeline.ready_window import ReadyWindow, WindowLimits
from relay.ports import Clock, Departures, Job, Log, Spool
from relay.schedule.fair import NO_STRAND, Flow, flow_of, strand_beside, strand_of

SCAN_ROWS = 250  # a step
VISIT_ROWS = 10  # a turn of a strand whose account has the default weight
STRANDS_A_STEP = 100
SCAN_PAUSE_SECONDS = 0.02
PASS_PAUSE_SECONDS = 0.25
IDLE_SECONDS = 5.0
HEADS = 500
STRANDS_KNOWN_SECONDS = 5.0  # after that a strand is read from its head again: an oversight heals
IN_FLIGHT_SLOTS = 4096

CallLater = Callable[[float, Callable[[], None]], object]


@dataclass(slots=True)
class _Strand:
    """What is known of a strand of the index: how far it was read, and what found no room."""

    cursor: tuple[int, int] = (0, 0)
    turn: int = VISIT_ROWS
    taken: int = 0  # of its turn
    more: bool = False  # its turn ended, and it has more
    behind: bool = False  # something due was left in it
    blocked: bool = False  # because there was no room for it
    sample: Delivery | None = None  # one of it: there is the same room for all


@dataclass(slots=True)
class _Pass:
    """One walk over all strands, from behind `start` around to it: what it met so far."""

    start: int = NO_STRAND
    after: int = NO_STRAND  # the last strand that was looked at
    wrapped: bool = False
    ended: bool = False
    visits: deque[int] = field(default_factory=deque)
    served: int = NO_STRAND  # the last strand that had its turn: the next walk begins behind it
    cut_short: bool = False  # a strand found no room in the middle of its turn: the next walk begins with it
    soonest_ms: int | None = None
    more: bool = False  # a turn ended and more is due in its strand
    blocked: bool = False  # something that is due found no room


class Dispatch:
    """Hands due deliveries to `Outbound`, newly accepted ones first of all."""

    def __init__(
        self,
        *,
        spool: Spool,
        outbound: Departures,
        return_path: Callable[[Delivery], str],
        clock: Clock,
        call_later: CallLater,
        log: Log,
        limits: WindowLimits | None = None,
    ) -> None:
        self._spool = spool
        self._outbound = outbound
        self._return_path = return_path
        self._clock = clock
        self._call_later = call_later
        self._log = log
        self._limits = limits or WindowLimits()
        self._window = ReadyWindow(self._limits)
        self._cache: dict[int, Content] = {}
        self._cached_bytes = 0
        self._corrupt: set[int] = set()
        self._slots = list(range(IN_FLIGHT_SLOTS))
        self._slot_of: dict[int, int] = {}
        self._strands: dict[int, _Strand] = {}
        self._strands_known_until = 0.0
        self._pass = _Pass()
        self._scan_at_ms: int | None = None
        self._stopped = False

    def __len__(self) -> int:
        """Return how many deliveries are in the window."""
        return len(self._window)

    # --- in ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin with what the shard holds."""
        self._scan()

    def stop(self) -> None:
        """Hand out nothing more; what is in the window goes on."""
        self._stopped = True

    def accepted(self, new: NewMessage) -> None:
        """Take the deliveries of a message that was just committed."""
        content = new.content
        data: Content | None = None
        if isinstance(content.body, bytes) and self._cached_bytes < self._limits.cache_bytes_max:
            data = content
        for delivery in new.deliveries:
            if delivery.state is not DeliveryState.QUEUED or delivery.key in self._window:
                continue  # in the window: a scan saw the row after its commit and before this call
            if new.message.options.release_ms:  # RFC 4865: it may not leave yet
                self._scan_by(delivery.next_ms)
                continue
            flow = flow_of(delivery.message)
            beyond = False
            if self._stopped or not self._may_pass(delivery, flow):
                beyond = not self._stopped and self._window.takes_beyond(delivery)
                if not beyond:
                    self._left_on_disk(delivery)
                    continue
            self._enqueue(delivery, flow, data, beyond=beyond)

    def later(self, next_ms: int) -> None:
        """Note that a delivery was put off until `next_ms`."""
        self._scan_by(next_ms)

    def requeued(self) -> None:
        """Look at the whole index again: an operator changed states or times."""
        self._strands.clear()
        self._pass = _Pass()
        self._scan_soon()

    # --- out -----------------------------------------------------------------------------------------------------

    def finished(self, key: int) -> None:
        """Forget a delivery whose settlement is on disk."""
        if not self._window.remove(key):
            return
        self._take_cached(key)
        self._corrupt.discard(key)
        slot = self._slot_of.pop(key, None)
        if slot is not None:
            self._spool.in_flight(slot, 0)
            self._slots.append(slot)

    def is_corrupt(self, key: int) -> bool:
        """Say whether the message of a delivery in the window could not be read back."""
        return key in self._corrupt

    def withdraw(self, key: int) -> bool:
        """Take a delivery out of the window; False when it is being attempted now."""
        if key not in self._window:
            return True
        if not self._outbound.withdraw(key):
            return False
        self.finished(key)
        return True

    # --- the window ----------------------------------------------------------------------------------------------

    def _may_pass(self, delivery: Delivery, flow: Flow) -> bool:
        """Say whether a delivery from memory has room: half of it while older ones of its strand are left on disk."""
        room = self._window.room(delivery, flow)
        if self._strands:
            strand = self._strands.get(strand_of(delivery))
            if strand is not None and strand.behind:
                room //= 2
        return room > 0 and self._window.domain_takes(delivery, room)

    def _enqueue(self, delivery: Delivery, flow: Flow, content: Content | None, *, beyond: bool = False) -> None:
        key = delivery.key
        self._window.add(delivery, flow, beyond=beyond)
        if content is not None:
            self._cache[key] = content
            self._cached_bytes += content.size_bytes
        self._outbound.enqueue(Job(delivery, self._return_path(delivery), partial(self._load, key)))

    def _load(self, key: int) -> Content:
        """Return the bytes for an attempt that starts now; those from memory are let go of."""
        if self._slots and key not in self._slot_of:
            slot = self._slots.pop()
            self._slot_of[key] = slot
            self._spool.in_flight(slot, key)
        try:
            return self._take_cached(key) or self._spool.content(key >> RECIPIENT_INDEX_BITS)
        except CorruptionError:
            self._corrupt.add(key)
            raise

    def _take_cached(self, key: int) -> Content | None:
        content = self._cache.pop(key, None)
        if content is not None:
            self._cached_bytes -= content.size_bytes
        return content

    # --- the index -----------------------------------------------------------------------------------------------

    def _left_on_disk(self, delivery: Delivery) -> None:
        """Make sure that a delivery that found no room is seen by a later scan."""
        strand = self._strands.setdefault(strand_of(delivery), _Strand())
        strand.behind = True
        strand.cursor = min(strand.cursor, (delivery.next_ms, delivery.key - 1))
        self._scan_soon()

    def _scan_soon(self) -> None:
        self._scan_by(self._clock.now_ms() + int(PASS_PAUSE_SECONDS * 1000))

    def _scan_by(self, at_ms: int) -> None:
        if self._scan_at_ms is not None and self._scan_at_ms <= at_ms:
            return
        self._scan_at_ms = at_ms
        wait_seconds = max(SCAN_PAUSE_SECONDS, (at_ms - self._clock.now_ms()) / 1000)
        self._call_later(wait_seconds, partial(self._scan_if_due, at_ms))

    def _scan_if_due(self, at_ms: int) -> None:
        if self._scan_at_ms == at_ms:  # else an earlier scan was asked for meanwhile
            self._scan()

    def _scan(self) -> None:
        """Go on with the walk over the strands by one step, and plan the next one."""
        self._scan_at_ms = None
        if self._stopped:
            return
        if self._window.full:
            self._scan_soon()
            return
        try:
            self._walk_on()
        except TemporaryError as error:
            self._log.error("the queue cannot be read, trying again", error=str(error))
            self._scan_by(self._clock.now_ms() + int(IDLE_SECONDS * 1000))

    def _walk_on(self) -> None:
        now_ms, rows = self._clock.now_ms(), SCAN_ROWS
        self._forget_strands()
        if not self._pass.visits:
            self._look_at_strands(now_ms)
        visits, again = self._pass.visits, deque[int]()
        while rows > 0 and (visits or again):
            number = visits.popleft() if visits else again.popleft()
            rows -= self._visit(number, now_ms, rows)
            if self._strands[number].more:
                again.append(number)
        self._pass.more |= bool(again)
        if visits or not self._pass.ended:
            self._scan_by(now_ms + int(SCAN_PAUSE_SECONDS * 1000))
            return
        self._end_pass(now_ms)

    def _forget_strands(self) -> None:
        now = self._clock.monotonic()
        if now >= self._strands_known_until:
            self._strands.clear()
            self._strands_known_until = now + STRANDS_KNOWN_SECONDS

    def _look_at_strands(self, now_ms: int) -> None:
        """Find the next strands in which something is due."""
        walk = self._pass
        found = self._spool.strands(walk.after, STRANDS_A_STEP)
        over = len(found) < STRANDS_A_STEP
        if walk.wrapped and found and found[-1][0] > walk.start:
            found, over = [one for one in found if one[0] <= walk.start], True
        for strand, next_ms in found:
            walk.after = strand
            if next_ms <= now_ms:
                walk.visits.append(strand)
            else:
                self._strands.pop(strand, None)  # all that was due of it is in the window or gone
                walk.soonest_ms = min(next_ms, walk.soonest_ms or next_ms)
        if over:
            walk.ended = walk.wrapped or walk.start == NO_STRAND
            walk.wrapped, walk.after = True, NO_STRAND

    def _visit(self, number: int, now_ms: int, rows_max: int) -> int:
        """Take what is due from the head of a strand, up to its turn; return how many deliveries were read."""
        strand = self._strands.setdefault(number, _Strand())
        room = VISIT_ROWS if strand.sample is None else self._strand_room(strand.sample, number)
        strand.blocked = room <= 0
        if strand.blocked:
            self._pass.blocked, strand.more = True, False
            self._end_visit(number, strand)
            return 0
        keys, more = self._unknown(number, now_ms, strand, min(rows_max, room, max(1, strand.turn - strand.taken)))
        aside: dict[int, list[int]] = {}
        for delivery in self._spool.queued(keys) if keys else ():
            if not self._consider(delivery, number, strand, aside):
                self._pass.blocked = True
                break
        for beside, moved in aside.items():
            self._spool.set_strand(moved, beside)
        strand.more = more and not strand.blocked
        strand.behind = more or strand.blocked
        self._end_visit(number, strand)
        self._pass.more |= bool(aside)
        return max(1, len(keys))

    def _end_visit(self, number: int, strand: _Strand) -> None:
        walk = self._pass
        if strand.more and strand.taken < strand.turn:
            return  # it is visited again in this step
        if strand.blocked and 0 < strand.taken < strand.turn:
            if not walk.cut_short:
                walk.cut_short, walk.served = True, max(NO_STRAND, number - 1)
            return
        if strand.taken and not walk.cut_short:
            walk.served = number
        strand.taken = 0

    def _strand_room(self, sample: Delivery, number: int) -> int:
        """Return how many of a strand the window takes; in a strand for one domain, none when that has enough."""
        room = self._window.room(sample, flow_of(sample.message))
        return room if strand_beside(sample) != number or self._window.domain_takes(sample, room) else 0

    def _unknown(self, number: int, now_ms: int, strand: _Strand, most: int) -> tuple[list[int], bool]:
        """Return what is due in a strand and not in the window, up to `most`, and whether there may be more."""
        keys: list[int] = []
        position, page = strand.cursor, most
        while True:
            heads = self._spool.waiting(number, now_ms, page, position)
            for position in heads:
                if position[1] not in self._window:
                    keys.append(position[1])
                    if len(keys) == most:
                        return keys, True
                elif not keys:
                    strand.cursor = position
            if len(heads) < page:
                return keys, False
            page = HEADS

    def _consider(self, delivery: Delivery, number: int, strand: _Strand, aside: dict[int, list[int]]) -> bool:
        """Take a delivery into the window, or out of the way of others; False: it stays where it is."""
        flow, strand.sample = flow_of(delivery.message), delivery
        strand.turn = max(1, VISIT_ROWS * flow.weight // WEIGHT_DEFAULT)
        room = self._window.room(delivery, flow)
        if room > 0 and self._window.domain_takes(delivery, room):
            self._enqueue(delivery, flow, None)
            strand.taken += 1
        elif room <= 0 or strand_beside(delivery) == number:
            strand.blocked = True
            return False
        else:
            aside.setdefault(strand_beside(delivery), []).append(delivery.key)
        strand.cursor = (delivery.next_ms, delivery.key)
        return True

    def _end_pass(self, now_ms: int) -> None:
        ended = self._pass
        self._pass = _Pass(start=ended.served, after=ended.served, served=ended.served)
        if ended.more:
            self._scan_by(now_ms + int(SCAN_PAUSE_SECONDS * 1000))
            return
        if ended.blocked:
            self._scan_soon()
            return
        idle_ms = now_ms + int(IDLE_SECONDS * 1000)
        self._scan_by(idle_ms if ended.soonest_ms is None else min(ended.soonest_ms, idle_ms))
