"""Sending patterns that get addresses and domains listed: sudden volume, unknown users, block replies. Pure.

They are told to the account first (DNSBL-005). A day is looked at, because lists act within hours, where a rate
over the representative volume of a large sender still looks well. Hits of spamtraps have cases of their own
(REP-027), and so have addresses that are listed already.
"""

from dataclasses import dataclass

UNUSUAL_FACTOR = 10
UNUSUAL_MESSAGES = 1000
UNUSUAL_DAYS = 7
OWN_FACTOR = 3  # block replies are an account's own doing when they are so much commoner than with the others


@dataclass(frozen=True, slots=True)
class PatternLimits:
    """From which shares of a day's messages on something is a pattern; nothing is below `volume_min` messages."""

    volume_min: int = 500
    unknown_users: float = 0.10
    blocked: float = 0.05
    blocked_severe: float = 0.25


@dataclass(frozen=True, slots=True)
class Day:
    """An account's last day: messages `sent`, bounced for good, refused with a block list named.

    `earlier` messages were sent in the `days` days before. `others_sent` and `others_blocked` are of all other
    accounts in the same day: a list that has an address of the relay refuses everybody.
    """

    sent: int = 0
    hard_bounces: int = 0
    blocked: int = 0
    earlier: int = 0
    days: int = 0
    others_sent: int = 0
    others_blocked: int = 0


@dataclass(frozen=True, slots=True)
class Patterns:
    """What was found: `text` for the account, "" for nothing. `severe`: a pause need not wait."""

    text: str = ""
    severe: bool = False
    bounces_alone: bool = False


NONE = Patterns()


def sudden(recent: int, earlier: int, days: int) -> str:
    """Return what is sudden about the `recent` messages of a day, "" for nothing."""
    mean = earlier / days if days else 0.0
    if days >= UNUSUAL_DAYS and recent >= UNUSUAL_MESSAGES and recent >= UNUSUAL_FACTOR * mean:
        return f"{recent} messages in a day, after {mean:.0f} a day before."
    return ""


def patterns(day: Day, limits: PatternLimits) -> Patterns:
    """Return the patterns of a day. Severe: mostly refused already, or sudden volume that receivers object to."""
    if day.sent < limits.volume_min:
        return NONE
    volume = sudden(day.sent, day.earlier, day.days)
    unknown, blocked = _unknown_users(day, limits), _blocked(day, limits)
    text = " ".join(one for one in (volume, unknown, blocked) if one)
    refused = bool(blocked) and day.blocked >= limits.blocked_severe * day.sent
    severe = refused or bool(volume and (unknown or blocked))
    return Patterns(text, severe, bounces_alone=text == unknown) if text else NONE


def _unknown_users(day: Day, limits: PatternLimits) -> str:
    if day.hard_bounces < limits.unknown_users * day.sent:
        return ""
    return f"{day.hard_bounces} of the {day.sent} messages of a day bounced for good."


def _blocked(day: Day, limits: PatternLimits) -> str:
    others = day.others_blocked / day.others_sent if day.others_sent else 0.0
    if day.blocked < max(limits.blocked, OWN_FACTOR * others) * day.sent:
        return ""
    return f"{day.blocked} of the {day.sent} messages of a day were refused because of a block list."
