"""Times that temporary replies name."""

import time

import pytest

from relay.schedule.hints import HINT_SECONDS_MAX, wait_asked_for


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, please try again in 5 minutes", 300),
        ("Greylisted for 300 seconds", 300),
        ("You have been greylisted; retry after 60s", 60),
        ("Please try again later in 10 mins", 600),
        ("try again in 2 hours", 7200),
        ("Please wait 90 sec before another try", 90),
        ("come back in 1 hour", 3600),
        ("try again in 9999 hours", HINT_SECONDS_MAX),
        ("Server busy. Please try again later from [192.0.2.15]. (AS843)", 0),
        ("more than 100 messages in 60 minutes", 0),
        ("Try again later, closing connection. 12345 - gsmtp", 0),
        ("try again in 5 megabytes", 0),
        ("", 0),
    ],
)
def test_table(text, seconds):
    assert wait_asked_for(text) == seconds


@pytest.mark.parametrize(
    "text", ["again" * 200, "retry " * 166, "wait " + "x" * 990, "greylist" * 125, "again 1" * 142]
)
def test_hostile_texts_are_quick(text):
    started = time.process_time()
    for _ in range(20):
        wait_asked_for(text)
    assert time.process_time() - started < 1
