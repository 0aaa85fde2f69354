"""What alarms come to by a figure, what is told about it, and which alarms cannot be."""

from dataclasses import replace

import pytest

from relay.model.alarm import Alarm, AlarmAction, AlarmMetric, AlarmState
from relay.reputation.alarms import AFTER, Seen, fault, look, message, subject, warnings
from relay.reputation.rates import Limits

UNKNOWN, OK, ALARM = AlarmState.INSUFFICIENT_DATA, AlarmState.OK, AlarmState.ALARM
ONE = Alarm("000000000001", "bounces", AlarmMetric.BOUNCE_RATE, 0.05)


def standing(state, measured=None):
    return replace(ONE, state=state, measured=measured or state)


@pytest.mark.parametrize(
    ("state", "figure", "after"),
    [
        (UNKNOWN, None, UNKNOWN),
        (UNKNOWN, 0.0, OK),
        (UNKNOWN, 0.05, ALARM),
        (OK, None, OK),
        (OK, 0.0499, OK),
        (OK, 0.05, ALARM),
        (ALARM, None, ALARM),
        (ALARM, 0.0499, OK),
        (ALARM, 1.0, ALARM),
    ],
)
def test_a_figure_at_the_threshold_alarms_and_none_keeps_the_state(state, figure, after):
    found = look(standing(state), figure)
    assert found.state is after
    assert bool(found.reason) is (state is not after)


@pytest.mark.parametrize("measured", [UNKNOWN, OK])
@pytest.mark.parametrize("figure", [None, 0.01])
def test_after_a_test_the_next_look_returns_to_what_is_true(measured, figure):
    found = look(standing(ALARM, measured), figure)
    assert found.state is (measured if figure is None else OK)
    assert found.reason


def test_a_test_that_comes_true_changes_nothing_to_be_told():
    assert look(standing(ALARM, OK), 0.5).reason == ""


def test_every_state_has_a_next_one():
    assert set(AFTER) == {(state, seen) for state in AlarmState for seen in Seen}


def test_the_message_has_the_documented_fields():
    alarm = replace(ONE, state=ALARM, reason="because", configuration_set="news")
    assert message(alarm, OK, "local-1", "2026-11-24T00:00:00.000Z") == {
        "AlarmName": "bounces",
        "AlarmDescription": None,
        "AWSAccountId": "000000000001",
        "Region": "local-1",
        "NewStateValue": "ALARM",
        "OldStateValue": "OK",
        "NewStateReason": "because",
        "StateChangeTime": "2026-11-24T00:00:00.000Z",
        "Trigger": {
            "Namespace": "AWS/SES",
            "MetricName": "Reputation.BounceRate",
            "Dimensions": [{"name": "ses:configuration-set", "value": "news"}],
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "Threshold": 0.05,
        },
    }
    assert len(subject(replace(alarm, name="x" * 100), "local-1")) == 100


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": float("inf")}, "threshold"),
        ({"threshold": 5.0}, "at most 1"),
        ({"metric": AlarmMetric.SPAM_RATE, "threshold": 2.0}, "at most 1"),
        ({"metric": AlarmMetric.LISTED, "threshold": 1, "configuration_set": "news"}, "configuration set"),
        ({"metric": AlarmMetric.LISTED, "threshold": 1, "volume_min": 5}, "number of messages"),
        ({"actions": (AlarmAction.PAUSE_SET,)}, "--configuration-set"),
        ({"description": "x" * 1025}, "description"),
        ({"metric": AlarmMetric.LISTED, "threshold": 3}, ""),
        ({"configuration_set": "news", "actions": tuple(AlarmAction)}, ""),
    ],
)
def test_what_cannot_be_an_alarm_is_said(changes, word):
    found = fault(replace(ONE, **changes))
    assert (word in found) if word else not found


@pytest.mark.req("PAUSE-006")
@pytest.mark.parametrize(
    ("metric", "threshold", "word"),
    [
        (AlarmMetric.BOUNCE_RATE, 0.049, ""),
        (AlarmMetric.BOUNCE_RATE, 0.05, "is under review"),
        (AlarmMetric.BOUNCE_RATE, 0.0999, "is under review"),
        (AlarmMetric.BOUNCE_RATE, 0.1, "may be paused"),
        (AlarmMetric.COMPLAINT_RATE, 0.0009, ""),
        (AlarmMetric.COMPLAINT_RATE, 0.001, "is under review"),
        (AlarmMetric.COMPLAINT_RATE, 0.005, "may be paused"),
        (AlarmMetric.LISTED, 1.0, ""),
    ],
)
def test_a_threshold_not_below_enforcement_is_warned_of(metric, threshold, word):
    alarm = replace(ONE, metric=metric, threshold=threshold)
    assert warnings(alarm, Limits()) == []  # it pauses nothing
    found = warnings(replace(alarm, actions=(AlarmAction.PAUSE_ACCOUNT,)), Limits())
    assert (word in found[0]) if word else not found
