"""SPF records: the relay's own, and what a sender adds to theirs (AUTHN-001, AUTHN-002, MFROM-004; RFC 7208).

The relay's record lists addresses, never names, so that it costs receivers one lookup of their ten (section 4.6.4).
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence

LOOKUPS_MAX = 10

_VERSION = re.compile(r"v=spf1(?: |\Z)", re.IGNORECASE)
_ALL = re.compile(r"[+?~-]?all\Z", re.IGNORECASE)
_LOOKS_UP = re.compile(r"[+?~-]?(?:include:|a(?:[:/]|\Z)|mx(?:[:/]|\Z)|ptr(?::|\Z)|exists:)|redirect=", re.IGNORECASE)


def own_record(addresses: Iterable[str]) -> str:
    """Return the record that lists the relay's source addresses; one for nobody when none is known."""
    listed = sorted({ipaddress.ip_address(address) for address in addresses}, key=lambda one: (one.version, int(one)))
    terms = [f"ip{address.version}:{address}" for address in listed]
    return " ".join(["v=spf1", *terms, "~all" if terms else "-all"])


def include_record(spf_domain: str) -> str:
    """Return the record of a MAIL FROM domain, or of a sender that has none yet."""
    return f"v=spf1 include:{spf_domain} ~all"


def find_record(texts: Sequence[str]) -> str | None:
    """Return the one SPF record among the TXT records of a name; None when there is none, or several (4.5)."""
    found = [text for text in texts if _VERSION.match(text)]
    return found[0] if len(found) == 1 else None


def includes(record: str, spf_domain: str) -> bool:
    """Say whether a record includes the relay's; what it includes by way of others is not followed."""
    return any(term.lstrip("+").lower() == f"include:{spf_domain}" for term in record.split())


def with_include(existing: str, spf_domain: str) -> str:
    """Return a record with the relay included, before its `all` or `redirect` (AUTHN-002)."""
    if includes(existing, spf_domain):
        return existing
    include = f"include:{spf_domain}"
    terms = existing.split()
    end = next(
        (at for at, term in enumerate(terms) if _ALL.match(term) or term.lower().startswith("redirect=")), None
    )
    if end is None:
        return " ".join([*terms, include, "~all"])
    return " ".join([*terms[:end], include, *terms[end:]])


def lookups(record: str) -> int:
    """Return how many terms of a record cost a receiver a lookup; what they lead to comes on top."""
    return sum(1 for term in record.split()[1:] if _LOOKS_UP.match(term))
