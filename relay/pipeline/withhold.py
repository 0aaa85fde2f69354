"""The first stage after the ready window: deliveries under a standing hold go no further, all others pass.

Without standing holds a job passes with one comparison. What is under one is written as held, many at a time; then it
leaves the window. One that an operator let go of is not held again and passes.
"""

from collections.abc import Callable, Sequence
from functools import partial

from relay.ports import Clock, Departures, Job, Log
from relay.schedule.standing import StandingHold, StandingHolds

GATHER_SECONDS = 0.05
BATCH_MAX = 1000

CallLater = Callable[[float, Callable[[], None]], object]
Held = Callable[[list[int], Exception | None], None]
WriteHold = Callable[[Sequence[int], StandingHold, Held], None]


class Withhold:
    """Implements relay.ports.Departures. `write` holds deliveries on disk and tells which, `ends` that some were."""

    def __init__(
        self,
        *,
        onward: Departures,
        write: WriteHold,
        finished: Callable[[int], None],
        again: Callable[[], None],
        ends: Callable[[], None],
        clock: Clock,
        call_later: CallLater,
        log: Log,
    ) -> None:
        self.holds = StandingHolds()
        self._onward = onward
        self._write = write
        self._finished = finished
        self._again = again
        self._ends = ends
        self._clock = clock
        self._call_later = call_later
        self._log = log
        self._gathered: dict[int, tuple[StandingHold, list[Job]]] = {}
        self._pending: set[int] = set()

    def enqueue(self, job: Job) -> None:
        """Take a job: pass it on, or hold it."""
        if self.holds:
            hold = self.holds.of(job.delivery, self._clock.now_ms())
            if hold is not None:
                self._gather(hold, job)
                return
        self._onward.enqueue(job)

    def withdraw(self, delivery_key: int) -> bool:
        """Take back a job that has not started; False while it is being held."""
        return delivery_key not in self._pending and self._onward.withdraw(delivery_key)

    def _gather(self, hold: StandingHold, job: Job) -> None:
        self._pending.add(job.delivery.key)
        if not self._gathered:
            self._call_later(GATHER_SECONDS, self._write_all)
        jobs = self._gathered.setdefault(hold.number, (hold, []))[1]
        jobs.append(job)
        if len(jobs) >= BATCH_MAX:
            self._write_one(*self._gathered.pop(hold.number))

    def _write_all(self) -> None:
        gathered, self._gathered = self._gathered, {}
        for hold, jobs in gathered.values():
            self._write_one(hold, jobs)

    def _write_one(self, hold: StandingHold, jobs: list[Job]) -> None:
        self._write([job.delivery.key for job in jobs], hold, partial(self._written, hold, jobs))

    def _written(self, hold: StandingHold, jobs: list[Job], changed: list[int], error: Exception | None) -> None:
        held = set(changed or ())
        for job in jobs:
            key = job.delivery.key
            self._pending.discard(key)
            if error is None and key not in held:
                self._onward.enqueue(job)
            else:
                self._finished(key)
        if error is not None:
            self._log.error("mail could not be held, looking at it again", hold=hold.number, error=str(error))
            self._again()
            return
        if held:
            self._log.info("held", hold=hold.number, deliveries=len(held))
            self._ends()
