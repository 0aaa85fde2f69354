"""What a submitter asks to be told of, and when a message may leave: the parameters of MAIL and RCPT as values.

RFC 3461 (NOTIFY, RET, ENVID, ORCPT), RFC 4865 (HOLDFOR, HOLDUNTIL) and RFC 2852 (BY). What is asked for one recipient
is kept as the parameters of its RCPT command in one canonical spelling: checked when they were read, stored with the
delivery, passed on as they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
NOTIFY_WORDS = ("NEVER", "SUCCESS", "FAILURE", "DELAY")


class Notice(StrEnum):
    """What a sender may be told of one recipient (RFC 3461 section 4.1)."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """A time limit (RFC 2852). `seconds` may be negative when `returns` is false: the time is over already.

    `returns`: the message comes back when the time is over, else a report of the delay is written; `traced`: a report
    is written when it is handed on.
    """

    seconds: int
    returns: bool
    traced: bool = False


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a submission asks for beside being delivered.

    `ret` is "FULL", "HDRS" or "". `envelope_id` is ENVID as it was given, in xtext. `hold_seconds` and
    `hold_until_ms` (since 1970) say when it may leave, 0 for at once. `recipients` has, by recipient, the parameters
    of its RCPT. `requiretls` is the MAIL parameter of RFC 8689.
    """

    ret: str = ""
    envelope_id: str = ""
    hold_seconds: int = 0
    hold_until_ms: int = 0
    deliver_by: DeliverBy | None = None
    requiretls: bool = False
    recipients: Mapping[str, str] = field(default_factory=dict)


NO_WISHES = Wishes()


def recipient_wishes(notify: tuple[str, ...], original: str) -> str:
    """Return NOTIFY words (none: not given) and ORCPT ("": not given) as they are kept: `NOTIFY=... ORCPT=...`."""
    parts = [f"NOTIFY={','.join(notify)}"] if notify else []
    return " ".join([*parts, f"ORCPT={original}"] if original else parts)


def notify_words(wishes: str) -> tuple[str, ...]:
    """Return the words of NOTIFY, none when it was not given."""
    first = wishes.partition(" ")[0]
    return tuple(first[7:].split(",")) if first.startswith("NOTIFY=") else ()


def original_recipient(wishes: str) -> str:
    """Return ORCPT as it was given (type, semicolon, xtext), "" when it was not."""
    last = wishes.rpartition(" ")[2]
    return last[6:] if last.startswith("ORCPT=") else ""


def wants(wishes: str, notice: Notice) -> bool:
    """Say whether a sender wants to be told: what NOTIFY says, without it of failures (RFC 3461 section 4.1).

    The RFC leaves it to us whether a delay is reported to somebody who did not ask; we do not.
    """
    words = notify_words(wishes)
    return notice in words if words else notice is Notice.FAILURE


def passed_on(wishes: str, *, return_path_is_ours: bool) -> str:
    """Return the parameters for a next hop that offers DSN.

    With the submitter's return path they go on unchanged (RFC 3461 section 5.2.1). With a return path of our own the
    reports come to us: failures are always wanted, since bounces are counted, and what is told of the rest is decided
    when they arrive.
    """
    words = notify_words(wishes)
    if not return_path_is_ours or not words:
        return wishes
    kept = tuple(word for word in words if word not in ("NEVER", "FAILURE"))
    return recipient_wishes((*kept, "FAILURE"), original_recipient(wishes))


def decode_xtext(text: str) -> str:
    """Return what sound xtext stands for (RFC 3461 section 4)."""
    return _HEXCHAR.sub(lambda found: chr(int(found.group(1), 16)), text)
