"""How alarms follow what is measured, and what is told about it (ALARM-002 to ALARM-004). Pure.

    INSUFFICIENT_DATA  no figure was there yet
    OK                 the last figure was below the threshold
    ALARM              the last figure was at the threshold or above

A figure that is missing changes nothing, whatever the state: an alarm never ends because nobody measures. A test
(`relay alarm set-state`) changes the state that is shown, not the one that was measured; the next look goes on from
that one, and so returns to what is true, with or without a figure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from relay.model.alarm import RATES, Alarm, AlarmAction, AlarmMetric, AlarmState
from relay.reputation.rates import Limits, Metric

NAMESPACE: Final = "AWS/SES"
COMPARISON: Final = "GreaterThanOrEqualToThreshold"
SET_DIMENSION: Final = "ses:configuration-set"
DESCRIPTION_MAX_CHARACTERS: Final = 1024
REASON_MAX_CHARACTERS: Final = 1023
SUBJECT_MAX_CHARACTERS: Final = 100
THRESHOLD_MAX: Final = 1e9

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@:-]{0,99}\Z")
_NAMES: Final = "1 to 100 letters, digits, blanks and ._@:-, beginning with a letter or digit"
_NEEDS_SET: Final = f"{AlarmAction.PAUSE_SET} needs an alarm on a configuration set: give --configuration-set."
_DESCRIPTION: Final = f"A description has at most {DESCRIPTION_MAX_CHARACTERS} characters."
_RATE_OF: Final = {AlarmMetric.BOUNCE_RATE: Metric.BOUNCE, AlarmMetric.COMPLAINT_RATE: Metric.COMPLAINT}
_SHARES: Final = RATES | {AlarmMetric.SPAM_RATE}


class Seen(Enum):
    """What a look came to."""

    NOTHING = auto()
    BELOW = auto()
    REACHED = auto()


AFTER: Final[Mapping[tuple[AlarmState, Seen], AlarmState]] = {
    **{(state, Seen.NOTHING): state for state in AlarmState},
    **{(state, Seen.BELOW): AlarmState.OK for state in AlarmState},
    **{(state, Seen.REACHED): AlarmState.ALARM for state in AlarmState},
}


@dataclass(frozen=True, slots=True)
class Look:
    """What an alarm came to: its state, and why, "" when that is as it was."""

    state: AlarmState
    reason: str


def look(alarm: Alarm, figure: float | None) -> Look:
    """Return what an alarm comes to by a figure, None where it is missing."""
    state = AFTER[alarm.measured, seen(alarm, figure)]
    if state is alarm.state:
        return Look(state, "")
    if figure is None:
        return Look(state, "The test is over; no figure came since.")
    word = "at least" if state is AlarmState.ALARM else "below"
    return Look(state, f"{alarm.metric} is {shown(alarm, figure)}, {word} {shown(alarm, alarm.threshold)}.")


def seen(alarm: Alarm, figure: float | None) -> Seen:
    """Return what a figure is to an alarm."""
    if figure is None:
        return Seen.NOTHING
    return Seen.REACHED if figure >= alarm.threshold else Seen.BELOW


def shown(alarm: Alarm, figure: float) -> str:
    """Return a figure for people."""
    return f"{figure:.4g} ({figure:.2%})" if alarm.metric in RATES else f"{figure:g}"


def message(alarm: Alarm, old_state: AlarmState, region: str, moment: str) -> dict[str, Any]:
    """Return the alarm message (section 13) about a change that `alarm` is after, at `moment` (ISO 8601, UTC)."""
    dimensions = [{"name": SET_DIMENSION, "value": alarm.configuration_set}] if alarm.configuration_set else []
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description or None,
        "AWSAccountId": alarm.account,
        "Region": region,
        "NewStateValue": str(alarm.state),
        "OldStateValue": str(old_state),
        "NewStateReason": alarm.reason,
        "StateChangeTime": moment,
        "Trigger": {
            "Namespace": NAMESPACE,
            "MetricName": str(alarm.metric),
            "Dimensions": dimensions,
            "ComparisonOperator": COMPARISON,
            "Threshold": alarm.threshold,
        },
    }


def subject(alarm: Alarm, region: str) -> str:
    """Return the subject of that message, at most 100 characters."""
    return f'{alarm.state}: "{alarm.name}" in {region}'[:SUBJECT_MAX_CHARACTERS]


def arn(alarm: Alarm, region: str) -> str:
    """Return who publishes, for the policies of topics."""
    return f"arn:aws:cloudwatch:{region}:{alarm.account}:alarm:{alarm.name}"


def fault(alarm: Alarm) -> str:
    """Return why an alarm cannot be, "" when it can."""
    of_rate, least = alarm.metric in RATES, f"{alarm.metric} is a share: its threshold is at most 1 (100 %), not "
    rules = (
        (_NAME.match(alarm.name) is None, f"{alarm.name[:100]!r} is no name: {_NAMES}."),
        (not 0 < alarm.threshold <= THRESHOLD_MAX, f"A threshold is above 0, not {alarm.threshold:g}."),
        (alarm.metric in _SHARES and alarm.threshold > 1, f"{least}{alarm.threshold:g}."),
        (alarm.configuration_set and not of_rate, f"{alarm.metric} is no figure of a configuration set; rates are."),
        (alarm.volume_min and not of_rate, f"{alarm.metric} rests on no number of messages."),
        (AlarmAction.PAUSE_SET in alarm.actions and not alarm.configuration_set, _NEEDS_SET),
        (len(alarm.description) > DESCRIPTION_MAX_CHARACTERS, _DESCRIPTION),
    )
    return next((why for wrong, why in rules if wrong), "")


def warnings(alarm: Alarm, limits: Limits) -> list[str]:
    """Return what should be thought over about an alarm that pauses: enforcement may come first (PAUSE-006)."""
    metric = _RATE_OF.get(alarm.metric)
    if metric is None or not alarm.actions:
        return []
    for limit, what in ((limits.pause(metric), "may be paused"), (limits.review(metric), "is under review")):
        if alarm.threshold >= limit:
            why = f"It pauses at {alarm.threshold:.2%}, which is not below {limit:.2%}: from that rate on an account "
            return [f"{why}{what} by enforcement, which only an administrator ends. Choose a lower threshold."]
    return []
