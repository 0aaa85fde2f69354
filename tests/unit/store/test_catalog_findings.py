"""Cases in the catalog: each step is whole, with its flag, its mails and its line in the account's log."""

import itertools

import pytest

from relay.errors import ConflictError, UsageError
from relay.mail.finding_letters import News
from relay.mail.letter import Letterhead
from relay.model.account import AccountState
from relay.model.configuration_set import ConfigurationSet
from relay.model.finding import Enforcement, FindingKind, FindingState, FindingStep
from relay.model.review import ReviewKind, ReviewState
from relay.store.catalog import open_catalog
from relay.store.catalog_findings import NewFinding
from relay.store.directory import CatalogDirectory

KEY = bytes(range(32))
A, B, C = "000000000001", "000000000002", "000000000003"
DAY = 86_400_000
PERIOD = 21 * DAY
HEAD = Letterhead("Relay", "local-1", "relay.example", "no-reply@relay.example", "postmaster@relay.example")


class Clock:
    now = 1_790_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def catalog(tmp_path, clock):
    with open_catalog(tmp_path / "data", KEY, now_ms=clock) as opened:
        for account in (A, B, C):
            opened.accounts.create(account, contact=f"owner-{account[-1]}@x.example")
        opened.configuration_sets.create(ConfigurationSet(A, "news"))
        yield opened


def tell(finding, news, reason, recipient):
    return f"To: {recipient}\r\n\r\n".encode(), f"{news.name} {finding.kind} {reason}\r\n".encode()


def mails(catalog):
    """Return the mails that wait, and forget them."""
    numbers = catalog.notices.waiting()
    found = [catalog.notices.get(number) for number in numbers]
    catalog.notices.forget(numbers)
    return [(one.recipient, one.content.body.decode().strip()) for one in found]


def opened(catalog, kind=FindingKind.BOUNCE_RATE, account=A, **more):
    return catalog.findings.open(NewFinding(account, kind, PERIOD, **more), tell)


def enforcement(catalog, account=A):
    return catalog.accounts.require(account).enforcement


def step(catalog, finding, what, **more):
    return catalog.findings.step(finding.finding_id, what, tell, **more)


@pytest.mark.req("REVIEW-001", "REVIEW-002", "REVIEW-004")
def test_a_case_puts_an_account_under_review_and_tells_its_contact(catalog, clock):
    found = opened(catalog, cause="60 of 1000 bounced.")
    assert (found.state, found.ends_ms, found.cause) == (
        FindingState.UNDER_REVIEW,
        clock.now + PERIOD,
        "60 of 1000 bounced.",
    )
    assert enforcement(catalog) is Enforcement.NONE
    assert mails(catalog) == [("owner-1@x.example", "OPENED bounce-rate")]
    assert catalog.enforcement.events(A) == []


@pytest.mark.req("REVIEW-004", "REVIEW-005", "PAUSE-007")
def test_a_pause_is_a_flag_of_its_own_that_the_accounts_switch_does_not_undo(catalog, clock, tmp_path):
    found = opened(catalog)
    mails(catalog)
    clock.now += PERIOD
    step(catalog, found, FindingStep.UNRESOLVED, reason="still 12 %")
    assert mails(catalog) == [("owner-1@x.example", "PAUSED bounce-rate still 12 %")]
    (event,) = catalog.enforcement.events(A)
    assert (event.name, event.created_ms) == ("SES sending paused", clock.now)
    assert "PAUSED bounce-rate still 12 %" in event.text
    catalog.accounts.set_state(A, AccountState.PAUSED)
    catalog.accounts.set_state(A, AccountState.ENABLED)
    assert enforcement(catalog) is Enforcement.PAUSED
    directory = CatalogDirectory(tmp_path / "data", KEY)
    assert directory.account(A).enforcement is Enforcement.PAUSED
    closed = step(catalog, found, FindingStep.ACCEPT, reason="list cleaned")
    assert (closed.state, enforcement(catalog)) == (FindingState.CLOSED, Enforcement.NONE)
    directory.refresh()
    assert directory.account(A).enforcement is Enforcement.NONE
    directory.close()
    assert mails(catalog) == [("owner-1@x.example", "CLOSED bounce-rate list cleaned")]


@pytest.mark.req("REVIEW-003")
def test_a_serious_case_pauses_at_once(catalog):
    found = opened(catalog, FindingKind.SPAMTRAP, paused=True, cause="many")
    assert (found.state, enforcement(catalog)) == (FindingState.PAUSED, Enforcement.PAUSED)
    assert mails(catalog) == [("owner-1@x.example", "PAUSED spamtrap many")]


