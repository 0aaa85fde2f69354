"""What happened on each lane lately, in memory: counts by minute, the last refusals, the last effects.

For the question why a lane is slow now. Bounded: `LANES_MAX` lanes, of which the longest unused is forgotten, an hour
of minutes and `REPLIES_MAX` refusals each. A worker knows what it did itself; whoever asks puts all of them together.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from relay.model.lane import Lane
from relay.model.outcome import Outcome, Verdict
from relay.ports import Json

LANES_MAX: Final = 2000
MINUTES: Final = 60
REPLIES_MAX: Final = 20
_MINUTE_MS: Final = 60_000
_REPLY_CHARS: Final = 300


@dataclass(slots=True)
class _Minute:
    at: int
    counts: list[int]


@dataclass(slots=True)
class _Notes:
    minutes: deque[_Minute] = field(default_factory=lambda: deque(maxlen=MINUTES))
    replies: deque[Json] = field(default_factory=lambda: deque(maxlen=REPLIES_MAX))


_COLUMN: Final = {Verdict.DELIVERED: 0, Verdict.TEMPORARY: 1, Verdict.UNKNOWN: 1, Verdict.PERMANENT: 2}


class LaneNotes:
    """The notes of one worker."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, _Notes] = {}

    def note(self, lane: Lane, outcome: Outcome) -> None:
        """Note the end of an attempt."""
        notes = self._lanes.get(lane)
        if notes is None:
            notes = self._new(lane)
        minute = outcome.finished_ms // _MINUTE_MS
        if not notes.minutes or notes.minutes[-1].at != minute:
            notes.minutes.append(_Minute(minute, [0, 0, 0]))
        notes.minutes[-1].counts[_COLUMN[outcome.verdict]] += 1
        if outcome.verdict is not Verdict.DELIVERED:
            notes.replies.append(
                {
                    "time_ms": outcome.finished_ms,
                    "reply": outcome.reply[:_REPLY_CHARS],
                    "stage": outcome.stage.value,
                    "rule": outcome.rule,
                    "effects": list(outcome.effects),
                    "blocklist": outcome.blocklist,
                }
            )

    def _new(self, lane: Lane) -> _Notes:
        if len(self._lanes) >= LANES_MAX:
            idle = min(self._lanes, key=lambda one: self._lanes[one].minutes[-1].at)
            del self._lanes[idle]
        notes = self._lanes[lane] = _Notes()
        return notes

    def of(self, destination: str, now_ms: int) -> list[Json]:
        """Return the notes of the last hour on the lanes to a destination, one object a source address."""
        since = now_ms // _MINUTE_MS - MINUTES
        found: list[Json] = []
        for lane, notes in self._lanes.items():
            if lane.destination != destination:
                continue
            recent = [one for one in notes.minutes if one.at > since]
            last = recent[-1].counts if recent and recent[-1].at >= now_ms // _MINUTE_MS - 1 else [0, 0, 0]
            found.append(
                {
                    "source": lane.source,
                    "hour": [sum(one.counts[column] for one in recent) for column in range(3)],
                    "minute": list(last),
                    "replies": [one for one in notes.replies if one["time_ms"] // _MINUTE_MS > since],
                }
            )
        return found
