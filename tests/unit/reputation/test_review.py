"""Reviews: what opens a case, how it goes on, and how it ends, over weeks of a clock that only a test moves."""

from dataclasses import replace

import pytest

from relay.model.finding import Finding, FindingKind, FindingState, FindingStep, after, worst
from relay.reputation.findings import (
    METRICS,
    TEXTS,
    Health,
    MetricStatus,
    dashboard,
    enforcement_status,
    handling,
    health,
    metric_status,
    summary,
)
from relay.reputation.patterns import Patterns
from relay.reputation.rates import DAY_MS, Metric, Rate, Rates
from relay.reputation.review import HEAL_MS, ReviewRules, Standing, investigated, look

NOW = 1_790_000_000_000
RULES = ReviewRules()
END = NOW + RULES.period_ms


def rates(bounced=0, complained=0, volume=1000):
    return Rates(Rate(bounced, volume, NOW - DAY_MS), Rate(complained, volume, NOW - DAY_MS))


def finding(kind=FindingKind.BOUNCE_RATE, state=FindingState.UNDER_REVIEW, **more):
    return replace(Finding(1, "000000000001", "", kind, state, NOW, NOW, END, NOW), **more)


def step_of(standing, now_ms, rules=RULES):
    opened, changes = look(standing, rules, now_ms)
    assert not opened
    return changes[0].step if changes else None


@pytest.mark.req("REP-006", "REP-017", "REP-018", "REVIEW-001")
def test_a_rate_at_its_limit_opens_a_case_and_sending_goes_on():
    assert look(Standing(rates(bounced=49)), RULES, NOW) == ([], [])
    (opening,), changes = look(Standing(rates(bounced=50)), RULES, NOW)
    assert (opening.kind, opening.paused, changes) == (FindingKind.BOUNCE_RATE, False, [])
    assert "50 of the last 1000 messages bounced for good: 5.00%" in opening.cause
    (opening,), _ = look(Standing(rates(complained=1)), RULES, NOW)
    assert opening.kind is FindingKind.COMPLAINT_RATE
    both, _ = look(Standing(rates(bounced=500, complained=500)), RULES, NOW)
    assert [one.kind for one in both] == [FindingKind.BOUNCE_RATE, FindingKind.COMPLAINT_RATE]
    assert not any(one.paused for one in both)  # the end of the review decides


@pytest.mark.req("REP-007")
def test_too_few_messages_open_nothing():
    assert look(Standing(rates(bounced=499, volume=499)), RULES, NOW) == ([], [])


@pytest.mark.req("REVIEW-003")
def test_a_pause_at_once_where_it_is_wanted_or_after_repeated_reviews():
    bad = rates(bounced=100)
    assert look(Standing(bad), replace(RULES, pause="at once"), NOW)[0][0].paused
    assert not look(Standing(rates(bounced=99)), replace(RULES, pause="at once"), NOW)[0][0].paused
    twice = ((FindingKind.BOUNCE_RATE, NOW - 30 * DAY_MS), (FindingKind.BOUNCE_RATE, NOW - 90 * DAY_MS))
    opening = look(Standing(bad, closed=twice), RULES, NOW)[0][0]
    assert opening.paused
    assert "review number 3" in opening.cause
    assert not look(Standing(bad, closed=twice[:1]), RULES, NOW)[0][0].paused
    old = ((FindingKind.BOUNCE_RATE, NOW - 181 * DAY_MS), *twice[1:])
    assert not look(Standing(bad, closed=old), RULES, NOW)[0][0].paused
    other = ((FindingKind.COMPLAINT_RATE, NOW), (FindingKind.SPAMTRAP, NOW))
    assert not look(Standing(bad, closed=other), RULES, NOW)[0][0].paused
    assert not look(Standing(bad, closed=twice), replace(RULES, pause="never"), NOW)[0][0].paused


