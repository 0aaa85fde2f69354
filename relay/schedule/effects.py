"""What a provider's response makes us do, as values: made by shaping rules, applied to lanes. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum


class EffectKind(StrEnum):
    """The things a response rule can ask for."""

    SLOW = "slow"  # the lane goes on with its rates and connections times `factor`
    PAUSE = "pause"  # nothing is sent on the lane
    SWITCH = "switch"  # this source address is passed over at this provider
    BOUNCE = "bounce"  # the delivery fails for good
    SUSPEND_ACCOUNT = "suspend account"  # nothing of the account is sent to the provider
    SUSPEND_SET = "suspend set"  # nothing of the account's configuration set is sent to the provider


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing to do, by the rule that says so; it ends by itself after `seconds` (not for BOUNCE)."""

    kind: EffectKind
    rule: str
    seconds: float = 0.0
    factor: float = 1.0

    def __str__(self) -> str:
        """Return it as traces and logs show it: "slow to 50% for 1800 s"."""
        if self.kind is EffectKind.BOUNCE:
            return str(self.kind)
        share = f" to {self.factor:.0%}" if self.kind is EffectKind.SLOW else ""
        return f"{self.kind}{share} for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Standing:
    """An effect in force: until when (milliseconds since 1970), by which rule, after which reply."""

    kind: EffectKind
    until_ms: int
    rule: str
    reply: str
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Reaction:
    """What the rules make of one reply.

    `effects` hold for the lane and later deliveries. For the delivery itself: `wait_seconds` before it is tried
    again, and `retries`, up to which attempt a permanent refusal is tried again all the same. `blocklist` is the DNS
    block list that the reply names, `of_domains` when that lists domains.
    """

    rule: str = ""
    effects: tuple[Effect, ...] = ()
    wait_seconds: float = 0.0
    retries: int = 0
    blocklist: str = ""
    of_domains: bool = False

    @property
    def bounces(self) -> bool:
        """True when the delivery fails for good."""
        return any(effect.kind is EffectKind.BOUNCE for effect in self.effects)

    @property
    def lasting(self) -> tuple[Effect, ...]:
        """The effects on what comes after this delivery."""
        return tuple(effect for effect in self.effects if effect.kind is not EffectKind.BOUNCE)

    @property
    def of_lane(self) -> "Reaction":
        """The same without what is about the sender or the delivery."""
        return replace(self, effects=tuple(one for one in self.effects if one.kind in _OF_LANE))


_OF_LANE = frozenset({EffectKind.SLOW, EffectKind.PAUSE, EffectKind.SWITCH})
NO_REACTION = Reaction()
