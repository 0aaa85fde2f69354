"""What each kind of finding says to the account, in four texts, and how it is handled (REP-016 to REP-030). Pure.

A text never tells what would expose somebody: who complained, which provider or organization reported, which
addresses are traps.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from relay.model.finding import Finding, FindingKind, FindingState, worst
from relay.reputation.rates import Metric

METRICS = {FindingKind.BOUNCE_RATE: Metric.BOUNCE, FindingKind.COMPLAINT_RATE: Metric.COMPLAINT}
"""The kinds that a rate raises and ends; all others show under *Other notifications* (REP-016)."""

KIND_OF = {metric: kind for kind, metric in METRICS.items()}


@dataclass(frozen=True, slots=True)
class Texts:
    """What a finding says: why it was raised, how to solve it, what happens under review, and when paused."""

    title: str
    why: str
    solve: str
    under_review: str
    paused: str


@dataclass(frozen=True, slots=True)
class Handling:
    """How a kind goes on.

    `manual`: an administrator decides at the end of its review, as no count of reports can. `proposed`: with reports
    that go on and without an answer of the account, a pause is proposed to the administrator (REVIEW-008). `sample`:
    a message that shows the problem may be given to the account (REVIEW-010).
    """

    manual: bool = False
    proposed: bool = False
    sample: bool = True


_HANDLING = {
    FindingKind.DIRECT_FEEDBACK: Handling(proposed=True, sample=False),
    FindingKind.MAILBOX_PROVIDER: Handling(proposed=True, sample=False),
    FindingKind.RECIPIENT_FEEDBACK: Handling(proposed=True, sample=False),
    FindingKind.SPAMTRAP: Handling(sample=False),
    FindingKind.ANTI_SPAM_ORGANIZATION: Handling(sample=False),
    FindingKind.COMPLAINT_RATE: Handling(sample=False),
    FindingKind.SENDING_PATTERN: Handling(sample=False),
    FindingKind.INTERNAL_REVIEW: Handling(manual=True),
    FindingKind.RELATED_ACCOUNT: Handling(manual=True, sample=False),
    FindingKind.VULNERABLE_SITE: Handling(manual=True),
    FindingKind.COMPROMISED_CREDENTIALS: Handling(manual=True),
    FindingKind.OTHER: Handling(manual=True),
}


def handling(kind: FindingKind) -> Handling:
    """Return how findings of a kind are handled."""
    return _HANDLING.get(kind, Handling())


_ANSWER = (
    "When you have changed something, answer in the case: what the root cause was, what you have changed already, "
    "and why that keeps it from coming again. All three are needed."
)
_LATER_ONLY = "If the changes convince us, the review is extended, and only what is reported after them counts."
_END = "If it goes on until the end of the review, sending may be paused until it is solved."
_PAUSED = (
    f"New mail is refused. You can ask us to look at this again. {_ANSWER} If that convinces us, the pause is lifted."
)
_CLOSES = "If the changes convince us, the review is closed."

TEXTS: dict[FindingKind, Texts] = {
    FindingKind.BOUNCE_RATE: Texts(
        "Bounce rate",
        "Too many of your messages bounce for good: the addresses do not exist. Receivers take that as the mark of a "
        "sender who does not look after a list, or who has bought one. Counted are hard bounces among the messages "
        "of your representative volume, without mail to your own verified names and the mailbox simulator. Keep the "
        "rate below 5 %, better below 2 %.",
        "Read bounces as they come, and send nothing more to addresses that bounced. Find out where those addresses "
        "came from: an old list, a form without confirmation, a typing error that nobody notices.",
        f"If the rate is still at or above the limit for a pause when the review ends, sending may be paused. When "
        f"it stays below the limit for a review, the review ends by itself. {_ANSWER} If the changes convince us, "
        "only mail from then on counts.",
        _PAUSED,
    ),
    FindingKind.COMPLAINT_RATE: Texts(
        "Complaint rate",
        "Too many recipients call your mail spam, mostly with a button in their mail program. Counted are complaints "
        "that providers report through feedback loops, among your messages to providers that do so. Keep the rate "
        "below 0.1 %.",
        "Stop sending to everybody who complained. That alone is not enough: find out which messages they complain "
        "about, whether people asked for them, how often they come, and how easily one gets rid of them.",
        f"If the rate is still at or above the limit for a pause when the review ends, sending may be paused. When "
        f"it stays below the limit for a review, the review ends by itself. {_ANSWER} If the changes convince us, "
        "only mail from then on counts.",
        _PAUSED,
    ),
    FindingKind.ANTI_SPAM_ORGANIZATION: Texts(
        "Anti-spam organization",
        "An organization that watches over spam has put an address or domain that you send from on a list, or has "
        "reported your mail. We name neither the organization nor the messages. Such lists mostly go by complaints, "
        "mail to addresses that do not exist, mail to traps, and content.",
        "Look for what in your mail or your lists may have led there, and change it.",
        f"If you are still listed or reported when the review ends, sending may be paused. {_ANSWER} {_LATER_ONLY}",
        _PAUSED,
    ),
    FindingKind.LISTBOMBING: Texts(
        "Listbombing",
        "Your sign-up forms are used to flood strangers: somebody enters a victim's address into thousands of forms, "
        "and each one mails it. Receivers block senders whose forms allow that.",
        "Put a CAPTCHA in front of every form. Confirm every sign-up: mail one link, and nothing more until it was "
        "used. Then do a permission pass over the list you have: ask everybody whether they want your mail, and keep "
        "those who say yes.",
        f"{_END} {_ANSWER} {_LATER_ONLY}",
        _PAUSED,
    ),
    FindingKind.DIRECT_FEEDBACK: Texts(
        "Direct feedback",
        "Recipients have written to us about your mail. Such complaints are in no rate, no statistic and no "
        "notification. To protect those who wrote we tell neither addresses nor messages.",
        "Send only to people who confirmed that they want your mail. Take those off your lists who have not opened "
        "anything for months. Say in each message who you are and why it comes.",
        f"{_END} {_ANSWER} {_CLOSES} Without an answer within three weeks, and with further complaints, a pause is "
        "proposed.",
        _PAUSED,
    ),
    FindingKind.DOMAIN_BLOCKLIST: Texts(
        "Domain blocklist",
        "Messages of yours point to domains that are on a list of domains used for abuse: links, images, or the "
        "domain you send from. It need not be your own domain.",
        "Write down every domain that your messages point to, shorteners and image hosts too, and look each up at "
        "the public lists; `relay lint FILE` does that for the links of a message. Point nowhere that is listed.",
        f"Mail of the time of the review is looked at. {_END} {_ANSWER} {_LATER_ONLY}",
        _PAUSED,
    ),
    FindingKind.INTERNAL_REVIEW: Texts(
        "Internal review",
        "A look at your account found traits of mail that nobody asked for. We do not tell which, so that the search "
        "keeps working. Usual ones: spam filters object, the sender does not fit the content, it is unclear who "
        "writes, formatting as of spam, domains of bad reputation.",
        "Write only to people who asked for it. Never buy, rent or borrow lists. Hide neither who you are nor what "
        "the mail is for.",
        f"{_ANSWER} {_CLOSES} If we find the same again later, you may be under review or paused again; repeated "
        "cases may end in suspension for good.",
        f"{_PAUSED} Repeated cases may end in suspension for good.",
    ),
    FindingKind.MAILBOX_PROVIDER: Texts(
        "Mailbox provider",
        "A provider of mailboxes told us that unwanted or malicious mail comes from an address or domain of yours. "
        "We do not name the provider, and know no details.",
        "Providers go by complaints, by whether people open mail, by mail to addresses that do not exist, and by "
        "content. Find out which of these fits, and change it.",
        f"{_END} {_ANSWER} {_LATER_ONLY} Without an answer within three weeks, and with further reports, a pause is "
        "proposed.",
        _PAUSED,
    ),
    FindingKind.RECIPIENT_FEEDBACK: Texts(
        "Recipient feedback",
        "A provider of mailboxes told us that many of its users call your mail unwanted. These complaints did not "
        "come through a feedback loop, so they are in no rate and no notification. We name neither provider nor "
        "users.",
        "Find out which mail people do not want. Let everybody confirm a sign-up, and take those off your lists who "
        "have not reacted for months.",
        f"{_END} {_ANSWER} {_LATER_ONLY} Without an answer within three weeks, and with further reports, a pause is "
        "proposed.",
        _PAUSED,
    ),
    FindingKind.RELATED_ACCOUNT: Texts(
        "Related account",
        "Another account has serious problems, and as we see it the two belong together.",
        "Solve the case of the other account first; its contact was told the reasons. Then answer here.",
        f"{_ANSWER} {_CLOSES}",
        _PAUSED,
    ),
    FindingKind.SPAMTRAP: Texts(
        "Spamtrap",
        "Your mail reaches spamtraps: addresses that belong to nobody and never asked for mail, so whoever writes to "
        "them did not ask. We do not tell which addresses they are.",
        "Never buy or share addresses. Let people type their address twice, and confirm it by mail. Take addresses "
        "off that bounce, and those that have shown no life for months.",
        f"{_END} Reports come late: it may take three weeks until changes show. {_ANSWER} {_LATER_ONLY}",
        f"{_PAUSED} In severe cases sending is paused without a review.",
    ),
    FindingKind.VULNERABLE_SITE: Texts(
        "Vulnerable site",
        "Messages leave your account that you probably did not mean to send: somebody abuses a form, a script or a "
        "program of yours.",
        "Look for forms that mail what a stranger enters, for old software, and for programs that were broken into. "
        "You may ask in the case for a sample of the messages.",
        f"{_END} {_ANSWER} {_CLOSES}",
        _PAUSED,
    ),
    FindingKind.COMPROMISED_CREDENTIALS: Texts(
        "Compromised credentials",
        "There are signs that somebody else uses your access keys or SMTP passwords.",
        "Make new credentials, change your programs, and revoke the old ones. Remove users that you do not know. "
        "Look for where the secrets leaked: repositories, images, logs, laptops. We may revoke them ourselves.",
        f"{_END} {_ANSWER} {_CLOSES}",
        _PAUSED,
    ),
    FindingKind.SENDING_PATTERN: Texts(
        "Sending pattern",
        "The way your account sends is what gets addresses and domains onto block lists. Lists and receivers watch "
        "for sudden volume, for mail to addresses that do not exist, and for mail that others refuse already.",
        "Raise your volume slowly, over weeks. Send nothing more to addresses that bounced. Where receivers refuse "
        "your mail because of a block list, find out what in it they object to before you send more.",
        f"If the pattern is still there when the review ends, or becomes severe, sending may be paused. {_ANSWER} "
        f"{_LATER_ONLY}",
        _PAUSED,
    ),
    FindingKind.OTHER: Texts(
        "Other",
        "There is a problem with your sending that fits nothing else; what it is, is told in the case.",
        "Read what the case says, and do what it asks for.",
        f"{_END} {_ANSWER} {_CLOSES}",
        _PAUSED,
    ),
}


class Health(StrEnum):
    """How an account or set stands, as its page says (REP-008)."""

    HEALTHY = "Healthy"
    UNDER_REVIEW = "Under review"
    PENDING_DECISION = "Pending end of review decision"
    PENDING_PAUSE = "Pending sending pause"
    PAUSED = "Sending paused"
    SUSPENDED = "Suspended"


_HEALTH = {
    None: Health.HEALTHY,
    FindingState.UNDER_REVIEW: Health.UNDER_REVIEW,
    FindingState.PENDING_DECISION: Health.PENDING_DECISION,
    FindingState.PENDING_PAUSE: Health.PENDING_PAUSE,
    FindingState.PAUSED: Health.PAUSED,
}


def health(findings: Iterable[Finding], *, suspended: bool = False) -> Health:
    """Return how a subject with these findings stands."""
    return Health.SUSPENDED if suspended else _HEALTH[worst(one.state for one in findings)]


def dashboard(one: Health) -> str:
    """Return the word of the account's dashboard: Healthy, Under review or Paused (STAT-005)."""
    if one is Health.HEALTHY:
        return "Healthy"
    return "Paused" if one in {Health.PAUSED, Health.SUSPENDED} else "Under review"


