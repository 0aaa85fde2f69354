"""Sending patterns that lead to listings, by table (DNSBL-005)."""

import pytest

from relay.reputation.patterns import NONE, Day, PatternLimits, patterns

LIMITS = PatternLimits()


@pytest.mark.parametrize(
    ("day", "words", "severe"),
    [
        (Day(sent=499, hard_bounces=400, blocked=400), "", False),  # too little mail to say anything
        (Day(sent=1000, hard_bounces=99, blocked=49), "", False),
        (Day(sent=1000, hard_bounces=100), "100 of the 1000 messages of a day bounced for good.", False),
        (Day(sent=1000, blocked=50), "50 of the 1000 messages of a day were refused because", False),
        (Day(sent=1000, blocked=250), "250 of the 1000", True),
        (Day(sent=1000, earlier=3000, days=30), "1000 messages in a day, after 100 a day before.", False),
        (Day(sent=1000, earlier=3001, days=30), "", False),
        (Day(sent=1000, earlier=600, days=6), "", False),  # an account that has just begun
        (Day(sent=1000, hard_bounces=100, earlier=3000, days=30), "before. 100 of the 1000", True),
        (Day(sent=1000, blocked=301, others_sent=1000, others_blocked=100), "301 of the 1000", True),
        (Day(sent=1000, blocked=299, others_sent=1000, others_blocked=100), "", False),  # the relay is listed
    ],
)
def test_patterns_of_a_day(day, words, severe):
    found = patterns(day, LIMITS)
    assert words in found.text
    assert bool(words) is bool(found.text)
    assert found.severe is severe
    assert found.bounces_alone is (words.startswith("100 of the 1000 messages of a day bounced"))
    if not words:
        assert found is NONE
