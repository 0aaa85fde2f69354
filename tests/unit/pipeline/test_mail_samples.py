"""Which messages are kept as samples: a few an account and hour, bounded in every way."""

from types import SimpleNamespace

import pytest

from relay.model.content import BodyFile, Content
from relay.pipeline import mail_samples
from relay.pipeline.mail_samples import BODY_MAX_BYTES, HEAD_MAX_BYTES, HOUR_SECONDS, KEPT_MAX, MailSamples
from relay.testing.clock import ManualClock

HEAD = b"Subject: x\r\n\r\n"


def new(account="a", body=b"hi\r\n", head=HEAD, at_ms=1):
    return SimpleNamespace(message=SimpleNamespace(account=account, accepted_ms=at_ms), content=Content(head, body))


def taken(samples):
    return [(one.account, one.accepted_ms) for one in samples.take(1000)]


def test_the_first_ones_of_each_account_and_hour_are_kept():
    clock = ManualClock()
    samples = MailSamples(clock, 2)
    for number in range(4):
        samples.offer(new("a", at_ms=number))
    samples.offer(new("b", at_ms=9))
    assert samples.take(1)[0].content == HEAD + b"hi\r\n"
    assert taken(samples) == [("a", 1), ("b", 9)]
    assert taken(samples) == []
    samples.offer(new("a"))
    assert taken(samples) == []
    clock.advance(HOUR_SECONDS)
    samples.offer(new("a", at_ms=20))
    assert taken(samples) == [("a", 20)]


@pytest.mark.parametrize(
    "message",
    [new(body=BodyFile("x", 0, 10)), new(head=b"x" * (HEAD_MAX_BYTES + 1))],
)
def test_what_is_too_large_is_passed_over(message):
    samples = MailSamples(ManualClock(), 2)
    samples.offer(message)
    assert taken(samples) == []


def test_samples_are_bounded_in_number_and_size(monkeypatch):
    samples = MailSamples(ManualClock(), 1000)
    for number in range(KEPT_MAX + 5):
        samples.offer(new(at_ms=number, body=b"x" * (BODY_MAX_BYTES + 1)))
    found = samples.take(1000)
    assert len(found) == KEPT_MAX
    assert len(found[0].content) == len(HEAD) + BODY_MAX_BYTES
    monkeypatch.setattr(mail_samples, "ACCOUNTS_MAX", 1)
    samples.offer(new("another"))
    assert taken(samples) == []


def test_none_are_kept_where_none_are_wanted():
    samples = MailSamples(ManualClock(), 0)
    samples.offer(new())
    assert taken(samples) == []
