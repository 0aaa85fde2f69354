"""The reference page of the metrics, made from the table: `python -m relay.runtime.observe.page > FILE`."""

import sys

from relay.runtime.observe.table import FAMILIES, Combine, Family, Kind

_HEAD = """# Metrics

Served in the Prometheus text format at `/metrics` of a listener of kind `metrics`, added up over all processes.
Counters never go back while the relay runs, also when a process of it is restarted. This page is generated from
`relay/runtime/observe/table.py`.

| name | type | labels | meaning |
|---|---|---|---|
"""


def render() -> str:
    """Return the page."""
    return _HEAD + "".join(_row(family) for family in FAMILIES)


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
    about = family.about
    if family.kind is Kind.GAUGE and family.combine is Combine.MAX:
        about += " The greatest of all processes."
    if family.kind is Kind.HISTOGRAM:
        about += " Buckets: " + ", ".join(f"{bound:g}" for bound in family.buckets) + "."
    return f"| `{family.name}` | {family.kind} | {labels} | {about} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
