"""What an event adds to statistics and to reputation: the one place that says what counts as what. Pure.

Everything is counted by recipient. Points say what happened when, as the event kinds mean it (STAT-003), simulator
mail included. Volumes are for rates: a message counts from its acceptance on, in the cell of that time, and what
bounces or is complained about later is added there; only whether its provider reports complaints is not known before
it was delivered. Left out of them is what REP-002 and REP-003 leave out: simulator mail, what an account's own list
stops, bounces because our address is blocked, automatic replies, and, of bounces, mail to the account's own verified
names. A feedback report that takes a complaint back, or is about authentication, is none. What is known to be left
out after it was counted is taken out of its cell again.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from relay.model.event import LoggedEvent
from relay.model.facts import facts_of
from relay.model.feedback import NO_COMPLAINTS
from relay.policy.simulator import is_simulator_domain
from relay.reputation.rates import Cell

ON_RELAY_LIST = "Suppressed"
NO_PROVIDER = "other"  # receivers that no shaping rules are about
ON_OWN_LIST = "OnAccountSuppressionList"
RETURNED = "/Bounce/returned"  # the end of the id of a bounce that came back as mail

IsOwn = Callable[[str, str], bool]
"""Says of an account and a recipient whether the recipient's address or domain is verified in the account."""


class Count(StrEnum):
    """What is counted; each a column of a point."""

    SENDS = "sends"
    DELIVERIES = "deliveries"
    DELAYS = "delays"
    REJECTS = "rejects"
    HARD_BOUNCES = "hard_bounces"
    SOFT_BOUNCES = "soft_bounces"
    COMPLAINTS = "complaints"
    SUPPRESSED = "suppressed"
    OPENS = "opens"
    CLICKS = "clicks"
    RENDERING_FAILURES = "rendering_failures"
    SUBSCRIPTIONS = "subscriptions"
    BLOCKED = "blocked"  # bounces that name a block list, hard or soft


COUNTS = tuple(Count)

_BY_RECIPIENT = {
    "Delivery": Count.DELIVERIES,
    "DeliveryDelay": Count.DELAYS,
}
_WHOLE = {"Send": Count.SENDS, "Reject": Count.REJECTS}
_BY_MESSAGE = {
    "Open": Count.OPENS,
    "Click": Count.CLICKS,
    "Rendering Failure": Count.RENDERING_FAILURES,
    "Subscription": Count.SUBSCRIPTIONS,
}
_COUNTED = frozenset((*_BY_RECIPIENT, *_WHOLE, *_BY_MESSAGE, "Bounce", "Complaint"))


class Dimension(StrEnum):
    """What a series of points is about, within an account."""

    ACCOUNT = "account"
    CONFIGURATION_SET = "set"
    IDENTITY = "identity"
    PROVIDER = "provider"
    POOL = "pool"


@dataclass(frozen=True, slots=True)
class Rules:
    """What counting goes by.

    The relay's host name, which providers report complaints, and which addresses are traps (lower case).
    """

    hostname: str = ""
    reporting: frozenset[str] = frozenset()
    traps: frozenset[str] = frozenset()


class Shape(NamedTuple):
    """What a point gets of an event; most events of a batch have one in common."""

    account: str
    configuration_set: str
    identity: str
    provider: str
    pool: str
    start_ms: int
    points: tuple[tuple[Count, int], ...]
    lane_points: tuple[tuple[Count, int], ...]

    def series(self) -> list[tuple[Dimension, str, tuple[tuple[Count, int], ...]]]:
        """Return the series it adds to: what they are about, which one, and amounts."""
        found = [(Dimension.ACCOUNT, "", self.points)]
        if self.configuration_set:
            found.append((Dimension.CONFIGURATION_SET, self.configuration_set, self.points))
        if self.identity:
            found.append((Dimension.IDENTITY, self.identity, self.points))
        if self.provider:
            found.append((Dimension.PROVIDER, self.provider, self.lane_points))
        if self.pool:
            found.append((Dimension.POOL, self.pool, self.lane_points))
        return [(dimension, name, amounts) for dimension, name, amounts in found if amounts]


class Counted(NamedTuple):
    """What an event adds.

    `points` are amounts at `moment_ms` for the series of the account, its set and its identity, `lane_points` for
    those of provider and pool. `cell` are amounts for the cell that its message, accepted at `cell.start_ms`, is in.
    `trap_hits` are recipients that are traps.
    """

    account: str
    configuration_set: str
    identity: str
    provider: str
    pool: str
    moment_ms: int
    points: dict[Count, int]
    lane_points: dict[Count, int]
    cell: Cell | None = None
    trap_hits: int = 0

    def shape(self, grain_ms: int) -> Shape:
        """Return what the point of its time gets; points begin every `grain_ms`."""
        return Shape(
            self.account,
            self.configuration_set,
            self.identity,
            self.provider,
            self.pool,
            self.moment_ms - self.moment_ms % grain_ms,
            tuple(self.points.items()),
            tuple(self.lane_points.items()),
        )


