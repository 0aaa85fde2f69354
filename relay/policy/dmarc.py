"""Will mail of an identity pass DMARC, and by what (AUTHN-003 to 006; RFC 7489 sections 3.1 and 6.3).

Two facts about a sender decide: the domain of its return path, for SPF, and the domain that signs, for DKIM. Each
aligns with the From domain when the two have the same organizational domain (relaxed), or are equal (strict), and
counts only where its records are in DNS. Nothing here looks anything up; what DNS lacks, and what the organizational
domain of a name is, come in.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

RECORD_MAX_CHARACTERS = 4096
PERCENT_MAX = 100

_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_POLICIES = frozenset({"none", "quarantine", "reject"})


class Alignment(StrEnum):
    """How alike two domains must be (RFC 7489 section 3.1)."""

    RELAXED = "relaxed"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """What a domain asks of receivers. `faults` are sentences about tags that receivers read over."""

    policy: str
    subdomain_policy: str
    percent: int
    spf: Alignment
    dkim: Alignment
    reports_to: tuple[str, ...]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether one of the two ways passes, and why, as a sentence."""

    passes: bool
    reason: str


@dataclass(frozen=True, slots=True)
class DmarcOutlook:
    """What receivers will find for mail of one From domain."""

    spf: Judgement
    dkim: Judgement

    @property
    def passes(self) -> bool:
        """True when at least one of the two ways passes (RFC 7489 section 3)."""
        return self.spf.passes or self.dkim.passes


def find_record(texts: Sequence[str]) -> str | None:
    """Return the one DMARC record among the TXT records of a name; None when there is none, or several (6.6.3)."""
    found = [text for text in texts if _VERSION.match(text)]
    return found[0] if len(found) == 1 else None


def parse_record(text: str) -> DmarcRecord:
    """Return what a record says; tags that cannot be read count as absent, as they do for receivers."""
    tags: dict[str, str] = {}
    faults: list[str] = []
    for part in text[:RECORD_MAX_CHARACTERS].split(";"):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not name:
            continue
        if not equals:
            faults.append(f"{name[:40]!r} has no value.")
        elif name.lower() in tags:
            faults.append(f"{name[:40]} is given twice.")
        else:
            tags[name.lower()] = value
    policy = _policy(tags.get("p"), "none", "p", faults)
    return DmarcRecord(
        policy=policy,
        subdomain_policy=_policy(tags.get("sp"), policy, "sp", faults),
        percent=_percent(tags.get("pct"), faults),
        spf=_alignment(tags.get("aspf"), "aspf", faults),
        dkim=_alignment(tags.get("adkim"), "adkim", faults),
        reports_to=tuple(uri.strip() for uri in tags.get("rua", "").split(",") if uri.strip()),
        faults=tuple(faults),
    )


def outlook(
    from_domain: str,
    record: DmarcRecord | None,
    *,
    return_path_domain: str,
    signing_domain: str,
    organizational: Callable[[str], str],
    spf_fault: str = "",
    dkim_fault: str = "",
) -> DmarcOutlook:
    """Say whether mail from an address of `from_domain` passes. All domains are lower-case A-labels.

    `return_path_domain` is the domain of the return path; `signing_domain` the `d=` of the signature, "" for none.
    Without a record the relaxed rules are told, which a new record would have. `spf_fault` and `dkim_fault` say why
    the check itself fails whatever aligns, such as a record that is not in DNS; "" when it does not.
    """
    spf, dkim = (record.spf, record.dkim) if record else (Alignment.RELAXED, Alignment.RELAXED)
    return DmarcOutlook(
        _judged("return path", return_path_domain, from_domain, spf, organizational, spf_fault),
        _judged("signature", signing_domain, from_domain, dkim, organizational, dkim_fault),
    )


def sample_record(domain: str, reports_to: str) -> tuple[str, str]:
    """Return name and value of a record to begin with (AUTHN-006)."""
    return f"_dmarc.{domain}", f"v=DMARC1;p=quarantine;pct=25;rua=mailto:{reports_to}"


def _judged(  # noqa: PLR0917 - what aligns with what, and how
    what: str, domain: str, from_domain: str, mode: Alignment, organizational: Callable[[str], str], fault: str
) -> Judgement:
    aligned = _aligned(what, domain, from_domain, mode, organizational)
    return Judgement(passes=False, reason=fault) if aligned.passes and fault else aligned


def _aligned(
    what: str, domain: str, from_domain: str, mode: Alignment, organizational: Callable[[str], str]
) -> Judgement:
    if not domain:
        return Judgement(passes=False, reason=f"there is no {what} of a domain of the sender")
    if domain == from_domain:
        return Judgement(passes=True, reason=f"the domain of the {what} is the From domain")
    same = organizational(domain) == organizational(from_domain)
    if same and mode is Alignment.RELAXED:
        return Judgement(passes=True, reason=f"the {what} is of {domain}, in the same organizational domain")
    if same:
        return Judgement(
            passes=False, reason=f"the {what} is of {domain}, and strict alignment asks for {from_domain}"
        )
    return Judgement(passes=False, reason=f"the {what} is of {domain}, another organizational domain")


def _policy(value: str | None, default: str, name: str, faults: list[str]) -> str:
    if value is None:
        return default
    if value.lower() in _POLICIES:
        return value.lower()
    faults.append(f"{name}={value[:40]} is none of none, quarantine, reject.")
    return default


def _percent(value: str | None, faults: list[str]) -> int:
    if value is None:
        return PERCENT_MAX
    if value.isascii() and value.isdigit() and int(value[:4]) <= PERCENT_MAX:
        return int(value[:4])
    faults.append(f"pct={value[:40]} is no number from 0 to 100.")
    return PERCENT_MAX


def _alignment(value: str | None, name: str, faults: list[str]) -> Alignment:
    if value is None or value.lower() == "r":
        return Alignment.RELAXED
    if value.lower() == "s":
        return Alignment.STRICT
    faults.append(f"{name}={value[:40]} is neither r nor s.")
    return Alignment.RELAXED
