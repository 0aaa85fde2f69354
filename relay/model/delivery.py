"""The life of a delivery, as a table.

A delivery is *queued* until it is delivered or bounced. An operator may hold, release, bounce or delete it; to hold
what is held gives its hold another end. A delivery whose message cannot be read back, or that was in flight at three
crashes, is *quarantined*: kept, reported, and not attempted until an operator releases it. In flight is not a state
on disk: after a crash the delivery is still queued and is attempted again (at least once, RFC 5321 section 6.1). A
message whose content is bad (a virus, too much spam) is *rejected* after it was accepted: delivered to nobody, and
nothing bounces (FLOW-006).
"""

from enum import StrEnum


class DeliveryState(StrEnum):
    """State of a delivery on disk."""

    QUEUED = "queued"
    HELD = "held"
    QUARANTINED = "quarantined"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    SUPPRESSED = "suppressed"
    DELETED = "deleted"
    REJECTED = "rejected"


class Step(StrEnum):
    """What can happen to a delivery."""

    ACCEPTED_BY_REMOTE = "accepted by remote"
    DEFERRED = "deferred"
    REFUSED = "refused"
    EXPIRED = "expired"
    HOLD = "hold"
    RELEASE = "release"
    DELETE = "delete"
    BOUNCE = "bounce"
    QUARANTINE = "quarantine"
    BAD_CONTENT = "bad content"


TRANSITIONS: dict[DeliveryState, dict[Step, DeliveryState]] = {
    DeliveryState.QUEUED: {
        Step.ACCEPTED_BY_REMOTE: DeliveryState.DELIVERED,
        Step.DEFERRED: DeliveryState.QUEUED,
        Step.REFUSED: DeliveryState.BOUNCED,
        Step.EXPIRED: DeliveryState.BOUNCED,
        Step.HOLD: DeliveryState.HELD,
        Step.DELETE: DeliveryState.DELETED,
        Step.BOUNCE: DeliveryState.BOUNCED,
        Step.QUARANTINE: DeliveryState.QUARANTINED,
        Step.BAD_CONTENT: DeliveryState.REJECTED,
    },
    DeliveryState.HELD: {
        Step.HOLD: DeliveryState.HELD,
        Step.RELEASE: DeliveryState.QUEUED,
        Step.DELETE: DeliveryState.DELETED,
        Step.BOUNCE: DeliveryState.BOUNCED,
        Step.QUARANTINE: DeliveryState.QUARANTINED,
        Step.BAD_CONTENT: DeliveryState.REJECTED,
    },
    DeliveryState.QUARANTINED: {
        Step.RELEASE: DeliveryState.QUEUED,
        Step.DELETE: DeliveryState.DELETED,
        Step.BOUNCE: DeliveryState.BOUNCED,
        Step.BAD_CONTENT: DeliveryState.REJECTED,
    },
    DeliveryState.DELIVERED: {},
    DeliveryState.BOUNCED: {},
    DeliveryState.SUPPRESSED: {},
    DeliveryState.DELETED: {},
    DeliveryState.REJECTED: {},
}

OPEN_STATES = frozenset(state for state, steps in TRANSITIONS.items() if steps)


def after(state: DeliveryState, step: Step) -> DeliveryState | None:
    """Return the state that `step` leads to, or None where the table has no such way."""
    return TRANSITIONS[state].get(step)
