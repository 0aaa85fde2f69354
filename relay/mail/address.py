"""The one mailbox parser: envelope paths, header fields, identities and suppression entries all use it.

Strict RFC 5321 `Mailbox`: dot-string or quoted local part, LDH domain. What two parsers could read in two ways is
refused, never repaired: source routes, comments, ports, lists, trailing dots, look-alike dots, invisible
characters. Not accepted on purpose: address literals (`user@[192.0.2.1]`: no identity can own one, and delivery
goes by MX), domains whose last label is a number (they look like addresses), and A-labels that IDNA 2008 forbids.

One mailbox has one form here: the domain in A-label form and lower case, the local part as given (its case is
kept, API-020). Two mailboxes are the same when their `str` is equal. Header address lists are in `addresslist`.
"""

import re
import unicodedata
from functools import lru_cache

import idna

from relay.model.value import dataclass

LOCAL_MAX_BYTES = 64  # RFC 5321 section 4.5.3.1.1
DOMAIN_MAX_BYTES = 255  # RFC 5321 section 4.5.3.1.2
MAILBOX_MAX_BYTES = 254  # a path is 256 octets with its angle brackets, RFC 5321 section 4.5.3.1.3

ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(rf"([{ATEXT}]++(?:\.[{ATEXT}]++)*+)@((?:{_LABEL}\.)*{_LABEL})\Z")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*+"')
_DOT_STRING = re.compile(rf"[\u0080-\U0010ffff{ATEXT}]++(?:\.[\u0080-\U0010ffff{ATEXT}]++)*+\Z")
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\Z")
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)

# Texts of HDR-010; doors put them into their own replies.
MISSING_DOMAIN = "Missing final '@domain'"
ILLEGAL = "Illegal address"
LOCAL_BLANK = "Local address contains control or whitespace"
LOCAL_ILLEGAL = "Local address contains illegal character"
DOMAIN_BLANK = "Domain contains control or whitespace"
NON_ASCII = "Address contains non-ASCII characters"


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox: local part as given (with its quotes), domain in A-label form, lower case."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def canonical(self) -> str:
        """The mailbox without quotes that its local part does not need: `"joe"@a.example` is `joe@a.example`."""
        if not self.local.startswith('"'):
            return str(self)
        bare = _QUOTED_PAIR.sub(r"\1", self.local[1:-1])
        return f"{bare}@{self.domain}" if _DOT_STRING.match(bare) else str(self)


@dataclass(frozen=True, slots=True)
class BadAddress:
    """Why a text is not an address: one sentence of HDR-010, without the text itself."""

    text: str


def parse_mailbox(text: str, *, smtputf8: bool = False) -> Address | BadAddress:
    """Return the mailbox that the whole of `text` is; with `smtputf8` also RFC 6531 local parts and U-labels.

    Takes at most one pass over a bounded text; longer ones are refused unread.
    """
    if len(text) > MAILBOX_MAX_BYTES:
        return BadAddress(ILLEGAL)
    plain = _PLAIN.match(text)
    if plain is None:
        return _parse_unusual(text, smtputf8=smtputf8)
    local, domain = plain.groups()
    if len(local) > LOCAL_MAX_BYTES:
        return BadAddress(ILLEGAL)
    normal = normal_domain(domain)
    return normal if isinstance(normal, BadAddress) else Address(local, normal)


def _parse_unusual(text: str, *, smtputf8: bool) -> Address | BadAddress:
    """Parse quoted local parts and Unicode, or find out what is wrong."""
    if not smtputf8 and not text.isascii():
        return BadAddress(NON_ASCII)
    split = _split(text)
    if isinstance(split, BadAddress):
        return split
    local, domain = split
    fault = _local_fault(local)
    if fault:
        return BadAddress(fault)
    normal = normal_domain(domain)
    if isinstance(normal, BadAddress):
        return normal
    # The limit is in octets, and the A-label form is what travels.
    if len(local.encode()) + 1 + len(normal) > MAILBOX_MAX_BYTES:
        return BadAddress(ILLEGAL)
    return Address(local, normal)


