"""What follows from how a subject sends: which findings are opened, and what happens to those that are open. Pure.

Looked at whenever its numbers changed, and at least once an hour. An administrator's steps are not decided here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relay.model.finding import Finding, FindingKind, FindingState, FindingStep
from relay.reputation.findings import KIND_OF, METRICS, TEXTS, handling
from relay.reputation.patterns import NONE, PatternLimits, Patterns, sudden
from relay.reputation.rates import DAY_MS, Level, Limits, Metric, Rates, level

HEAL_MS = 7 * DAY_MS
REPEAT_MS = 180 * DAY_MS


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """How reviews go: how long, and what a rate at its limit for a pause does.

    `pause`: `at once`, `at the end` of the review, or `never`, which asks an administrator instead. After `repeats`
    reviews for the same cause within half a year the next one pauses at once (REVIEW-003), 0: never.
    `trap_hits` messages to spamtraps open a finding, `trap_pause_hits` pause at once, 0: never (REP-027).
    """

    limits: Limits = field(default_factory=Limits)
    period_ms: int = 21 * DAY_MS
    pause: str = "at the end"
    repeats: int = 2
    trap_hits: int = 1
    trap_pause_hits: int = 0
    patterns: PatternLimits = field(default_factory=PatternLimits)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a subject: its rates, its open findings, ends of earlier ones by kind, messages to traps.

    `listed` says where its addresses are listed, one sentence, "" for nowhere. `answered` are findings that the
    account asked to have looked at again. `patterns` are those of its last day that lead to listings.
    """

    rates: Rates
    findings: Sequence[Finding] = ()
    closed: Sequence[tuple[FindingKind, int]] = ()
    trap_hits: int = 0
    listed: str = ""
    answered: frozenset[int] = frozenset()
    patterns: Patterns = NONE


