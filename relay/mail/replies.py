"""What a remote server's reply means: the one home of that judgement, for replies in dialogues and in reports alike.

Bounce types are EVT-021 to 023, delay types EVT-029 to 031. A status code is compared without its class, so that
5.2.2 and 4.2.2 are alike. The rules are data (`relay.mail.reply_rules`); here is the order in which they are asked,
and what a reason leads to:

1. a text that holds whatever the code is; 2. a status code that says something by itself; 3. where the code says
little, every text; 4. the class of the code, which says for how long and not why.

A bounce is Permanent only where the address is at fault or no reason is stated. What is said of the sender, of its
address, of the message or of a policy is Transient, even by a 5xx: the same address can be reached another time.
`Judgement.suppresses` says whether an address may be suppressed for it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from relay.mail.reply_rules import STATUSES, TEXTS, Reason, ReplyRule
from relay.model.outcome import Outcome, Stage

NO_REVERSE_DNS = "4.7.25"  # RFC 7372 section 3.3, said by us of our own address
TEXT_MAX_CHARS = 1000  # of a reply; no rule looks further


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


class Fault(Enum):
    """Whose fault a refusal is."""

    RECIPIENT = "recipient"  # there is no such address, or nobody reads it
    MAILBOX = "mailbox"  # the address is right, and full
    REPUTATION = "reputation"  # of the address or domain that the mail came from
    POLICY = "policy"  # of the receiver: who may send what, how it must be signed
    CONTENT = "content"  # of the message
    SYSTEM = "system"  # of a host, its network or its name servers
    UNSTATED = "unstated"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a refusal means: bounce kind, whose fault, and the rule that decided, with where it is known from."""

    bounce: Bounce
    fault: Fault
    rule: str
    source: str = ""

    @property
    def stated(self) -> bool:
        """True when a reason was found, not only a class."""
        return self.fault is not Fault.UNSTATED

    @property
    def suppresses(self) -> bool:
        """True when the address may be suppressed: it failed for good, by its own fault or for no stated reason."""
        return self.bounce.bounce_type == "Permanent" and self.fault in {Fault.RECIPIENT, Fault.UNSTATED}

    def as_note(self) -> dict[str, object]:
        """Return what notes of an event say of it (`relay.model.event`)."""
        return {"rule": self.rule, "fault": self.fault.value, "suppress": self.suppresses}

    def as_json(self) -> list[str]:
        """Return it as it travels from a worker to another; `judgement_of` is the way back."""
        return [self.bounce.bounce_type, self.bounce.bounce_sub_type, self.fault.value, self.rule]


def judgement_of(written: Sequence[str]) -> Judgement:
    """Return a judgement from its JSON form."""
    bounce_type, sub_type, fault, rule = written
    return Judgement(Bounce(bounce_type, sub_type), Fault(fault), rule)


GIVEN_BACK = Judgement(TRANSIENT, Fault.SYSTEM, "given back by an operator")
NOTHING_SAID = Judgement(UNDETERMINED, Fault.UNSTATED, "nothing known")


_MEANING: Final = {
    Reason.NO_MAILBOX: (NO_EMAIL, Fault.RECIPIENT),
    Reason.BAD_DOMAIN: (NO_EMAIL, Fault.RECIPIENT),
    Reason.NO_HOST: (GENERAL, Fault.RECIPIENT),
    Reason.DISABLED: (GENERAL, Fault.RECIPIENT),
    Reason.MOVED: (GENERAL, Fault.RECIPIENT),
    Reason.FULL: (MAILBOX_FULL, Fault.MAILBOX),
    Reason.LARGE: (TOO_LARGE, Fault.CONTENT),
    Reason.CONTENT: (CONTENT, Fault.CONTENT),
    Reason.ATTACHMENT: (ATTACHMENT, Fault.CONTENT),
    Reason.MALFORMED: (TRANSIENT, Fault.CONTENT),
    Reason.BLOCKED: (TRANSIENT, Fault.REPUTATION),
    Reason.RATE: (TRANSIENT, Fault.REPUTATION),
    Reason.AUTHENTICATION: (TRANSIENT, Fault.POLICY),
    Reason.RELAYING: (TRANSIENT, Fault.POLICY),
    Reason.RESTRICTED: (TRANSIENT, Fault.POLICY),
    Reason.SENDER: (TRANSIENT, Fault.POLICY),
    Reason.POLICY: (TRANSIENT, Fault.POLICY),
    Reason.GREYLISTED: (TRANSIENT, Fault.SYSTEM),
    Reason.SYSTEM: (TRANSIENT, Fault.SYSTEM),
    Reason.NETWORK: (TRANSIENT, Fault.SYSTEM),
    Reason.EXPIRED: (TRANSIENT, Fault.SYSTEM),
    Reason.LOOP: (TRANSIENT, Fault.SYSTEM),
    Reason.PROTOCOL: (TRANSIENT, Fault.SYSTEM),
}

