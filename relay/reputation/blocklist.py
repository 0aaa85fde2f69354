"""DNS block lists: how an address is asked for, and what an answer means (RFC 5782; DNSBL-001). Pure.

A list answers for `4.3.2.1.zone` with an address in 127.0.0.0/8 when 1.2.3.4 is on it. Answers elsewhere are no
listing: a list that has closed down may answer for everything. Some lists answer 127.255.255.x to say that they do
not talk to this resolver, which is no listing either. Nor is it one when a list has what none may have (`nobody`).
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from relay.policy.records import Answer

_CODES = ipaddress.IPv4Network("127.0.0.0/8")
_REFUSALS = ipaddress.IPv4Network("127.255.255.0/24")
NO_DOMAIN = "invalid"  # no working list of domains has it (RFC 5782 section 5)
EVERYBODY = "the list has everybody (127.0.0.1, RFC 5782 section 5); take it out of own_checks.block_lists"


class Action(StrEnum):
    """What follows when a list has one of our addresses."""

    SHOW = "show"  # it is listed in commands and metrics; a list of low impact
    WARN = "warn"  # the operator is told
    WITHDRAW = "withdraw"  # and nothing leaves from the address until the listing ends


@dataclass(frozen=True, slots=True)
class BlockList:
    """A list: its name, its DNS zone, what a listing does, where to read about it."""

    name: str
    zone: str
    action: Action = Action.WARN
    about: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """One stay of an address on a list; `ended_ms` is 0 while it lasts. `detail` is what the list says."""

    address: str
    list_name: str
    began_ms: int
    ended_ms: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look said: listed or not, or that there was no answer (`unknown` says why)."""

    listed: bool = False
    codes: tuple[str, ...] = ()
    unknown: str = ""


def question(address: str, zone: str) -> str:
    """Return the name to ask a list for an address (RFC 5782 sections 2.1 and 2.4)."""
    ip = ipaddress.ip_address(address)
    labels = str(ip).split(".") if ip.version == 4 else list(ip.exploded.replace(":", ""))  # noqa: PLR2004
    return ".".join([*reversed(labels), zone])


def nobody(address: str) -> str:
    """Return the address of the same family that no working list has (RFC 5782 section 5)."""
    return "127.0.0.1" if ipaddress.ip_address(address).version == 4 else "::ffff:127.0.0.1"  # noqa: PLR2004


def domain_question(domain: str, zone: str) -> str:
    """Return the name to ask a list of domains for a domain (RFC 5782 section 2.3)."""
    return f"{domain.rstrip('.').lower()}.{zone}"


def judge(answer: Answer) -> Verdict:
    """Return what the A records of a list's answer mean."""
    if answer.failure:
        return Verdict(unknown=answer.failure)
    codes = [value for value in answer.values if _in(value, _CODES)]
    refused = [value for value in codes if _in(value, _REFUSALS)]
    if refused:
        return Verdict(unknown=f"the list does not answer this name server ({refused[0]})")
    if codes:
        return Verdict(listed=True, codes=tuple(codes))
    if answer.values:
        return Verdict(unknown=f"the list answers {answer.values[0]}, which is no code of a list")
    return Verdict()


def _in(value: str, network: ipaddress.IPv4Network) -> bool:
    try:
        return ipaddress.IPv4Address(value) in network
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Change:
    """A listing that began or ended."""

    listing: Listing
    began: bool


def changes(
    current: Iterable[Listing],
    looks: Mapping[tuple[str, str], Verdict],
    details: Mapping[tuple[str, str], str],
    now_ms: int,
) -> Sequence[Change]:
    """Return what looks (by address and list) change about the listings that last.

    A look without an answer changes nothing; a listing of an address or list that is not looked at any more ends.
    """
    lasting = {(one.address, one.list_name): one for one in current}
    found: list[Change] = []
    for key, verdict in looks.items():
        if verdict.listed and key not in lasting:
            found.append(Change(Listing(*key, began_ms=now_ms, detail=details.get(key, "")), began=True))
        elif not verdict.listed and not verdict.unknown and key in lasting:
            found.append(Change(replace(lasting[key], ended_ms=now_ms), began=False))
    found += [Change(replace(one, ended_ms=now_ms), began=False) for key, one in lasting.items() if key not in looks]
    return found
