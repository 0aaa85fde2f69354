"""Which questions find out about an identity's records, and what the answers mean (IDENT-013 to 016).

A DKIM key counts as found when a TXT query at its name yields it, whether a TXT record or a CNAME leads there
(DKIM-002). A domain is verified by all of its DKIM keys, or by its token as a TXT value at `_amazonses.` or at the
domain itself, among any others. A MAIL FROM domain has exactly one MX record, which names the relay (MFROM-005); its
SPF record is looked at and decides nothing. When a record is not as it should be, further questions tell how
(IDENT-015). A question that DNS did not answer is never taken for a missing record.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relay.model.check import Aspect, ErrorType
from relay.policy import spf
from relay.policy.checks import Finding, Result
from relay.policy.dkim import publishes
from relay.policy.records import Answer, Difference, Expected, Question, RecordReport

PARENTS_ASKED_MAX = 2  # under which a record is looked for whose name was appended twice
VALUES_SHOWN_MAX = 10

_SPACE = re.compile(r"\s+")


# --- questions ----------------------------------------------------------------------------------------------


def questions(records: Iterable[Expected]) -> tuple[Question, ...]:
    """Return what to ask first, each question once."""
    asked = []
    for record in records:
        asked.append(record.question)
        if record.also_at:
            asked.append(Question(record.also_at, "TXT"))
    return tuple(dict.fromkeys(asked))


def follow_ups(records: Iterable[Expected], answers: Mapping[Question, Answer]) -> tuple[Question, ...]:
    """Return what to ask further about the records that are not published, to tell what went wrong with them."""
    asked = []
    for record in records:
        report = _judge_one(record, answers)
        if report.difference in (Difference.ABSENT, Difference.NO_ANSWER) and record.aspect is Aspect.DKIM:
            asked.append(Question(record.name, "CNAME"))
        if report.difference is Difference.ABSENT and record.aspect is not Aspect.VERIFICATION:
            asked += [Question(f"{record.name}.{parent}", record.question.kind) for parent in _zones(record.domain)]
    return tuple(question for question in dict.fromkeys(asked) if question not in answers)


def _zones(domain: str) -> list[str]:
    """Return the domains whose zone a record may have been entered into, nearest first."""
    labels = domain.split(".")
    return [".".join(labels[at:]) for at in range(max(1, len(labels) - 1))][:PARENTS_ASKED_MAX]


# --- judgement ----------------------------------------------------------------------------------------------


def judge(records: Iterable[Expected], answers: Mapping[Question, Answer]) -> tuple[RecordReport, ...]:
    """Return what DNS answers for each record, in their order."""
    return tuple(_explained(_judge_one(record, answers), answers) for record in records)


def findings(reports: Iterable[RecordReport]) -> dict[Aspect, Finding]:
    """Return what a look found of each aspect that has a record.

    A domain is verified by the keys that decide about DKIM, by those in use, or by its token.
    """
    listed = list(reports)
    found: dict[Aspect, Finding] = {}
    for aspect in Aspect:
        deciding = [one for one in listed if one.expected.aspect is aspect and one.expected.decides]
        if deciding:
            found[aspect] = _finding(deciding)
    in_use = [one for one in listed if one.expected.in_use]
    ways = [found[aspect] for aspect in (Aspect.DKIM, Aspect.VERIFICATION) if aspect in found]
    if in_use:
        ways.append(_finding(in_use))
    if ways:
        found[Aspect.VERIFICATION] = _best(ways)
    return found


def _finding(reports: Sequence[RecordReport]) -> Finding:
    """Return the finding of records that are all needed: one that is missing for certain is enough."""
    unanswered = (Difference.NO_ANSWER, Difference.NO_TXT)
    wrong = [one for one in reports if one.difference is not Difference.PUBLISHED]
    if not wrong:
        return Finding(Result.FOUND)
    for report in wrong:
        if report.difference not in unanswered:
            return Finding(Result.MISSING, report.error_type, report.text)
    return Finding(Result.NO_ANSWER, wrong[0].error_type, wrong[0].text)


def _best(ways: Sequence[Finding]) -> Finding:
    """Return the finding of several ways of which one is enough: found, else not known, else missing."""
    order = (Result.FOUND, Result.NO_ANSWER, Result.MISSING)
    return min(ways, key=lambda one: order.index(one.result))


def _judge_one(record: Expected, answers: Mapping[Question, Answer]) -> RecordReport:
    """Compare one record with the answers to its first questions."""
    places = [answers[record.question]]
    if record.also_at:
        places.append(answers[Question(record.also_at, "TXT")])
    compared = [_Comparison.of(record, place) for place in places]
    for one in compared:
        if one.difference is Difference.PUBLISHED:
            return RecordReport(record, Difference.PUBLISHED, one.answer.values[:VALUES_SHOWN_MAX])
    for one in compared:
        if one.difference is Difference.NO_ANSWER:
            text = f"DNS gave no answer for {record.name}: {one.answer.failure}."
            return RecordReport(record, Difference.NO_ANSWER, (), ErrorType.DNS_SERVER_ERROR, text)
    first = next((one for one in compared if one.difference is Difference.LOWER_CASED), compared[0])
    return _not_as_it_should_be(record, first)


def _not_as_it_should_be(record: Expected, one: "_Comparison") -> RecordReport:
    values = one.answer.values[:VALUES_SHOWN_MAX]
    if one.difference is Difference.ABSENT:
        kind = record.question.kind
        if not one.answer.exists:
            return RecordReport(
                record, Difference.ABSENT, (), ErrorType.HOST_NOT_FOUND, f"{record.name} does not exist in DNS."
            )
        text = f"{record.name} has no {kind} record{_of_that_kind(record, values)}."
        return RecordReport(record, Difference.ABSENT, values, ErrorType.TYPE_NOT_FOUND, text)
    sentences = {
        Difference.LOWER_CASED: f"The value at {record.name} was changed to lower case; it must match in case too.",
        Difference.SEVERAL: f"{record.name} has {len(one.answer.values)} MX records; there must be exactly one.",
    }
    text = sentences.get(one.difference, f"{record.name} has another value than the one to publish.")
    return RecordReport(record, one.difference, values, ErrorType.INVALID_VALUE, text)


def _of_that_kind(record: Expected, values: Sequence[str]) -> str:
    if not values:
        return ""
    return " that is an SPF record" if record.aspect is Aspect.MAIL_FROM else " with the token"


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One answer against one record."""

    answer: Answer
    difference: Difference

    @classmethod
    def of(cls, record: Expected, answer: Answer) -> "_Comparison":
        if answer.failure:
            return cls(answer, Difference.NO_ANSWER)
        if not answer.values:
            return cls(answer, Difference.ABSENT)
        if record.aspect is Aspect.DKIM:
            return cls(answer, _compare_key(record.text or record.value, answer.values))
        if record.kind == "MX":
            return cls(answer, _compare_mx(record.value, answer.values))
        if record.aspect is Aspect.MAIL_FROM:
            return cls(answer, _compare_spf(record.value, answer.values))
        return cls(answer, _compare_token(record.value, answer.values))


