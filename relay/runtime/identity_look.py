"""A look at one identity in DNS: questions, further questions, judgement. The office and commands look alike.

What to ask and what the answers mean is decided in `relay.policy`; here they are only asked, all at once, within one
deadline. A question that is not answered by then has no answer; nothing is raised.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from relay.mail import notices
from relay.model.account import IdentityKind
from relay.model.check import Aspect, Check, ErrorType
from relay.model.dkim import KeyState
from relay.policy.checks import Finding, Result
from relay.policy.dkim import expected, in_use
from relay.policy.record_judgement import findings, follow_ups, judge, questions
from relay.policy.records import Answer, Expected, PublicKey, Published, Question, RecordReport, expected_records
from relay.runtime import settings
from relay.runtime.config.model import Config
from relay.store.catalog_checks import Look, Write
from relay.store.catalog_identities import IdentityDetails

LOOK_SECONDS = 60.0  # all questions of one identity; each has its own, shorter limit in the resolver

Ask = Callable[[str, str], Awaitable[Answer]]
"""Asks for the records of a name and a type, past any cache of ours."""


def records_of(config: Config, details: IdentityDetails) -> tuple[Expected, ...]:
    """Return the records an identity wants in DNS."""
    name = details.identity.name
    decide = {key.selector for key in expected(name, details.keys) if key.required}
    records = [(key, key.record(name, config.dkim.zone or "")) for key in details.keys]
    keys = [
        PublicKey(
            key.selector,
            key.public_txt,
            decides=key.selector in decide,
            in_use=key.rsa and in_use(key),
            alias=record.value if record.kind == "CNAME" else "",
        )
        for key, record in records
        if key.state is not KeyState.RETIRED
    ]
    return expected_records(
        Published(
            name,
            keys,
            details.token,
            mail_from_domain=details.mail_from_domain,
            mail_host=config.hostname,
            spf_domain=config.bounce_domain,
        )
    )


def dns_checks(details: IdentityDetails) -> dict[Aspect, Check]:
    """Return the checks that DNS decides on: an address is verified by mail."""
    domain = details.identity.kind is IdentityKind.DOMAIN
    return {aspect: check for aspect, check in details.checks.items() if domain or aspect is Aspect.MAIL_FROM}


def records_for(aspects: Iterable[Aspect], records: Iterable[Expected]) -> tuple[Expected, ...]:
    """Return those of the records that say something about one of the aspects; DKIM keys verify a domain, too."""
    wanted = set(aspects)
    if wanted & {Aspect.VERIFICATION, Aspect.DKIM}:
        wanted |= {Aspect.VERIFICATION, Aspect.DKIM}
    return tuple(record for record in records if record.aspect in wanted)


async def look(ask: Ask, records: tuple[Expected, ...], *, seconds: float = LOOK_SECONDS) -> tuple[RecordReport, ...]:
    """Ask for records and return what DNS says about each, in their order."""
    answers = dict.fromkeys(questions(records), Answer(failure=f"no answer in {seconds:g} s"))
    try:
        async with asyncio.timeout(seconds):
            await _ask_all(ask, answers, questions(records))
            await _ask_all(ask, answers, follow_ups(records, answers))
    except TimeoutError:
        pass
    return judge(records, answers)


async def _ask_all(ask: Ask, answers: dict[Question, Answer], asked: Iterable[Question]) -> None:
    async def one(question: Question) -> None:
        answers[question] = await ask(question.name, question.kind)

    async with asyncio.TaskGroup() as group:
        for question in asked:
            group.create_task(one(question))


def looked_at(details: IdentityDetails, checks: Mapping[Aspect, Check], reports: Iterable[RecordReport]) -> Look:
    """Return what the catalog is told: of every check that was looked at what was found.

    A check without a record to look for can only be missing.
    """
    found = findings(reports)
    nothing = Finding(Result.MISSING, ErrorType.SERVICE_ERROR, "There is no record to look for.")
    return Look(
        details.identity.account,
        details.identity.name,
        tuple(checks.values()),
        {aspect: found.get(aspect, nothing) for aspect in checks},
        details.mail_from_domain,
    )


def letters(config: Config, now_ms: int) -> Write:
    """Return what writes the mails about changes of state."""
    letterhead = settings.letterhead(config)
    return lambda change, recipient: notices.state_change(letterhead, recipient, change, now_ms=now_ms)
