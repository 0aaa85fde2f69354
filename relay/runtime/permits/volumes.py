"""A worker's side of warm-up (port `relay.pipeline.departure.Volumes`), over its connection to permits.

A request waits for two seconds at most; while permits is away nobody is granted anything, and the answer is to come
again. What receivers answer to mail of an address that warms up is told once a second.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from relay.model.lane import Lane
from relay.model.outcome import Outcome, Stage, Verdict
from relay.model.pool import SourceAddress, WarmUp
from relay.ports import Clock
from relay.runtime.permits.client import PermitsClient
from relay.runtime.permits.protocol import Note
from relay.schedule.warmup import Mode, Rules, WarmUpState, schedule_day

WAIT_SECONDS = 2.0
AWAY_MS = 10_000
WAITING_MAX = 10_000
TELL_SECONDS = 1.0
DAYS_MAX = 20_000
_ENDLESS = 1 << 40
_POLICY = frozenset({"7"})  # RFC 3463 section 3.8: security or policy status

Done = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    note: Note
    done: Done
    deadline: float


class WarmUpVolumes:
    """Asks permits for room; `address_of` reads the catalog as this worker knows it."""

    def __init__(
        self,
        permits: PermitsClient,
        address_of: Callable[[str], SourceAddress | None],
        rules: Rules,
        clock: Clock,
    ) -> None:
        self.rules = rules
        self._permits = permits
        self._address_of = address_of
        self._clock = clock
        self._waiting: dict[int, _Waiting] = {}
        self._last = 0
        self._days: dict[tuple[str, str], int] = {}
        self._answers: dict[tuple[str, str], list[int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._teller: asyncio.TimerHandle | None = None
        permits.parts.append(self)

    # --- Volumes -------------------------------------------------------------------------------------------------

    def take(self, source: str, provider: str, done: Done, *, engaged: bool = False) -> None:
        """Ask for room for one message; an address that does not warm up any more has it."""
        address = self._address_of(source)
        if address is None or address.warmup is WarmUp.OFF:
            done(0)
            return
        if len(self._waiting) >= WAITING_MAX:
            done(self._clock.now_ms() + AWAY_MS)
            return
        self._last += 1
        note: Note = ["volume", self._last, source, provider, address.warmup.value]
        note += [address.warmup_started_ms, address.warmup_percent, int(engaged)]
        self._waiting[self._last] = _Waiting(note, done, self._clock.monotonic() + WAIT_SECONDS)
        self._permits.send(note)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._give_up)

    def give_back(self, source: str, provider: str) -> None:
        """Give room back that was not used."""
        day = self._days.get((source, provider))
        if day:
            self._permits.send(["volume back", day, source, provider])

    def room_a_day(self, source: str) -> int:
        """Return what may leave from an address today by its schedule; holds are known to permits alone."""
        address, schedule = self._address_of(source), self.rules.schedule(source)
        if address is None:
            return 0
        state = WarmUpState(Mode(address.warmup.value), address.warmup_started_ms, address.warmup_percent)
        day = schedule_day(schedule, state, self._clock.now_ms())
        if day == 0:
            return 0
        return schedule.allowed(day) if day <= schedule.days else _ENDLESS

    def settled(self, lane: Lane, outcome: Outcome) -> None:
        """Count how a receiver took a message of an address that warms up."""
        if (lane.source, lane.destination) not in self._days or outcome.stage is Stage.SHAPING:
            return
        sums = self._answers.setdefault((lane.source, lane.destination), [0, 0, 0])
        if outcome.local and outcome.verdict is not Verdict.DELIVERED:
            return
        blocked = outcome.verdict is not Verdict.DELIVERED and outcome.enhanced[2:3] in _POLICY
        sums[0] += 1
        sums[1] += outcome.verdict is Verdict.PERMANENT and not blocked
        sums[2] += blocked
        if self._teller is None:
            self._teller = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    # --- Part ----------------------------------------------------------------------------------------------------

    def announcement(self) -> list[Note]:
        """Nothing is held: what was granted counts already."""
        return []

    def joined(self) -> None:
        """Ask again."""
        for waiting in self._waiting.values():
            self._permits.send(waiting.note)

    def left(self) -> None:
        """Those that wait ask again on the next connection, or give up."""

    def handle(self, note: Note) -> bool:
        """Take an answer."""
        match note:
            case ["room", int() as number, int() as day]:
                self._granted(number, day)
            case ["full", int() as number, int() as not_before_ms]:
                waiting = self._waiting.pop(number, None)
                if waiting is not None:
                    waiting.done(not_before_ms)
            case _:
                return False
        return True

    def _granted(self, number: int, day: int) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return  # it gave up: the room is lost, never used twice
        key = (str(waiting.note[2]), str(waiting.note[3]))
        if len(self._days) >= DAYS_MAX:
            self._days.clear()
        self._days[key] = day
        waiting.done(0)

    def _give_up(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for number, waiting in list(self._waiting.items()):
            if waiting.deadline > now:
                delay = waiting.deadline - now
                self._timer = asyncio.get_running_loop().call_later(delay, self._give_up)
                return
            del self._waiting[number]
            waiting.done(self._clock.now_ms() + AWAY_MS)

    def _tell(self) -> None:
        self._teller = None
        answers, self._answers = self._answers, {}
        for (source, provider), sums in answers.items():
            if sums[0]:
                self._permits.send(["answers", source, provider, *sums])