def test_an_account_is_paused_as_long_as_one_case_says_so(catalog):
    one, two = opened(catalog, paused=True), opened(catalog, FindingKind.OTHER, cause="x", paused=True)
    step(catalog, one, FindingStep.ACCEPT)
    assert enforcement(catalog) is Enforcement.PAUSED
    step(catalog, two, FindingStep.EXTEND, period_ms=DAY)
    assert enforcement(catalog) is Enforcement.NONE


@pytest.mark.req("PAUSE-004", "PAUSE-007", "CFG-009")
def test_a_case_about_a_set_pauses_that_set_alone_even_when_it_is_made_anew(catalog):
    found = opened(catalog, configuration_set="news", paused=True)
    one = catalog.configuration_sets.require(A, "news")
    assert (one.enforcement, one.may_send, one.sending_enabled) == (Enforcement.PAUSED, False, True)
    assert enforcement(catalog) is Enforcement.NONE
    catalog.configuration_sets.update(one)
    catalog.configuration_sets.delete(A, "news")
    catalog.configuration_sets.create(ConfigurationSet(A, "news"))
    assert not catalog.configuration_sets.require(A, "news").may_send
    step(catalog, found, FindingStep.ACCEPT)
    assert catalog.configuration_sets.require(A, "news").may_send
    with pytest.raises(UsageError, match="no configuration set gone"):
        opened(catalog, configuration_set="gone")


@pytest.mark.req("REVIEW-007", "REP-013", "REP-017")
def test_an_extension_lets_only_later_evidence_count(catalog, clock):
    found = opened(catalog, FindingKind.MAILBOX_PROVIDER)
    catalog.findings.report(found.finding_id)
    clock.now += 10 * DAY
    found = step(catalog, found, FindingStep.EXTEND, period_ms=PERIOD, reason="forms have a CAPTCHA now")
    assert (found.evidence, found.evidence_from_ms, found.ends_ms) == (0, clock.now, clock.now + PERIOD)
    assert catalog.findings.fresh_start_ms(A) == 0
    rate = opened(catalog, FindingKind.BOUNCE_RATE)
    step(catalog, rate, FindingStep.EXTEND, period_ms=PERIOD)
    assert catalog.findings.fresh_start_ms(A) == clock.now  # of a rate, later evidence is later mail


@pytest.mark.req("REP-013", "CFG-008")
def test_a_fresh_start_is_kept_for_account_and_set(catalog, clock):
    assert catalog.findings.fresh_start(A) == clock.now
    assert catalog.findings.fresh_start_ms(A) == catalog.accounts.require(A).fresh_start_ms == clock.now
    assert catalog.findings.fresh_start_ms(A, "news") == 0
    catalog.findings.fresh_start(A, "news")
    assert catalog.configuration_sets.require(A, "news").fresh_start_ms == clock.now
    with pytest.raises(UsageError):
        catalog.findings.fresh_start(A, "gone")


@pytest.mark.req("REVIEW-006", "REVIEW-007")
def test_an_answer_needs_its_three_parts_and_waits_in_the_queue_of_requests(catalog):
    found = opened(catalog)
    mails(catalog)
    full = {"root_cause": "an old list", "changes": "deleted it", "prevention": "sign-ups are confirmed"}
    for missing in full:
        with pytest.raises(UsageError):
            catalog.findings.answer(found.finding_id, **{**full, missing: " "})
    number = catalog.findings.answer(found.finding_id, **full)
    with pytest.raises(ConflictError):
        catalog.findings.answer(found.finding_id, **full)
    (review,) = catalog.reviews.list(A, ReviewState.PENDING)
    assert (review.review_id, review.kind, review.finding) == (number, ReviewKind.APPEAL, found.finding_id)
    assert (review.root_cause, review.changes, review.prevention) == tuple(full.values())
    with pytest.raises(UsageError, match="relay reputation accept"):
        catalog.reviews.deny(number, lambda account, contact: (b"", b""))
    with pytest.raises(UsageError):
        catalog.findings.reject(found.finding_id, " ", tell)
    catalog.findings.reject(found.finding_id, "which list?", tell)
    assert mails(catalog) == [("owner-1@x.example", "REJECTED bounce-rate which list?")]
    assert catalog.reviews.require(number).state is ReviewState.DENIED
    assert catalog.findings.require(found.finding_id).open
    again = catalog.findings.answer(found.finding_id, **full)  # another request is possible
    step(catalog, found, FindingStep.ACCEPT, reason="good")
    assert catalog.reviews.require(again).state is ReviewState.GRANTED
    assert catalog.findings.answered(A) == {found.finding_id}
    with pytest.raises(ConflictError):
        catalog.findings.answer(found.finding_id, **full)
    with pytest.raises(ConflictError):
        catalog.findings.reject(found.finding_id, "too late", tell)


