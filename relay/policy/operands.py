"""What the values of conditions mean: instants, numbers, networks, addresses, ARNs (AUTHZ-008 to AUTHZ-010).

Each reader takes text of any origin and returns a value, or None when the text is none of that kind. A policy whose
values cannot be read is refused; a request whose values cannot be read matches nothing.
"""

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache

from relay.mail.address import Address, parse_mailbox
from relay.policy.glob import Glob

_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(?:Z|([+-])([0-9]{2}):([0-9]{2})))?\Z"
)
_EPOCH = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?\Z")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?\Z")
_IP_MAX_CHARS = 64
_ARN_PARTS = 6
_IPV6_BITS = 128
_MAPPED_BITS = 96  # ::ffff:0:0/96 holds the IPv4 addresses (RFC 4291 section 2.5.5.2)
_KELVIN = "\u212a"


@lru_cache(maxsize=512)
def instant(text: str) -> int | None:
    """Return milliseconds since 1970 of an ISO 8601 date, with or without seconds, or of seconds since 1970.

    A date alone is its midnight in UTC. A time needs `Z` or an offset: without one it would mean another instant on
    another machine.
    """
    if _EPOCH.match(text):
        return int(Decimal(text) * 1000)
    match = _INSTANT.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    milliseconds = int((fraction or "0").ljust(3, "0")[:3])
    try:
        offset = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0))
        zone = timezone(-offset if sign == "-" else offset)
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), 0, zone
        )
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1000 + milliseconds


def number(text: str) -> Decimal | None:
    """Return a decimal number of at most 18 digits on each side of its point."""
    return Decimal(text) if _NUMBER.match(text) else None


@dataclass(frozen=True, slots=True)
class Network:
    """A range of IP addresses of one version; addresses are numbers."""

    version: int
    bits: int
    mask: int

    def holds(self, text: str) -> bool:
        """Say whether an address written as text lies in the range."""
        address = _ip(text)
        return address is not None and address[0] == self.version and address[1] & self.mask == self.bits


def network(text: str) -> Network | None:
    """Return a range in CIDR notation, or a single address; bits behind the prefix do not matter."""
    if len(text) > _IP_MAX_CHARS or "%" in text or not text.isascii():
        return None
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if found.version == 6 and found.prefixlen >= _MAPPED_BITS:  # noqa: PLR2004 - the version
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            found = ipaddress.IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))
    return Network(found.version, int(found.network_address), int(found.netmask))


@lru_cache(maxsize=512)
def _ip(text: str) -> tuple[int, int] | None:
    if len(text) > _IP_MAX_CHARS:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)


@dataclass(frozen=True, slots=True)
class ArnGlob:
    """A pattern of an ARN: each of its six parts is a pattern of its own, so no `*` reaches over a colon."""

    parts: tuple[Glob, ...]

    def fits(self, text: str) -> bool:
        """Say whether an ARN has the form of the pattern."""
        parts = text.split(":", _ARN_PARTS - 1)
        return len(parts) == _ARN_PARTS and all(map(Glob.fits, self.parts, parts))


def arn_glob(text: str) -> ArnGlob | None:
    """Return the pattern of an ARN."""
    parts = text.split(":", _ARN_PARTS - 1)
    if len(parts) != _ARN_PARTS or parts[0] != "arn":
        return None
    return ArnGlob(tuple(map(Glob, parts)))


def fold(text: str) -> str:
    """Return the form that texts are compared in without case.

    KELVIN SIGN is the one character whose lower case is an ASCII letter; it stays, so that no look-alike is equal
    to an ASCII name.
    """
    return text.lower() if text.isascii() else _KELVIN.join(map(str.lower, text.split(_KELVIN)))


@lru_cache(maxsize=2048)  # the recipients of a request are asked about again and again
def plain_address(address: str) -> str:
    """Return the one form of an address: no quotes that it does not need, the domain in lower case.

    So `"admin"@Example.com` meets the conditions that name `admin@example.com`.
    """
    if address.startswith('"'):
        parsed = parse_mailbox(address, smtputf8=True)
        if isinstance(parsed, Address):
            return parsed.canonical
    return lower_domain(address)


def lower_domain(address: str) -> str:
    """Return an address, or a pattern of addresses, with its domain in lower case; quotes stay.

    Quotes of a pattern are meant: `"*"@example.com` is about the local parts that need them.
    """
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}" if at and domain.isascii() else address
