"""What a provider's response makes us do, as values: made by shaping rules, applied to lanes. Pure."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Standing:
    """An effect in force: until when (milliseconds since 1970), by which rule, after which reply."""

    kind: EffectKind
    until_ms: int
    rule: str
    reply: str
    factor: float = 1.0
