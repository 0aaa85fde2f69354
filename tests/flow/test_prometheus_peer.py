"""A real Prometheus takes our rules, scrapes a running relay, and answers every query of the dashboard."""

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from relay.runtime.observe.dashboard import dashboard
from tests.product import Product, Receiver, eventually, free_ports

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "prometheus" / "relay.rules.yaml"
PROMTOOL, PROMETHEUS = (shutil.which(name) for name in ("promtool", "prometheus"))
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not (PROMTOOL and PROMETHEUS), reason="Debian's prometheus is not installed"),
]


def _promtool(*arguments):
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules():
    _promtool("check", "rules", str(RULES))


def _series(name, values, **labels):
    inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{inner}}}", "values": values}


def _alert(name, at, **labels):
    return {"alertname": name, "eval_time": at, "exp_alerts": [{"exp_labels": labels}] if labels else []}


def test_alarms_fire_and_stay_quiet_as_they_should(tmp_path):
    """What promtool computes from made-up series: the alarm, and not before its time."""
    case = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    _series("relay_process_up", "1 1 0 0 0 0", process="worker-0001"),
                    _series("relay_draining", "0x5"),
                ],
                "alert_rule_test": [_alert("RelayProcessDown", "1m")],
                "promql_expr_test": [
                    {
                        "expr": 'ALERTS{alertname="RelayProcessDown", alertstate="firing"}',
                        "eval_time": "4m",
                        "exp_samples": [
                            {
                                "labels": 'ALERTS{alertname="RelayProcessDown", alertstate="firing", '
                                'process="worker-0001", severity="critical"}',
                                "value": 1,
                            }
                        ],
                    }
                ],
            },
            {
                "interval": "1m",
                "input_series": [
                    _series("relay_deliveries_total", "0+94x120", state="delivered"),
                    _series("relay_deliveries_total", "0+6x120", state="bounced"),
                ],
                "promql_expr_test": [
                    {
                        "expr": 'count(ALERTS{alertname="RelayBouncesHigh", alertstate="firing"})',
                        "eval_time": "110m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                ],
            },
            {
                "interval": "1m",
                "input_series": [
                    _series("relay_deliveries_total", "0+97x120", state="delivered"),
                    _series("relay_deliveries_total", "0+3x120", state="bounced"),
                ],
                "promql_expr_test": [
                    {
                        "expr": 'count(ALERTS{alertname="RelayBouncesHigh"})',
                        "eval_time": "110m",
                        "exp_samples": [],
                    }
                ],
            },
        ],
    }
    path = tmp_path / "alarms.yaml"
    path.write_text(yaml.safe_dump(case))
    _promtool("test", "rules", str(path))


class Prometheus:
    """A server with a directory and a port of its own, that scrapes one page every second."""

    def __init__(self, directory, target):
        (self.port,) = free_ports(1)
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "relay", "static_configs": [{"targets": [target]}]}],
        }
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self.log = (directory / "log").open("wb")
        self.process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self.log,
            stderr=self.log,
            env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        )

    def ask(self, page, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{page}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def values(self, query):
        found = self.ask("query", query=query)
        return found["result"] if found else None

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture
def product():
    with Receiver() as receiver, Product(receiver.port) as made:
        yield made


@pytest.fixture
def prometheus(product, tmp_path):
    made = Prometheus(tmp_path, f"127.0.0.1:{product.metrics_port}")
    yield made
    made.close()


@pytest.mark.slow
def test_a_real_prometheus_reads_the_page_and_answers_the_dashboard(product, prometheus):
    eventually(lambda: prometheus.values("up == 1"), 60, "the first scrape")
    product.send("someone@remote.example")
    taken = 'relay_messages_accepted_total{protocol="ESMTPSA"}'
    eventually(lambda: prometheus.values(f"{taken} > 0"), 60, "a message in Prometheus")
    assert [one["value"][1] for one in prometheus.values("scrape_samples_scraped > 50")]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            assert prometheus.values(target["expr"]) is not None, target["expr"]
    gauges = [
        t["expr"] for p in dashboard()["panels"] for t in p.get("targets", ()) if "relay_process_up" in t["expr"]
    ]
    assert len(prometheus.values(gauges[0])) >= 4
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    shipped = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in shipped}
    eventually(
        lambda: all(rule["health"] == "ok" for group in prometheus.ask("rules")["groups"] for rule in group["rules"]),
        60,
        "every rule evaluated",
    )