@pytest.mark.req("REVIEW-002", "REP-017", "REP-018")
@pytest.mark.parametrize(
    ("kind", "found"),
    [(FindingKind.BOUNCE_RATE, rates(bounced=100)), (FindingKind.COMPLAINT_RATE, rates(complained=5))],
)
def test_the_end_of_a_review_pauses_while_the_rate_is_at_the_limit_for_it(kind, found):
    standing = Standing(found, [finding(kind)])
    assert look(standing, RULES, END - 1)[1] == []
    assert step_of(standing, END) is FindingStep.UNRESOLVED
    assert after(FindingState.UNDER_REVIEW, FindingStep.UNRESOLVED) is FindingState.PAUSED
    flagged = Standing(found, [finding(kind, manual=True)])
    assert step_of(flagged, END) is FindingStep.UNRESOLVED_MANUAL
    assert step_of(standing, END, replace(RULES, pause="never")) is FindingStep.UNRESOLVED_MANUAL
    assert after(FindingState.UNDER_REVIEW, FindingStep.UNRESOLVED_MANUAL) is FindingState.PENDING_PAUSE


@pytest.mark.req("REVIEW-002")
def test_a_rate_between_the_limits_at_the_end_goes_on_or_waits_for_an_administrator():
    assert step_of(Standing(rates(bounced=60), [finding()]), END) is FindingStep.RENEW
    assert step_of(Standing(rates(bounced=60), [finding(manual=True)]), END) is FindingStep.ASKS


def test_a_rate_that_gets_worse_under_review_pauses_at_once_only_where_that_is_wanted():
    standing = Standing(rates(bounced=100), [finding()])
    assert look(standing, RULES, NOW + 1)[1] == []
    assert step_of(standing, NOW + 1, replace(RULES, pause="at once")) is FindingStep.WORSE


@pytest.mark.req("REP-009")
def test_a_rate_below_its_limit_is_almost_healed_then_healed_before_the_end():
    case = finding()
    assert metric_status(Metric.BOUNCE, [case]) is MetricStatus.UNDER_REVIEW
    _, (change,) = look(Standing(rates(bounced=10), [case]), RULES, NOW + 5)
    assert (change.step, change.below_ms) == (None, NOW + 5)
    case = replace(case, below_ms=NOW + 5)
    assert metric_status(Metric.BOUNCE, [case]) is MetricStatus.ALMOST_HEALED
    assert look(Standing(rates(bounced=10), [case]), RULES, NOW + 4 + HEAL_MS)[1] == []
    assert step_of(Standing(rates(bounced=10), [case]), NOW + 5 + HEAL_MS) is FindingStep.HEALED
    _, (change,) = look(Standing(rates(bounced=50), [case]), RULES, NOW + HEAL_MS)
    assert (change.step, change.below_ms) == (None, 0)
    assert step_of(Standing(rates(bounced=10), [finding()]), END) is FindingStep.HEALED


@pytest.mark.req("REP-009")
@pytest.mark.parametrize(
    ("state", "status"),
    [
        (FindingState.PAUSED, MetricStatus.PAUSE),
        (FindingState.PENDING_PAUSE, MetricStatus.PENDING_PAUSE),
        (FindingState.CLOSED, MetricStatus.HEALTHY),
    ],
)
def test_the_status_of_a_metric_follows_its_case_alone(state, status):
    assert metric_status(Metric.BOUNCE, [finding(state=state)]) is status
    assert metric_status(Metric.COMPLAINT, [finding(state=state)]) is MetricStatus.HEALTHY


@pytest.mark.req("REP-008", "STAT-005")
@pytest.mark.parametrize(
    ("state", "expected", "word", "api"),
    [
        (FindingState.CLOSED, Health.HEALTHY, "Healthy", "HEALTHY"),
        (FindingState.UNDER_REVIEW, Health.UNDER_REVIEW, "Under review", "PROBATION"),
        (FindingState.PENDING_DECISION, Health.PENDING_DECISION, "Under review", "PROBATION"),
        (FindingState.PENDING_PAUSE, Health.PENDING_PAUSE, "Under review", "PROBATION"),
        (FindingState.PAUSED, Health.PAUSED, "Paused", "SHUTDOWN"),
    ],
)
def test_an_account_is_as_its_worst_case(state, expected, word, api):
    other = finding(FindingKind.OTHER, state=FindingState.CLOSED)
    found = health([finding(state=state), other])
    assert (found, dashboard(found), enforcement_status(found)) == (expected, word, api)
    assert health([finding(state=state)], suspended=True) is Health.SUSPENDED
    assert dashboard(Health.SUSPENDED) == "Paused"


@pytest.mark.req("REP-010")
def test_the_summary_says_at_risk_when_sending_is_in_danger():
    assert summary(Health.HEALTHY, pausable=False) == "Healthy"
    assert summary(Health.UNDER_REVIEW, pausable=False) == "Under review"
    assert summary(Health.UNDER_REVIEW, pausable=True) == "At risk"
    assert summary(Health.PENDING_PAUSE, pausable=False) == "At risk"


