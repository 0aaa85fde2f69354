"""The metrics of all processes as one, in the office.

Counters never go back: when a process comes again with another epoch, what its dead epoch had counted stays as a
base. Gauges are those of processes that answered last time; they are added up, or the greatest counts, as the
table says.
"""

from relay.ports import Json
from relay.runtime.observe.metrics import Histogram, Series
from relay.runtime.observe.table import BY_NAME, Combine, Kind

_SOURCES_MAX = 1024


class Sample:
    """One reading of one process, taken apart. ValueError when it is not a snapshot of this release."""

    def __init__(self, snapshot: Json) -> None:
        try:
            self.epoch = str(snapshot["epoch"])
            self.counters = _values(snapshot["counters"], Kind.COUNTER)
            self.gauges = _values(snapshot["gauges"], Kind.GAUGE)
            self.histograms = _histograms(snapshot["histograms"])
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"not a metrics snapshot: {error!r}") from error


class Aggregate:
    """Adds up the newest sample of every process, and what their dead epochs left."""

    def __init__(self) -> None:
        self._latest: dict[str, Sample] = {}
        self._silent: set[str] = set()
        self._counters: dict[Series, float] = {}
        self._histograms: dict[Series, Histogram] = {}

    def take(self, source: str, sample: Sample) -> None:
        """Take the newest sample of a process."""
        before = self._latest.get(source)
        if before is not None and before.epoch != sample.epoch:
            _add(self._counters, self._histograms, before)
        if before is None and len(self._latest) >= _SOURCES_MAX:
            raise ValueError("too many sources of metrics")
        self._latest[source] = sample
        self._silent.discard(source)

    def silent(self, source: str) -> None:
        """A process did not answer: its counters stay, its gauges are unknown."""
        self._silent.add(source)

    def totals(self) -> tuple[dict[Series, float], dict[Series, float], dict[Series, Histogram]]:
        """Return counters, gauges and histograms of all processes together."""
        counters = dict(self._counters)
        histograms = {
            key: Histogram(old.bounds, list(old.counts), old.total) for key, old in self._histograms.items()
        }
        gauges: dict[Series, float] = {}
        for source, sample in self._latest.items():
            _add(counters, histograms, sample)
            if source not in self._silent:
                _combine(gauges, sample.gauges)
        return counters, gauges, histograms


def _add(counters: dict[Series, float], histograms: dict[Series, Histogram], sample: Sample) -> None:
    for series, value in sample.counters.items():
        counters[series] = counters.get(series, 0) + value
    for series, found in sample.histograms.items():
        into = histograms.get(series)
        if into is None:
            histograms[series] = Histogram(found.bounds, list(found.counts), found.total)
            continue
        into.counts = [mine + theirs for mine, theirs in zip(into.counts, found.counts, strict=True)]
        into.total += found.total


def _combine(gauges: dict[Series, float], more: dict[Series, float]) -> None:
    for series, value in more.items():
        if series not in gauges:
            gauges[series] = value
        elif BY_NAME[series[0]].combine is Combine.MAX:
            gauges[series] = max(gauges[series], value)
        else:
            gauges[series] += value


def _series(name: object, labels: list[object], kind: Kind) -> Series:
    family = BY_NAME[str(name)]
    if family.kind is not kind or len(labels) != len(family.labels):
        raise ValueError(f"{family.name} does not fit the table")
    return family.name, tuple(map(str, labels))


def _values(rows: list[list[object]], kind: Kind) -> dict[Series, float]:
    return {_series(name, labels, kind): float(value) for name, labels, value in rows}  # type: ignore[arg-type]


def _histograms(rows: list[list[object]]) -> dict[Series, Histogram]:
    found: dict[Series, Histogram] = {}
    for name, labels, counts, total in rows:
        series = _series(name, labels, Kind.HISTOGRAM)  # type: ignore[arg-type]
        bounds = BY_NAME[series[0]].buckets
        numbers = [int(count) for count in counts]  # type: ignore[attr-defined]
        if len(numbers) != len(bounds) + 1:
            raise ValueError(f"{series[0]} has other buckets")
        found[series] = Histogram(bounds, numbers, float(total))  # type: ignore[arg-type]
    return found
