"""Strict reading of command lines (RFC 5321 section 4.1): paths and mailboxes of MAIL and RCPT.

Everything here takes bytes of one line without its CRLF and returns a value or the `Reply` that refuses it.
Lenient only where SMTP-014 asks: blanks after the colon, and paths without angle brackets. Source routes are
read and dropped (RFC 5321 section 4.1.1.3). What a mailbox is says `relay.mail.address`, what parameters say
`relay.smtp.server.parameters`.
"""

import ipaddress
import re
from typing import Final

from relay.mail.address import BadAddress, parse_mailbox
from relay.model.notification import NO_WISHES, Wishes
from relay.model.value import dataclass
from relay.smtp.server import reply
from relay.smtp.server.parameters import mail_parameters, rcpt_parameters
from relay.smtp.server.reply import Reply

COMMAND_LINE_MAX_BYTES = 510  # RFC 5321 section 4.5.3.1.4, without CRLF
LINE_MAX_BYTES: Final = {
    # RFC 1870, 6152, 4954 section 5, 6531, 3461 section 3, 4865 section 2, 2852 section 3, 8689 section 2
    b"MAIL": 510 + 26 + 17 + 500 + 10 + 120 + 34 + 17 + 11,
    b"RCPT": 510 + 28 + 507,  # RFC 3461 section 3
    b"AUTH": 12288 + 16,  # RFC 4954 section 4
}
ANY_LINE_MAX_BYTES = max(LINE_MAX_BYTES.values())
PATH_MAX_BYTES = 256 - 2  # RFC 5321 section 4.5.3.1.3, without the brackets

_QUOTED = rb'"(?:[^"\\]|\\.)*+"'
_BRACKETED: Final = re.compile(rb"<((?:[^\"<>\\ ]|" + _QUOTED + rb")*+)>(?: +(.*))?\Z", re.DOTALL)
_BARE: Final = re.compile(rb"((?:[^\"<>\\ ]|" + _QUOTED + rb")++)(?: +(.*))?\Z", re.DOTALL)
_DOMAIN = rb"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_ROUTE: Final = re.compile(rb"@" + _DOMAIN + rb"(?:,@" + _DOMAIN + rb")*:")
_USUAL: Final = re.compile(rb"(?:SIZE=([0-9]{1,20})(?: |\Z))?(?:BODY=(?:8BITMIME|7BIT))?\Z")
_HELLO: Final = re.compile(rb"[\x21-\x7e]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class MailFrom:
    """A MAIL command: the sender ("" for the null sender) and its parameters; `size_bytes` is 0 when not given."""

    sender: str
    size_bytes: int = 0
    smtputf8: bool = False
    wishes: Wishes = NO_WISHES


@dataclass(frozen=True, slots=True)
class RcptTo:
    """A RCPT command: the recipient, and what is asked for it in canonical form (`relay.model.notification`)."""

    recipient: str
    wishes: str = ""


def parse_hello(argument: bytes) -> str | None:
    """Return the client's name from EHLO or HELO, or None when there is none; only its characters are checked."""
    name = argument.strip(b" ")
    return name.decode("ascii") if _HELLO.match(name) else None


def parse_mail(argument: bytes, offered: frozenset[str]) -> MailFrom | Reply:
    """Read the argument of MAIL (SMTP-007, SMTP-014 to 018); `offered` are extensions that have parameters."""
    if argument[:5].upper() != b"FROM:":
        return reply.BAD_MAIL
    text = argument[5:].lstrip(b" ")
    found = _BRACKETED.match(text) or _BARE.match(text)
    if found is None:
        return reply.invalid_sender(_shown(text))
    path, parameters = found.group(1), found.group(2)
    usual = _USUAL.match(parameters or b"")
    if usual is not None:
        size_bytes, smtputf8, wishes = int(usual.group(1) or 0), False, NO_WISHES
    else:
        given = mail_parameters(parameters, offered)
        if isinstance(given, Reply):
            return given
        size_bytes, smtputf8, wishes = given.size_bytes, given.smtputf8, given.wishes
    if not path:
        return MailFrom("", size_bytes, smtputf8, wishes) if text.startswith(b"<") else reply.invalid_sender("")
    sender = parse_path(path, smtputf8=smtputf8)
    return reply.invalid_sender(_shown(path)) if sender is None else MailFrom(sender, size_bytes, smtputf8, wishes)


def parse_rcpt(argument: bytes, offered: frozenset[str], *, smtputf8: bool, hostname: str) -> RcptTo | Reply:
    """Read the argument of RCPT; a lone `postmaster` is the one of `hostname` (RFC 5321 section 4.1.1.3)."""
    if argument[:3].upper() != b"TO:":
        return reply.BAD_RCPT
    text = argument[3:].lstrip(b" ")
    found = _BRACKETED.match(text) or _BARE.match(text)
    if found is None:
        return reply.invalid_recipient(_shown(text))
    path, parameters = found.group(1), found.group(2)
    wishes = rcpt_parameters(parameters, offered, smtputf8=smtputf8) if parameters else ""
    if isinstance(wishes, Reply):
        return wishes
    if path.lower() == b"postmaster":
        return RcptTo(f"{path.decode('ascii')}@{hostname.lower()}", wishes)
    recipient = parse_path(path, smtputf8=smtputf8)
    return reply.invalid_recipient(_shown(path)) if recipient is None else RcptTo(recipient, wishes)


def parse_path(path: bytes, *, smtputf8: bool) -> str | None:
    """Return the mailbox of a path without brackets, domain in A-label form and lower case; None when malformed."""
    if len(path) > PATH_MAX_BYTES:
        return None
    if path.startswith(b"@"):
        route = _ROUTE.match(path)
        if route is None:
            return None
        path = path[route.end() :]
    if not path.isascii() and not smtputf8:
        return None  # RFC 6531 section 3.5: only a transaction that said SMTPUTF8 may
    try:
        mailbox = parse_mailbox(path.decode("utf-8"), smtputf8=smtputf8)
    except UnicodeDecodeError:
        return None
    return None if isinstance(mailbox, BadAddress) else str(mailbox)


def _shown(argument: bytes) -> str:
    return argument.decode("utf-8", "replace").strip(" <>")


def plain_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address in its one spelling; an IPv4 address in IPv6 form is that IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def in_networks(address: str, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    """Say whether a peer's address lies in one of `networks`; IPv4 addresses in IPv6 form count as IPv4."""
    if not networks:
        return False
    try:
        peer = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    return any(peer.version == network.version and peer in network for network in networks)
