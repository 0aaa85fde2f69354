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
from relay.pipeline.departure import GRANTED, Room
from relay.ports import Clock
from relay.runtime.permits.client import PermitsClient
from relay.runtime.permits.protocol import Note
from relay.schedule.warmup import OTHER, Mode, Rules, WarmUpState, schedule_day

WAIT_SECONDS = 2.0
AWAY_MS = 10_000
WAITING_MAX = 10_000
TELL_SECONDS = 1.0
DAYS_MAX = 20_000
_ENDLESS = 1 << 40
_NO_ANSWERS = (0, 0, 0, 0)
_BOUNCE, _COMPLAINT = "bounce", "complaint"
_RETURNED = frozenset({_BOUNCE, _COMPLAINT})
_POLICY = frozenset({"7"})  # RFC 3463 section 3.8: security or policy status

Done = Callable[[Room], None]


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
        self._answers: dict[tuple[str, str], tuple[int, ...]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._teller: asyncio.TimerHandle | None = None
        permits.parts.append(self)

    # --- Volumes -------------------------------------------------------------------------------------------------

    def take(self, source: str, provider: str, done: Done, *, engaged: bool = False) -> None:
        """Ask for room for one message; an address that does not warm up any more has it."""
        address = self._address_of(source)
        if address is None or address.warmup is WarmUp.OFF:
            done(GRANTED)
            return
        if len(self._waiting) >= WAITING_MAX:
            done(Room(self._clock.now_ms() + AWAY_MS))
            return
        self._last += 1
        note: Note = ["volume", self._last, source, provider, _mode(address).value]
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
        """Return what may leave from an address today by its schedule; permits alone knows holds and levels."""
        address, schedule = self._address_of(source), self.rules.schedule(source)
        if address is None:
            return 0
        state = WarmUpState(_mode(address), address.warmup_started_ms, address.warmup_percent)
        day = schedule_day(schedule, state, self._clock.now_ms())
        if day == 0:
            return 0
        return schedule.allowed(day) if day <= schedule.days else _ENDLESS

    def settled(self, lane: Lane, outcome: Outcome) -> None:
        """Count how a receiver took a message of an address that warms up."""
        if (lane.source, lane.destination) not in self._days or outcome.stage is Stage.SHAPING:
            return
        if outcome.local and outcome.verdict is not Verdict.DELIVERED:
            return
        blocked = outcome.verdict is not Verdict.DELIVERED and outcome.enhanced[2:3] in _POLICY
        bounced = outcome.verdict is Verdict.PERMANENT and not blocked
        self._note((lane.source, lane.destination), 1, bounced, blocked, 0)

    def returned(self, source: str, provider: str, kind: str) -> None:
        """Count a bounce or a complaint that came back for mail from an address, if that warms up.

        `provider` is whom the message went to last, "" for one without a name, which has no share of its own.
        """
        address = self._address_of(source)
        if address is not None and address.warming and kind in _RETURNED:
            self._note((source, provider or OTHER), 0, kind == _BOUNCE, 0, kind == _COMPLAINT)

    def _note(self, key: tuple[str, str], *numbers: int) -> None:
        known = self._answers.get(key, _NO_ANSWERS)
        self._answers[key] = tuple(a + b for a, b in zip(known, numbers, strict=True))
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
            case ["full", int() as number, int() as not_before_ms, bool() as late]:
                waiting = self._waiting.pop(number, None)
                if waiting is not None:
                    waiting.done(Room(not_before_ms, late))
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
        waiting.done(GRANTED)

    def _give_up(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for number, waiting in list(self._waiting.items()):
            if waiting.deadline > now:
                delay = waiting.deadline - now
                self._timer = asyncio.get_running_loop().call_later(delay, self._give_up)
                return
            del self._waiting[number]
            waiting.done(Room(self._clock.now_ms() + AWAY_MS))

    def _tell(self) -> None:
        self._teller = None
        answers, self._answers = self._answers, {}
        for (source, provider), sums in answers.items():
            self._permits.send(["answers", source, provider, *sums])


def _mode(address: SourceAddress) -> Mode:
    managed = address.managed and address.warmup is WarmUp.AUTO
    return Mode.MANAGED if managed else Mode(address.warmup.value)
