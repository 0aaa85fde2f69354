"""What receivers find when they look at the relay, by table."""

import pytest

from relay.policy.records import Answer
from relay.policy.spf_evaluation import SpfResult, SpfVerdict
from relay.reputation.own import Grade, certificate, clock, helo_name, reverse, spf, turned

OURS = "192.0.2.1"
DAY = 86_400


@pytest.mark.parametrize(
    ("names", "forward", "grade", "words"),
    [
        (("mail.example",), (OURS,), Grade.OK, "and back"),
        (("MAIL.example", "other.example"), (OURS,), Grade.OK, "and back"),
        (("other.example",), (OURS,), Grade.WARNING, "says EHLO mail.example"),
        (("mail.example",), ("192.0.2.9",), Grade.ERROR, "does not lead back"),
        (("mail.example",), (), Grade.ERROR, "does not lead back"),
        ((), (), Grade.ERROR, "no reverse name"),
    ],
)
def test_reverse_names(names, forward, grade, words):
    found = reverse(OURS, "mail.example", Answer(names), [Answer(forward)])
    assert found.grade is grade
    assert words in found.detail
    assert bool(found.next_step) is (grade is not Grade.OK)


def test_no_answer_is_no_fault():
    assert reverse(OURS, "mail.example", Answer(failure="no answer"), []).grade is Grade.UNKNOWN
    assert helo_name("mail.example", OURS, [Answer(failure="no answer"), Answer()]).grade is Grade.UNKNOWN
    assert spf("b.example", OURS, SpfVerdict(SpfResult.TEMPERROR, "no answer")).grade is Grade.UNKNOWN


@pytest.mark.parametrize(
    ("forward", "grade"), [((OURS,), Grade.OK), (("192.0.2.7",), Grade.WARNING), ((), Grade.ERROR)]
)
def test_helo_names(forward, grade):
    assert helo_name("mail.example", OURS, [Answer(forward), Answer()]).grade is grade


@pytest.mark.parametrize(
    ("result", "grade"),
    [
        (SpfResult.PASS, Grade.OK),
        (SpfResult.FAIL, Grade.ERROR),
        (SpfResult.PERMERROR, Grade.ERROR),
        (SpfResult.SOFTFAIL, Grade.WARNING),
        (SpfResult.NEUTRAL, Grade.WARNING),
        (SpfResult.NONE, Grade.WARNING),
    ],
)
def test_spf_results(result, grade):
    assert spf("bounce.example", OURS, SpfVerdict(result, "why")).grade is grade


@pytest.mark.parametrize(
    ("names", "days", "grade"),
    [
        (["relay.example"], 100, Grade.OK),
        (["*.example"], 100, Grade.OK),
        (["other.example"], 100, Grade.WARNING),
        (["*.relay.example"], 100, Grade.WARNING),
        (["relay.example"], 10, Grade.WARNING),
        (["relay.example"], 2, Grade.ERROR),
        (["relay.example"], -2, Grade.ERROR),
    ],
)
def test_certificates(names, days, grade):
    assert certificate("relay.example", names, 1_000_000 + days * DAY, 1_000_000).grade is grade


@pytest.mark.parametrize(
    ("synchronised", "offset", "grade"),
    [
        (True, 0.0, Grade.OK),
        (True, -9.0, Grade.ERROR),
        (False, 0.0, Grade.WARNING),
        (None, 0.0, Grade.UNKNOWN),
    ],
)
def test_clocks(synchronised, offset, grade):
    assert clock(synchronised=synchronised, offset_seconds=offset).grade is grade


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (None, Grade.OK, False),
        (None, Grade.ERROR, True),
        (None, Grade.WARNING, False),
        (Grade.OK, Grade.WARNING, True),
        (Grade.WARNING, Grade.ERROR, True),
        (Grade.ERROR, Grade.OK, True),
        (Grade.ERROR, Grade.ERROR, False),
        (Grade.ERROR, Grade.UNKNOWN, False),
        (Grade.UNKNOWN, Grade.OK, False),
    ],
)
def test_what_the_operator_is_told(before, now, told):
    assert turned(before, now) is told
