"""The corpus is read as its labels say: all of the half that rules are written for, most of the half that they are not."""

import pytest

from tests.corpus import development
from tests.corpus.measure import all_reports, held_out_cases, measure, ordinary_cases
from tests.corpus.parts import Case


def product(case: Case) -> str:
    return case.name.removeprefix("dev-").partition("/")[0].rstrip("0123456789").rstrip("-")


def test_the_corpus_is_large_enough_and_names_nobody():
    reports = all_reports()
    assert len(reports) >= 300
    assert len({product(case) for case in reports}) >= 40
    assert len(ordinary_cases()) >= 60
    assert len({case.name for case in reports}) == len(reports)
    for case in [*reports, *ordinary_cases()]:
        for recipient in case.recipients:
            assert recipient.endswith((".example", ".example.com")), case.name


@pytest.mark.req("EVT-019", "EVT-021", "EVT-022", "EVT-023")
@pytest.mark.parametrize("case", development.cases(), ids=lambda case: case.name)
def test_what_rules_are_written_for_is_read_right(case):
    (score,) = measure([case]).values()
    assert not score.wrong


@pytest.mark.req("EVT-021", "EVT-022", "EVT-023")
def test_what_rules_have_not_seen_is_mostly_read_right():
    scores = measure(held_out_cases())
    standard, free = scores["standard"], scores["free"]
    assert standard.named_share >= 0.97, standard.wrong
    assert standard.type_share >= 0.92, standard.wrong
    assert free.named_share >= 0.80, free.wrong
    assert free.type_share >= 0.70, free.wrong
    assert scores["complaint"].named_share >= 0.97
    assert scores["auto"].named_share >= 0.97


def test_nothing_transient_is_called_permanent():
    """K15: an address is never lost for what is not its fault."""
    for group, score in measure(all_reports()).items():
        assert score.hardened == 0, (group, score.wrong)


@pytest.mark.parametrize("case", ordinary_cases(), ids=lambda case: case.name)
def test_ordinary_mail_is_no_report(case):
    (score,) = measure([case]).values()
    assert not score.wrong
