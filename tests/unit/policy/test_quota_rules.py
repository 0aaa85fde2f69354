"""Limits by rule, as a table."""

from dataclasses import replace

import pytest

from relay.model.account import UNLIMITED, Account, AccountState
from relay.policy.quota_rules import LowerRule, RaiseRule, Standing, decide

ACCOUNT = Account("000000000001", AccountState.ENABLED, sandbox=False, daily_quota=1000, send_rate=10.0)
GOOD = Standing(900, bounce_rate=0.01, complaint_rate=0.0005, outside_share=0.9)
HOUR = 3_600_000
RAISE = RaiseRule(0.8, 1.5, 100_000, HOUR, 0.05, 0.001, 0.5)
LOWER = LowerRule(0.1, 0.005, 100, 0.5, HOUR)
NOW = 100 * HOUR


def limits(verdict):
    return verdict and (verdict.daily_quota, verdict.send_rate, verdict.pause)


@pytest.mark.req("QUOTA-013")
@pytest.mark.parametrize(
    ("account", "standing", "rule", "wanted"),
    [
        ({}, {}, {}, (1500, 15.0, False)),
        ({}, {"sent_last_day": 800}, {}, (1500, 15.0, False)),
        ({}, {"sent_last_day": 1000}, {}, (1500, 15.0, False)),
        ({}, {"sent_last_day": 799}, {}, None),
        ({}, {"sent_last_day": 1001}, {}, None),
        ({}, {"bounce_rate": 0.06}, {}, None),
        ({}, {"complaint_rate": 0.002}, {}, None),
        ({}, {"outside_share": 0.4}, {}, None),
        ({}, {"bounce_rate": None}, {}, None),
        ({}, {"complaint_rate": None}, {}, None),
        ({}, {"outside_share": None}, {}, None),
        ({}, {"bounce_rate": None}, {"bounce_rate_max": 1.0}, (1500, 15.0, False)),
        ({}, {"outside_share": None}, {"outside_share_min": 0.0}, (1500, 15.0, False)),
        ({}, {"changed_ms": NOW - HOUR + 1}, {}, None),
        ({}, {"changed_ms": NOW - HOUR}, {}, (1500, 15.0, False)),
        ({}, {}, {"daily_max": 1200}, (1200, 15.0, False)),
        ({}, {}, {"daily_max": 1000}, None),
        ({}, {}, {"factor": 1.0}, None),
        ({"sandbox": True}, {}, {}, None),
        ({"daily_quota": UNLIMITED}, {}, {}, None),
        ({"send_rate": UNLIMITED}, {}, {}, (1500, UNLIMITED, False)),
        ({"daily_quota": 0}, {"sent_last_day": 0}, {}, None),
        ({"state": AccountState.PAUSED}, {}, {}, None),
        ({"state": AccountState.CLOSED}, {}, {}, None),
    ],
)
def test_raising(account, standing, rule, wanted):
    verdict = decide(replace(ACCOUNT, **account), replace(GOOD, **standing), NOW, replace(RAISE, **rule), None)
    assert limits(verdict) == wanted


@pytest.mark.req("QUOTA-014")
@pytest.mark.parametrize(
    ("account", "standing", "rule", "wanted"),
    [
        ({}, {"bounce_rate": 0.11}, {}, (500, 5.0, False)),
        ({}, {"bounce_rate": 0.1}, {}, None),
        ({}, {"complaint_rate": 0.006}, {}, (500, 5.0, False)),
        ({}, {"bounce_rate": 0.5, "sent_last_day": 99}, {}, None),
        ({}, {"bounce_rate": None, "complaint_rate": None}, {}, None),
        ({}, {"bounce_rate": 0.5}, {"factor": 0.0}, (1000, 10.0, True)),
        ({}, {"bounce_rate": 0.5, "changed_ms": NOW - 1}, {}, None),
        ({"sandbox": True}, {"bounce_rate": 0.5}, {}, (500, 5.0, False)),
        ({"daily_quota": UNLIMITED, "send_rate": UNLIMITED}, {"bounce_rate": 0.5}, {}, None),
        ({"daily_quota": UNLIMITED, "send_rate": UNLIMITED}, {"bounce_rate": 0.5}, {"factor": 0.0}, (-1, -1, True)),
        ({"daily_quota": UNLIMITED}, {"bounce_rate": 0.5}, {}, (UNLIMITED, 5.0, False)),
        ({"state": AccountState.PAUSED}, {"bounce_rate": 0.5}, {"factor": 0.0}, None),
    ],
)
def test_lowering(account, standing, rule, wanted):
    verdict = decide(replace(ACCOUNT, **account), replace(GOOD, **standing), NOW, None, replace(LOWER, **rule))
    assert limits(verdict) == wanted


def test_lowering_goes_before_raising_and_says_why():
    standing = replace(GOOD, bounce_rate=0.2, complaint_rate=0.01)
    verdict = decide(ACCOUNT, standing, NOW, replace(RAISE, bounce_rate_max=1.0), LOWER)
    assert verdict.reason == (
        "Lowered by rule: the bounce rate of 20.00% is over 10.00% and the complaint rate of 1.00% is over 0.50%."
    )
    paused = decide(ACCOUNT, standing, NOW, None, replace(LOWER, factor=0.0))
    assert paused.reason.startswith("Paused by rule: the bounce rate")
    raised = decide(ACCOUNT, GOOD, NOW, RAISE, LOWER)
    assert raised.reason == "Raised by rule: 900 of 1000 recipients were used in 24 hours."
    assert decide(ACCOUNT, GOOD, NOW, None, None) is None
