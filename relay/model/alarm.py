"""Alarms: a measured figure, a threshold, and what follows when it is reached (ALARM-001 to ALARM-005, PAUSE-005).

How states follow from what was measured is in `relay.reputation.alarms`.
"""

from dataclasses import dataclass
from enum import StrEnum


class AlarmState(StrEnum):
    """Where an alarm stands, in the words of its message."""

    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    OK = "OK"
    ALARM = "ALARM"


class AlarmMetric(StrEnum):
    """What an alarm looks at. Rates are shares, 0 to 1, of an account or of one of its configuration sets."""

    BOUNCE_RATE = "Reputation.BounceRate"
    COMPLAINT_RATE = "Reputation.ComplaintRate"
    LISTED = "DNSBL.ListedAddresses"
    SPAM_RATE = "SNDS.SpamRate"
    EVENT_LAG = "Events.LagSeconds"


RATES = frozenset({AlarmMetric.BOUNCE_RATE, AlarmMetric.COMPLAINT_RATE})


class AlarmAction(StrEnum):
    """What an alarm does when it comes to ALARM, beside telling its topic. None of them is ever undone by itself."""

    PAUSE_ACCOUNT = "pause-account"
    PAUSE_SET = "pause-configuration-set"


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm `name` of an account.

    Rates of fewer than `volume_min` messages count as missing. `configuration_set` is "" for the account as a whole;
    `topic` is an ARN, or "" for none. `state` is what is shown, `measured` what the last figure came to: they differ
    after a test, until the next look.
    """

    account: str
    name: str
    metric: AlarmMetric
    threshold: float
    description: str = ""
    configuration_set: str = ""
    topic: str = ""
    actions: tuple[AlarmAction, ...] = ()
    volume_min: int = 0
    state: AlarmState = AlarmState.INSUFFICIENT_DATA
    measured: AlarmState = AlarmState.INSUFFICIENT_DATA
    reason: str = ""
    changed_ms: int = 0
    created_ms: int = 0

    @property
    def subject(self) -> tuple[str, str]:
        """Account and configuration set that it is about."""
        return self.account, self.configuration_set


@dataclass(frozen=True, slots=True)
class AlarmChange:
    """A line of an alarm's history: what it came to from what, when and why; `alarm` is the alarm as it was then.

    `told` says what became of its message: nothing yet, published, or given up.
    """

    change_id: int
    alarm: Alarm
    old_state: AlarmState
    told: "Told"


class Told(StrEnum):
    """What became of the message about a change."""

    WAITING = "waiting"
    PUBLISHED = "published"
    REFUSED = "refused"
    NOBODY = "nobody"  # the alarm had no topic