def test_cases_are_answered_each_for_itself(catalog):
    one, two = opened(catalog), opened(catalog, FindingKind.COMPLAINT_RATE)
    for found in (one, two):
        catalog.findings.answer(found.finding_id, "a", "b", "c")
    assert len(catalog.reviews.list(A, ReviewState.PENDING)) == 2


@pytest.mark.req("REP-026")
def test_a_pause_is_held_against_linked_accounts_and_goes_no_further(catalog):
    catalog.findings.link(A, B)
    catalog.findings.link(B, C)
    assert catalog.findings.links(B) == [A, C]
    found = opened(catalog, paused=True)
    (related,) = catalog.findings.list(B)
    assert (related.kind, related.about, related.state) == (
        FindingKind.RELATED_ACCOUNT,
        A,
        FindingState.UNDER_REVIEW,
    )
    assert catalog.findings.list(C) == []
    assert mails(catalog) == [
        ("owner-1@x.example", "PAUSED bounce-rate"),
        ("owner-2@x.example", "OPENED related-account"),
    ]
    step(catalog, found, FindingStep.EXTEND, period_ms=1)
    step(catalog, found, FindingStep.PAUSE)
    assert len(catalog.findings.list(B)) == 1  # the same is not opened twice
    catalog.findings.unlink(B, A)
    assert catalog.findings.links(A) == []
    with pytest.raises(UsageError):
        catalog.findings.unlink(A, B)
    with pytest.raises(UsageError):
        catalog.findings.link(A, A)


@pytest.mark.req("REVIEW-011")
def test_a_suspension_stays_whatever_becomes_of_cases(catalog):
    found = opened(catalog, paused=True)
    mails(catalog)
    catalog.enforcement.suspend(A, lambda to: (f"To: {to}\r\n\r\n".encode(), b"SUSPENDED\r\n"))
    assert mails(catalog) == [("owner-1@x.example", "SUSPENDED")]
    step(catalog, found, FindingStep.ACCEPT)
    assert enforcement(catalog) is Enforcement.SUSPENDED
    assert [one.name for one in catalog.enforcement.events(A)] == ["SES sending suspended", "SES sending paused"]
    assert catalog.enforcement.reinstate(A) is Enforcement.NONE
    with pytest.raises(ConflictError):
        catalog.enforcement.reinstate(A)


@pytest.mark.req("REVIEW-012")
def test_requests_for_more_wait_until_the_case_is_closed(catalog):
    number = catalog.reviews.request_quota(A, daily_quota=1000).review_id
    about_set = opened(catalog, configuration_set="news")
    found = opened(catalog)
    with pytest.raises(ConflictError, match=f"has case {found.finding_id}"):
        catalog.reviews.grant(number, lambda account, contact: (b"a\r\n\r\n", b"b"))
    step(catalog, found, FindingStep.ACCEPT)
    assert about_set.open
    granted = catalog.reviews.grant(number, lambda account, contact: (b"a\r\n\r\n", b"b"))
    assert granted.state is ReviewState.GRANTED


@pytest.mark.req("REVIEW-008", "REVIEW-009")
def test_what_the_relay_asks_its_administrator_waits_once_and_is_not_for_the_account(catalog):
    found = opened(catalog, FindingKind.DIRECT_FEEDBACK)
    mails(catalog)
    number = catalog.findings.investigate(A, "ten times as much mail")
    assert catalog.findings.investigate(A, "again") is None
    proposal = catalog.findings.investigate(A, "reported again", found.finding_id)
    assert catalog.reviews.require(proposal).kind is ReviewKind.PAUSE
    assert mails(catalog) == []
    with pytest.raises(UsageError, match="dismiss"):
        catalog.reviews.grant(number, lambda account, contact: (b"", b""))
    assert catalog.reviews.dismiss(number, "a campaign").state is ReviewState.GRANTED
    with pytest.raises(UsageError):
        catalog.reviews.dismiss(proposal)
    step(catalog, found, FindingStep.PAUSE)
    assert catalog.reviews.require(proposal).state is ReviewState.GRANTED