@pytest.mark.req("REVIEW-008", "REP-019", "REP-021", "REP-024", "REP-025")
def test_cases_by_report_end_by_what_was_reported_since():
    quiet = Standing(rates(), [finding(FindingKind.DIRECT_FEEDBACK)])
    assert look(quiet, RULES, END - 1)[1] == []
    assert step_of(quiet, END) is FindingStep.RESOLVED
    for kind in (FindingKind.DIRECT_FEEDBACK, FindingKind.MAILBOX_PROVIDER, FindingKind.RECIPIENT_FEEDBACK):
        more = Standing(rates(), [finding(kind, evidence=2)])
        assert step_of(more, END) is FindingStep.ASK_PAUSE
        assert step_of(replace(more, answered=frozenset({1})), END) is FindingStep.ASKS
    assert step_of(Standing(rates(), [finding(FindingKind.LISTBOMBING, evidence=1)]), END) is FindingStep.UNRESOLVED
    assert after(FindingState.UNDER_REVIEW, FindingStep.ASK_PAUSE) is FindingState.PENDING_PAUSE


@pytest.mark.req("REVIEW-002", "REP-008")
def test_cases_that_no_count_can_decide_wait_for_an_administrator():
    for kind in (FindingKind.INTERNAL_REVIEW, FindingKind.VULNERABLE_SITE, FindingKind.OTHER):
        assert handling(kind).manual
        assert step_of(Standing(rates(), [finding(kind, manual=True)]), END) is FindingStep.ASKS


@pytest.mark.req("REP-019")
def test_a_listing_opens_a_case_that_ends_when_the_listing_has_ended():
    (opening,), _ = look(Standing(rates(), listed="Listed: 192.0.2.1."), RULES, NOW)
    assert (opening.kind, opening.cause) == (FindingKind.ANTI_SPAM_ORGANIZATION, "Listed: 192.0.2.1.")
    case = finding(FindingKind.ANTI_SPAM_ORGANIZATION)
    assert step_of(Standing(rates(), [case], listed="Listed: 192.0.2.1."), END) is FindingStep.UNRESOLVED
    assert step_of(Standing(rates(), [case]), END) is FindingStep.RESOLVED


@pytest.mark.req("REP-027")
def test_traps_open_a_case_and_many_pause_at_once():
    rules = replace(RULES, trap_hits=2, trap_pause_hits=10)
    assert look(Standing(rates(), trap_hits=1), rules, NOW) == ([], [])
    assert [(one.kind, one.paused) for one in look(Standing(rates(), trap_hits=2), rules, NOW)[0]] == [
        (FindingKind.SPAMTRAP, False)
    ]
    assert look(Standing(rates(), trap_hits=10), rules, NOW)[0][0].paused
    assert not look(Standing(rates(), trap_hits=10_000), RULES, NOW)[0][0].paused
    for hits, step in ((9, None), (10, FindingStep.WORSE)):
        assert step_of(Standing(rates(), [finding(FindingKind.SPAMTRAP, evidence=hits)]), NOW + 5, rules) is step


@pytest.mark.req("REVIEW-001", "PAUSE-005")
def test_nothing_but_an_administrator_moves_what_is_paused_or_pending():
    for state in (FindingState.PAUSED, FindingState.PENDING_PAUSE, FindingState.PENDING_DECISION):
        case = finding(state=state)
        assert look(Standing(rates(), [case]), RULES, END + 400 * DAY_MS) == ([], [])
        assert after(state, FindingStep.ACCEPT) is FindingState.CLOSED
        assert after(state, FindingStep.EXTEND) is FindingState.UNDER_REVIEW
        assert after(state, FindingStep.HEALED) is None
    assert after(FindingState.CLOSED, FindingStep.PAUSE) is None
    assert worst([FindingState.UNDER_REVIEW, FindingState.PAUSED, FindingState.CLOSED]) is FindingState.PAUSED


