"""The dashboard and the alarms ask for metrics that there are, with labels that they have."""

import json
import re
from pathlib import Path

import pytest
import yaml

from relay.runtime.observe.dashboard import WIDTH, dashboard
from relay.runtime.observe.table import FAMILIES, Kind

ROOT = Path(__file__).parents[3]
RULES = ROOT / "config" / "prometheus" / "relay.rules.yaml"
KNOWN = {family.name: family for family in FAMILIES}
_METRIC = re.compile(r"\brelay_[a-z_]+")
_SUFFIX = re.compile(r"_(?:bucket|sum|count)\Z")
_ASKED = re.compile(r"\b(relay_[a-z_]+)\{([^}]*)\}")
_BY = re.compile(r"\bby \(([^)]*)\)")


def _queries():
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def _family(name):
    return KNOWN.get(name) or KNOWN[_SUFFIX.sub("", name)]


@pytest.mark.parametrize("query", sorted(set(_queries())))
def test_every_query_asks_for_what_there_is(query):
    families = [_family(name) for name in _METRIC.findall(query)]
    assert families
    labels = {label for family in families for label in family.labels}
    for name, matchers in _ASKED.findall(query):
        assert {one.split("=")[0].rstrip("!") for one in matchers.split(",")} <= set(_family(name).labels)
    for named in _BY.findall(query):
        assert {one.strip() for one in named.split(",")} <= labels | {"le"}
    for family in families:
        if family.kind is Kind.COUNTER:
            assert re.search(rf"(?:rate|increase|deriv)\({family.name}", query), "a counter is looked at by its rate"


def test_the_shipped_file_is_current_and_its_panels_do_not_overlap():
    shown = dashboard()
    assert json.loads((ROOT / "config" / "grafana" / "relay.json").read_text()) == json.loads(json.dumps(shown))
    taken = set()
    for panel in shown["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= WIDTH
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in shown["panels"]}) == len(shown["panels"])
