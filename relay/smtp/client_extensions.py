"""What a server offers in its EHLO reply (RFC 5321 section 4.1.1.1), as far as we use it."""

from dataclasses import dataclass

from relay.smtp.client_reply import Reply, printable

_SIZE_DIGITS_MAX = 20  # RFC 1870 section 3


@dataclass(frozen=True, slots=True)
class Extensions:
    """The offer of one host. `size_max_bytes` is 0 when the host names no limit."""

    name: str = ""
    pipelining: bool = False
    starttls: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    size: bool = False
    size_max_bytes: int = 0
    auth: frozenset[str] = frozenset()


def parse(reply: Reply) -> Extensions:
    """Read the offer; unknown, repeated or odd lines are ignored."""
    offer: dict[str, list[bytes]] = {}
    for line in reply.lines[1:]:
        words = line.replace(b"=", b" ", 1).upper().split()  # old servers write AUTH=LOGIN
        if words:
            offer.setdefault(printable(words[0]), []).extend(words[1:])
    size = offer.get("SIZE")
    return Extensions(
        name=first_word(reply),
        pipelining="PIPELINING" in offer,
        starttls="STARTTLS" in offer,
        eight_bit_mime="8BITMIME" in offer,
        smtputf8="SMTPUTF8" in offer,
        size=size is not None,
        size_max_bytes=_size(size or []),
        auth=frozenset(printable(word) for word in offer.get("AUTH", ())),
    )


def first_word(reply: Reply) -> str:
    """Return the name a server gives itself in its greeting or EHLO reply, lower case, "" when it gives none."""
    words = reply.lines[0].split(None, 1)
    return printable(words[0]).lower().rstrip(".") if words else ""


def _size(words: list[bytes]) -> int:
    if not words or not words[0].isdigit() or len(words[0]) > _SIZE_DIGITS_MAX:
        return 0
    return int(words[0])
