"""What a server offers in its EHLO reply (RFC 5321 section 4.1.1.1), as far as we use it."""

from dataclasses import dataclass

from relay.smtp.client.reply import Reply, printable

_SIZE_DIGITS_MAX = 20  # RFC 1870 section 3
_LIMIT_DIGITS_MAX = 6  # RFC 9422 section 3


@dataclass(frozen=True, slots=True)
class Extensions:
    """The offer of one host. `size_max_bytes` is 0 when the host names no limit, and so are those of LIMITS.

    `deliver_by_min` is the least time limit that it takes (RFC 2852), None when it takes none.
    """

    name: str = ""
    pipelining: bool = False
    starttls: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    size: bool = False
    size_max_bytes: int = 0
    auth: frozenset[str] = frozenset()
    dsn: bool = False
    deliver_by_min: int | None = None
    messages_max: int = 0
    recipients_max: int = 0
    recipient_domains_max: int = 0
    requiretls: bool = False


def parse(reply: Reply) -> Extensions:
    """Read the offer; unknown, repeated or odd lines are ignored."""
    offer: dict[str, list[bytes]] = {}
    for line in reply.lines[1:]:
        upper = line.upper()
        # Old servers write AUTH=LOGIN.
        words = (upper if upper.startswith(b"LIMITS ") else upper.replace(b"=", b" ", 1)).split()
        if words:
            offer.setdefault(printable(words[0]), []).extend(words[1:])
    size, by = offer.get("SIZE"), offer.get("DELIVERBY")
    limits = _limits(offer.get("LIMITS", []))
    return Extensions(
        name=first_word(reply),
        pipelining="PIPELINING" in offer,
        starttls="STARTTLS" in offer,
        eight_bit_mime="8BITMIME" in offer,
        smtputf8="SMTPUTF8" in offer,
        size=size is not None,
        size_max_bytes=_size(size or []),
        auth=frozenset(printable(word) for word in offer.get("AUTH", ())),
        dsn="DSN" in offer,
        deliver_by_min=None if by is None else _size(by),
        messages_max=limits.get(b"MAILMAX", 0),
        recipients_max=limits.get(b"RCPTMAX", 0),
        recipient_domains_max=limits.get(b"RCPTDOMAINMAX", 0),
        requiretls="REQUIRETLS" in offer,
    )


def first_word(reply: Reply) -> str:
    """Return the name a server gives itself in its greeting or EHLO reply, lower case, "" when it gives none."""
    words = reply.lines[0].split(None, 1)
    return printable(words[0]).lower().rstrip(".") if words else ""


def _size(words: list[bytes]) -> int:
    if not words or not words[0].isdigit() or len(words[0]) > _SIZE_DIGITS_MAX:
        return 0
    return int(words[0])


def _limits(words: list[bytes]) -> dict[bytes, int]:
    """Return the limits of LIMITS that are sound (RFC 9422 section 3): a number from 1 on, six digits at most."""
    found: dict[bytes, int] = {}
    for word in words:
        name, _, value = word.partition(b"=")
        if value.isdigit() and len(value) <= _LIMIT_DIGITS_MAX and int(value):
            found.setdefault(name, int(value))
    return found
