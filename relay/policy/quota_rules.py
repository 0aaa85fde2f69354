"""Limits that follow how an account sends, by an administrator's rules (QUOTA-013, QUOTA-014).

Decided from what is known of an account now; nothing here looks anything up. A rate that is not known meets only a
bound that every rate meets, so that nothing is raised on a guess; and it lowers nothing.
"""

import math
from dataclasses import dataclass

from relay.model.account import UNLIMITED, Account, AccountState

ANY_RATE = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account sends.

    Recipients of the last 24 hours; the shares of them that bounced for good, complained, and were outside the
    account's own domains, None: not known. `changed_ms` is when rules changed its limits last, 0: never.
    """

    sent_last_day: int
    bounce_rate: float | None = None
    complaint_rate: float | None = None
    outside_share: float | None = None
    changed_ms: int = 0


@dataclass(frozen=True, slots=True)
class RaiseRule:
    """When limits rise: use of at least `near` of the quota, rates at most and an outside share at least as given.

    Both limits are multiplied by `factor`, the daily one up to `daily_max`, at most once in `interval_ms`.
    """

    near: float
    factor: float
    daily_max: int
    interval_ms: int
    bounce_rate_max: float
    complaint_rate_max: float
    outside_share_min: float


@dataclass(frozen=True, slots=True)
class LowerRule:
    """When limits fall: a rate above the one given and at least `sent_min` recipients, which a rate is judged by.

    Both limits are multiplied by `factor`; 0 pauses the account.
    """

    bounce_rate: float
    complaint_rate: float
    sent_min: int
    factor: float
    interval_ms: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule does to an account: new limits, or a pause, and why in one sentence."""

    daily_quota: int
    send_rate: float
    pause: bool
    reason: str


def decide(
    account: Account, standing: Standing, now_ms: int, raises: RaiseRule | None, lowers: LowerRule | None
) -> Verdict | None:
    """Return what the rules do to an account now, None for nothing; lowering goes before raising."""
    if account.state is not AccountState.ENABLED:
        return None
    lowered = _lowered(account, standing, now_ms, lowers) if lowers else None
    if lowered is not None:
        return lowered
    return _raised(account, standing, now_ms, raises) if raises else None


def _lowered(account: Account, standing: Standing, now_ms: int, rule: LowerRule) -> Verdict | None:
    if standing.sent_last_day < rule.sent_min or not _rested(standing, now_ms, rule.interval_ms):
        return None
    reasons = [
        f"{name} of {rate:.2%} is over {bound:.2%}"
        for name, rate, bound in (
            ("bounce rate", standing.bounce_rate, rule.bounce_rate),
            ("complaint rate", standing.complaint_rate, rule.complaint_rate),
        )
        if rate is not None and rate > bound
    ]
    if not reasons:
        return None
    reason = f"Lowered by rule: the {' and the '.join(reasons)}."
    if rule.factor == 0:
        return Verdict(account.daily_quota, account.send_rate, True, reason.replace("Lowered", "Paused", 1))
    if not account.limited:
        return None
    return Verdict(_daily(account, rule.factor), _rate(account, rule.factor), False, reason)


def _raised(account: Account, standing: Standing, now_ms: int, rule: RaiseRule) -> Verdict | None:
    quota = account.daily_quota
    if account.sandbox or quota == UNLIMITED or quota >= rule.daily_max:
        return None
    if not _rested(standing, now_ms, rule.interval_ms):
        return None
    if not rule.near * quota <= standing.sent_last_day <= quota:
        return None
    within = _at_most(standing.bounce_rate, rule.bounce_rate_max) and _at_most(
        standing.complaint_rate, rule.complaint_rate_max
    )
    outside = rule.outside_share_min <= 0 or (standing.outside_share or 0.0) >= rule.outside_share_min
    if not (within and outside):
        return None
    daily = min(_daily(account, rule.factor), rule.daily_max)
    if daily <= quota:
        return None
    used = f"{standing.sent_last_day} of {quota} recipients were used in 24 hours"
    return Verdict(daily, _rate(account, rule.factor), False, f"Raised by rule: {used}.")


def _rested(standing: Standing, now_ms: int, interval_ms: int) -> bool:
    return not standing.changed_ms or now_ms - standing.changed_ms >= interval_ms


def _at_most(rate: float | None, bound: float) -> bool:
    return bound >= ANY_RATE or (rate is not None and rate <= bound)


def _daily(account: Account, factor: float) -> int:
    return UNLIMITED if account.daily_quota == UNLIMITED else math.floor(account.daily_quota * factor)


def _rate(account: Account, factor: float) -> float:
    return UNLIMITED if account.send_rate == UNLIMITED else account.send_rate * factor
