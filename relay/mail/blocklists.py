"""Refusals because of a DNS block list: which list it is, and what to do about it (DNSBL-002). Pure.

Receivers word this as they like: `... blocked using <list>; see <url>` is the usual form. A list is recognised by
its zone, by its name, or by standing behind "blocked using". Lists of addresses and lists of domains are told apart,
because another source address helps against the first kind only.
"""

import re
from dataclasses import dataclass
from typing import Final

_TEXT_MAX: Final = 1000
# A name of at least two labels. A label has no dots, so there is one way only to read a text: nothing backtracks.
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}(?:\.[a-z0-9][a-z0-9_-]{0,40}){1,6}")
_USING = re.compile(
    r"(?:blocked|listed|rejected|refused|denied|blacklisted|blocklisted|found)\s(?:using|in|on|by|at)\s(?:the\s)?"
    r"([a-z0-9][a-z0-9_.-]{2,100})"
)
_LISTING = re.compile(r"bl\b|bl\.|rbl|black|block|spam|list|reputation|abuse")

# (end of a zone, or a word; the name it is shown under; whether it lists domains and not addresses)
_KNOWN: Final = (
    ("dnswl", "", False),  # a list of good addresses
    ("dbl.spamhaus.org", "dbl.spamhaus.org", True),
    ("spamhaus dbl", "dbl.spamhaus.org", True),
    ("spamhaus.org/dbl", "dbl.spamhaus.org", True),
    ("spamhaus", "spamhaus.org", False),
    ("spamcop", "bl.spamcop.net", False),
    ("barracudacentral", "b.barracudacentral.org", False),
    ("sorbs", "dnsbl.sorbs.net", False),
    ("uceprotect", "uceprotect.net", False),
    ("surbl", "multi.surbl.org", True),
    ("uribl", "multi.uribl.com", True),
    ("invaluement", "invaluement.com", False),
    ("ivmsip", "invaluement.com", False),
    ("ivmuri", "invaluement.com", True),
    ("abusix", "abusix.com", False),
    ("psbl", "psbl.surriel.com", False),
    ("manitu", "ix.dnsbl.manitu.net", False),
    ("nixspam", "ix.dnsbl.manitu.net", False),
    ("mailspike", "bl.mailspike.net", False),
    ("senderscore", "senderscore.com", False),
    ("return path", "senderscore.com", False),
    ("cloudmark", "cloudmark.com", False),
    ("spamrats", "spamrats.com", False),
    ("dronebl", "dronebl.org", False),
    ("backscatterer", "backscatterer.org", False),
    ("ipcheck.proofpoint", "proofpoint.com", False),
    ("trendmicro", "trendmicro.com", False),
    ("gbudb", "truncate.gbudb.net", False),
    ("s5h.net", "all.s5h.net", False),
    ("lashback", "ubl.unsubscore.com", False),
)
_PAGES: Final = frozenset({"www", "check", "lookup", "mxtoolbox", "postmaster", "support", "help", "http", "https"})


@dataclass(frozen=True, slots=True)
class Blocklist:
    """A list that a receiver named. `of_domains`: it lists names in messages, not addresses that mail comes from."""

    name: str
    of_domains: bool = False


def blocklist_of(text: str) -> Blocklist | None:
    """Return the block list that a refusal names, None when it names none."""
    lower = text[:_TEXT_MAX].lower()
    for found in _USING.finditer(lower):
        name = found[1].rstrip(".")
        known = _known(name)
        if "." in name and (known.name if known is not None else _LISTING.search(name)):
            return _named(name)
    known = _known(lower)
    if known is None or not known.name:
        return None
    zones = [name for name in _NAME.findall(lower) if _known(name) == known]
    return _named(zones[0]) if zones else known


def _known(text: str) -> Blocklist | None:
    for part, name, of_domains in _KNOWN:
        if part in text:
            return Blocklist(name, of_domains)
    return None


def _named(zone: str) -> Blocklist:
    """Return a list by its own zone, or by its usual name where only a page about it was named."""
    known = _known(zone)
    if known is not None and (zone.partition(".")[0] in _PAGES or zone.count(".") < 2):  # noqa: PLR2004
        return known
    return Blocklist(zone[:100], known.of_domains if known is not None else False)


def is_of_domains(name: str) -> bool:
    """Say whether a list, by its name, lists domains and not addresses."""
    known = _known(name)
    return known is not None and known.of_domains


def advice(name: str, *, of_domains: bool) -> str:
    """Return what a sender may do about a listing."""
    if of_domains:
        return (
            f"A domain in the message is listed by {name}: find which one, have it removed there, or send without it."
        )
    return (
        f"The address is listed by {name}: ask the list to remove it, write to the recipient's postmaster, "
        "or use another address."
    )
