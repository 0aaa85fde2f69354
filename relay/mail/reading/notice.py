# ruff: noqa: RUF001 - words of other languages
"""Reports in free form: which text is one, whom it is about, and what it gives as the reason.

Three things are asked of a message: who wrote it (`origin`), how it begins (`notice_rules`), and whether an
address or a reason stands in it. What somebody wrote is never a report, however much it quotes; of what may be a
postmaster's own letter, opening and subject must both say so.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from relay.mail.dsn import RecipientStatus
from relay.mail.headers import Field
from relay.mail.reading.notice_rules import (
    DELAY_SUBJECTS,
    DELAYS,
    ENDED,
    LABELS,
    NOTICES,
    SEPARATORS,
    SUBJECTS,
    NoticeRule,
)
from relay.mail.reading.opened import Fields, Opened, printable, read_fields
from relay.mail.reading.origin import Origin, address_in, is_null, origin_of
from relay.mail.replies import GENERAL, Fault, Judgement, judge

NOTICE_MAX_CHARS: Final = 12_000
OPENING_MAX_CHARS: Final = 4_000
LINES_MAX: Final = 300
RECIPIENTS_MAX: Final = 100
REASON_MAX_CHARS: Final = 1_000
_BEFORE = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}\Z")
_AFTER = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_REPLY = re.compile(r"(?<![\d.])([245]\d\d)[ -](?:#?([245]\.\d{1,3}\.\d{1,3})[ :-])?")
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_LEADING = re.compile(r"^[ \t>*'-]*(?:\[?smtp:)?<?\Z", re.IGNORECASE)
_REASON = re.compile(
    r"\A[\s.。>:)]*(?:reason|error|grund|motif|motivo|errore|原因|理由|причина)\s*[:：]\s*", re.IGNORECASE
)
_MTA = re.compile(r"(?:^|[ ,>:(])([245]\d\d[ -].*)")
_OFFICES: Final = frozenset({"postmaster", "mailer-daemon", "abuse", "support", "help", "noreply", "no-reply"})


@dataclass(frozen=True, slots=True)
class Notice:
    """A report in free form. `kind` is bounce or delay; each recipient has its own judgement."""

    kind: str
    rule: str
    recipients: tuple[RecipientStatus, ...]
    judgements: tuple[Judgement, ...]
    original: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class _Named:
    """An address in a notice: the lines about it, and whether it stood where failed ones stand."""

    address: str
    text: str
    leading: bool


def read_notice(opened: Opened) -> Notice | None:
    """Return what a message reports in free form, None when it is no report."""
    origin = origin_of(opened.fields)
    if origin is Origin.SOMEBODY:
        return None
    text, copy = _split(opened.notice)
    opening = " ".join(text[:OPENING_MAX_CHARS].replace("\u2019", "'").lower().split())
    subject = " ".join(opened.fields.subject.replace("\u2019", "'").lower().split())
    rule = _rule_of(opening)
    titled = any(words in subject for words in SUBJECTS) or _rule_of(subject) is not None
    delayed = _is_delay(opening, subject)
    if not _is_report(opened.fields, origin, rule, titled=titled, delayed=delayed):
        return None
    own = _own_addresses(opened.fields)
    original = opened.returned if opened.returned.items else copy
    named = _failed(opened.fields, text, own) or _of_original(original, own)
    whole = _judge(text, subject, rule)
    judged = [_judgement(one, text, whole, several=len(named) > 1) for one in named]
    if not named and not (whole.stated or original.items or (rule is not None and rule.product)):
        return None
    recipients = tuple(_status(one.address, said) for one, (_, said) in zip(named, judged, strict=True))
    name = rule.name if rule is not None else "subject"
    judgements = tuple(found for found, _ in judged) or (whole,)
    return Notice("delay" if delayed else "bounce", f"notice of {name}", recipients, judgements, original.raw)


def _is_report(fields: Fields, origin: Origin, rule: NoticeRule | None, *, titled: bool, delayed: bool) -> bool:
    if origin is Origin.SYSTEM:
        return rule is not None or titled or delayed
    # A postmaster may quote a product's words, but does not write with the null sender.
    product = rule is not None and rule.product and is_null(fields)
    return (rule is not None or delayed) and (titled or product)


def _rule_of(text: str) -> NoticeRule | None:
    return next((rule for rule in NOTICES if any(phrase in text for phrase in rule.phrases)), None)


def _is_delay(opening: str, subject: str) -> bool:
    if any(phrase in opening for phrase in ENDED):
        return False
    return any(phrase in opening for phrase in DELAYS) or any(phrase in subject for phrase in DELAY_SUBJECTS)


def _split(text: str) -> tuple[str, Fields]:
    """Return a notice without the message that follows in it, and the header fields of that message."""
    text = text[:NOTICE_MAX_CHARS]
    found = SEPARATORS.search(text)
    if found is None:
        return text, Fields()
    lines = text[found.start() :].splitlines()
    begin = next((at for at, line in enumerate(lines[:20]) if re.match(r"[A-Za-z-]{2,40}: ", line)), 0)
    end = next((at for at, line in enumerate(lines) if at > begin and not line.strip()), len(lines))
    return text[: found.start()], read_fields("\n".join(lines[begin:end]).encode())


# --- whom it is about -----------------------------------------------------------------------------------------------


def _own_addresses(fields: Fields) -> frozenset[str]:
    """Return addresses that a report names and that did not fail: whom it is from and to."""
    values = [value for key in ("to", "from", "reply-to", "delivered-to") for value in fields.all(key)]
    return frozenset(address_in(value).lower() for value in values)


def _failed(fields: Fields, text: str, own: frozenset[str]) -> list[_Named]:
    """Return the addresses that failed, with what is said of each."""
    named = [one for one in _named(text) if one.address.lower() not in own]
    header = [each.strip() for value in fields.all("x-failed-recipients") for each in value.split(",")]
    if any("@" in each for each in header):
        said = {one.address.lower(): one.text for one in named}
        return [
            _Named(each, said.get(each.lower(), ""), leading=True) for each in header[:RECIPIENTS_MAX] if "@" in each
        ]
    named = [one for one in named if one.address.partition("@")[0].lower() not in _OFFICES]
    chosen = [one for one in named if one.leading] or named[:1]
    unique: dict[str, _Named] = {}
    for one in chosen[:RECIPIENTS_MAX]:
        before = unique.get(one.address.lower())
        unique[one.address.lower()] = replace(before, text=f"{before.text}\n{one.text}") if before else one
    return list(unique.values())


def _named(text: str) -> Iterator[_Named]:
    """Yield the addresses of a notice, each with the lines up to the next one that stands at the head of a line."""
    lines = text.splitlines()[:LINES_MAX]
    found: list[tuple[int, str, bool, str]] = []
    for number, line in enumerate(lines):
        for address, start, end in _addresses(line):
            before = line[:start]
            label = before.rstrip("<[ ").removesuffix("SMTP:") or " "
            leading = bool(_LEADING.match(before)) or bool(LABELS.fullmatch(label))
            found.append((number, address, leading, line[end:]))
    heads = [number for number, _, leading, _ in found if leading]
    for number, address, leading, rest in found[: 10 * RECIPIENTS_MAX]:
        end = next((head for head in heads if head > number), len(lines))
        about = "\n".join([rest.lstrip(">:]) "), *lines[number + 1 : min(end, number + 30)]])
        yield _Named(address, about[:REASON_MAX_CHARS], leading)


def _addresses(line: str) -> Iterator[tuple[str, int, int]]:
    """Yield addresses of a line and where they stand; the work is bounded by its at signs."""
    at = line.find("@")
    while 0 <= at < NOTICE_MAX_CHARS:
        before, after = _BEFORE.search(line, max(0, at - 64), at), _AFTER.match(line, at + 1)
        if before is not None and after is not None:
            yield before.group().lstrip("'`=") + "@" + after.group(), before.start(), after.end()
        at = line.find("@", at + 1)


def _of_original(original: Fields, own: frozenset[str]) -> list[_Named]:
    """Return whom the message was to, where the notice names nobody."""
    for name in ("x-original-to", "to"):
        listed = [address_in(each) for value in original.all(name) for each in value[:2000].split(",")]
        people = [each for each in listed if each and each.lower() not in own]
        if people:
            return [_Named(each, "", leading=False) for each in people[:RECIPIENTS_MAX]]
    return []


# --- why ------------------------------------------------------------------------------------------------------------


def judge_text(text: str) -> Judgement:
    """Return what a text of several lines says of a failure: by the replies quoted in it, else by its words."""
    code, enhanced, said = reply_in(text)
    return judge(code, enhanced, said)


def reply_in(text: str) -> tuple[int, str, str]:
    """Return code, enhanced code and text of what a text quotes of a reply; 0 and "" where there is none."""
    flat = " ".join(text.split())
    for found in _REPLY.finditer(flat):
        if found[1][0] in "45":
            near = _ENHANCED.search(flat, found.start(), found.end() + 60)
            return int(found[1]), found[2] or (near[1] if near else ""), flat
    near = _ENHANCED.search(flat)
    return 0, near[1] if near else "", flat


def _judge(text: str, subject: str, rule: NoticeRule | None) -> Judgement:
    """Return what all of a notice says, its subject last; a failure for good without a reason is one all the same."""
    for part in (text, subject):
        found = judge_text(part[:REASON_MAX_CHARS])
        if found.stated:
            return found
    found = judge_text(text[:REASON_MAX_CHARS])
    if found.bounce.bounce_type == "Undetermined" and rule is not None and rule.lasting:
        return Judgement(GENERAL, Fault.UNSTATED, f"failed for good ({rule.name})", rule.source)
    return found


def _judgement(one: _Named, text: str, whole: Judgement, *, several: bool) -> tuple[Judgement, str]:
    """Return what is said of one recipient, and where: beside its address, else anywhere if it is alone."""
    own = judge_text(one.text)
    known = own.bounce.bounce_type != "Undetermined"
    if own.stated or (known and (several or not whole.stated)):
        return own, one.text
    return whole, one.text if several or not whole.stated else text[:REASON_MAX_CHARS]


def _status(address: str, text: str) -> RecipientStatus:
    code, enhanced, flat = reply_in(text)
    quoted = _MTA.search(flat)
    said = _REASON.sub("", printable((quoted[1] if quoted else flat)[:REASON_MAX_CHARS])).strip()
    diagnostic = f"smtp; {said}" if code else (f"x-notice; {said}" if said else "")
    return RecipientStatus(address, "failed", enhanced, diagnostic)
