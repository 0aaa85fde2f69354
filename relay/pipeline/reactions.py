"""What replies make us do, put into force: the lane's effects through the gate, the delivery's own on its outcome.

Many deliveries that wait for one site get the same reply at once. An effect on what comes later is therefore asked
for once in `AGAIN_SECONDS` for each lane and rule (and account and set, where it is about them), not once a delivery.
"""

from dataclasses import replace
from typing import Final

from relay.mail.blocklists import advice
from relay.model.lane import Lane
from relay.model.message import Delivery
from relay.model.outcome import Outcome, Verdict
from relay.pipeline.departure import Gate
from relay.ports import Clock, Log, Metrics
from relay.schedule.effects import EffectKind, Reaction

AGAIN_SECONDS: Final = 5.0
_REMEMBERED_MAX: Final = 10_000
_OF_SENDERS: Final = frozenset({EffectKind.SUSPEND_ACCOUNT, EffectKind.SUSPEND_SET})
_Key = tuple[Lane, str, str, str]


class Reactions:
    """Takes what the rules make of replies."""

    def __init__(self, gate: Gate, clock: Clock, log: Log, metrics: Metrics) -> None:
        self._gate = gate
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._applied: dict[_Key, float] = {}

    def take(self, lane: Lane, delivery: Delivery, outcome: Outcome, reaction: Reaction) -> Outcome:
        """Put a reaction into force; return the outcome as it is with it."""
        if reaction.lasting:
            self._apply(lane, delivery, outcome, reaction)
        if reaction.blocklist:
            self._metrics.count("relay_blocklisted_total", reaction.blocklist)
        verdict = outcome.verdict
        if reaction.bounces and verdict is not Verdict.DELIVERED:
            verdict = Verdict.PERMANENT
            self._metrics.count("relay_shaping_effects_total", EffectKind.BOUNCE.value)
        elif verdict is Verdict.PERMANENT and delivery.attempts < reaction.retries:
            verdict = Verdict.TEMPORARY
        wait_ms = int(reaction.wait_seconds * 1000) if verdict is Verdict.TEMPORARY else 0
        return replace(
            outcome,
            verdict=verdict,
            not_before_ms=max(outcome.not_before_ms, outcome.finished_ms + wait_ms)
            if wait_ms
            else outcome.not_before_ms,
            rule=reaction.rule,
            effects=tuple(str(effect) for effect in reaction.effects),
            blocklist=reaction.blocklist,
        )

    def _apply(self, lane: Lane, delivery: Delivery, outcome: Outcome, reaction: Reaction) -> None:
        message = delivery.message
        about = message.account if any(one.kind in _OF_SENDERS for one in reaction.lasting) else ""
        key = (lane, reaction.rule, about, message.options.configuration_set if about else "")
        now = self._clock.monotonic()
        if self._applied.get(key, -AGAIN_SECONDS) + AGAIN_SECONDS > now:
            return
        if len(self._applied) >= _REMEMBERED_MAX:
            self._applied = {one: at for one, at in self._applied.items() if at + AGAIN_SECONDS > now}
        self._applied[key] = now
        self._gate.apply(lane, delivery, reaction.lasting, outcome.reply)
        for effect in reaction.lasting:
            self._metrics.count("relay_shaping_effects_total", effect.kind.value)
        listed = {
            "blocklist": reaction.blocklist,
            "advice": advice(reaction.blocklist, of_domains=reaction.of_domains),
        }
        self._log.warning(
            "a reply changes how a lane is used",
            message_id=message.message_id,
            source=lane.source,
            destination=lane.destination,
            rule=reaction.rule,
            effects=[str(effect) for effect in reaction.lasting],
            reply=outcome.reply,
            **(listed if reaction.blocklist else {}),
        )
