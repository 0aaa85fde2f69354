"""What a remote server's reply means: the one home of that judgement.

Bounce types are EVT-021 to 023, delay types EVT-029 to 031. The tables are read from the top, the first row that
fits decides; a row's enhanced code (RFC 3463) is compared without its class, so that 5.2.2 and 4.2.2 are alike.
Texts are matched because many servers send the same code for everything.
"""

import re
from dataclasses import dataclass

from relay.model.outcome import Outcome, Stage

NO_REVERSE_DNS = "4.7.25"  # RFC 7372 section 3.3, said by us of our own address
TEXT_MAX_CHARS = 1000  # of a reply; no pattern below looks further


@dataclass(frozen=True, slots=True)
class Bounce:
    """A bounceType with its bounceSubType."""

    bounce_type: str
    bounce_sub_type: str


UNDETERMINED = Bounce("Undetermined", "Undetermined")
GENERAL = Bounce("Permanent", "General")
NO_EMAIL = Bounce("Permanent", "NoEmail")
ON_ACCOUNT_LIST = Bounce("Permanent", "OnAccountSuppressionList")
ON_RELAY_LIST = Bounce("Permanent", "Suppressed")
TRANSIENT = Bounce("Transient", "General")
MAILBOX_FULL = Bounce("Transient", "MailboxFull")
TOO_LARGE = Bounce("Transient", "MessageTooLarge")
CONTENT = Bounce("Transient", "ContentRejected")
ATTACHMENT = Bounce("Transient", "AttachmentRejected")