@dataclass(frozen=True, slots=True)
class Opening:
    """A finding to open; `paused`: without a review."""

    kind: FindingKind
    cause: str
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A step of an open finding and why, for the account; `below_ms` is what it is set to (None: left as it is)."""

    finding: Finding
    step: FindingStep | None
    reason: str = ""
    below_ms: int | None = None


def look(standing: Standing, rules: ReviewRules, now_ms: int) -> tuple[list[Opening], list[Change]]:
    """Return what is to be opened and what changes now."""
    found = [_opened(metric, standing, rules, now_ms) for metric in Metric]
    opened = [one for one in found if one is not None]
    opened += _trapped(standing, rules)
    if standing.listed and not _open(standing, FindingKind.ANTI_SPAM_ORGANIZATION):
        opened.append(Opening(FindingKind.ANTI_SPAM_ORGANIZATION, standing.listed))
    opened += _patterned(standing, opened, rules)
    changed = [_change(finding, standing, rules, now_ms) for finding in standing.findings]
    return opened, [one for one in changed if one is not None]


def told(metric: Metric, rates: Rates, limits: Limits) -> str:
    """Return a rate for people, with what it rests on."""
    rate = rates.of(metric)
    of = "messages" if metric is Metric.BOUNCE else "messages to providers that report complaints"
    what = "bounced for good" if metric is Metric.BOUNCE else "were complained about"
    return (
        f"{rate.bad} of the last {rate.volume} {of} {what}: {rate.value or 0:.2%}. "
        f"A review begins at {limits.review(metric):.2%}, sending may be paused at {limits.pause(metric):.2%}."
    )


def _open(standing: Standing, kind: FindingKind) -> bool:
    return any(one.kind is kind for one in standing.findings)


def _opened(metric: Metric, standing: Standing, rules: ReviewRules, now_ms: int) -> Opening | None:
    kind = KIND_OF[metric]
    found = level(metric, standing.rates.of(metric), rules.limits)
    if found not in {Level.REVIEW, Level.PAUSE} or _open(standing, kind):
        return None
    before = sum(one is kind and now_ms - ended_ms < REPEAT_MS for one, ended_ms in standing.closed)
    repeated = bool(rules.repeats) and before >= rules.repeats
    paused = found is Level.PAUSE and rules.pause != "never" and (rules.pause == "at once" or repeated)
    again = f" It is review number {before + 1} for this cause within half a year." if before else ""
    return Opening(kind, told(metric, standing.rates, rules.limits) + again, paused)


def _trapped(standing: Standing, rules: ReviewRules) -> list[Opening]:
    if standing.trap_hits < rules.trap_hits or _open(standing, FindingKind.SPAMTRAP):
        return []
    severe = bool(rules.trap_pause_hits) and standing.trap_hits >= rules.trap_pause_hits
    return [Opening(FindingKind.SPAMTRAP, f"Messages to spamtraps: {standing.trap_hits}.", severe)]


def _patterned(standing: Standing, opened: Sequence[Opening], rules: ReviewRules) -> list[Opening]:
    """Return the case about patterns (DNSBL-005); unknown users alone are what a case about bounces is for."""
    patterns, kinds = standing.patterns, {one.kind for one in opened}
    told_of = FindingKind.BOUNCE_RATE in kinds or _open(standing, FindingKind.BOUNCE_RATE)
    if not patterns.text or (patterns.bounces_alone and told_of) or _open(standing, FindingKind.SENDING_PATTERN):
        return []
    return [Opening(FindingKind.SENDING_PATTERN, patterns.text, patterns.severe and rules.pause != "never")]


def _change(finding: Finding, standing: Standing, rules: ReviewRules, now_ms: int) -> Change | None:
    """Return what becomes of an open finding now; only a review goes on by itself."""
    if finding.state is not FindingState.UNDER_REVIEW:
        return None
    metric = METRICS.get(finding.kind)
    if metric is not None:
        return _rated(finding, metric, standing.rates, rules, now_ms)
    if finding.kind is FindingKind.SPAMTRAP and 0 < rules.trap_pause_hits <= finding.evidence:
        return Change(finding, FindingStep.WORSE, f"Messages to spamtraps since: {finding.evidence}.")
    if finding.kind is FindingKind.SENDING_PATTERN and standing.patterns.severe and rules.pause != "never":
        return Change(finding, FindingStep.WORSE, standing.patterns.text)
    if now_ms < finding.ends_ms:
        return None
    return _ended(finding, standing, rules)


def _rated(finding: Finding, metric: Metric, rates: Rates, rules: ReviewRules, now_ms: int) -> Change | None:
    found = level(metric, rates.of(metric), rules.limits)
    below = found in {Level.FINE, Level.UNKNOWN}
    since_ms = (finding.below_ms or now_ms) if below else 0
    title = TEXTS[finding.kind].title
    if below and (now_ms - since_ms >= HEAL_MS or now_ms >= finding.ends_ms):
        return Change(finding, FindingStep.HEALED, f"{title}: {_stayed(metric, rates, found)}", since_ms)
    sentence = told(metric, rates, rules.limits)
    if found is Level.PAUSE and rules.pause == "at once" and not finding.manual:
        return Change(finding, FindingStep.WORSE, sentence, 0)
    if now_ms >= finding.ends_ms:
        return Change(finding, _rated_end(finding, found, rules), sentence, 0)
    return Change(finding, None, below_ms=since_ms) if since_ms != finding.below_ms else None


def _rated_end(finding: Finding, found: Level, rules: ReviewRules) -> FindingStep:
    """Return the end of a review whose rate is not below its limit (REVIEW-002, REP-017, REP-018)."""
    if found is Level.PAUSE:
        asks = finding.manual or rules.pause == "never"
        return FindingStep.UNRESOLVED_MANUAL if asks else FindingStep.UNRESOLVED
    return FindingStep.ASKS if finding.manual else FindingStep.RENEW


def _stayed(metric: Metric, rates: Rates, found: Level) -> str:
    if found is Level.UNKNOWN:
        return "too few messages were sent since to say anything against the account."
    return f"the rate is {rates.of(metric).value or 0:.2%} and stayed below its limit."


def _nothing(_standing: Standing) -> str:
    return ""


_LASTING: dict[FindingKind, Callable[[Standing], str]] = {
    FindingKind.ANTI_SPAM_ORGANIZATION: lambda standing: standing.listed,
    FindingKind.SENDING_PATTERN: lambda standing: standing.patterns.text,
}
"""What keeps a review from ending well without another report: a sentence, "" for nothing."""


def _ended(finding: Finding, standing: Standing, rules: ReviewRules) -> Change:
    """Return the end of a review that no rate decides."""
    how = handling(finding.kind)
    lasting = _LASTING.get(finding.kind, _nothing)(standing)
    if finding.evidence or lasting:
        reason = lasting or f"Reported again during the review: {finding.evidence}."
        if how.proposed:
            answered = finding.finding_id in standing.answered
            return Change(finding, FindingStep.ASKS if answered else FindingStep.ASK_PAUSE, reason)
        asks = finding.manual or rules.pause == "never"
        return Change(finding, FindingStep.UNRESOLVED_MANUAL if asks else FindingStep.UNRESOLVED, reason)
    if finding.manual:
        return Change(finding, FindingStep.ASKS, "The review has ended; an administrator decides.")
    return Change(finding, FindingStep.RESOLVED, "Nothing more was reported during the review.")


REJECTED_MESSAGES = 10
REJECTED_SHARE = 0.01


def investigated(recent: int, earlier: int, days: int, sent: int, rejected: int) -> str:
    """Return why an administrator should look into an account, "" for no reason (REVIEW-009).

    `recent` are messages of the last day, `earlier` those of `days` days before; scanners `rejected` some of those
    `sent` in the last day.
    """
    if rejected >= REJECTED_MESSAGES and rejected >= REJECTED_SHARE * sent:
        return f"Scanners refused {rejected} of {sent} messages of the last day."
    return sudden(recent, earlier, days)