@pytest.mark.req("REP-016")
@pytest.mark.parametrize("kind", FindingKind)
def test_every_kind_has_four_texts(kind):
    texts = TEXTS[kind]
    assert all(len(text) > 40 for text in (texts.why, texts.solve, texts.under_review, texts.paused))
    assert len({texts.why, texts.solve, texts.under_review, texts.paused}) == 4
    assert set(METRICS) == {FindingKind.BOUNCE_RATE, FindingKind.COMPLAINT_RATE}


@pytest.mark.req("REP-020", "REP-023", "REP-028", "REP-029", "REVIEW-010")
def test_texts_advise_and_samples_expose_nobody():
    assert "CAPTCHA" in TEXTS[FindingKind.LISTBOMBING].solve
    assert "permission pass" in TEXTS[FindingKind.LISTBOMBING].solve
    assert "sample" in TEXTS[FindingKind.VULNERABLE_SITE].solve
    assert "revoke" in TEXTS[FindingKind.COMPROMISED_CREDENTIALS].solve
    assert "suspension for good" in TEXTS[FindingKind.INTERNAL_REVIEW].paused
    shown = {kind for kind in FindingKind if handling(kind).sample}
    assert FindingKind.VULNERABLE_SITE in shown
    hidden = {FindingKind.DIRECT_FEEDBACK, FindingKind.MAILBOX_PROVIDER, FindingKind.RECIPIENT_FEEDBACK}
    assert not shown & {*hidden, FindingKind.SPAMTRAP, FindingKind.COMPLAINT_RATE}


@pytest.mark.req("REVIEW-009")
@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((1000, 700, 7, 1000, 0), "1000 messages in a day, after 100 a day before."),
        ((999, 0, 30, 999, 0), ""),
        ((1000, 707, 7, 1000, 0), ""),
        ((50_000, 0, 6, 50_000, 0), ""),  # nothing is known yet to compare with
        ((100, 700, 7, 1000, 10), "Scanners refused 10 of 1000 messages of the last day."),
        ((100, 700, 7, 1001, 10), ""),
        ((100, 700, 7, 20, 9), ""),
    ],
)
def test_what_looks_odd_is_to_be_looked_into(values, found):
    assert investigated(*values) == found


PATTERN = Patterns("60 of the 1000 messages of a day were refused because of a block list.")
SEVERE = Patterns("500 of the 1000 messages of a day were refused because of a block list.", severe=True)


@pytest.mark.req("DNSBL-005")
def test_a_pattern_is_told_first_and_pauses_when_it_stays_or_is_severe():
    (opening,), changes = look(Standing(rates(), patterns=PATTERN), RULES, NOW)
    assert (opening.kind, opening.paused, opening.cause) == (FindingKind.SENDING_PATTERN, False, PATTERN.text)
    assert not changes
    assert look(Standing(rates(), patterns=SEVERE), RULES, NOW)[0][0].paused
    own = [finding(FindingKind.SENDING_PATTERN)]
    assert step_of(Standing(rates(), own, patterns=PATTERN), END - 1) is None
    assert step_of(Standing(rates(), own, patterns=SEVERE), NOW + 1) is FindingStep.WORSE
    assert step_of(Standing(rates(), own, patterns=PATTERN), END) is FindingStep.UNRESOLVED
    assert step_of(Standing(rates(), own), END) is FindingStep.RESOLVED


@pytest.mark.req("DNSBL-005")
def test_a_pattern_pauses_nobody_where_an_administrator_is_to_be_asked():
    never = replace(RULES, pause="never")
    assert not look(Standing(rates(), patterns=SEVERE), never, NOW)[0][0].paused
    own = [finding(FindingKind.SENDING_PATTERN)]
    assert step_of(Standing(rates(), own, patterns=SEVERE), NOW + 1, never) is None
    assert step_of(Standing(rates(), own, patterns=SEVERE), END, never) is FindingStep.UNRESOLVED_MANUAL


def test_unknown_users_alone_are_one_case_and_not_two():
    alone = Patterns("100 of the 1000 messages of a day bounced for good.", bounces_alone=True)
    opened, _ = look(Standing(rates(bounced=100), patterns=alone), RULES, NOW)
    assert [one.kind for one in opened] == [FindingKind.BOUNCE_RATE]
    assert look(Standing(rates(bounced=60), [finding()], patterns=alone), RULES, NOW)[0] == []
    opened, _ = look(Standing(rates(bounced=10), patterns=alone), RULES, NOW)  # hidden in a large volume
    assert [one.kind for one in opened] == [FindingKind.SENDING_PATTERN]