def _text(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


_FULL = _text(
    r"mailbox (?:is |has )?full|over ?quota|quota (?:exceeded|full)|exceed\w* (?:\w+ ){0,3}quota",
    r"insufficient (?:disk|mailbox)|mailbox size limit|out of (?:storage|disk)",
)
_LARGE = _text(
    r"message (?:is |size )?(?:too (?:large|big|long)|exceeds)|size (?:limit )?exceed|exceeds (?:\w+ ){0,4}size",
)
_ATTACHED = _text(r"attachment|file ?name extension|\.(?:exe|zip|scr|js|vbs|docm) files?|executable")
_SPAM = _text(
    r"\bspam(?!haus|cop)|\bjunk|unsolicited|\bbulk\b|\buce\b|\bube\b|virus|malware|phish|suspicious",
    r"content (?:reject|filter|policy|restrict)|message (?:content|was identified)|surbl|uribl|\bdbl",
)
_ADDRESS_BLOCK = _text(
    r"block(?:ed)? (?:list|using|for|from|by)|blocklist|blacklist|rbl\b|dnsbl|spamhaus|spamcop|barracuda",
    r"(?:ip|address|host|client)\S* (?:\S+ ){0,5}(?:blocked|listed|banned|denied)|(?:poor|bad|low) reputation",
    r"reverse (?:dns|hostname|lookup)|\bptr\b",
)
_THROTTLE = _text(
    r"too many (?:connections|messages|recipients|emails|requests|concurrent|sessions)|rate[ -]?limit|throttl",
    r"unusual rate|unexpected volume|(?:sending|connection|message) (?:rate|volume)|user complaints",
)
_NO_USER = _text(
    r"(?:user|recipient|mailbox|account|address|alias|member)\b.{0,60}(?:unknown|not exist|not (?:be )?found|invalid"
    r"|no longer|not known|unrouteable|not listed|nonexist|does ?n[o']t (?:exist|have)|is unavailable)",
    r"(?:unknown|no such|invalid|non-?existent|bad|undeliverable) (?:local )?(?:user|recipient|mailbox|address"
    r"|account|destination|person)",
    r"no mailbox here|not our customer|isn't a valid|recipient rejected: address|not a known user",
)
_GREY = _text(r"gr[ae]y-?list|try again|temporar")

# (subject.detail of the enhanced code, "" for any; text that must match, None for any; what it is)
_BOUNCES: tuple[tuple[str, re.Pattern[str] | None, Bounce], ...] = (
    ("2.2", None, MAILBOX_FULL),
    ("2.3", None, TOO_LARGE),
    ("3.4", None, TOO_LARGE),
    ("1.1", None, NO_EMAIL),
    ("1.2", None, NO_EMAIL),
    ("1.10", None, NO_EMAIL),
    ("7.", _ATTACHED, ATTACHMENT),
    ("6.", _ATTACHED, ATTACHMENT),
    ("7.", _ADDRESS_BLOCK, GENERAL),
    ("7.", _SPAM, CONTENT),
    ("6.", _SPAM, CONTENT),
)
# Where no enhanced code was given, the text alone must say it.
_BARE_BOUNCES: tuple[tuple[re.Pattern[str], Bounce], ...] = (
    (_FULL, MAILBOX_FULL),
    (_LARGE, TOO_LARGE),
    (_ATTACHED, ATTACHMENT),
    (_ADDRESS_BLOCK, GENERAL),
    (_SPAM, CONTENT),
    (_NO_USER, NO_EMAIL),
)
# Codes so general that a text is better: other address, other mailbox, other, undefined, system, security status.
_VAGUE = frozenset(("0.0", "1.0", "1.5", "2.0", "2.1", "3.0", "4.0", "5.0", "6.0", "7.0", "7.1", "7.999", ""))
_SUBJECT = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\Z")


def subject(enhanced: str) -> str:
    """Return an enhanced status code without its class, "1.1" for "5.1.1"; "" for what is none."""
    matched = _SUBJECT.match(enhanced)
    return matched.group(1) if matched else ""


def judge_reply(code: int, enhanced: str, text: str) -> Bounce:
    """Return what a final refusal means; `code` 0 when only an enhanced code or a text is known (a DSN)."""
    detail, text = subject(enhanced), text[:TEXT_MAX_CHARS]
    for wanted, pattern, kind in _BOUNCES:
        fits = detail.startswith(wanted) if wanted.endswith(".") else detail == wanted
        if fits and (pattern is None or pattern.search(text)):
            return kind
    if detail in _VAGUE:
        for pattern, kind in _BARE_BOUNCES:
            if pattern.search(text):
                return kind
    if enhanced.startswith("4.") or 400 <= code < 500:  # noqa: PLR2004 - reply classes
        return TRANSIENT
    if enhanced.startswith("5.") or 500 <= code < 600:  # noqa: PLR2004 - reply classes
        return _by_code(code)
    return UNDETERMINED


def _by_code(code: int) -> Bounce:
    # 552 without more is a quota or a size (RFC 5321 section 4.2.3); nobody can tell which.
    return TRANSIENT if code == 552 else GENERAL  # noqa: PLR2004 - reply code


def bounce_of(outcome: Outcome, *, expired: bool = False) -> Bounce:
    """Return the bounce kind of an attempt's outcome; `expired` when retrying has ended on a temporary failure."""
    if expired:
        kind = judge_reply(outcome.code, outcome.enhanced, outcome.text) if outcome.code else TRANSIENT
        return kind if kind.bounce_type == "Transient" else TRANSIENT
    if outcome.nxdomain:
        return GENERAL  # decision 3
    if outcome.local and outcome.code == 0:
        return _MESSAGE_FAULTS.get(subject(outcome.enhanced), GENERAL)
    return judge_reply(outcome.code, outcome.enhanced, outcome.text)


# Verdicts of our own that say something about the message rather than the address.
_MESSAGE_FAULTS = {"3.4": TOO_LARGE, "2.3": TOO_LARGE}

_LINK_STAGES = frozenset((Stage.ROUTE, Stage.DNS, Stage.CONNECT, Stage.TLS))


def delay_type_of(outcome: Outcome) -> str:
    """Return the delayType of a temporary outcome (EVT-031)."""
    if outcome.stage in {Stage.LOCAL, Stage.SCAN}:
        return "InternalFailure"
    if outcome.stage is Stage.SHAPING:  # decision 19, POOL-011
        return "BYOIPHostNameLookupUnavailable" if outcome.enhanced == NO_REVERSE_DNS else "SendingDeferral"
    if outcome.code == 0:
        return "TransientCommunicationFailure"
    detail, text = subject(outcome.enhanced), outcome.text[:TEXT_MAX_CHARS]
    if detail == "2.2" or (detail in _VAGUE and _FULL.search(text)):
        return "MailboxFull"
    if _THROTTLE.search(text) or _ADDRESS_BLOCK.search(text):
        return "IPFailure"
    if _SPAM.search(text) and (detail.startswith("7.") or detail in _VAGUE):
        return "SpamDetected"
    if outcome.stage in _LINK_STAGES:
        return "TransientCommunicationFailure"
    if _GREY.search(text) and detail.startswith("7."):
        return "General"
    return "RecipientServerError"
