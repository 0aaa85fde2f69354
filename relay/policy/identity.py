"""Which identities cover an address, and how a refusal names those that failed.

Matching (IDENT-002, 004 to 006): the address itself with case, then the address without its `+label`, then its
domain without case, then each parent domain, most specific first. Nothing here looks anything up.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from relay.model.refusal import Reason, Refusal

LOCAL_PART_MAX_OCTETS = 64
DOMAIN_MAX_OCTETS = 253
IDENTITIES_SHOWN_MAX = 10  # ERR-002
REPLY_MAX_OCTETS = 512

_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\Z")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\x80-\U0010ffff]|[\x80-\x9f\u2028\u2029\ud800-\udfff]")
_ELLIPSIS = "..."
_FRAMING_OCTETS = len("554 5.7.1 \r\n")


def split_address(address: str) -> tuple[str, str] | None:
    """Return local part and lower-case A-label domain of an address; None where no identity can cover it.

    This is no address parser: it only refuses what could be read in two ways (empty labels, a trailing dot,
    domain literals, domains that are not in A-label form).
    """
    local, at, domain = address.rpartition("@")
    if not at or not local or len(domain) > DOMAIN_MAX_OCTETS or len(local.encode(errors="replace")) > 64:  # noqa: PLR2004 RFC 5321 section 4.5.3.1.1
        return None
    domain = domain.lower() if domain.isascii() else ""
    return (local, domain) if _DOMAIN.match(domain) else None


def covering_addresses(address: str) -> tuple[str, ...]:
    """Return the names of address identities that cover an address, most specific first (IDENT-005, IDENT-006)."""
    local, _, domain = address.rpartition("@")
    if local.startswith('"'):
        return (address,)
    names = [address]
    while (cut := local.rfind("+")) > 0:
        local = local[:cut]
        names.append(f"{local}@{domain}")
    return tuple(names)


def covering_domains(domain: str) -> tuple[str, ...]:
    """Return the names of domain identities that cover a lower-case domain, most specific first (IDENT-002).

    A single label is none: no identity has such a name (IDENT-007).
    """
    labels = domain.split(".")
    return tuple(".".join(labels[start:]) for start in range(len(labels) - 1))


def covering_names(address: str) -> tuple[str, ...]:
    """Return the names of all identities that cover an address, most specific first (IDENT-002, 004 to 006)."""
    parts = split_address(address)
    if parts is None:
        return ()
    return (*covering_addresses("@".join(parts)), *covering_domains(parts[1]))


def failed_identities(addresses: Iterable[str], covered: Callable[[str], bool]) -> tuple[str, ...]:
    """Return those of the addresses (From, Sender, envelope sender) that no identity covers, each once, in order.

    The null sender "" needs no identity (SMTP-017).
    """
    return tuple(address for address in dict.fromkeys(addresses) if address and not covered(address))


def not_verified(failed: Sequence[str], region: str) -> Refusal:
    """Return the refusal that names the failed identities, cut to ten and to one reply line (ERR-001, ERR-002)."""
    room = REPLY_MAX_OCTETS - _FRAMING_OCTETS - len(Reason.NOT_VERIFIED.text) + len("%s")
    detail = f"{region.upper()}: "
    room -= len(detail.encode())
    shown = [_UNPRINTABLE.sub("?", name) for name in failed[:IDENTITIES_SHOWN_MAX]]
    whole = ", ".join(shown)
    if len(shown) == len(failed) and len(whole.encode()) <= room:
        return Refusal(Reason.NOT_VERIFIED, detail + whole)
    return Refusal(Reason.NOT_VERIFIED, detail + _fitting(shown, room - len(_ELLIPSIS)) + _ELLIPSIS)


def printable(text: str, octets_max: int) -> str:
    """Return a text as it may stand in a reply line: printable, and cut, with an ellipsis, to `octets_max` octets."""
    shown = _UNPRINTABLE.sub("?", text)
    if len(shown.encode()) <= octets_max:
        return shown
    return shown.encode()[: octets_max - len(_ELLIPSIS)].decode(errors="ignore") + _ELLIPSIS


def _fitting(names: Sequence[str], room: int) -> str:
    """Return as many names as fit into `room` octets; a first name that is too long is cut."""
    text = ""
    for name in names:
        longer = f"{text}, {name}" if text else name
        if len(longer.encode()) > room:
            break
        text = longer
    return text or names[0].encode()[: max(0, room)].decode(errors="ignore")
