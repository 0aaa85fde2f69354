"""Metrics: the table, counting, adding up over processes and their restarts, and the text format."""

import ast
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.runtime.observe import page
from relay.runtime.observe.aggregate import Aggregate, Sample
from relay.runtime.observe.exposition import render
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.observe.table import BY_NAME, FAMILIES, SERIES_MAX, Kind

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
SESSIONS = "relay_sessions_total"


def test_the_reference_page_is_current():
    assert REFERENCE.read_text() == page.render(), (
        "run: python -m relay.runtime.observe.page > docs/reference/metrics.md"
    )


def test_the_table_is_sound():
    assert len(BY_NAME) == len(FAMILIES)
    for family in FAMILIES:
        assert family.name.startswith("relay_")
        assert family.name.endswith("_total") is (family.kind is Kind.COUNTER), family.name
        assert bool(family.buckets) is (family.kind is Kind.HISTOGRAM)
        assert list(family.buckets) == sorted(set(family.buckets))
        assert family.about.endswith(".")


def _parsed(aggregate):
    """Return every sample of the page by name and labels."""
    families = text_string_to_metric_families(render(aggregate).decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def _together(*processes):
    aggregate = Aggregate()
    for number, metrics in enumerate(processes):
        aggregate.take(f"worker-{number}", Sample(metrics.snapshot()))
    return aggregate


def test_processes_are_added_up():
    one, two = ProcessMetrics("a"), ProcessMetrics("b")
    for metrics in (one, two):
        metrics.count(SESSIONS, "mx", amount=2)
        metrics.gauge("relay_connections_out_open", 5)
        metrics.observe("relay_accept_seconds", 0.003)
        metrics.observe("relay_accept_seconds", 99)
    one.gauge("relay_queue_oldest_seconds", 7)
    two.gauge("relay_queue_oldest_seconds", 3)
    found = _parsed(_together(one, two))
    assert found[SESSIONS, "mx"] == 4
    assert found["relay_connections_out_open",] == 10
    assert found["relay_queue_oldest_seconds",] == 7
    assert found["relay_accept_seconds_bucket", "0.0025"] == 0
    assert found["relay_accept_seconds_bucket", "0.005"] == 2
    assert found["relay_accept_seconds_bucket", "10.0"] == 2
    assert found["relay_accept_seconds_bucket", "+Inf"] == 4
    assert found["relay_accept_seconds_count",] == 4
    assert found["relay_accept_seconds_sum",] == pytest.approx(198.006)


def test_counters_never_go_back_when_a_process_starts_again():
    aggregate = Aggregate()
    seen = []
    for epoch, counts in (("1", (3, 5)), ("2", (1, 2)), ("3", (0, 4))):
        metrics = ProcessMetrics(epoch)
        for count in counts:
            metrics.count(SESSIONS, "mx", amount=count - metrics.value(SESSIONS, "mx"))
            metrics.observe("relay_accept_seconds", 1)
            aggregate.take("worker-0001", Sample(metrics.snapshot()))
            counters, _gauges, histograms = aggregate.totals()
            seen.append((counters[SESSIONS, ("mx",)], sum(histograms["relay_accept_seconds", ()].counts)))
    assert seen == [(3, 1), (5, 2), (6, 3), (7, 4), (7, 5), (11, 6)]


def test_a_silent_process_keeps_its_counters_and_loses_its_gauges():
    metrics = ProcessMetrics("1")
    metrics.count(SESSIONS, "mx")
    metrics.gauge("relay_connections_out_open", 5)
    aggregate = _together(metrics)
    aggregate.silent("worker-0")
    counters, gauges, _ = aggregate.totals()
    assert counters[SESSIONS, ("mx",)] == 1
    assert gauges == {}
    aggregate.take("worker-0", Sample(metrics.snapshot()))
    assert aggregate.totals()[1]["relay_connections_out_open", ()] == 5


def test_what_is_not_in_the_table_is_refused():
    metrics = ProcessMetrics("1")
    with pytest.raises(KeyError):
        metrics.count("relay_nonsense_total")
    with pytest.raises(ValueError, match="labels"):
        metrics.count(SESSIONS)
    with pytest.raises(ValueError, match="counter"):
        metrics.gauge(SESSIONS, 1, "mx")
    with pytest.raises(ValueError, match="histogram"):
        metrics.count("relay_accept_seconds")


def test_series_are_bounded():
    metrics = ProcessMetrics("1")
    for n in range(SERIES_MAX + 100):
        metrics.count("relay_events_published_total", f"destination-{n}")
    metrics.count("relay_events_published_total", "x" * 1000)
    assert len(metrics.snapshot()["counters"]) == SERIES_MAX + 1
    assert metrics.value("relay_events_published_total", "other") == 101


def test_hostile_labels_cannot_forge_lines():
    metrics = ProcessMetrics("1")
    metrics.count("relay_events_published_total", 'a"\nrelay_sessions_total{listener="mx"} 9')
    found = _parsed(_together(metrics))
    assert (SESSIONS, "mx") not in found


@pytest.mark.parametrize(
    "snapshot",
    [
        {},
        {"epoch": "1", "counters": [["relay_nonsense", [], 1]], "gauges": [], "histograms": []},
        {"epoch": "1", "counters": [[SESSIONS, [], 1]], "gauges": [], "histograms": []},
        {"epoch": "1", "counters": [[SESSIONS, ["mx"]]], "gauges": [], "histograms": []},
        {"epoch": "1", "counters": None, "gauges": [], "histograms": []},
        {"epoch": "1", "counters": [], "gauges": [], "histograms": [["relay_accept_seconds", [], [1], 1]]},
    ],
)
def test_what_is_no_snapshot_is_refused(snapshot):
    with pytest.raises(ValueError):
        Sample(snapshot)


def _uses():
    """Yield (file, method, name, number of labels) of every metric that the code names."""
    for path in sorted((Path(__file__).parents[3] / "relay").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            first = node.args[0]
            if not isinstance(first, ast.Constant) or not str(first.value).startswith("relay_"):
                continue
            if node.func.attr in KIND_OF:
                labels = len(node.args) - 1 - (node.func.attr != "count")
                starred = any(isinstance(argument, ast.Starred) for argument in node.args)
                yield path.name, node.func.attr, first.value, None if starred else labels


KIND_OF = {"count": Kind.COUNTER, "gauge": Kind.GAUGE, "observe": Kind.HISTOGRAM}


def test_the_code_counts_by_the_table():
    uses = list(_uses())
    assert len(uses) > 20
    for file, method, name, labels in uses:
        assert name in BY_NAME, f"{file}: {name} is not in the table"
        assert KIND_OF[method] is BY_NAME[name].kind, f"{file}: {name}"
        assert labels in (None, len(BY_NAME[name].labels)), f"{file}: {name}"
