"""Letters to the contacts of an account about findings, reviews and pauses (REVIEW-004). Pure."""

from collections.abc import Sequence
from enum import Enum

from relay.mail.letter import VERBATIM, Letter, Letterhead, letter
from relay.mail.trace import format_date
from relay.model.finding import Finding, FindingKind, FindingState
from relay.reputation.findings import TEXTS, Texts


class News(Enum):
    """What is told about a finding."""

    OPENED = "under review"
    RENEWED = "still under review"
    EXTENDED = "review extended"
    PENDING = "awaits a decision"
    PAUSED = "sending paused"
    REJECTED = "answer not accepted"
    CLOSED = "review closed"


_STILL = "Mail that was accepted before goes on, and everything else about the account can still be used."


def finding_letter(  # noqa: PLR0917 - who writes about what to whom, and when
    letterhead: Letterhead, finding: Finding, news: News, reason: str, recipient: str, now_ms: int
) -> Letter:
    """Return the letter about what happened to a finding; `reason` is why, or ""."""
    texts = TEXTS[finding.kind]
    subject = f"{letterhead.product} - {_subject(finding, news)} in region {letterhead.region}"
    cause = finding.cause if finding.cause != reason else ""
    paragraphs = [
        _opening(finding, news),
        f"{VERBATIM}account: {finding.account}",
        *([f"{VERBATIM}configuration set: {finding.configuration_set}"] if finding.configuration_set else []),
        f"{VERBATIM}case: {finding.finding_id}",
        f"{VERBATIM}kind: {texts.title}",
        *([cause] if cause and news in {News.OPENED, News.PAUSED} else []),
        *(["The reason given:", VERBATIM + reason] if reason else []),
        *_told(finding, news, texts),
        f"Questions about this go to {letterhead.contact}.",
    ]
    return letter(letterhead, recipient, subject, paragraphs, now_ms)


def _subject(finding: Finding, news: News) -> str:
    what = f"configuration set {finding.configuration_set} of " if finding.configuration_set else ""
    word = {News.OPENED: "Under review:", News.PAUSED: "Sending paused for"}.get(news, f"{news.value.capitalize()}:")
    return f"{word} {what}account {finding.account}"


def _opening(finding: Finding, news: News) -> str:
    subject = "A configuration set of your account" if finding.configuration_set else "Your account"
    if news is News.PAUSED:
        return f"{subject} is paused: every new message is refused. {_STILL}"
    if news is News.CLOSED:
        return f"The case about how {subject.lower()} sends is closed. Nothing follows from it any more."
    if news is News.REJECTED:
        return "What you answered in the case is not enough to close it. You may answer again."
    if news is News.PENDING:
        return f"{subject} was under review; an administrator decides what follows. Sending goes on until then."
    begun = {News.RENEWED: "stays under review", News.EXTENDED: "stays under review, and only what comes from now on "
             "counts"}.get(news, "is under review")  # fmt: skip
    return f"{subject} {begun}, until {format_date(finding.ends_ms)}. Sending goes on meanwhile."


def _told(finding: Finding, news: News, texts: Texts) -> Sequence[str]:
    if news is News.CLOSED:
        return ()
    standing = texts.paused if finding.state is FindingState.PAUSED else texts.under_review
    answer = f"{VERBATIM}relay reputation answer {finding.finding_id}"
    related = (
        [f"The other account is {finding.about}."] if finding.kind is FindingKind.RELATED_ACCOUNT and finding.about
        else []
    )  # fmt: skip
    if news in {News.OPENED, News.PAUSED}:
        return (texts.why, *related, texts.solve, standing, answer)
    return (standing, answer)


def suspension_letter(letterhead: Letterhead, account: str, reason: str, recipient: str, now_ms: int) -> Letter:
    """Return the letter that an account is suspended for good (REVIEW-011)."""
    subject = f"{letterhead.product} - Sending suspended for account {account} in region {letterhead.region}"
    paragraphs = [
        f"Sending of account {account} is suspended for good: every new message is refused. {_STILL}",
        *(["The reason given:", VERBATIM + reason] if reason else []),
        f"Questions about this go to {letterhead.contact}.",
    ]
    return letter(letterhead, recipient, subject, paragraphs, now_ms)