def _split(text: str) -> tuple[str, str] | BadAddress:
    """Split at the `@` that ends the local part; an `@` inside quotes never is that one."""
    if text.startswith('"'):
        quoted = _QUOTED.match(text)
        if quoted is None:
            return BadAddress(LOCAL_ILLEGAL)
        local, rest = quoted.group(), text[quoted.end() :]
        if not rest.startswith("@"):
            return BadAddress(ILLEGAL if rest else MISSING_DOMAIN)
        return local, rest[1:]
    local, at, domain = text.partition("@")
    if not at or not domain:
        return BadAddress(MISSING_DOMAIN)
    return local, domain


def _local_fault(local: str) -> str:
    """Say what is wrong with a local part, "" when nothing is."""
    if not local:
        return ILLEGAL
    if not local.startswith('"'):
        if _BLANK.search(local):
            return LOCAL_BLANK
        if not _DOT_STRING.match(local):
            return LOCAL_ILLEGAL
    if len(local.encode("utf-8", "surrogatepass")) > LOCAL_MAX_BYTES:
        return ILLEGAL
    return "" if local.isascii() else _unicode_fault(local)


def _unicode_fault(local: str) -> str:
    """Refuse characters that nobody sees or that exist twice (RFC 6532 section 3.1; NFC is the one form)."""
    if not unicodedata.is_normalized("NFC", local):
        return LOCAL_ILLEGAL
    for char in local:
        if char.isascii():
            continue
        # Controls, formats (zero width, bidi, soft hyphen), surrogates, private, unassigned, blanks.
        if unicodedata.category(char)[0] in "CZ":
            return LOCAL_ILLEGAL
        if unicodedata.decomposition(char).startswith(("<wide>", "<narrow>")):
            return LOCAL_ILLEGAL
    return ""


@lru_cache(maxsize=16384)
def normal_domain(domain: str) -> str | BadAddress:
    """Return a domain in its one form: A-labels, lower case. U-labels are converted; doors decide who may send them.

    Equal domains give equal text whether written in capitals, A-labels or U-labels. Nothing else is mapped:
    ideographic dots, soft hyphens, full-width forms and the like are refused (D17, D21).
    """
    if _BLANK.search(domain):
        return BadAddress(DOMAIN_BLANK)
    if len(domain) > DOMAIN_MAX_BYTES:
        return BadAddress(ILLEGAL)
    lowered = domain.lower()
    if not domain.isascii():
        converted = _to_a_labels(domain, lowered)
        if converted is None:
            return BadAddress(ILLEGAL)
        lowered = converted
    if len(lowered) > DOMAIN_MAX_BYTES or not _DOMAIN.match(lowered):
        return BadAddress(ILLEGAL)
    if lowered.rpartition(".")[2].isdigit():
        return BadAddress(ILLEGAL)
    if "xn--" in lowered and not _a_labels_valid(lowered):
        return BadAddress(ILLEGAL)
    return lowered


def _to_a_labels(domain: str, lowered: str) -> str | None:
    # NFC before folding: else KELVIN SIGN and friends would become ASCII letters.
    if not unicodedata.is_normalized("NFC", domain) or not unicodedata.is_normalized("NFC", lowered):
        return None
    # IDNA allows joiners in some scripts; invisible characters are refused in all (D17).
    if any(unicodedata.category(char) == "Cf" for char in lowered):
        return None
    try:
        return idna.encode(lowered, strict=True, uts46=False, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError, ValueError):
        return None


def _a_labels_valid(domain: str) -> bool:
    """Check that every `xn--` label is the A-label of a valid U-label (RFC 5891 section 5.4)."""
    try:
        return all(
            idna.alabel(idna.ulabel(label)).decode("ascii") == label
            for label in domain.split(".")
            if label.startswith("xn--")
        )
    except (idna.IDNAError, UnicodeError, ValueError):
        return False