def enforcement_status(one: Health) -> str:
    """Return `GetAccount.EnforcementStatus`: HEALTHY, PROBATION or SHUTDOWN (STAT-005)."""
    return {"Healthy": "HEALTHY", "Under review": "PROBATION", "Paused": "SHUTDOWN"}[dashboard(one)]


class MetricStatus(StrEnum):
    """How one of the two rates stands (REP-009)."""

    HEALTHY = "Healthy"
    ALMOST_HEALED = "Almost healed"
    UNDER_REVIEW = "Under review"
    PAUSE = "Sending pause"
    PENDING_PAUSE = "Pending sending pause"


def metric_status(metric: Metric, findings: Iterable[Finding]) -> MetricStatus:
    """Return how a rate stands, from the open findings of its subject."""
    state = worst(one.state for one in findings if METRICS.get(one.kind) is metric)
    if state is None:
        return MetricStatus.HEALTHY
    if state is FindingState.PAUSED:
        return MetricStatus.PAUSE
    if state is FindingState.PENDING_PAUSE:
        return MetricStatus.PENDING_PAUSE
    below = all(one.below_ms for one in findings if METRICS.get(one.kind) is metric and one.open)
    return MetricStatus.ALMOST_HEALED if below else MetricStatus.UNDER_REVIEW


def summary(one: Health, *, pausable: bool) -> str:
    """Return the summary of the page: Healthy, Under review or At risk, of losing the right to send (REP-010).

    `pausable`: a rate is at or above the limit for a pause.
    """
    if pausable or one not in {Health.HEALTHY, Health.UNDER_REVIEW, Health.PENDING_DECISION}:
        return "At risk"
    return "Healthy" if one is Health.HEALTHY else "Under review"
