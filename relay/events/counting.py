"""Counts events for metrics: the applier `metrics` (DEST-013 to DEST-020).

Each event counts once for its account, and once for every enabled metrics destination of its set that wants its
type, under the values of that destination's dimensions. A value that cannot be one leaves the count out, and nothing
else (DEST-017). The file of counts has the place in the log, so that each event is counted exactly once.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import orjson

from relay.model.event import LoggedEvent
from relay.model.event_destination import DestinationKind, Dimension, DimensionSource, EventDestination
from relay.model.facts import configuration_set_of
from relay.policy.event_destinations import is_dimension_value
from relay.ports.events import CountedSeries, DestinationKey


class Counts(Protocol):
    """The file of counts. Calls raise StorageError."""

    def follow(self, shard: int, log: int, last: int) -> None:
        """Take the events of a log as a shard's from now on."""
        ...

    def place(self, shard: int) -> int:
        """Return up to where a shard's log was counted."""
        ...

    def add(self, shard: int, seq: int, counts: Mapping[CountedSeries, int]) -> None:
        """Count, and move the place: all or nothing, synced."""
        ...

    def keep_only(self, live: Collection[DestinationKey]) -> None:
        """Forget the series of other destinations."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class MetricsDestinations(Protocol):
    """Event destinations as the catalog has them. Calls raise StorageError."""

    def refresh(self) -> bool:
        """Drop what changed since the last call; say whether anything did."""
        ...

    def any(self) -> bool:
        """Say whether there is any destination at all."""
        ...

    def of(self, account: str, configuration_set: str) -> Sequence[EventDestination]:
        """Return the destinations of a set."""
        ...

    def metrics(self) -> Collection[DestinationKey]:
        """Return the keys of all metrics destinations."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class MetricsApplier:
    """The applier."""

    name = "metrics"

    def __init__(self, open_counts: Callable[[], Counts], destinations: MetricsDestinations) -> None:
        self._open_counts = open_counts
        self._destinations = destinations
        self._counts: Counts | None = None

    def open(self) -> None:
        """Open the file. Raise ConfigurationError."""
        self._counts = self._open_counts()

    def follow(self, shard: int, log: int, last: int) -> None:
        """Take the events of a log from now on. Raise StorageError."""
        assert self._counts is not None
        self._counts.follow(shard, log, last)

    def place(self, shard: int) -> int:
        """Return the number of the last event of a shard that was counted."""
        assert self._counts is not None
        return self._counts.place(shard)

    def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        """Count events; those that were counted before are left out. Raise StorageError."""
        assert self._counts is not None
        place = self._counts.place(shard)
        events = [event for event in events if event.seq > place]
        if not events:
            return
        if self._destinations.refresh():
            self._counts.keep_only(self._destinations.metrics())
        any_destination = self._destinations.any()
        mails = [event.outline["mail"] for event in events]
        alike = Counter([(mail["sendingAccountId"], event.kind) for mail, event in zip(mails, events, strict=True)])
        counts = Counter({CountedSeries((account, "", ""), kind): times for (account, kind), times in alike.items()})
        if any_destination:
            for mail, event in zip(mails, events, strict=True):
                name = configuration_set_of(mail)
                if name:
                    counts.update(self._series(event, mail["sendingAccountId"], name))
        self._counts.add(shard, events[-1].seq, counts)

    def skip(self, shard: int, seq: int) -> None:
        """Move the place past an event that cannot be counted."""
        assert self._counts is not None
        self._counts.add(shard, seq, {})

    def close(self) -> None:
        """Close the file."""
        if self._counts is not None:
            self._counts.close()
        self._destinations.close()

    def _series(self, event: LoggedEvent, account: str, configuration_set: str) -> list[CountedSeries]:
        found = []
        for one in self._destinations.of(account, configuration_set):
            if one.kind is not DestinationKind.METRICS or not one.wants(event.kind):
                continue
            dimensions = dimensions_of(event.record, one.dimensions)
            if dimensions is not None:
                key = (one.account, one.configuration_set, one.name)
                found.append(CountedSeries(key, event.kind, orjson.dumps(dimensions).decode()))
        return found


def dimensions_of(record: Mapping[str, Any], dimensions: Sequence[Dimension]) -> list[tuple[str, str]] | None:
    """Return name and value of each dimension for a record; None when it gives no metric (DEST-014, DEST-017)."""
    found = []
    for one in dimensions:
        if one.source is DimensionSource.LINK_TAG and "click" not in record:
            return None
        value = _value(record, one)
        text = one.default if value is None else value
        if not is_dimension_value(text):
            return None
        found.append((one.name, text))
    return found


def _value(record: Mapping[str, Any], one: Dimension) -> str | None:
    """Return the value that a message has for a dimension, None when it has none (DEST-013)."""
    mail = record["mail"]
    if one.source is DimensionSource.EMAIL_HEADER:
        wanted = one.name.lower()
        return next((field["value"] for field in mail.get("headers", ()) if field["name"].lower() == wanted), None)
    tags = (record["click"].get("linkTags") or {}) if one.source is DimensionSource.LINK_TAG else mail["tags"]
    return next(iter(tags.get(one.name, ())), None)
