r"""Address lists of header fields: From, Sender, To, Cc, Reply-To (RFC 5322 section 3.4).

One pass, no recursion, no back-tracking: 100,000 nested comments cost milliseconds. An element is a bare mailbox
or a phrase with a mailbox in angle brackets; the mailbox itself is a contiguous text that `address` parses, so
comments or blanks inside it are refused.

From and Sender name who is judged, so there everything is refused that another parser could read as a different
author: groups, routes, empty elements, comments or encoded words that hold an address, quoted names with an
address in angle brackets. To and Cc may hold groups, comments and empty elements.
"""

import re
from functools import lru_cache

from relay.mail.address import ATEXT, ILLEGAL, MISSING_DOMAIN, Address, BadAddress, parse_mailbox
from relay.mail.words import decode_words
from relay.model.value import dataclass

COMMENT_DEPTH_MAX = 50
MAILBOXES_MAX = 10_000
AUTHORS_MAX = 50
AUTHOR_FIELD_MAX_CHARS = 10_000
CACHED_MAX_CHARS = 256  # applications send with few authors; longer values are not worth their memory

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FOLD = re.compile(r"\r\n(?=[ \t])")
_TOKEN = re.compile(
    rf"(?P<blank>[ \t]++)|(?P<atom>[\u0080-\U0010ffff{ATEXT}]++)"
    r'|(?P<quoted>"(?:[^"\\]|\\.)*+")'
    r'|(?P<angle><(?:"(?:[^"\\]|\\.)*+")?+[^"<>(),;:\s]*+>)'
    r"|(?P<comment>\()|(?P<special>[@.,;:\[\]])"
)
_COMMENT_PART = re.compile(r"[()]|\\.")
_QUOTED_PAIR = re.compile(r"\\(.)")
# What nearly all fields hold: plain words or a plain quoted name, then a mailbox in angle brackets.
_USUAL = re.compile(
    rf"""(?:"([^"\\<>@=\x00-\x1f\x7f]*+)"|([ .{ATEXT.replace("=", "")}]*+))[ ]?<([^<>"\s@]++@[^<>"\s@]++)>\Z"""
)
_BETWEEN = re.compile(r"[\s<>\"'(),;:]++")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox of a list with its display name, decoded for people ("" when it has none)."""

    address: Address
    name: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else str(self.address)


@dataclass(slots=True)
class _Element:
    """What was read since the last comma: where its mailbox starts and ends, its words, its comments."""

    start: int = -1
    end: int = -1
    words: list[str] | None = None
    comments: list[str] | None = None
    angle: str = ""
    bare: bool = False  # a special that a phrase must not hold was seen


def parse_from(value: str, *, smtputf8: bool = False) -> tuple[Mailbox, ...] | BadAddress:
    """Return the mailboxes of a From or Sender field, or the HDR-010 text of what is wrong with it."""
    if len(value) <= CACHED_MAX_CHARS:
        return _parse_short_from(value, smtputf8)
    if len(value) > AUTHOR_FIELD_MAX_CHARS:
        return BadAddress(ILLEGAL)
    return _parse_authors(value, smtputf8=smtputf8)


@lru_cache(maxsize=2048)
def _parse_short_from(value: str, smtputf8: bool) -> tuple[Mailbox, ...] | BadAddress:  # noqa: FBT001 - cache keys are positional
    return _parse_authors(value, smtputf8=smtputf8)


def _parse_authors(value: str, *, smtputf8: bool) -> tuple[Mailbox, ...] | BadAddress:
    found = _parse(value, smtputf8=smtputf8, author=True)
    if not isinstance(found, BadAddress) and not 0 < len(found) <= AUTHORS_MAX:
        return BadAddress(ILLEGAL)
    return found


def parse_list(value: str, *, smtputf8: bool = False) -> tuple[Mailbox, ...] | BadAddress:
    """Return the mailboxes of a To, Cc or Reply-To field, those of groups included; empty for an empty group."""
    return _parse(value, smtputf8=smtputf8, author=False)


def _parse(value: str, *, smtputf8: bool, author: bool) -> tuple[Mailbox, ...] | BadAddress:
    if "\r" in value:
        value = _FOLD.sub("", value)
    value = value.strip(" \t")
    if value.isascii():
        single = parse_mailbox(value)  # what most fields are
        if isinstance(single, Address) and not single.local.startswith("=?"):
            return (Mailbox(single, ""),)
    elif not smtputf8:
        return BadAddress(ILLEGAL)
    usual = _USUAL.match(value)
    if usual is not None:
        quoted, words, mailbox = usual.groups()
        address = parse_mailbox(mailbox, smtputf8=smtputf8)
        if isinstance(address, Address) and not address.local.startswith("=?"):
            return (Mailbox(address, quoted if words is None else words.strip()),)
    if _CONTROL.search(value):
        return BadAddress(ILLEGAL)
    return _read_elements(value, smtputf8=smtputf8, author=author)


def _read_elements(  # noqa: C901, PLR0912 - one loop over one grammar, a branch for each token
    value: str, *, smtputf8: bool, author: bool
) -> tuple[Mailbox, ...] | BadAddress:
    found: list[Mailbox] = []
    element = _Element()
    in_group = False
    position, end = 0, len(value)
    while position < end:
        token = _TOKEN.match(value, position)
        if token is None:
            return _diagnose_angle(value, position)
        kind, start, position = token.lastgroup, position, token.end()
        if kind == "blank":
            continue
        if kind == "comment":
            closed = _comment_end(value, position)
            if closed < 0:
                return BadAddress(ILLEGAL)
            if author:
                element.comments = [*(element.comments or ()), value[start + 1 : closed - 1]]
            position = closed
            continue
        text = token.group()
        if kind == "special" and text in ",;:":
            if text == ":":
                # A group (section 3.4): a phrase, then a list up to the semicolon.
                if author or in_group or element.words is None or element.angle or element.bare:
                    return BadAddress(ILLEGAL)
                in_group, element = True, _Element()
                continue
            fault = _finish(element, value, found, smtputf8=smtputf8, author=author)
            if fault is not None:
                return fault
            if text == ";":
                if not in_group:
                    return BadAddress(ILLEGAL)
                in_group = False
            element = _Element()
            continue
        if element.angle:
            return BadAddress(ILLEGAL)
        if kind == "angle":
            element.angle = text
            continue
        if element.start < 0:
            element.start = start
        element.end = position
        element.bare |= text in "@[]"
        if element.words is None:
            element.words = []
        element.words.append(text)
    if in_group:
        return BadAddress(ILLEGAL)
    fault = _finish(element, value, found, smtputf8=smtputf8, author=author)
    return fault if fault is not None else tuple(found)


def _diagnose_angle(value: str, position: int) -> BadAddress:
    """Say what is wrong where no token begins: within angle brackets an address has a fault of its own (HDR-010)."""
    closed = value.find(">", position)
    if value[position] == "<" and closed > 0:
        found = parse_mailbox(value[position + 1 : closed])
        if isinstance(found, BadAddress):
            return found
    return BadAddress(ILLEGAL)


def _comment_end(value: str, position: int) -> int:
    """Return the index after the comment whose opening bracket ends at `position`, -1 when it has no end."""
    depth = 1
    while depth:
        part = _COMMENT_PART.search(value, position)
        if part is None:
            return -1
        position = part.end()
        if part.group() == "(":
            depth += 1
            if depth > COMMENT_DEPTH_MAX:
                return -1
        elif part.group() == ")":
            depth -= 1
    return position


def _finish(
    element: _Element, value: str, found: list[Mailbox], *, smtputf8: bool, author: bool
) -> BadAddress | None:
    """Add the mailbox of an element, or say why it has none."""
    if not element.angle and element.words is None:
        return BadAddress(ILLEGAL) if author else None
    if len(found) >= MAILBOXES_MAX:
        return BadAddress(ILLEGAL)
    if element.angle and element.bare:
        return BadAddress(ILLEGAL)  # a@b <c@d>: two addresses, one author
    text = element.angle[1:-1] if element.angle else value[element.start : element.end]
    address = parse_mailbox(text, smtputf8=smtputf8)
    if isinstance(address, BadAddress):
        return address if element.angle or element.bare else BadAddress(MISSING_DOMAIN)
    if address.local.startswith("=?"):
        return BadAddress(ILLEGAL)  # an encoded word is no local part (RFC 2047 section 5)
    words = (element.words or []) if element.angle else []
    if author and not _innocent(words, element.comments or [], address):
        return BadAddress(ILLEGAL)
    found.append(Mailbox(address, _display_name(words) if words else ""))
    return None


def _innocent(words: list[str], comments: list[str], address: Address) -> bool:
    """Say whether no careless parser can take a name or comment for the author's address.

    Quoted names with an address are common ("joe@b.example via List") and read alike by everybody, unless they
    hold brackets too. Encoded words and comments may name the mailbox itself, nothing else.
    """
    for word in words:
        if word.startswith('"'):
            if "@" in word and ("<" in word or ">" in word or "\\" in word):
                return False
        elif "=?" in word and not _names_only(decode_words(word), address):
            return False
    return all(_names_only(comment, address) and _names_only(decode_words(comment), address) for comment in comments)


def _names_only(text: str, address: Address) -> bool:
    if _CONTROL.search(text):
        return False
    if "@" not in text:
        return "<" not in text and ">" not in text
    own = str(address).lower()
    return all("@" not in word or word.lower() == own for word in _BETWEEN.split(text))


def _display_name(words: list[str]) -> str:
    text = " ".join(_QUOTED_PAIR.sub(r"\1", word[1:-1]) if word.startswith('"') else word for word in words)
    return _CONTROL.sub("", decode_words(text.replace(" .", ".")))
