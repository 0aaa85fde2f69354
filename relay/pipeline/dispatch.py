"""The ready window: which deliveries are in memory, on their way, and when the next ones come from the spool.

Memory holds at most `window_max` deliveries and `domain_max` of one domain, so that one slow domain delays no other;
everything else waits in the shard's index by time. A message just accepted goes straight into the window with its
bytes; when there is no room it is found later by a scan. A scan walks the index from a cursor in small steps, because
the loop has other work; what it skips (its domain has enough in the window) makes the next pass begin there again.

Either of first attempts and retries may take three quarters of the window and of a domain's part of it, so that new
mail finds room while a great many retries are due (`relay.schedule.lanes`). A window that has its part of retries is
scanned on only while first attempts are known to be left in the index.

A delivery is in the window from the moment it is handed to `Outbound` until its settlement is on disk.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from relay.errors import CorruptionError
from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.message import RECIPIENT_INDEX_BITS, Delivery, NewMessage
from relay.ports import Clock, Departures, Job, Log, Spool
from relay.schedule.lanes import admits, share

SCAN_ROWS = 500
SCAN_PAUSE_SECONDS = 0.02
PASS_PAUSE_SECONDS = 1.0
IDLE_SECONDS = 5.0
IN_FLIGHT_SLOTS = 4096

CallLater = Callable[[float, Callable[[], None]], object]


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """Bounds of the window: deliveries in all, deliveries of one domain, octets of message bodies kept in memory."""

    window_max: int = 5_000
    domain_max: int = 1_000
    cache_bytes_max: int = 64 * 1024 * 1024


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
        self._window: dict[int, Delivery] = {}
        self._retries: Counter[str] = Counter()  # of each domain, in the window
        self._firsts: Counter[str] = Counter()
        self._retries_count = 0
        self._cache: dict[int, Content] = {}
        self._cached_bytes = 0
        self._corrupt: set[int] = set()
        self._slots = list(range(IN_FLIGHT_SLOTS))
        self._slot_of: dict[int, int] = {}
        self._cursor = (0, 0)
        self._first_skipped: tuple[int, int] | None = None
        self._firsts_left = True  # as far as the last pass could tell
        self._firsts_skipped = False  # in this pass
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
            if self._stopped or not self._has_room(delivery):
                self._firsts_left = self._firsts_skipped = True
                self._look_again((delivery.next_ms, delivery.key - 1))
                continue
            self._enqueue(delivery, data)

    def later(self, next_ms: int) -> None:
        """Note that a delivery was put off until `next_ms`."""
        self._scan_by(next_ms)

    def requeued(self) -> None:
        """Look at the whole index again: an operator changed states or times."""
        self._look_again((0, 0))

    # --- out -----------------------------------------------------------------------------------------------------

    def finished(self, key: int) -> None:
        """Forget a delivery whose settlement is on disk."""
        delivery = self._window.pop(key, None)
        if delivery is None:
            return
        self._take_cached(key)
        self._corrupt.discard(key)
        slot = self._slot_of.pop(key, None)
        if slot is not None:
            self._spool.in_flight(slot, 0)
            self._slots.append(slot)
        domain, domains = delivery.domain, self._counts(delivery)
        self._retries_count -= domains is self._retries
        domains[domain] -= 1
        if not domains[domain]:
            del domains[domain]

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

    def _counts(self, delivery: Delivery) -> Counter[str]:
        return self._retries if delivery.attempts else self._firsts

    def _has_room(self, delivery: Delivery) -> bool:
        """Say whether the window, and the domain's part of it, take a delivery more of its kind."""
        limits, domain = self._limits, delivery.domain
        firsts, retries = self._firsts[domain], self._retries[domain]
        all_retries = self._retries_count
        all_firsts = len(self._window) - all_retries
        if delivery.attempts:
            firsts, retries, all_firsts, all_retries = retries, firsts, all_retries, all_firsts
        return admits(all_firsts, all_retries, limits.window_max) and admits(firsts, retries, limits.domain_max)

    def _enqueue(self, delivery: Delivery, content: Content | None) -> None:
        key = delivery.key
        self._window[key] = delivery
        domains = self._counts(delivery)
        domains[delivery.domain] += 1
        self._retries_count += domains is self._retries
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

    def _look_again(self, position: tuple[int, int]) -> None:
        """Make sure that a row at or after `position` is seen by a later scan."""
        if position < self._cursor:
            self._first_skipped = min(position, self._first_skipped or position)
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
        """Walk on through the index by one step and plan the next one."""
        self._scan_at_ms = None
        if self._stopped:
            return
        now_ms = self._clock.now_ms()
        if self._full():
            self._scan_by(now_ms + int(PASS_PAUSE_SECONDS * 1000))
            return
        rows = self._spool.due(now_ms, SCAN_ROWS, self._cursor)
        for delivery in rows:
            self._consider(delivery)
        if len(rows) == SCAN_ROWS:
            self._scan_by(now_ms + int(SCAN_PAUSE_SECONDS * 1000))
            return
        self._end_pass(now_ms)

    def _full(self) -> bool:
        """Say whether nothing in the index could be taken, as far as is known."""
        most = self._limits.window_max
        return len(self._window) >= most or (self._retries_count >= share(most) and not self._firsts_left)

    def _consider(self, delivery: Delivery) -> None:
        position = (delivery.next_ms, delivery.key)
        self._cursor = position
        if delivery.key in self._window:
            return
        if self._has_room(delivery):
            self._enqueue(delivery, None)
            return
        self._firsts_skipped |= not delivery.attempts
        before = (delivery.next_ms, delivery.key - 1)
        self._first_skipped = min(before, self._first_skipped or before)

    def _end_pass(self, now_ms: int) -> None:
        self._firsts_left, self._firsts_skipped = self._firsts_skipped, False
        if self._first_skipped is not None:
            self._cursor, self._first_skipped = self._first_skipped, None
            self._scan_by(now_ms + int(PASS_PAUSE_SECONDS * 1000))
            return
        next_ms = self._spool.next_due_ms()
        idle_ms = now_ms + int(IDLE_SECONDS * 1000)
        self._scan_by(idle_ms if next_ms is None or next_ms <= now_ms else min(next_ms, idle_ms))
