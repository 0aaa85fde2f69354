"""Counting within one process (relay.ports.Metrics): a dictionary, no locks, well under a microsecond an increment.

Used on the event loop's thread only. The office reads a snapshot of every process over its socket and adds them up
(`aggregate`).
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from relay.ports import Json
from relay.runtime.observe.table import BY_NAME, OTHER, SERIES_MAX, Family, Kind

Series = tuple[str, tuple[str, ...]]
_LABEL_MAX = 100


@dataclass(slots=True)
class Histogram:
    """How many values fell into each bucket (the last one has no upper bound), and their sum."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0


class ProcessMetrics:
    """The metrics of this process; `epoch` tells this run of the process from the next."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self._counters: dict[Series, float] = {}
        self._gauges: dict[Series, float] = {}
        self._histograms: dict[Series, Histogram] = {}
        self._series: dict[str, int] = {}

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        series = (name, labels)
        try:
            self._counters[series] += amount
        except KeyError:
            series = self._admit(name, labels, Kind.COUNTER)
            self._counters[series] = self._counters.get(series, 0) + amount

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        histogram = self._histograms.get((name, labels))
        if histogram is None:
            series = self._admit(name, labels, Kind.HISTOGRAM)
            bounds = BY_NAME[name].buckets
            fresh = Histogram(bounds, [0] * (len(bounds) + 1))
            histogram = self._histograms.setdefault(series, fresh)
        histogram.counts[bisect_left(histogram.bounds, value)] += 1
        histogram.total += value

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge of this process."""
        series = (name, labels)
        if series not in self._gauges:
            series = self._admit(name, labels, Kind.GAUGE)
        self._gauges[series] = value

    def forget(self, name: str) -> None:
        """Drop every series of a gauge, before those that hold now are set."""
        for series in [series for series in self._gauges if series[0] == name]:
            del self._gauges[series]
            self._series[name] -= 1

    def value(self, name: str, *labels: str) -> float:
        """Return a counter or gauge as it stands, 0 when nothing was counted."""
        series = (name, labels)
        return self._counters.get(series, self._gauges.get(series, 0))

    def snapshot(self) -> Json:
        """Return everything as JSON: lists of [name, labels, value], histograms with [name, labels, counts, sum]."""
        return {
            "epoch": self.epoch,
            "counters": [[name, list(labels), value] for (name, labels), value in self._counters.items()],
            "gauges": [[name, list(labels), value] for (name, labels), value in self._gauges.items()],
            "histograms": [
                [name, list(labels), list(found.counts), found.total]
                for (name, labels), found in self._histograms.items()
            ],
        }

    def _admit(self, name: str, labels: tuple[str, ...], kind: Kind) -> Series:
        """Check a new series against the table; return it, or its `other` when there are too many."""
        family = BY_NAME[name]
        check_use(family, labels, kind)
        if len(labels) and (
            self._series.get(name, 0) >= SERIES_MAX or any(len(label) > _LABEL_MAX for label in labels)
        ):
            return name, (OTHER,) * len(labels)
        self._series[name] = self._series.get(name, 0) + 1
        return name, labels


def check_use(family: Family, labels: tuple[str, ...], kind: Kind) -> None:
    """Raise ValueError when a metric is used in another way than the table says."""
    if family.kind is not kind:
        raise ValueError(f"{family.name} is a {family.kind}, used as a {kind}")
    if len(labels) != len(family.labels):
        raise ValueError(f"{family.name} has the labels {family.labels}, used with {labels}")
