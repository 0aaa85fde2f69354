"""What rules would have made of replies that were recorded, beside what the rules in force make of them. Pure.

Only what was answered is known, not what would have been answered instead: a lane that had paused would have met
another receiver. So a replay counts what each rule decides, how many minutes of the day each lane would have paused,
and which attempts fall into those minutes (a second pass over the same attempts, `waits`). Memory is bounded: a
number of a bit a minute for each lane, and `LANES_MAX` lanes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from relay.model.outcome import Outcome, Verdict
from relay.ports import MailHost
from relay.schedule.effects import EffectKind, Reaction
from relay.schedule.replayed import recorded
from relay.schedule.shaping_rules import RuleSet

LANES_MAX: Final = 20_000
MINUTES_MAX: Final = 2 * 24 * 60
_MINUTE_MS: Final = 60_000
_HOLDS: Final = frozenset({EffectKind.PAUSE, EffectKind.SWITCH})


@dataclass(slots=True)
class RuleTally:
    """What one rule did: replies it decided about, effects by kind, deliveries bounced or kept by it."""

    matches: int = 0
    effects: Counter[str] = field(default_factory=Counter)
    bounced: int = 0
    retried: int = 0
    example: str = ""


class Replay:
    """One set of rules over the attempts since `since_ms`."""

    def __init__(self, rules: RuleSet, since_ms: int) -> None:
        self.rules = rules
        self.tallies: dict[str, RuleTally] = {}
        self.waits = 0
        self.lanes_left_out = 0
        self._since_ms = since_ms
        self._paused: dict[tuple[str, str], int] = {}

    def take(self, recipient: str, attempt: Mapping[str, Any]) -> None:
        """Count what the rules make of an attempt record. Raise ValueError when it is none."""
        outcome = recorded(attempt)
        if outcome.local or outcome.finished_ms < self._since_ms:
            return
        name, lane = self._lane(recipient, outcome)
        reaction = self.rules.react(name, outcome)
        if reaction.rule:
            self._count(reaction, outcome, int(attempt.get("attempt") or 1))
            self._pause(lane, reaction, outcome.finished_ms)

    def take_again(self, recipient: str, attempt: Mapping[str, Any]) -> None:
        """Count an attempt that falls into a pause of its lane; in a second pass, when all pauses are known."""
        outcome = recorded(attempt)
        if outcome.finished_ms < self._since_ms or not outcome.remote_host:
            return
        _, lane = self._lane(recipient, outcome)
        self.waits += self._paused.get(lane, 0) >> self._minute(outcome.finished_ms) & 1

    @property
    def paused_minutes(self) -> dict[tuple[str, str], int]:
        """How many minutes each lane (source, destination) would have carried nothing."""
        return {lane: bits.bit_count() for lane, bits in self._paused.items()}

    def _lane(self, recipient: str, outcome: Outcome) -> tuple[str, tuple[str, str]]:
        domain = recipient.rpartition("@")[2].lower()
        host = (MailHost(0, outcome.remote_host),)
        match = self.rules.of_domain(domain) or self.rules.find(host, routed=True)
        shared = match.rules is not self.rules.default and match.rules.rollup
        return match.rules.name, (outcome.source_address, match.rules.name if shared else outcome.remote_host)

    def _count(self, reaction: Reaction, outcome: Outcome, number: int) -> None:
        tally = self.tallies.setdefault(reaction.rule, RuleTally())
        tally.matches += 1
        tally.example = tally.example or outcome.reply[:200]
        tally.effects.update(effect.kind.value for effect in reaction.effects)
        if reaction.bounces and outcome.verdict is not Verdict.DELIVERED:
            tally.bounced += 1
        elif outcome.verdict is Verdict.PERMANENT and number - 1 < reaction.retries:
            tally.retried += 1

    def _pause(self, lane: tuple[str, str], reaction: Reaction, at_ms: int) -> None:
        seconds = max((effect.seconds for effect in reaction.effects if effect.kind in _HOLDS), default=0.0)
        if not seconds:
            return
        if lane not in self._paused and len(self._paused) >= LANES_MAX:
            self.lanes_left_out += 1
            return
        first = self._minute(at_ms) + 1
        length = max(0, min(-int(-seconds // 60), MINUTES_MAX - first))
        self._paused[lane] = self._paused.get(lane, 0) | ((1 << length) - 1) << first

    def _minute(self, at_ms: int) -> int:
        return min(MINUTES_MAX, max(0, (at_ms - self._since_ms) // _MINUTE_MS))
