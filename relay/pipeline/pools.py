"""Sources from pools: which address of ours a delivery leaves from (relay.pipeline.departure.Sources).

The order of candidates is `relay.schedule.pools`; here they are asked one by one: is the address passed over at this
provider, and is there room in its warm-up. A retry keeps the address of its last attempt, wherever it was moved
since, as long as it exists, can be used and may carry the account's mail; else it gets a new one like all others.
Where that address warms up and is out of room for some minutes the retry waits for it, in the message's first hour;
when there is none today it leaves as all mail does that has no room: the next day may be too late for it.
When nobody may carry the delivery it waits, without an attempt.

Nothing here waits or reads a disk, except for one look at the catalog's version every quarter of a second.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from relay.errors import StorageError
from relay.mail.replies import NO_REVERSE_DNS
from relay.model.lane import Lane, Source
from relay.model.message import Delivery
from relay.model.outcome import Outcome, Stage
from relay.model.pool import DEFAULT_POOL, NO_POOLS, RELAY, PoolSnapshot, SourceAddress
from relay.pipeline.departure import Chosen, Deferral, Gate, Room, Volumes, family
from relay.ports import Clock, Directory, Log, Metrics
from relay.schedule.backlog import Backlog
from relay.schedule.effects import EffectKind
from relay.schedule.pools import Candidate, Plan, PoolBook, Turns, source_of, unusable
from relay.smtp.client.answer import Answer, local_failure

LOOK_SECONDS = 0.25  # how old what is known of the catalog may be
GONE_SECONDS = 5.0  # longer than the office takes to notice
RETRY_WAITS_MS = 900_000  # for room at the address of its last attempt: receivers that greylist remember longer
RETRY_PATIENCE_MS = 3_600_000  # since it was accepted
WAIT_MS = 60_000  # until a pool without a usable address is looked at again; each look is a write
_NOBODY = Source()
_NOTHING_LEFT: Iterator[Candidate] = iter(())
_UNSENT = frozenset(
    (
        *(Stage.ROUTE, Stage.DNS, Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.TLS, Stage.AUTH),
        *(Stage.SHAPING, Stage.SCAN, Stage.LOCAL),
    )
)
"""Where an attempt ended before the receiver was told of a message: its room is given back."""


class Shelf:
    """The book of a directory, made anew when that has another snapshot."""

    __slots__ = ("_book", "_directory", "_snapshot")

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._snapshot: PoolSnapshot = NO_POOLS
        self._book = PoolBook(NO_POOLS)

    def book(self) -> PoolBook:
        """Return the book of what the directory has now. Raise StorageError when it cannot be read."""
        snapshot = self._directory.pools()
        if snapshot is not self._snapshot:
            self._book = PoolBook(snapshot)
            self._snapshot = snapshot
        return self._book


@dataclass(slots=True)
class _Search:
    """A delivery that looks for its address: what is left to ask, and why the others would not do."""

    delivery: Delivery
    where: str
    plan: Plan
    then: Chosen
    left: Iterator[Candidate] = _NOTHING_LEFT
    late: bool = False
    asked: str = ""
    fitting: bool = False
    blocked: str = ""
    not_before_ms: int = 0

    def is_late(self) -> bool:
        """Say whether an address told that what it has no room for should wait."""
        return self.late


class PoolSources:
    """Chooses source addresses from the pools of the catalog, for all lines of one worker."""

    def __init__(
        self,
        *,
        directory: Directory,
        gate: Gate,
        volumes: Volumes,
        clock: Clock,
        log: Log,
        metrics: Metrics,
        seed: int = 0,
        workers: int = 1,
        on_lost: Callable[[str], object] | None = None,
    ) -> None:
        self._workers = workers
        self._backlog = Backlog()
        self._directory = directory
        self._shelf = Shelf(directory)
        self._book = PoolBook(NO_POOLS)
        self._looked = float("-inf")
        self._readable = True
        self._on_lost = on_lost or _nobody_asks
        self._gate = gate
        self._volumes = volumes
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._turns = Turns(seed)
        self._gone: dict[str, float] = {}  # addresses that could not be bound, until when they are passed over
        self._taken: dict[tuple[str, int], str] = {}  # where room was taken for a choice: message id, index

    # --- Sources -------------------------------------------------------------------------------------------------

    def choose(self, delivery: Delivery, site: str, provider: str, families: frozenset[int], then: Chosen) -> None:
        """Give the source of a delivery to `then`, from inside the call unless a warm-up must be asked."""
        book = self._current()
        message = delivery.message
        if book.plain and not message.options.pool:
            then(_NOBODY)
            return
        where = provider or site
        plan = book.plan(message.account, message.options.pool)
        if plan.system:
            then(_NOBODY)
            return
        search = _Search(delivery, where, plan, then)
        search.left = plan.candidates(families, self._turns.next(where), search.is_late)
        kept = self._kept(book, delivery, families)
        if kept is None:
            self._go_on(search)
        else:
            self._ask(search, kept)

    def settled(self, delivery: Delivery, provider: str, source: Source, outcome: Outcome | None) -> None:
        """Note what became of a choice; room that was not used goes back."""
        if self._taken:
            where = self._taken.pop((delivery.message.message_id, delivery.index), None)
            if where is not None and (outcome is None or outcome.stage in _UNSENT):
                self._volumes.give_back(source.address, where)
        if outcome is not None and source.address and outcome.stage is not Stage.SHAPING:
            known = self._book.address(source.address)
            label = _label(source, known)
            self._metrics.count("relay_source_attempts_total", source.address, label, outcome.verdict.value)
            if known is not None and known.managed:  # POOL-016
                self._metrics.count("relay_managed_attempts_total", label, provider or "other", outcome.verdict.value)

    def look(self) -> None:
        """See what changed, also while nothing is chosen."""
        self._current()

    def gone(self, address: str) -> bool:
        """Pass an address over until the office has looked at it."""
        self._on_lost(address)
        self._gone[address] = self._clock.monotonic() + GONE_SECONDS
        return True

    def address(self, address: str) -> SourceAddress | None:
        """Return an address of the catalog, as choices go by it."""
        return self._book.address(address)

    def _current(self) -> PoolBook:
        """Return the book of what acceptance saw last, a quarter of a second old at most.

        While the catalog cannot be read it is an older one, and the catalog is not asked again before that time.
        """
        now = self._clock.monotonic()
        due = now - self._looked >= LOOK_SECONDS
        if due or self._readable:
            try:
                if due:
                    self._looked = now
                    self._directory.refresh()
                self._take_on(self._shelf.book())
                self._readable = True
            except StorageError as error:
                self._readable = False
                self._log.warning("pools cannot be read, going on with those known", error=str(error))
        return self._book

    def _take_on(self, book: PoolBook) -> None:
        if book is self._book:
            return
        lost, self._book = book.absent - self._book.absent, book
        for address in lost:
            self._on_lost(address)

    # --- the search ----------------------------------------------------------------------------------------------

    def _kept(self, book: PoolBook, delivery: Delivery, families: frozenset[int]) -> Candidate | None:
        """Return the address of the last attempt while it may be used again."""
        if not delivery.source or delivery.message.options.pool.startswith("@"):
            return None
        address = book.address(delivery.source)
        if address is None or family(address.address) not in families or unusable(address):
            return None
        return (
            Candidate(source_of(address), address.warming)
            if book.may_carry(address, delivery.message.account)
            else None
        )

    def _go_on(self, search: _Search) -> None:
        for candidate in search.left:
            if candidate.source.address != search.asked and not self._blocked(search, candidate):
                self._use(search, candidate)
                return
        search.then(self._nobody(search))

    def _ask(self, search: _Search, candidate: Candidate) -> None:
        """Ask for the address of the last attempt, then for all others."""
        search.asked = candidate.source.address
        if self._blocked(search, candidate):
            self._go_on(search)
        else:
            self._use(search, candidate)

    def _use(self, search: _Search, candidate: Candidate) -> None:
        if candidate.warming:
            self._take(search, candidate)
        else:
            search.then(candidate.source)

    def _blocked(self, search: _Search, candidate: Candidate) -> bool:
        """Say whether a provider's answer lets this address be passed over there."""
        search.fitting = True
        address = candidate.source.address
        if self._gone and self._gone.get(address, 0.0) > self._clock.monotonic():
            search.blocked = search.blocked or f"{address} is not an address of this host"
            search.not_before_ms = search.not_before_ms or self._clock.now_ms() + WAIT_MS
            return True
        standing = self._gate.standing(Lane(address, search.where), search.delivery)
        if standing is None or standing.kind is not EffectKind.SWITCH:
            return False
        search.blocked = search.blocked or f"{address} is passed over at {search.where} by rule {standing.rule}"
        search.not_before_ms = min(search.not_before_ms or standing.until_ms, standing.until_ms)
        return True

    def _take(self, search: _Search, candidate: Candidate) -> None:
        source = candidate.source

        def answered(room: Room) -> None:
            if room.not_before_ms:
                search.late = search.late or room.late
                search.not_before_ms = min(search.not_before_ms or room.not_before_ms, room.not_before_ms)
                if source.address == search.asked and self._is_patient(search, room.not_before_ms):
                    search.then(self._nobody(search))
                else:
                    self._go_on(search)
                return
            self._taken[search.delivery.message.message_id, search.delivery.index] = search.where
            search.then(source)

        engaged = search.delivery.message.options.engaged
        self._volumes.take(source.address, search.where, answered, engaged=engaged)

    def _is_patient(self, search: _Search, not_before_ms: int) -> bool:
        """Say whether a retry waits for room at the address of its last attempt."""
        now_ms, accepted_ms = self._clock.now_ms(), search.delivery.message.accepted_ms
        return not_before_ms - now_ms <= RETRY_WAITS_MS and now_ms - accepted_ms < RETRY_PATIENCE_MS

    def _nobody(self, search: _Search) -> Deferral | Answer:
        """Return why a delivery waits, or that its hosts have no address of the family of ours."""
        plan, now_ms = search.plan, self._clock.now_ms()
        if plan.why:
            return Deferral(plan.why, now_ms + WAIT_MS, NO_REVERSE_DNS if plan.awaits_reverse else "4.7.0")
        if not search.fitting:
            return local_failure(Stage.CONNECT, "4.4.1", f"No source address of the family of {search.where}")
        if not search.blocked:
            self._waits(search, now_ms)
        text = search.blocked or f"Source addresses warm up and have no room left for {search.where}"
        return Deferral(text, max(search.not_before_ms, now_ms + 1))

    def _waits(self, search: _Search, now_ms: int) -> None:
        """Count what waits for room, and say when it is more than can leave in its lifetime (decision 19)."""
        message = search.delivery.message
        pool = f"{message.account}/{message.options.pool or DEFAULT_POOL}"
        waiting = self._backlog.note(pool, search.not_before_ms, now_ms)
        self._metrics.gauge("relay_warmup_waiting", self._backlog.total(now_ms))
        lifetime_ms = message.expires_ms - message.accepted_ms
        warming = {one.source.address for ring in search.plan.rings for one in ring.all() if one.warming}
        room = sum(map(self._volumes.room_a_day, warming)) // self._workers
        if self._backlog.overdue(pool, waiting, room, lifetime_ms, now_ms):
            self._metrics.count("relay_warmup_overdue_total")
            self._log.warning(
                "more mail waits for a warm-up than can leave in its lifetime",
                pool=pool,
                waiting=waiting,
                room_a_day=room,
                lifetime_hours=round(lifetime_ms / 3_600_000, 1),
            )


def _label(source: Source, known: SourceAddress | None) -> str:
    """Return a pool for metrics: with its account in front, where it has one."""
    return source.pool if known is None or known.account == RELAY else f"{known.account}/{source.pool}"


def _nobody_asks(address: str) -> None:
    """Tell nobody that an address was lost."""