# Codes that say little: other address, other mailbox, no route, other security status ... The text is asked first.
_VAGUE: Final = frozenset(
    "0.0 1.0 1.3 1.5 2.0 2.1 3.0 3.2 4.0 4.4 5.0 5.1 5.4 6.0 7.0 7.1 7.999 0.350 4.317".split()  # noqa: SIM905 - words
)
_EXACT: Final = {
    detail: (reason, source) for reason, source, details in STATUSES for detail in details if not detail.endswith("*")
}
_PREFIXES: Final = tuple(
    (detail[:-1], reason, source)
    for reason, source, details in STATUSES
    for detail in details
    if detail.endswith("*")
)
# An address, or a link, with its host for what is kept.
_NAMES: Final = re.compile(r"https?://([^\s/?#<>\"]{1,255})[^\s<>\"]*+|[^@<>()\[\]\"',;:]*+@[^@<>()\[\]\"',;:]*+")
_LONG: Final = len("7.60")  # a code that a prefix stands for has two digits more than the prefix
_ANYWHERE: Final = tuple(rule for rule in TEXTS if rule.anywhere)


def subject(enhanced: str) -> str:
    """Return an enhanced status code without its class, "1.1" for "5.1.1"; "" for what is none."""
    kind, dot, detail = enhanced.partition(".")
    numbers = detail.split(".")
    fits = kind in {"2", "4", "5"} and dot and len(numbers) == 2  # noqa: PLR2004 - subject and detail
    fits = fits and all(number.isascii() and number.isdigit() and len(number) <= 3 for number in numbers)  # noqa: PLR2004
    return detail if fits else ""


def normal(text: str) -> str:
    """Return a text as rules look at it: at most `TEXT_MAX_CHARS`, lower case, single blanks, plain apostrophes.

    Addresses go, and of links all but the host: what somebody is called says nothing of why mail was refused.
    """
    words = text[:TEXT_MAX_CHARS].replace("\u2019", "'").lower().split()
    return " ".join(word if "@" not in word and "://" not in word else _NAMES.sub(r" \1 ", word) for word in words)


def judge(code: int, enhanced: str, text: str) -> Judgement:
    """Return what a final refusal means; `code` 0 when only an enhanced code or a text is known."""
    temporary = enhanced.startswith("4.") or 400 <= code < 500  # noqa: PLR2004 - reply classes
    permanent = enhanced.startswith("5.") or 500 <= code < 600  # noqa: PLR2004 - reply classes
    if enhanced.startswith("2.") or 200 <= code < 400:  # noqa: PLR2004 - reply classes
        return Judgement(UNDETERMINED, Fault.UNSTATED, "no failure")
    found = _find(subject(enhanced), normal(text))
    if found is not None:
        return _lasting(found) if temporary else found
    if temporary:
        return Judgement(TRANSIENT, Fault.UNSTATED, "class 4", "RFC 5321 section 4.2.1")
    if permanent:
        # 552 without more is a quota or a size (RFC 5321 section 4.2.3); nobody can tell which.
        if code == 552:  # noqa: PLR2004 - reply code
            return Judgement(TRANSIENT, Fault.MAILBOX, "reply 552", "RFC 5321 section 4.2.3")
        fault = Fault.POLICY if subject(enhanced).startswith("7.") else Fault.UNSTATED
        return Judgement(GENERAL, fault, "class 5", "RFC 5321 section 4.2.1")
    return NOTHING_SAID


def judge_reply(code: int, enhanced: str, text: str) -> Bounce:
    """Return the bounce kind alone."""
    return judge(code, enhanced, text).bounce


