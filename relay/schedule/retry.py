"""When a delivery is tried again, and when trying ends (FLOW-008 to 010, decision 3): the only home of it.

A permanent refusal ends at once. Anything else, doubt included, is tried again by a schedule whose last step
repeats, each wait spread by jitter so that a site that was down is not met by everybody at the same second. The
last attempt falls on the end of the lifetime; nothing expires without having been attempted at that time.

That attempt comes at most a day late, when the relay was stopped at the end of a lifetime. What was due for longer
is no case for trying: the queue is an old copy whose mail went out long ago, the relay was off for days, or the
clock is wrong. Such a delivery is held for the operator, neither sent nor bounced.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from relay.model.delivery import Step
from relay.model.message import Delivery
from relay.model.outcome import Outcome, Stage, Verdict
from relay.model.value import dataclass

LATE_MS: Final = 24 * 3600 * 1000  # longer than a machine is repaired, shorter than the age of most backups
LATE_REPLY: Final = "held at the start: it should have been given up more than a day before"
SPREAD_MS: Final = 10_000  # what waits for room of ours comes back over this long, not at one instant
NXDOMAIN_REPLY = "5.1.2 The recipient's domain does not exist in DNS"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits between attempts in milliseconds, the last one repeating; what a missing domain means.

    `jitter_share` is how much a wait may be longer or shorter: 0.2 is from a tenth less to a tenth more.
    """

    waits_ms: Sequence[int]
    jitter_share: float = 0.2
    nxdomain_bounces: bool = True
    nxdomain_recheck_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an outcome: the step in the delivery's life, and the time of the next attempt.

    `counts` is False where no attempt was made, so that the schedule of retries stays where it is.
    """

    step: Step
    next_ms: int
    reply: str
    counts: bool = True


def too_late_ms(now_ms: int) -> int:
    """Return the time before which both the end of a lifetime and the next attempt must lie for a hold.

    Both, because an operator's release or retry makes a delivery due again: that one is attempted.
    """
    return now_ms - LATE_MS


def wait_ms(policy: RetryPolicy, attempts: int, jitter: float) -> int:
    """Return the wait after attempt number `attempts` (from 1); `jitter` is in [0, 1)."""
    base = policy.waits_ms[min(attempts, len(policy.waits_ms)) - 1]
    return int(base * (1 + policy.jitter_share * (jitter - 0.5)))


def decide(delivery: Delivery, outcome: Outcome, now_ms: int, policy: RetryPolicy, jitter: float) -> Decision:
    """Return what an outcome means for a delivery whose `attempts` counts those before it."""
    if outcome.verdict is Verdict.DELIVERED:
        return Decision(Step.ACCEPTED_BY_REMOTE, 0, outcome.reply)
    if outcome.verdict is Verdict.PERMANENT:
        return Decision(Step.REFUSED, 0, outcome.reply)
    if outcome.nxdomain and policy.nxdomain_bounces:
        return _missing_domain(delivery, now_ms, policy)
    return _later(delivery, outcome, now_ms, policy, jitter)


def as_told(outcome: Outcome, decision: Decision) -> Outcome:
    """Return the outcome as events and reports tell it: a domain missing twice failed for good (decision 3)."""
    if decision.step is not Step.REFUSED or outcome.verdict is Verdict.PERMANENT:
        return outcome
    enhanced, _, text = decision.reply.partition(" ")
    return replace(outcome, verdict=Verdict.PERMANENT, enhanced=enhanced, text=text)


def _missing_domain(delivery: Delivery, now_ms: int, policy: RetryPolicy) -> Decision:
    """Ask once more past the cache, then believe it (decision 3)."""
    if delivery.last_reply == NXDOMAIN_REPLY:
        return Decision(Step.REFUSED, 0, NXDOMAIN_REPLY)
    return Decision(Step.DEFERRED, now_ms + policy.nxdomain_recheck_ms, NXDOMAIN_REPLY)


def _later(delivery: Delivery, outcome: Outcome, now_ms: int, policy: RetryPolicy, jitter: float) -> Decision:
    expires_ms = delivery.message.expires_ms
    if now_ms >= expires_ms:
        return Decision(Step.EXPIRED, 0, outcome.reply)
    if outcome.stage is Stage.SHAPING:
        next_ms = max(now_ms, outcome.not_before_ms) + int(SPREAD_MS * jitter)
        return Decision(Step.DEFERRED, min(next_ms, expires_ms), outcome.reply, counts=False)
    next_ms = max(now_ms + wait_ms(policy, delivery.attempts + 1, jitter), outcome.not_before_ms)
    return Decision(Step.DEFERRED, min(next_ms, expires_ms), outcome.reply)
