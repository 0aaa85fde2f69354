"""Whether the relay is alive and whether it is ready, decided from the board alone (pure).

Alive (`/healthz`): nothing needs a restart. It turns red within a minute when a process stops answering, dies again
and again, or lets due deliveries lie: none of its attempts started or ended while one was due. Ready (`/readyz`):
mail is taken now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.runtime.board import Phase, RowFacts

BEAT_MS_MAX = 10_000  # every process beats once a second
UNWELL_MS_MAX = 40_000  # with the ten seconds above: red within a minute
STUCK_MS_MAX = 45_000
ADOPTION_MS_MAX = 900_000  # reading a large shard after a crash takes its time
STARTS_MAX = 3  # more starts than this without once getting ready are not a start any more


@dataclass(slots=True)
class Wellness:
    """What is remembered of one process: when it was well last, and its starts at that time."""

    well_ms: int
    starts: int


@dataclass(slots=True)
class Health:
    """Looks at the board now and then; times are monotonic milliseconds unless named wall."""

    seen: dict[str, Wellness] = field(default_factory=dict)

    def look(self, rows: Sequence[RowFacts], now_ms: int) -> None:
        """Remember who is well; call it every few seconds."""
        for row in rows:
            before = self.seen.setdefault(row.name, Wellness(now_ms, row.starts))
            if row.phase in (Phase.READY, Phase.DRAINING) and now_ms - row.heartbeat_ms <= BEAT_MS_MAX:
                before.well_ms = now_ms
                before.starts = row.starts

    def faults(self, rows: Sequence[RowFacts], now_ms: int, wall_ms: int) -> list[str]:
        """Return why the relay is not alive, one sentence each; empty when it is."""
        self.look(rows, now_ms)
        found = [fault for row in rows if (fault := self._unwell(row, now_ms))]
        return found + [fault for row in rows if (fault := stuck(row, now_ms, wall_ms))]

    def _unwell(self, row: RowFacts, now_ms: int) -> str:
        seen = self.seen[row.name]
        silent_ms = now_ms - seen.well_ms
        if silent_ms <= UNWELL_MS_MAX:
            return ""
        starting = row.phase is Phase.STARTING and row.starts - seen.starts < STARTS_MAX
        if starting and silent_ms <= ADOPTION_MS_MAX:
            return ""
        return f"{row.name} has not answered for {silent_ms // 1000} seconds"


def stuck(row: RowFacts, now_ms: int, wall_ms: int) -> str:
    """Return a sentence when deliveries are due and nothing happens to them."""
    if row.phase is not Phase.READY or not row.due_since_ms:
        return ""
    waited_ms = wall_ms - row.due_since_ms
    if waited_ms <= STUCK_MS_MAX or now_ms - row.progress_ms <= STUCK_MS_MAX:
        return ""
    return f"the queue of {row.name} is stuck: a delivery has been due for {waited_ms // 1000} seconds"


def unready(rows: Sequence[RowFacts], now_ms: int) -> list[str]:
    """Return why mail is not taken now by all that should take it; empty when it is."""
    found = []
    for row in rows:
        if row.phase is not Phase.READY:
            found.append(f"{row.name} is {row.phase.name.lower()}")
        elif now_ms - row.heartbeat_ms > BEAT_MS_MAX:
            found.append(f"{row.name} does not answer")
    return found
