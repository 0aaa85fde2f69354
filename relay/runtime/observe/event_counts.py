"""The counts of events as metrics (DEST-020, DEST-021): read from the file that the process `events` writes."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from relay.ports.events import CountedSeries, DestinationKey
from relay.runtime.observe.exposition import KeptSeries
from relay.runtime.observe.table import SES_COUNTERS
from relay.store.event_counts import read_counts

DROPPED = "relay_ses_series_dropped_total"

_NO_LABEL = re.compile(r"[^A-Za-z0-9_]")
_NAMES = {kind: f"relay_ses_{name}_total" for name, kind in SES_COUNTERS.items()}


def kept_series(data_dir: Path) -> KeptSeries:
    """Return what is counted in the data directory. Raise StorageError."""
    return as_series(*read_counts(data_dir))


def as_series(counts: Mapping[CountedSeries, int], dropped: Mapping[DestinationKey, int]) -> KeptSeries:
    """Return counts as metrics; destinations with the same dimensions and values are added up."""
    found: defaultdict[str, dict[tuple[tuple[str, str], ...], int]] = defaultdict(dict)
    for series, count in counts.items():
        name = _NAMES.get(series.kind)
        if name is not None:
            labels = _labels(series.destination[0], json.loads(series.dimensions))
            found[name][labels] = found[name].get(labels, 0) + count
    for key, count in dropped.items():
        labels = tuple(zip(("account", "configuration_set", "destination"), key, strict=True))
        found[DROPPED][labels] = count
    return {name: [(dict(labels), value) for labels, value in sorted(rows.items())] for name, rows in found.items()}


def _labels(account: str, dimensions: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Return label names that Prometheus takes, each once."""
    labels = {"account": account}
    for name, value in dimensions:
        label = _NO_LABEL.sub("_", name)
        label = f"_{label}" if label[0].isdigit() else label
        while label in labels:
            label += "_"
        labels[label] = value
    return tuple(labels.items())
