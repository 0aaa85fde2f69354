"""What receivers find when they look at the relay, by table."""

import pytest

from relay.model.check import CheckState
from relay.model.pool import Reverse, ReverseDns
from relay.model.tls import StsMode, StsPolicy
from relay.policy.records import Answer
from relay.policy.spf_evaluation import SpfResult, SpfVerdict
from relay.reputation.own import (
    Grade,
    certificate,
    clock,
    helo_name,
    mta_sts,
    mta_sts_record,
    reverse,
    signing,
    spf,
    tls_reports,
    turned,
)

OURS = "192.0.2.1"
DAY = 86_400


@pytest.mark.parametrize(
    ("found", "grade", "words"),
    [
        (ReverseDns(Reverse.CONFIRMED, ("mail.example",), helo=True), Grade.OK, "and back"),
        (ReverseDns(Reverse.CONFIRMED, ("other.example",)), Grade.WARNING, "says EHLO mail.example"),
        (ReverseDns(Reverse.UNCONFIRMED, ("mail.example",)), Grade.ERROR, "does not lead back"),
        (ReverseDns(Reverse.MISSING), Grade.ERROR, "no reverse name"),
    ],
)
def test_reverse_names(found, grade, words):
    """What DNS says is judged by `relay.policy.reverse`."""
    check = reverse(OURS, "mail.example", found)
    assert check.grade is grade
    assert words in check.detail
    assert bool(check.next_step) is (grade is not Grade.OK)


def test_no_answer_is_no_fault():
    assert reverse(OURS, "mail.example", ReverseDns(Reverse.UNAVAILABLE, error="late")).detail == "late"
    assert reverse(OURS, "mail.example", ReverseDns()).grade is Grade.UNKNOWN
    assert helo_name("mail.example", OURS, [Answer(failure="no answer"), Answer()]).grade is Grade.UNKNOWN
    assert spf("b.example", OURS, SpfVerdict(SpfResult.TEMPERROR, "no answer")).grade is Grade.UNKNOWN


def test_half_an_answer_counts_for_what_it_has():
    """The family that was answered proves what it shows, and nothing about the other."""
    silent = Answer(failure="no answer")
    other, ours = Answer(("192.0.2.9",)), Answer((OURS,))
    assert helo_name("mail.example", OURS, [ours, silent]).grade is Grade.OK
    assert helo_name("mail.example", OURS, [other, silent]).grade is Grade.UNKNOWN


@pytest.mark.parametrize(
    ("record", "grade"),
    [
        (Answer(), Grade.OK),
        (Answer(("something else",)), Grade.OK),
        (Answer(failure="no answer"), Grade.UNKNOWN),
        (Answer(("v=STSv1; id=!;",)), Grade.WARNING),
        (Answer(("v=STSv1; id=1;", "v=STSv1; id=2;")), Grade.WARNING),
    ],
)
def test_mta_sts_records_that_nothing_is_fetched_for(record, grade):
    found = mta_sts_record("b.example", record)
    assert found is not None
    assert found.grade is grade
    assert mta_sts_record("b.example", Answer(("v=STSv1; id=1;",))) is None


@pytest.mark.parametrize(
    ("policy", "exchangers", "grade", "words"),
    [
        (StsPolicy(StsMode.ENFORCE, ("mx.b.example",), 1), Answer(("10 mx.b.example",)), Grade.OK, "names its hosts"),
        (StsPolicy(StsMode.ENFORCE, ("*.b.example",), 1), Answer(("10 MX.b.example",)), Grade.OK, "enforce"),
        (StsPolicy(StsMode.ENFORCE, ("b.example",), 1), Answer(), Grade.OK, "names its hosts"),
        (StsPolicy(StsMode.ENFORCE, ("mx.b.example",), 1), Answer(), Grade.ERROR, "not name b.example"),
        (StsPolicy(StsMode.ENFORCE, ("b.example",), 1), Answer(("10 mx.c.example",)), Grade.ERROR, "mx.c.example"),
        (StsPolicy(StsMode.TESTING, ("b.example",), 1), Answer(("10 mx.c.example",)), Grade.WARNING, "testing"),
        (StsPolicy(StsMode.NONE, (), 1), Answer(("10 mx.c.example",)), Grade.OK, "none"),
        (StsPolicy(StsMode.ENFORCE, ("b.example",), 1), Answer(failure="no answer"), Grade.UNKNOWN, "no answer"),
        ("the policy has no max_age", Answer(), Grade.WARNING, "no max_age"),
    ],
)
def test_mta_sts_policies(policy, exchangers, grade, words):
    found = mta_sts("b.example", policy, exchangers)
    assert found.grade is grade
    assert words in found.detail
    assert bool(found.next_step) is (grade in (Grade.WARNING, Grade.ERROR))


@pytest.mark.parametrize(
    ("record", "grade"),
    [
        (Answer(("v=TLSRPTv1; rua=mailto:tls@b.example",)), Grade.OK),
        (Answer(), Grade.OK),
        (Answer(("v=TLSRPTv1; rua=ftp://b.example",)), Grade.WARNING),
        (Answer(failure="no answer"), Grade.UNKNOWN),
    ],
)
def test_tls_report_records(record, grade):
    assert tls_reports("b.example", record).grade is grade


def test_identities_whose_records_are_gone():
    assert signing({CheckState.SUCCESS: 3}, []).grade is Grade.OK
    found = signing({CheckState.SUCCESS: 3, CheckState.TEMPORARY_FAILURE: 1, CheckState.FAILED: 2}, ["a.example"])
    assert found.grade is Grade.WARNING
    assert found.detail == "1 lost their records, 2 are given up: a.example"
    assert "relay identity show a.example" in found.next_step


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


@pytest.mark.parametrize(("synchronised", "grade"), [(True, Grade.OK), (False, Grade.WARNING), (None, Grade.UNKNOWN)])
def test_clocks(synchronised, grade):
    assert clock(synchronised=synchronised).grade is grade


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
