"""XCLIENT, Postfix's command for trusted front ends: who the client behind a connection is.

`XCLIENT NAME=... ADDR=... HELO=...`: each value is xtext; [UNAVAILABLE] and [TEMPUNAVAIL] say that it is not known.
Only what the relay uses is kept: ADDR, HELO, PROTO and LOGIN; the rest is checked and forgotten.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from relay.smtp.server import reply
from relay.smtp.server.command import plain_address
from relay.smtp.server.parameters import read_xtext
from relay.smtp.server.reply import Reply

ATTRIBUTES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "DESTADDR", "DESTPORT")
LOGIN: Final = "LOGIN"
_UNKNOWN: Final = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_ATTRIBUTE: Final = re.compile(rb"([A-Za-z]+)=([\x21-\x3c\x3e-\x7e]+)\Z")
_IPV6: Final = "ipv6:"
_PORT_MAX: Final = 65535


@dataclass(frozen=True, slots=True)
class XClient:
    """What a front end says; None: it says nothing about it. An empty `address`, `helo` or `login`: not known."""

    address: str | None = None
    helo: str | None = None
    esmtp: bool | None = None
    login: str | None = None


def offer(*, login: bool) -> str:
    """Return the line of the EHLO answer."""
    return " ".join(("XCLIENT", *ATTRIBUTES, *((LOGIN,) if login else ())))


def parse_xclient(argument: bytes) -> XClient | Reply:
    """Read the argument of XCLIENT."""
    values: dict[str, str] = {}
    for word in argument.split(b" "):
        if not word:
            continue
        found = _ATTRIBUTE.match(word)
        value = read_xtext(found.group(2)) if found else None
        name = found.group(1).decode().upper() if found else ""
        if value is None or name in values or name not in (*ATTRIBUTES, LOGIN):
            return reply.BAD_XCLIENT
        value = "" if value.upper() in _UNKNOWN else value
        if value and not _sound(name, value):
            return reply.BAD_XCLIENT
        values[name] = value
    if not values:
        return reply.BAD_XCLIENT
    address = values.get("ADDR")
    return XClient(
        address=_address(address) if address else address,
        helo=values.get("HELO"),
        esmtp=values["PROTO"].upper() == "ESMTP" if values.get("PROTO") else None,
        login=values.get(LOGIN),
    )


def _sound(name: str, value: str) -> bool:
    if name in ("ADDR", "DESTADDR"):
        return _address(value) is not None
    if name in ("PORT", "DESTPORT"):
        return value.isascii() and value.isdigit() and len(value) <= len(str(_PORT_MAX)) and int(value) <= _PORT_MAX
    if name == "PROTO":
        return value.upper() in ("SMTP", "ESMTP")
    return len(value) <= 255 and " " not in value  # noqa: PLR2004 - RFC 5321 section 4.5.3.1.2


def _address(value: str) -> str | None:
    """Return an address in its usual spelling: Postfix writes IPV6: before those of IPv6."""
    given = value[len(_IPV6) :] if value.lower().startswith(_IPV6) else value
    try:
        parsed = ipaddress.ip_address(given)
    except ValueError:
        return None
    return None if "%" in given else plain_address(parsed)
