"""What `relay queue watch` shows: one look at the queue of all shards, cheap enough to take every second.

Counts come from indexes. What is stuck where needs all rows: each look reads on for a moment, so that a long queue is
read through in many; a look says how old that part is, and while it is the first reading, how far it came.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.errors import CorruptionError, RelayError, TemporaryError
from relay.model.delivery import DeliveryState
from relay.runtime.cli.output import iso, printable
from relay.runtime.rpc import Client, NotRunningError
from relay.schedule.summary import BY, Group, Summary
from relay.store.inflight import read_in_flight
from relay.store.reader import QueueScan

if TYPE_CHECKING:
    from relay.model.queue_entry import QueueEntry
    from relay.runtime.cli.shards import Shard
    from relay.runtime.cli.site import Site

READ_SECONDS: Final = 0.5  # of one look at most
READ_SHARE: Final = 5  # then it rests so many times as long as the reading took
TOP: Final = 10
SITES_LOOKED_UP: Final = 200  # the largest domains, for the names of their sites
UNDER_WAY_SHOWN: Final = 5
ASK_SECONDS: Final = 2.0
_RATES: Final = {
    "accepted": ("relay_messages_accepted_total", None),
    "delivered": ("relay_deliveries_total", "delivered"),
    "deferred": ("relay_attempts_total", "temporary"),
    "bounced": ("relay_deliveries_total", "bounced"),
}


@dataclass(frozen=True, slots=True)
class Stuck:
    """The largest groups of one kind, and the most common last reply in each (by name, "" where none came)."""

    kind: str
    groups: Sequence[Group]
    reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class View:
    """One look. Times are milliseconds since 1970; rates a second, empty before there are two looks to compare.

    `read_deliveries` is how many of a long queue `stuck` is about so far, 0 when it is about all.
    """

    now_ms: int
    hostname: str
    workers: int
    states: dict[str, int]
    oldest_ms: int
    next_due_ms: int
    rates: dict[str, float]
    in_flight: int
    under_way: Sequence[tuple[str, str, int]]  # recipient, last reply, attempts before
    stuck: Sequence[Stuck]
    read_seconds_ago: float
    read_deliveries: int = 0

    def line(self) -> str:
        """Return the look as one line."""
        clock = time.strftime("%H:%M:%S", time.localtime(self.now_ms / 1000))
        states = "  ".join(f"{name} {number}" for name, number in self.states.items())
        rates = "  ".join(f"{name} {rate:.1f}/s" for name, rate in self.rates.items())
        domains = next((one for one in self.stuck if one.kind == "domain"), None)
        top = domains.groups[0] if domains and domains.groups else None
        parts = [
            clock,
            "" if self.workers else "stopped",
            states,
            f"in flight {self.in_flight}",
            f"oldest {span(self.now_ms - self.oldest_ms) if self.oldest_ms else '-'}",
            rates,
            f"top {top.name} {top.deliveries} ({(domains and domains.reasons.get(top.name)) or 'new'})"
            if top
            else "",
        ]
        return printable("  ".join(part for part in parts if part))

    def as_json(self) -> dict[str, Any]:
        """Return the look for programs."""
        return {
            "time": iso(self.now_ms),
            "running": bool(self.workers),
            "workers": self.workers,
            "states": self.states,
            "oldest": iso(self.oldest_ms),
            "nextDue": iso(self.next_due_ms),
            "rates": {name: round(rate, 3) for name, rate in self.rates.items()} or None,
            "inFlight": self.in_flight,
            "underWay": [recipient for recipient, _, _ in self.under_way],
            "readSecondsAgo": round(self.read_seconds_ago, 1),
            "readDeliveries": self.read_deliveries or None,
            **{f"{one.kind}s": [_group_object(group, one) for group in one.groups] for one in self.stuck},
        }


def _group_object(group: Group, stuck: Stuck) -> dict[str, Any]:
    return {
        "name": group.name,
        "deliveries": group.deliveries,
        "oldest": iso(group.oldest_ms),
        "nextDue": iso(group.next_ms),
        "reason": stuck.reasons.get(group.name) or None,
    }


class _Pass:
    """One reading of all rows, some at a time; `done` when it has seen all of them."""

    def __init__(self, shards: "Sequence[Shard]") -> None:
        self._pages = (entries for shard in shards for entries, _ in shard.entries(QueueScan()))
        self._summaries = {kind: Summary(BY[kind]) for kind in ("domain", "account", "reason")}
        self._reasons = {kind: Summary(_with_reason(kind)) for kind in ("domain", "account")}
        self.seconds = 0.0
        self.deliveries = 0
        self.done = False

    def read(self, seconds: float) -> None:
        """Go on for about so long."""
        started = now = time.monotonic()
        while now - started < seconds and not self.done:
            entries = next(self._pages, None)
            self.done = entries is None
            for entry in entries or ():
                for summary in (*self._summaries.values(), *self._reasons.values()):
                    summary.add(entry)
            self.deliveries += len(entries or ())
            now = time.monotonic()
        self.seconds += now - started

    def largest(self, kind: str, limit: int) -> Stuck:
        """Return the largest groups of a kind with their reasons."""
        reasons = self._reasons.get(kind)
        return Stuck(kind, self._summaries[kind].largest(limit), _most_common(reasons) if reasons else {})


class QueueView:
    """Looks at the queue of a relay, running or stopped."""

    def __init__(self, site: "Site", shards: "Sequence[Shard]") -> None:
        self._site = site
        self._shards = shards
        self._before: dict[str, float] = {}
        self._before_at = 0.0
        self._pass: _Pass | None = _Pass(shards)
        self._again_at = 0.0
        self._stuck: list[Stuck] = []
        self._read_at = time.monotonic()
        self._whole = False  # all rows were read at least once
        self._sites: dict[str, str] = {}
        self._clients: list[Client] = []

    def close(self) -> None:
        """Hang up."""
        for client in self._clients:
            client.close()
        self._clients.clear()

    def look(self) -> View:
        """Return how it is now."""
        states: Counter[str] = Counter()
        oldest, due = [], []
        for shard in self._shards:
            depth = shard.reader.depth(int(time.time() * 1000))
            states.update({state.value: number for state, number in depth.counts.items()})
            oldest += [depth.oldest_accepted_ms] if depth.oldest_accepted_ms else []
            next_ms = shard.reader.next_due_ms()
            due += [next_ms] if next_ms else []
        self._read_on()
        in_flight, under_way = self._under_way()
        rates, workers = self._rates()
        return View(
            now_ms=int(time.time() * 1000),
            hostname=self._site.config.hostname,
            workers=workers,
            states=dict(states),
            oldest_ms=min(oldest, default=0),
            next_due_ms=min(due, default=0),
            rates=rates,
            in_flight=in_flight if workers else 0,
            under_way=under_way if workers else (),
            stuck=self._stuck,
            read_seconds_ago=time.monotonic() - self._read_at,
            read_deliveries=0 if self._whole or self._pass is None else self._pass.deliveries,
        )

    # --- what is stuck where --------------------------------------------------------------------------------------

    def _read_on(self) -> None:
        """Read on for a moment; show what a whole reading gave, and a part of the first one before that."""
        now = time.monotonic()
        if self._pass is None:
            if now < self._again_at:
                return
            self._pass = _Pass(self._shards)
        reading = self._pass
        reading.read(READ_SECONDS)
        if not reading.done and self._whole:
            return
        domains, accounts = reading.largest("domain", SITES_LOOKED_UP), reading.largest("account", TOP)
        sites, site_reasons = self._by_site(domains.groups, domains.reasons)
        self._stuck = [
            Stuck("domain", domains.groups[:TOP], domains.reasons),
            Stuck("site", sites[:TOP], site_reasons),
            accounts,
            reading.largest("reason", TOP),
        ]
        self._read_at = time.monotonic()
        if reading.done:
            self._whole, self._pass = True, None
            self._again_at = self._read_at + reading.seconds * READ_SHARE

    def _by_site(self, domains: Sequence[Group], reasons: dict[str, str]) -> tuple[list[Group], dict[str, str]]:
        from relay.runtime.cli.queue_sites import site_names  # noqa: PLC0415

        unknown = [group.name for group in domains if group.name not in self._sites]
        if unknown:
            self._sites |= site_names(self._site, unknown, ASK_SECONDS)
        found: dict[str, str] = {}
        summary = Summary(BY["domain"])
        for group in domains:
            summary.merge(self._sites.get(group.name, ""), group)
            found.setdefault(self._sites.get(group.name, ""), reasons.get(group.name, ""))
        return summary.largest(), found

    # --- what moves -----------------------------------------------------------------------------------------------

    def _under_way(self) -> tuple[int, list[tuple[str, str, int]]]:
        number = 0
        shown: list[tuple[str, str, int]] = []
        for shard in self._shards:
            keys = read_in_flight(shard.paths.directory / "inflight")
            number += len(keys)
            for key in keys[: UNDER_WAY_SHOWN - len(shown)]:
                entry = _entry(shard, key)
                if entry is not None:
                    shown.append(entry)
        return number, shown

    def _rates(self) -> tuple[dict[str, float], int]:
        """Return what happened a second since the last look, and how many workers answer."""
        counted: Counter[str] = Counter()
        self._connect()
        for client in list(self._clients):
            try:
                for name, labels, value in client.call("metrics.snapshot")["counters"]:
                    counted.update(
                        {rate: value for rate, (metric, label) in _RATES.items() if _is(name, labels, metric, label)}
                    )
            except (RelayError, KeyError, TypeError, ValueError):
                self.close()
                self._before = {}
                return {}, 0
        now = time.monotonic()
        before, seconds = self._before, max(0.001, now - self._before_at)
        self._before, self._before_at = dict(counted) if self._clients else {}, now
        if not before or any(counted[name] < before.get(name, 0) for name in _RATES):  # a worker came anew
            return {}, len(self._clients)
        return {name: (counted[name] - before.get(name, 0)) / seconds for name in _RATES}, len(self._clients)

    def _connect(self) -> None:
        if self._clients:
            return
        for path in sorted((self._site.data_dir / "run").glob("worker-*.sock")):
            try:
                self._clients.append(Client(path, ASK_SECONDS))
            except NotRunningError:
                self.close()
                return


def _is(name: str, labels: Sequence[str], metric: str, label: str | None) -> bool:
    return name == metric and (label is None or label in labels)


def _entry(shard: "Shard", key: int) -> tuple[str, str, int] | None:
    try:
        delivery = shard.reader.delivery(key)
    except (CorruptionError, TemporaryError):
        return None
    if delivery is None or delivery.state is not DeliveryState.QUEUED:
        return None
    return delivery.recipient, delivery.last_reply, delivery.attempts


_SEPARATOR: Final = "\0"


def _with_reason(kind: str) -> Any:
    name_of, reason = BY[kind], BY["reason"]

    def both(entry: "QueueEntry") -> str:
        return f"{name_of(entry)}{_SEPARATOR}{reason(entry)}" if entry.last_reply else ""

    return both


def _most_common(summary: Summary) -> dict[str, str]:
    """Return the most common reason of each name."""
    found: dict[str, str] = {}
    for group in summary.largest():
        name, separator, reason = group.name.partition(_SEPARATOR)
        if separator:
            found.setdefault(name, reason)
    return found


def span(ms: float) -> str:
    """Return a length of time for people: `41 s`, `12 min`, `3 h 12 min`, `2 d 4 h`."""
    seconds = max(0, int(ms / 1000))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
