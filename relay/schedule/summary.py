"""The queue in groups: how much waits by account, domain, pool, state or reason, since when, and until when. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from relay.model.delivery import DeliveryState
from relay.model.queue_entry import QueueEntry

GROUPS_MAX: Final = 100_000
OTHERS: Final = "(others)"
NONE: Final = "-"
REASON_MAX_CHARACTERS: Final = 120

# What differs from one reply to the next though the reason is the same: addresses, links, numbers, ids.
_VARYING: Final = re.compile(
    r"<[^<>\s]{1,320}>|https?://\S{1,500}|[^\s<>@]{1,64}@[^\s<>@]{1,255}"
    r"|\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?=\w{0,40}\d)[\w-]{8,80}\b|\b\d{4,}\b"
)
_CODES: Final = re.compile(r"\A\d{3}(?: \d\.\d{1,3}\.\d{1,3})? ")


@dataclass(slots=True)
class Group:
    """Deliveries with something in common. Times are milliseconds since 1970, 0 for none."""

    name: str
    deliveries: int = 0
    queued: int = 0
    held: int = 0
    quarantined: int = 0
    oldest_ms: int = 0
    next_ms: int = 0


_COUNTS: Final = {
    DeliveryState.QUEUED: "queued",
    DeliveryState.HELD: "held",
    DeliveryState.QUARANTINED: "quarantined",
}


class Summary:
    """Groups of deliveries by a name that `name_of` gives; a bounded number, the rest together."""

    def __init__(self, name_of: Callable[[QueueEntry], str]) -> None:
        self._name_of = name_of
        self._groups: dict[str, Group] = {}

    def add(self, entry: QueueEntry) -> None:
        """Count a delivery."""
        name = self._name_of(entry) or NONE
        group = self._groups.get(name)
        if group is None:
            name = name if len(self._groups) < GROUPS_MAX else OTHERS
            group = self._groups.setdefault(name, Group(name))
        group.deliveries += 1
        count = _COUNTS.get(entry.state)
        if count is not None:
            setattr(group, count, getattr(group, count) + 1)
        if not group.oldest_ms or entry.accepted_ms < group.oldest_ms:
            group.oldest_ms = entry.accepted_ms
        if entry.state is DeliveryState.QUEUED and (not group.next_ms or entry.next_ms < group.next_ms):
            group.next_ms = entry.next_ms

    def largest(self, limit: int | None = None) -> list[Group]:
        """Return the groups, the largest first."""
        return sorted(self._groups.values(), key=lambda group: (-group.deliveries, group.name))[:limit]

    def renamed(self, names: Mapping[str, str]) -> "Summary":
        """Return the same in larger groups: `names` says what each group belongs to."""
        found = Summary(self._name_of)
        for group in self:
            found.merge(names.get(group.name, ""), group)
        return found

    def merge(self, name: str, group: Group) -> None:
        """Count a whole group of another summary under a name."""
        into = self._groups.setdefault(name or NONE, Group(name or NONE))
        for count in ("deliveries", *_COUNTS.values()):
            setattr(into, count, getattr(into, count) + getattr(group, count))
        for time in ("oldest_ms", "next_ms"):
            setattr(into, time, min(filter(None, (getattr(into, time), getattr(group, time))), default=0))

    def __iter__(self) -> Iterator[Group]:
        """Iterate over all groups."""
        return iter(self._groups.values())


@lru_cache(maxsize=4096)
def reason_of(reply: str) -> str:
    """Return a reply without what differs between replies of one reason; "" for one that never came."""
    codes = _CODES.match(reply)
    head = codes.group() if codes else ""
    text = _VARYING.sub("*", reply[len(head) : len(head) + 1000])
    return (head + text)[:REASON_MAX_CHARACTERS]


BY: Final[dict[str, Callable[[QueueEntry], str]]] = {
    "account": lambda entry: entry.account,
    "configuration-set": lambda entry: entry.options.configuration_set,
    "domain": lambda entry: entry.domain,
    "pool": lambda entry: entry.options.pool,
    "state": lambda entry: entry.state.value,
    "reason": lambda entry: reason_of(entry.last_reply),
}
