"""Metrics as Prometheus reads them. The only module that knows prometheus-client."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from relay.runtime.observe.aggregate import Aggregate
from relay.runtime.observe.metrics import Histogram, Series
from relay.runtime.observe.table import FAMILIES, Family, Kind

CONTENT_TYPE = CONTENT_TYPE_LATEST
_T = TypeVar("_T")

KeptSeries = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
"""Counters that are kept in files, by name: labels, which may be more than the table says, and value."""


def render(aggregate: Aggregate, kept: KeptSeries | None = None) -> bytes:
    """Return the text format of everything the aggregate knows; every declared metric has its HELP and TYPE."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([*_families(aggregate, kept or {})]))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found

    def describe(self) -> Iterable[Metric]:
        return []


def _families(aggregate: Aggregate, kept: KeptSeries) -> Iterator[Metric]:
    counters, gauges, histograms = aggregate.totals()
    numbers = {Kind.COUNTER: _by_name(counters), Kind.GAUGE: _by_name(gauges)}
    shapes = _by_name(histograms)
    for family in FAMILIES:
        if family.name in kept:
            yield _kept(family, kept[family.name])
        elif family.kind is Kind.HISTOGRAM:
            yield _histogram(family, shapes.get(family.name, []))
        else:
            yield _number(family, numbers[family.kind].get(family.name, []))


def _by_name(values: dict[Series, _T]) -> dict[str, list[tuple[tuple[str, ...], _T]]]:
    grouped: dict[str, list[tuple[tuple[str, ...], _T]]] = {}
    for (name, labels), value in values.items():
        grouped.setdefault(name, []).append((labels, value))
    return grouped


def _number(family: Family, values: list[tuple[tuple[str, ...], float]]) -> Metric:
    shape = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = shape(family.name, family.about, labels=family.labels)
    if not values and not family.labels and family.kind is Kind.COUNTER:
        values = [((), 0.0)]
    for labels, value in values:
        metric.add_metric(labels, value)
    return metric


def _kept(family: Family, values: Sequence[tuple[Mapping[str, str], float]]) -> Metric:
    metric = CounterMetricFamily(family.name, family.about, labels=family.labels)
    for labels, value in values:
        metric.add_sample(family.name, dict(labels), value)
    return metric


def _histogram(family: Family, values: list[tuple[tuple[str, ...], Histogram]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.about, labels=family.labels)
    for labels, found in values:
        running = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, found.bounds), "+Inf"), found.counts, strict=True):
            running += count
            buckets.append((bound, running))
        metric.add_metric(labels, buckets, found.total)
    return metric
