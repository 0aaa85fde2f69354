"""What an SPF record says of an address, as a receiver would find it (RFC 7208 section 4). Pure, without waiting.

`evaluate` is a generator: it yields the questions it needs and is sent their answers, so that whoever drives it waits
and it does not. It asks at most ten names that count (section 4.6.4) and two that have no records.

Macros are not expanded, and `ptr` is never a match (section 5.5 says not to use it): a term with a macro ends the
evaluation with NONE, which is "cannot say".
"""

import ipaddress
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from relay.policy.records import Answer, Question
from relay.policy.spf import LOOKUPS_MAX, find_record

VOID_LOOKUPS_MAX = 2
NAMES_MAX = 10  # of one MX answer, and addresses of each
DEPTH_MAX = 10


class SpfResult(StrEnum):
    """Results of RFC 7208 section 2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - a result
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class SpfVerdict:
    """A result, and the term or the fault that led to it."""

    result: SpfResult
    reason: str


_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Evaluation = Generator[Question, Answer, SpfVerdict]
_Matching = Generator[Question, Answer, "bool | SpfVerdict"]
_QUALIFIERS = {"+": SpfResult.PASS, "-": SpfResult.FAIL, "~": SpfResult.SOFTFAIL, "?": SpfResult.NEUTRAL}
_MODIFIERS = ("redirect", "exp")


@dataclass(slots=True)
class _Budget:
    lookups: int = LOOKUPS_MAX
    voids: int = VOID_LOOKUPS_MAX


def evaluate(domain: str, address: str) -> Evaluation:
    """Return what the SPF record of a domain says of a source address."""
    return (yield from _check(domain, ipaddress.ip_address(address), _Budget(), 0))


def _check(domain: str, ip: _Ip, budget: _Budget, depth: int) -> Evaluation:
    answer = yield Question(domain, "TXT")
    if answer.failure:
        return SpfVerdict(SpfResult.TEMPERROR, f"{domain}: {answer.failure}")
    record = find_record(answer.values)
    if record is None:
        several = sum(text.lower().startswith("v=spf1") for text in answer.values) > 1
        result = SpfResult.PERMERROR if several else SpfResult.NONE
        return SpfVerdict(result, f"{domain} has {'several SPF records' if several else 'no SPF record'}")
    redirect = ""
    for term in record.split()[1:]:
        name, _, value = term.partition("=")
        if value and name.lower() in _MODIFIERS:
            redirect = value if name.lower() == "redirect" else redirect
            continue
        found = yield from _term(term, domain, ip, budget, depth)
        if found is not None:
            return found
    if not redirect:
        return SpfVerdict(SpfResult.NEUTRAL, f"no term of {domain} matches")
    if "%" in redirect:
        return SpfVerdict(SpfResult.NONE, f"redirect={redirect} has a macro")
    spent = _spend(budget, depth, redirect)
    if spent is not None:
        return spent
    verdict = yield from _check(redirect, ip, budget, depth + 1)
    if verdict.result is SpfResult.NONE:
        return SpfVerdict(SpfResult.PERMERROR, verdict.reason)
    return verdict


def _term(
    term: str, domain: str, ip: _Ip, budget: _Budget, depth: int
) -> Generator[Question, Answer, SpfVerdict | None]:
    """Return the verdict when a mechanism matches or fails, None when the next one is to be looked at."""
    result = _QUALIFIERS.get(term[0], SpfResult.PASS)
    mechanism = term[1:] if term[0] in _QUALIFIERS else term
    if "%" in mechanism:
        return SpfVerdict(SpfResult.NONE, f"{term} has a macro")
    matched = yield from _matches(mechanism, domain, ip, budget, depth)
    if isinstance(matched, SpfVerdict):
        return matched
    return SpfVerdict(result, f"{term} of {domain}") if matched else None


def _matches(mechanism: str, domain: str, ip: _Ip, budget: _Budget, depth: int) -> _Matching:
    name, _, argument = mechanism.partition(":")
    target, slash, length = argument.partition("/")
    if not argument:
        name, slash, length = name.partition("/")
        target = domain
    name = name.lower()
    if name == "all":
        return True
    if name in ("ip4", "ip6"):
        return _in_network(ip, argument, mechanism)
    if name not in ("include", "a", "mx", "exists", "ptr"):
        return SpfVerdict(SpfResult.PERMERROR, f"{domain} has the unknown term {mechanism}")
    spent = _spend(budget, depth, target)
    if spent is not None:
        return spent
    if name == "include":
        return (yield from _included(target, ip, budget, depth))
    return (yield from _looked_up(name, target, slash + length, ip, budget))


def _looked_up(name: str, target: str, lengths: str, ip: _Ip, budget: _Budget) -> _Matching:
    """Return whether `a`, `mx` or `exists` matches; `lengths` as in "/24//64"."""
    if name == "ptr":
        return False
    if name == "exists":
        answer = yield Question(target, "A")
        return _fault(answer, target) or bool(answer.values)
    hosts: Sequence[str] = (target,)
    if name == "mx":
        answer = yield Question(target, "MX")
        if fault := _fault(answer, target):
            return fault
        hosts = [value.partition(" ")[2] for value in answer.values[:NAMES_MAX]]
    return (yield from _addresses(hosts, ip, lengths, budget))


def _included(target: str, ip: _Ip, budget: _Budget, depth: int) -> _Matching:
    """Return whether an included record passes (section 5.2)."""
    verdict = yield from _check(target, ip, budget, depth + 1)
    if verdict.result is SpfResult.NONE:
        return SpfVerdict(SpfResult.PERMERROR, f"include:{target}: {verdict.reason}")
    if verdict.result in (SpfResult.TEMPERROR, SpfResult.PERMERROR):
        return verdict
    return verdict.result is SpfResult.PASS


def _addresses(hosts: Sequence[str], ip: _Ip, lengths: str, budget: _Budget) -> _Matching:
    four, _, six = lengths.partition("//")  # "/24", "//64", "/24//64" (section 5.6)
    length = (four[1:] or "32") if ip.version == 4 else (six or "128")  # noqa: PLR2004
    for host in hosts:
        answer = yield Question(host, "A" if ip.version == 4 else "AAAA")  # noqa: PLR2004
        if fault := _fault(answer, host):
            return fault
        if not answer.values:
            budget.voids -= 1
            if budget.voids < 0:
                return SpfVerdict(SpfResult.PERMERROR, f"more than {VOID_LOOKUPS_MAX} names have no address")
        for value in answer.values[:NAMES_MAX]:
            inside = _in_network(ip, f"{value}/{length}", host)
            if inside is not False:
                return inside
    return False


def _in_network(ip: _Ip, network: str, term: str) -> "bool | SpfVerdict":
    try:
        return ip in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return SpfVerdict(SpfResult.PERMERROR, f"{term} has no valid network")


def _spend(budget: _Budget, depth: int, target: str) -> SpfVerdict | None:
    budget.lookups -= 1
    if budget.lookups < 0 or depth >= DEPTH_MAX:
        return SpfVerdict(SpfResult.PERMERROR, f"more than {LOOKUPS_MAX} lookups, at {target}")
    return None


def _fault(answer: Answer, name: str) -> SpfVerdict | None:
    return SpfVerdict(SpfResult.TEMPERROR, f"{name}: {answer.failure}") if answer.failure else None