def _lasting(found: Judgement) -> Judgement:
    """Return a judgement on a reply of class 4: whatever it says, it does not say that it lasts."""
    if found.bounce.bounce_type != "Permanent":
        return found
    return Judgement(TRANSIENT, found.fault, found.rule, found.source)


@lru_cache(maxsize=512)
def _find(detail: str, text: str) -> Judgement | None:
    for rule in _ANYWHERE:
        if _fits(rule, detail, text):
            return _judgement(rule.reason, rule.source, "text")
    coded = _by_status(detail)
    if coded is not None and detail not in _VAGUE:
        return _judgement(*coded, detail)
    for rule in TEXTS:
        if not rule.anywhere and _fits(rule, detail, text):
            return _judgement(rule.reason, rule.source, "text")
    return _judgement(*coded, detail) if coded is not None else None


def _by_status(detail: str) -> tuple[Reason, str] | None:
    if detail in _EXACT:
        return _EXACT[detail]
    if len(detail) > _LONG:
        return next(((reason, source) for start, reason, source in _PREFIXES if detail.startswith(start)), None)
    return None


def _fits(rule: ReplyRule, detail: str, text: str) -> bool:
    if rule.details and detail not in rule.details:
        return False
    if any(phrase in text for phrase in rule.phrases):
        return True
    return rule.pattern is not None and rule.pattern.search(text) is not None


def _judgement(reason: Reason, source: str, by: str) -> Judgement:
    bounce, fault = _MEANING[reason]
    return Judgement(bounce, fault, f"{reason.value} ({by if by == 'text' else 'status ' + by})", source)


def bounce_of(outcome: Outcome, *, expired: bool = False) -> Bounce:
    """Return the bounce kind of an attempt's outcome; `expired` when retrying has ended on a temporary failure."""
    return judge_outcome(outcome, expired=expired).bounce


def judge_outcome(outcome: Outcome, *, expired: bool = False) -> Judgement:
    """Return what an attempt's outcome means; `expired` when retrying has ended on a temporary failure."""
    if expired:
        if not outcome.code:
            return Judgement(TRANSIENT, Fault.SYSTEM, "expired")
        return _lasting(judge(outcome.code, outcome.enhanced, outcome.text))
    if outcome.nxdomain:
        return Judgement(GENERAL, Fault.RECIPIENT, "no such domain")  # decision 3
    if outcome.local and outcome.code == 0:
        return _own_verdict(outcome)
    return judge(outcome.code, outcome.enhanced, outcome.text)


def _own_verdict(outcome: Outcome) -> Judgement:
    """Return what a verdict of our own means: it says something about the message, or about the address."""
    detail = subject(outcome.enhanced)
    if detail in {"3.4", "2.3"}:
        return Judgement(TOO_LARGE, Fault.CONTENT, "own verdict: size")
    coded = _by_status(detail)
    fault = _MEANING[coded[0]][1] if coded is not None else Fault.UNSTATED
    return Judgement(GENERAL, fault, "own verdict")


_LINK_STAGES = frozenset((Stage.ROUTE, Stage.DNS, Stage.CONNECT, Stage.TLS))


def delay_type_of(outcome: Outcome) -> str:
    """Return the delayType of a temporary outcome (EVT-031)."""
    if outcome.stage in {Stage.LOCAL, Stage.SCAN}:
        return "InternalFailure"
    if outcome.stage is Stage.SHAPING:  # decision 19, POOL-011
        return "BYOIPHostNameLookupUnavailable" if outcome.enhanced == NO_REVERSE_DNS else "SendingDeferral"
    if outcome.code == 0:
        return "TransientCommunicationFailure"
    found = _find(subject(outcome.enhanced), normal(outcome.text))
    reason = found.rule.partition(" ")[0] if found is not None else ""
    if reason == Reason.FULL.value:
        return "MailboxFull"
    if reason in {Reason.RATE.value, Reason.BLOCKED.value}:
        return "IPFailure"
    if reason == Reason.CONTENT.value:
        return "SpamDetected"
    if outcome.stage in _LINK_STAGES:
        return "TransientCommunicationFailure"
    return "General" if reason == Reason.GREYLISTED.value else "RecipientServerError"