def _compare_key(wanted: str, values: Sequence[str]) -> Difference:
    """Compare by the public key itself: `p=` to the letter, `k=` and `v=` where given (DKIM-008)."""
    if publishes(values, wanted):
        return Difference.PUBLISHED
    public = wanted.rpartition("p=")[2].lower()
    if any(_SPACE.sub("", value).rpartition("p=")[2].rstrip(";") == public for value in values):
        return Difference.LOWER_CASED
    return Difference.DIFFERS


def _compare_mx(wanted: str, values: Sequence[str]) -> Difference:
    if len(values) > 1:
        return Difference.SEVERAL
    host = values[0].partition(" ")[2].lower()
    return Difference.PUBLISHED if host == wanted.partition(" ")[2].lower() else Difference.DIFFERS


def _compare_spf(wanted: str, values: Sequence[str]) -> Difference:
    """A record of the sender's own will do when it includes the relay's (AUTHN-002)."""
    record = spf.find_record(values)
    if record is None:
        return Difference.ABSENT
    domain = wanted.partition("include:")[2].partition(" ")[0]
    return Difference.PUBLISHED if spf.with_include(record, domain) == record else Difference.DIFFERS


def _compare_token(wanted: str, values: Sequence[str]) -> Difference:
    """To the letter, among any number of other values (IDENT-014, IDENT-016)."""
    if wanted in values:
        return Difference.PUBLISHED
    return Difference.LOWER_CASED if wanted.lower() in values else Difference.ABSENT


# --- what went wrong ----------------------------------------------------------------------------------------


def _explained(report: RecordReport, answers: Mapping[Question, Answer]) -> RecordReport:
    """Return the report with what the further questions tell."""
    record = report.expected
    alias = answers.get(Question(record.name, "CNAME"))
    if alias is not None and alias.values:
        return _explained_by_alias(report, alias)
    if report.difference is Difference.ABSENT:
        for parent in _zones(record.domain):
            twice = Question(f"{record.name}.{parent}", record.question.kind)
            if (answer := answers.get(twice)) is not None and answer.values:
                text = (
                    f"The record is at {twice.name}: the domain was appended once more. Enter the name with a dot at "
                    f"its end, or without {parent}."
                )
                return RecordReport(record, Difference.NAME_TWICE, answer.values, ErrorType.HOST_NOT_FOUND, text)
    return report


def _explained_by_alias(report: RecordReport, alias: Answer) -> RecordReport:
    record = report.expected
    target = alias.values[0]
    if report.difference is Difference.NO_ANSWER:
        text = (
            f"{record.name} answers for CNAME ({target}), but not for TXT: its name servers must follow the "
            "CNAME when they are asked for TXT."
        )
        return RecordReport(record, Difference.NO_TXT, alias.values, ErrorType.DNS_SERVER_ERROR, text)
    if record.kind == "CNAME" and target.lower() == record.value.lower():
        text = f"{record.name} is right, but {target} has no TXT record yet."
        return RecordReport(record, Difference.ABSENT, alias.values, ErrorType.TYPE_NOT_FOUND, text)
    text = f"{record.name} leads to {target}, which has no such record."
    return RecordReport(record, Difference.DIFFERS, alias.values, ErrorType.INVALID_VALUE, text)
