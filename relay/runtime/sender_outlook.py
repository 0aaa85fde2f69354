"""What receivers will find for mail of one identity: return path, SPF record, signature, DMARC (AUTHN-003 to 005).

What mail uses is read as a worker reads it, and what receivers see from DNS; the judgement is `relay.policy.dmarc`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from relay.model.account import Identity, MailFrom
from relay.model.dkim import DkimKey, KeyState
from relay.policy import spf
from relay.policy.dkim import publishes
from relay.policy.dmarc import DmarcOutlook, DmarcRecord, find_record, outlook, parse_record
from relay.policy.records import Answer
from relay.policy.suffix import registrable_domain
from relay.ports import Directory

LOOK_SECONDS = 10.0

Ask = Callable[[str, str], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class SenderOutlook:
    """What holds for mail from `from_domain`.

    `record` is its DMARC record, None when there is none, read at `record_name`. `spf_record` is that of the return
    path's domain, "" when there is none. `faults` are sentences about what DNS says.
    """

    from_domain: str
    identity: Identity
    return_path_domain: str
    record: DmarcRecord | None
    record_name: str
    record_text: str
    spf_record: str
    dmarc: DmarcOutlook
    faults: tuple[str, ...]


def own_settings(directory: Directory, account: str, name: str) -> Identity | None:
    """Return what holds for mail from an identity, None when nothing may be sent from it."""
    return directory.sending_identity(account, name if "@" in name else f"postmaster@{name}")


async def look(
    ask: Ask, identity: Identity, from_domain: str, bounce_domain: str, keys: Sequence[DkimKey] = ()
) -> SenderOutlook:
    """Ask DNS for the records of a sender; a question without an answer is told as a fault.

    `keys` are those of the domain that signs. Mail passes by DKIM while the record of one that signs is in DNS, or
    cannot be asked for; without keys they are not looked for.
    """
    path = _path_of(identity.mail_from) or bounce_domain
    organization = registrable_domain(from_domain)
    active = {key.name(identity.dkim_domain): key for key in keys if key.state is KeyState.ACTIVE}
    names = dict.fromkeys((f"_dmarc.{from_domain}", f"_dmarc.{organization}", path, *active))
    answers = dict(zip(names, await asyncio.gather(*(_asked(ask, name) for name in names)), strict=True))
    faults = [f"DNS gave no answer for {name}: {one.failure}" for name, one in answers.items() if one.failure]
    at, text = _dmarc_of(answers, from_domain, organization)
    record = parse_record(text) if text else None
    policy = spf.find_record(answers[path].values) or ""
    if not policy and not answers[path].failure:
        faults.append(f"{path} has no SPF record, or several: SPF fails for its return paths.")
    elif policy and path != bounce_domain and not spf.includes(policy, bounce_domain):
        faults.append(f"The SPF record of {path} does not include {bounce_domain}: SPF may fail.")
    judged = outlook(
        from_domain,
        record,
        return_path_domain=path,
        signing_domain=identity.dkim_domain,
        organizational=registrable_domain,
        spf_fault="" if policy or answers[path].failure else f"{path} has no SPF record, or several",
        dkim_fault=_unpublished(active, answers),
    )
    return SenderOutlook(
        from_domain,
        identity,
        path,
        record,
        at,
        text,
        policy,
        judged,
        (*faults, *(record.faults if record else ())),
    )


def _path_of(mail_from: MailFrom | None) -> str:
    return mail_from.domain if mail_from is not None and mail_from.usable else ""


def _unpublished(active: dict[str, DkimKey], answers: dict[str, Answer]) -> str:
    """Say that no key that signs can be found by a receiver; "" when one can, or DNS does not say."""
    for name, key in active.items():
        if answers[name].failure or publishes(answers[name].values, key.public_txt):
            return ""
    return f"the key that signs is not in DNS at {', '.join(active)}" if active else ""


def _dmarc_of(answers: dict[str, Answer], from_domain: str, organization: str) -> tuple[str, str]:
    """Return the DMARC record that receivers find: the domain's own, else its organization's (RFC 7489 6.6.3)."""
    for domain in dict.fromkeys((from_domain, organization)):
        text = find_record(answers[f"_dmarc.{domain}"].values)
        if text:
            return f"_dmarc.{domain}", text
    return f"_dmarc.{from_domain}", ""


async def _asked(ask: Ask, name: str) -> Answer:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await ask(name, "TXT")
    except TimeoutError:
        return Answer(failure=f"no answer in {LOOK_SECONDS:g} s")