def counted(event: LoggedEvent, rules: Rules, is_own: IsOwn) -> Counted | None:
    """Return what an event adds, None for nothing. Raise KeyError, TypeError or ValueError for a malformed record."""
    kind = event.kind
    if kind not in _COUNTED:
        return None
    facts = facts_of(event)
    account, accepted_ms, recipients = facts.account, facts.accepted_ms, facts.recipients
    points: dict[Count, int] = {}
    lane: dict[Count, int] = {}
    cell = None
    strangers = partial(_strangers, account, recipients, rules, is_own)
    note = event.note
    if kind in _WHOLE:
        points = {_WHOLE[kind]: len(recipients)}
        cell = _sent(accepted_ms, strangers(), taken_back=kind == "Reject")
    elif kind in _BY_RECIPIENT:
        points = {_BY_RECIPIENT[kind]: len(recipients)}
        lane = dict(points)
        if kind == "Delivery":
            lane[Count.SENDS] = len(recipients)
            cell = _delivered(event, len(recipients), accepted_ms, rules)
    elif kind == "Bounce":
        points, lane, cell = _bounced(event, len(recipients), strangers(), accepted_ms)
    elif kind == "Complaint":
        # A report names every recipient that it may be from (EVT-028), but one of them complained.
        number = len(recipients) if note.get("simulator") else 1
        points, lane, cell = _complained(event, number, strangers(), accepted_ms, rules)
    else:
        points = {_BY_MESSAGE[kind]: 1}
    if not points and cell is None:
        return None
    unknown = NO_PROVIDER if lane and not note.get("simulator") else ""
    return Counted(
        account,
        facts.configuration_set,
        _identity(facts.identity_arn, account),
        note.get("provider", unknown),
        note.get("pool", ""),
        facts.at_ms,
        points,
        lane,
        cell,
        _hits(recipients, rules.traps) if kind == "Send" else 0,
    )


def _identity(arn: str, account: str) -> str:
    """Return the name of an own identity, the whole ARN of one that another account lets this one use."""
    owner, found, name = arn.partition(":identity/")
    return name if found and owner.endswith(f":{account}") else arn


def _strangers(account: str, recipients: Sequence[str], rules: Rules, is_own: IsOwn) -> int:
    """Return how many recipients are neither at the simulator nor verified in the account."""
    return sum(
        not is_simulator_domain(recipient.rpartition("@")[2].lower(), rules.hostname)
        and not is_own(account, recipient)
        for recipient in recipients
    )


def _sent(accepted_ms: int, strangers: int, *, taken_back: bool = False) -> Cell | None:
    """Return what a cell gets for messages that were accepted, or were not sent after all."""
    return Cell(accepted_ms, sent=-strangers if taken_back else strangers) if strangers else None


def _delivered(event: LoggedEvent, number: int, accepted_ms: int, rules: Rules) -> Cell | None:
    return Cell(accepted_ms, reporting=number) if _reports(event, rules) else None


def _reports(event: LoggedEvent, rules: Rules) -> bool:
    """Say whether a message went to a provider that reports complaints; others are not in their rate (REP-003)."""
    return event.note.get("provider") in rules.reporting and not event.note.get("simulator")


def _bounced(
    event: LoggedEvent, number: int, strangers: int, accepted_ms: int
) -> tuple[dict[Count, int], dict[Count, int], Cell | None]:
    bounce, note = event.outline["bounce"], event.note
    hard, sub_type = bounce["bounceType"] == "Permanent", bounce["bounceSubType"]
    if sub_type == ON_OWN_LIST:
        return {Count.SUPPRESSED: number}, {}, _sent(accepted_ms, strangers, taken_back=True)
    points = {Count.HARD_BOUNCES if hard else Count.SOFT_BOUNCES: number}
    lane = dict(points)
    blocked = _is_blocked(bounce)
    if blocked and not note.get("simulator"):
        points[Count.BLOCKED] = number
    if sub_type == ON_RELAY_LIST:
        lane, points[Count.SUPPRESSED] = {}, number
    elif not event.event_id.endswith(RETURNED):
        lane[Count.SENDS] = number
    ours = note.get("simulator") or note.get("autoReply") or note.get("blocked") or blocked
    counts = hard and strangers and not ours
    return points, lane, Cell(accepted_ms, hard_bounces=strangers) if counts else None


def _is_blocked(bounce: dict[str, Any]) -> bool:
    """Say whether the refusal names a block list of addresses: it is about us, not about the recipient."""
    return any(one.get("blocklist") for one in bounce["bouncedRecipients"])


def _complained(
    event: LoggedEvent, number: int, strangers: int, accepted_ms: int, rules: Rules
) -> tuple[dict[Count, int], dict[Count, int], Cell | None]:
    if event.outline["complaint"].get("complaintSubType") == ON_OWN_LIST:
        return {Count.SUPPRESSED: number}, {}, _sent(accepted_ms, strangers, taken_back=True)
    if event.outline["complaint"].get("complaintFeedbackType") in NO_COMPLAINTS:
        return {}, {}, None
    points = {Count.COMPLAINTS: number}
    cell = Cell(accepted_ms, complaints=number) if _reports(event, rules) else None
    return points, dict(points), cell


def _hits(recipients: Sequence[str], traps: AbstractSet[str]) -> int:
    return sum(recipient.lower() in traps for recipient in recipients) if traps else 0
