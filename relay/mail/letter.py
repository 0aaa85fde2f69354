"""A letter of the relay's own: head and body of a mail that it writes to people.

Promises: lines of at most 998 octets, most of them under 78; whatever the values hold, a header field stays one
field (control characters become blanks, what is not ASCII becomes encoded words, RFC 2047); every letter says
`Auto-Submitted: auto-generated` (HDR-021, RFC 3834 section 5). Message-ID and signature are added when it is sent.
"""

import binascii
import re
import textwrap
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from relay.mail.address import BadAddress, parse_mailbox
from relay.mail.trace import format_date

WORD_BYTES_MAX = 39  # of text in one encoded word, so that "Subject: " and one fit into 76 (RFC 2047 section 2)
LINE_CHARS = 76
ASCII_WORD_MAX = 500  # a longer one is encoded, so that no line passes 998 octets
SUBJECT_MAX_CHARS = 1000
VERBATIM = "    "  # a paragraph that begins so is a line of its own and never wrapped

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_ATOMS = re.compile(r"[A-Za-z0-9 !#$%&'*+/=?^_`{|}~-]+\Z")

Letter = tuple[bytes, bytes]
"""Head with the empty line that ends it, and body."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who writes: the product's name, the region, our host name, the no-reply address, and whom to ask."""

    product: str
    region: str
    hostname: str
    sender: str
    contact: str


def letter(letterhead: Letterhead, recipient: str, subject: str, paragraphs: Sequence[str], now_ms: int) -> Letter:
    """Return a plain-text letter from the relay; paragraphs are wrapped, those that begin with `VERBATIM` are not."""
    encoding, body = text_part(wrapped([*paragraphs, signature(letterhead)]))
    head = opening(letterhead.product, letterhead.sender, recipient, subject, now_ms)
    head += [f"Content-Type: text/plain; charset={_charset(encoding)}", f"Content-Transfer-Encoding: {encoding}"]
    return finished(head), body


def opening(name: str, sender: str, recipient: str, subject: str, now_ms: int) -> list[str]:
    """Return the header fields every letter begins with; `name` is the display name, "" for none."""
    author = f"{display_name(name)} <{bare(sender)}>" if name else bare(sender)
    return [
        f"From: {author}",
        f"To: <{bare(recipient)}>",
        unstructured("Subject", subject[:SUBJECT_MAX_CHARS]),
        f"Date: {format_date(now_ms)}",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ]


def finished(head: Sequence[str]) -> bytes:
    """Return a header section; an address beyond ASCII stays UTF-8 (RFC 6532)."""
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def signature(letterhead: Letterhead) -> str:
    """Return the closing line: who wrote this, and that nobody reads answers."""
    return (
        f"This mail was written by {one_line(letterhead.product)} at {letterhead.hostname}, region "
        f"{letterhead.region}. Nobody reads answers to it; for questions write to {letterhead.contact}."
    )


def wrapped(paragraphs: Sequence[str]) -> str:
    """Return paragraphs with empty lines between them; neighbouring verbatim lines stay together."""
    lines: list[str] = []
    was_verbatim = False
    for paragraph in paragraphs:
        verbatim = paragraph.startswith(VERBATIM)
        if lines and not (verbatim and was_verbatim):
            lines.append("")
        if verbatim:
            lines.append(VERBATIM + one_line(paragraph))
        else:
            lines += textwrap.wrap(one_line(paragraph), 72, break_long_words=False, break_on_hyphens=False)
        was_verbatim = verbatim
    return "\r\n".join(lines) + "\r\n"


def text_part(text: str) -> tuple[str, bytes]:
    """Return a transfer encoding and a text in it: 7bit where that is enough, else quoted-printable (UTF-8)."""
    data = text.encode("utf-8", "replace")
    if data.isascii() and max(map(len, data.split(b"\r\n"))) <= 998:  # noqa: PLR2004 RFC 5322 section 2.1.1
        return "7bit", data
    return "quoted-printable", binascii.b2a_qp(data)


def text_type(encoding: str) -> str:
    """Return the Content-Type of what `text_part` returned."""
    return f"text/plain; charset={_charset(encoding)}"


def _charset(encoding: str) -> str:
    return "us-ascii" if encoding == "7bit" else "utf-8"


def unstructured(name: str, value: str) -> str:
    """Return a field of free text, folded, encoded where it has to be."""
    text = one_line(value)
    plain = text.isascii() and "=?" not in text and max(map(len, text.split(" "))) <= ASCII_WORD_MAX
    return _folded(f"{name}:", text.split(" ") if plain else _encoded_words(text))


def display_name(name: str) -> str:
    """Return a display name: bare where it is plain words, quoted or encoded where not (RFC 5322 section 3.2.5)."""
    text = one_line(name)
    if text.isascii() and "=?" not in text and len(text) <= 60:  # noqa: PLR2004 - From stays on one line
        if _ATOMS.match(text):
            return text
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "\r\n ".join(_encoded_words(text))


def one_line(text: str) -> str:
    """Return a text without line breaks and control characters, and without blanks around it."""
    return _CONTROL.sub(" ", text).strip()


def bare(address: str) -> str:
    """Return an address as it stands between angle brackets; of what is none, nothing that could end them."""
    if not isinstance(parse_mailbox(address, smtputf8=True), BadAddress):
        return address
    return one_line(address).replace("<", "").replace(">", "").replace(" ", "")


def _encoded_words(text: str) -> list[str]:
    words: list[str] = []
    piece = b""
    for char in text:
        octets = char.encode()
        if len(piece) + len(octets) > WORD_BYTES_MAX:
            words.append(piece.decode())
            piece = b""
        piece += octets
    words.append(piece.decode())
    return [f"=?utf-8?b?{b64encode(word.encode()).decode()}?=" for word in words]


def _folded(start: str, words: Sequence[str]) -> str:
    lines, line = [], start
    for word in words:
        if len(line) + 1 + len(word) > LINE_CHARS and line.strip() and line != start:
            lines.append(line)
            line = ""
        line += " " + word
    lines.append(line)
    return "\r\n".join(lines)