@pytest.mark.req("REVIEW-010")
def test_samples_are_kept_until_the_case_is_closed_and_never_where_they_expose_somebody(catalog):
    found = opened(catalog, FindingKind.VULNERABLE_SITE)
    assert catalog.findings.sample(found.finding_id) is None
    catalog.findings.put_sample(found.finding_id, b"Subject: a form\r\n\r\nhello\r\n")
    assert catalog.findings.sample(found.finding_id) == b"Subject: a form\r\n\r\nhello\r\n"
    for kind in (FindingKind.DIRECT_FEEDBACK, FindingKind.MAILBOX_PROVIDER, FindingKind.SPAMTRAP):
        with pytest.raises(UsageError):
            catalog.findings.put_sample(opened(catalog, kind).finding_id, b"x")
    for bad in (b"", b"x" * (256 * 1024 + 1)):
        with pytest.raises(UsageError):
            catalog.findings.put_sample(found.finding_id, bad)
    step(catalog, found, FindingStep.ACCEPT)
    assert catalog.findings.sample(found.finding_id) is None


def test_steps_that_cannot_be_are_refused_and_change_nothing(catalog):
    found = opened(catalog, paused=True)
    for what in (FindingStep.PAUSE, FindingStep.HEALED, FindingStep.RENEW):
        with pytest.raises(ConflictError):
            step(catalog, found, what)
    for text in ("two\nlines", "x" * 2001):
        with pytest.raises(UsageError):
            step(catalog, found, FindingStep.ACCEPT, reason=text)
    assert catalog.findings.require(found.finding_id) == found
    step(catalog, found, FindingStep.ACCEPT)
    with pytest.raises(ConflictError):
        catalog.findings.report(found.finding_id)
    with pytest.raises(UsageError):
        catalog.findings.require(99)
    with pytest.raises(UsageError):
        opened(catalog, account="000000000099")
    assert catalog.findings.list(A) == []
    assert [one.finding_id for one in catalog.findings.list(A, closed=True)] == [found.finding_id]


def test_a_letter_that_cannot_be_written_leaves_no_half_pause(catalog):
    found = opened(catalog)

    def broken(finding, news, reason, recipient):
        raise RuntimeError("no words")

    with pytest.raises(RuntimeError):
        catalog.findings.step(found.finding_id, FindingStep.PAUSE, broken)
    assert catalog.findings.require(found.finding_id).state is FindingState.UNDER_REVIEW
    assert (enforcement(catalog), catalog.enforcement.events(A)) == (Enforcement.NONE, [])


@pytest.mark.req("REVIEW-004", "REP-016", "REP-021", "REP-024", "REP-027", "REP-030")
@pytest.mark.parametrize(("kind", "news"), list(itertools.product(FindingKind, News)))
def test_letters_name_the_case_and_say_what_follows(catalog, kind, news):
    from relay.mail.finding_letters import finding_letter

    found = opened(catalog, kind, cause="What was found.", about=B if kind is FindingKind.RELATED_ACCOUNT else "")
    head, body = finding_letter(HEAD, found, news, "because", "owner-1@x.example", 1_790_000_000_000)
    text = " ".join(body.decode().split())
    assert f"case: {found.finding_id}" in text
    assert A.encode() in head
    assert "because" in text
    assert ("What was found." in text) == (news in {News.OPENED, News.PAUSED})
    assert ("relay reputation answer" in text) == (news is not News.CLOSED)
    assert max(map(len, body.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("late", ["pause", "report", "sample"])
def test_a_case_that_somebody_else_closed_meanwhile_stays_closed(tmp_path, catalog, clock, late):
    """Two administrators at once, or one and the office: who comes second sees what the first did."""
    finding = opened(catalog, kind=FindingKind.LISTBOMBING)
    number = finding.finding_id
    closed = []

    def first(statement):
        if statement.startswith("BEGIN") and not closed:  # the second one is about to begin
            closed.append(True)
            with open_catalog(tmp_path / "data", KEY, now_ms=clock) as other:
                other.findings.step(number, FindingStep.ACCEPT, tell)

    catalog._tables.connection.set_trace_callback(first)
    acts = {
        "pause": lambda: catalog.findings.step(number, FindingStep.PAUSE, tell),
        "report": lambda: catalog.findings.report(number),
        "sample": lambda: catalog.findings.put_sample(number, b"x"),
    }
    with pytest.raises(ConflictError):
        acts[late]()
    assert catalog.findings.require(number).state is FindingState.CLOSED
    assert enforcement(catalog) is Enforcement.NONE
