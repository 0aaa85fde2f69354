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


def _labels(name, labels):
    inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inner}}}"


def _series(name, values, **labels):
    return {"series": _labels(name, labels), "values": values}


def _alert(name, at, **labels):
    return {"alertname": name, "eval_time": at, "exp_alerts": [{"exp_labels": labels}] if labels else []}


def _firing(name, at, *labels):
    """Expect an alarm to fire at a time for series with these labels, and for no other."""
    always = {"alertname": name, "alertstate": "firing", "severity": "warning"}
    samples = [{"labels": _labels("ALERTS", {**always, **one}), "value": 1} for one in labels]
    return {"expr": f'ALERTS{{alertname="{name}", alertstate="firing"}}', "eval_time": at, "exp_samples": samples}


@pytest.mark.req("ALARM-001")
@pytest.mark.parametrize(
    ("name", "metric", "values"),
    [
        ("RelayReputationBounceRate", "relay_reputation_bounce_rate", ("0.0499x3", "0.05x3", "0.2x3")),
        ("RelayReputationComplaintRate", "relay_reputation_complaint_rate", ("0.00099x3", "0.001x3", "0.5x3")),
    ],
)
def test_rates_of_an_account_raise_alarms_from_their_thresholds_on(tmp_path, name, metric, values):
    below, at, above = values
    accounts = {"000000000001": below, "000000000002": at, "000000000003": above}
    series = [_series(metric, values, account=account, configuration_set="") for account, values in accounts.items()]
    of_set = _series(metric, above, account="000000000001", configuration_set="news")
    expected = [{"account": account, "configuration_set": ""} for account in ("000000000002", "000000000003")]
    case = {"interval": "1m", "input_series": [*series, of_set]}
    _check_rules(tmp_path, {**case, "promql_expr_test": [_firing(name, "2m", *expected)]})


def test_alarms_of_accounts_and_of_snds(tmp_path):
    case = {
        "interval": "1m",
        "input_series": [
            _series("relay_alarms", "0 0 1 0", state="ALARM"),
            _series("relay_alarms", "1 1 1 1", state="OK"),
            _series("relay_snds_spam_rate", "0.5 0.5 1 0.5", address="192.0.2.1"),
            _series("relay_snds_read_seconds", "0x4400"),
        ],
        "promql_expr_test": [
            _firing("RelayAlarm", "1m"),
            _firing("RelayAlarm", "2m", {"state": "ALARM"}),
            _firing("RelayAlarm", "3m"),
            _firing("RelaySndsSpam", "1m"),
            _firing("RelaySndsSpam", "2m", {"address": "192.0.2.1"}),
            _firing("RelaySndsSpam", "3m"),
            _firing("RelaySndsUnread", "4320m"),
            _firing("RelaySndsUnread", "4322m", {}),
        ],
    }
    _check_rules(tmp_path, case)


def _check_rules(tmp_path, case):
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    _promtool("test", "rules", str(path))


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
