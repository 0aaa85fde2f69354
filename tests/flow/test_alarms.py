"""Alarms through the whole product: figures reach thresholds, topics are told, accounts and sets are paused."""

import contextlib
import json
import os
import signal
import smtplib
import sqlite3
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.consumer import Answer, Webhook
from tests.product import Product, Receiver, eventually, free_ports

XMLNS = "{http://sns.amazonaws.com/doc/2010-03-31/}"
SETTINGS = {
    "reputation": {"enabled": False, "every": "0.2s"},  # what happens here is the alarms' doing
    "alarms": {"every": "0.2s"},
    "delivery": {"retry": ["1s"], "lifetime": "2s", "retry_jitter_percent": 0},
    "topics": {"private_networks": ["127.0.0.1/32"]},
}


def answer(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" and "nobody" in line else None


@pytest.fixture(scope="module")
def receiver():
    with Receiver(answer=answer) as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    (port,) = free_ports(1)
    listeners = ({"kind": "http", "address": "127.0.0.1", "port": port},)
    http = {"public_url": f"http://127.0.0.1:{port}"}
    with Product(receiver.port, listeners=listeners, http=http, **SETTINGS) as made:
        yield made


@pytest.fixture
def hook():
    with Webhook() as made:
        yield made


class Tenant:
    """An account of the product with one verified domain, its alarms, and a topic that a webhook hears."""

    last = 200

    def __init__(self, product):
        Tenant.last += 1
        self.product, self.account = product, f"{Tenant.last:012d}"
        self.domain = f"t{Tenant.last}.example"
        product.run("account", "create", self.account, "--production", "--contact", f"owner@{self.domain}")
        product.run("identity", "create", self.domain, "--account", self.account)
        product.run("identity", "verify", "--force", self.domain, "--account", self.account)
        self.login = product.json("credentials", "create", "--account", self.account)["smtp"]

    def send(self, *recipients, headers=""):
        """Submit a message and return the code of the reply to its data."""
        with smtplib.SMTP("127.0.0.1", self.product.port, timeout=30) as client:
            client.starttls()
            client.login(self.login["username"], self.login["password"])
            client.mail(f"app@{self.domain}")
            for recipient in recipients:
                assert client.rcpt(recipient)[0] == 250
            text = f"From: app@{self.domain}\r\nTo: x@x.example\r\nSubject: A test\r\n{headers}\r\nhi\r\n"
            return client.data(text.encode())[0]

    def take(self, good, bad, **more):
        recipients = [f"user{n}@remote.example" for n in range(good)] + [f"nobody{n}@r.example" for n in range(bad)]
        assert self.send(*recipients, **more) == 250

    def alarm(self, *arguments):
        return self.product.json("alarm", *arguments, "--account", self.account)

    def history(self, name):
        """Return the changes of an alarm, oldest first."""
        return self.product.rows("alarm", "history", name, "--account", self.account)[::-1]

    def wait_state(self, name, state):
        return eventually(
            lambda: (found := self.alarm("show", name))["state"] == state and found, what=f"{name} to be {state}"
        )

    def topic(self, hook, name="alarms"):
        """Create a topic that a webhook has subscribed to; return its ARN."""
        arn = self.product.json("topic", "create", name, "--account", self.account)["topicArn"]
        self.product.run(
            "topic", "subscribe", arn, "http", f"http://127.0.0.1:{hook.port}/", "--account", self.account
        )
        asked = json.loads(eventually(lambda: hook.requests, what="the question to the webhook")[0].body)
        root = ET.fromstring(httpx.get(asked["SubscribeURL"]).text)
        assert root.tag == f"{XMLNS}ConfirmSubscriptionResponse"
        return arn


def told(hook, count):
    """Return the first alarm messages that a webhook heard, with their subjects."""

    def heard():
        posts = [json.loads(one.body) for one in list(hook.requests)]
        posts = [one for one in posts if one["Type"] == "Notification"]
        unique = list({one["MessageId"]: one for one in posts}.values())
        return len(unique) >= count and unique[:count]

    return [(one["Subject"], json.loads(one["Message"])) for one in eventually(heard, what=f"{count} messages")]


@pytest.fixture
def tenant(product):
    return Tenant(product)


@pytest.mark.req("ALARM-005", "ALARM-002", "ALARM-003")
def test_one_message_to_the_simulator_makes_the_series_and_the_alarm_begin(product, tenant):
    made = tenant.alarm("create", "bounces", "--metric", "Reputation.BounceRate", "--threshold", "5%")
    assert (made["state"], made["threshold"], made["topicArn"]) == ("INSUFFICIENT_DATA", 0.05, None)
    other = Tenant(product)
    other.alarm("create", "quiet", "--metric", "Reputation.BounceRate", "--threshold", "5%")
    series = f'relay_reputation_bounce_rate{{account="{tenant.account}",configuration_set=""}}'
    assert series not in product.metrics()
    assert tenant.send("success@simulator.relay.example") == 250
    tenant.wait_state("bounces", "OK")
    eventually(lambda: f"{series} 0" in product.metrics(), what="the series")
    (change,) = tenant.history("bounces")
    assert (change["OldStateValue"], change["NewStateValue"], change["told"]) == ("INSUFFICIENT_DATA", "OK", "nobody")
    assert other.alarm("show", "quiet")["state"] == "INSUFFICIENT_DATA"
    eventually(lambda: product.metric('relay_alarms{state="OK"}') >= 1)


@pytest.mark.req("ALARM-002", "ALARM-003", "PAUSE-005")
def test_a_bounce_rate_tells_the_topic_and_pauses_the_account_for_good(product, receiver, tenant, hook):
    topic = tenant.topic(hook)
    tenant.alarm("create", "bounces", "--metric", "Reputation.BounceRate", "--threshold", "0.2", "--topic", topic,
                 "--description", "too many", "--action", "pause-account", "--volume-min", "5")  # fmt: skip
    tenant.take(3, 1)
    tenant.take(13, 3)  # 4 of 20: the threshold itself alarms
    found = tenant.wait_state("bounces", "ALARM")
    assert found["reason"].startswith("Reputation.BounceRate is 0.2 (20.00%), at least")
    heard = told(hook, len(tenant.history("bounces")))
    subject, message = heard[-1]
    assert subject == 'ALARM: "bounces" in local-1'
    changed = message.pop("StateChangeTime")
    assert changed == found["changed"]
    assert message == {
        "AlarmName": "bounces",
        "AlarmDescription": "too many",
        "AWSAccountId": tenant.account,
        "Region": "local-1",
        "NewStateValue": "ALARM",
        "OldStateValue": message["OldStateValue"],
        "NewStateReason": found["reason"],
        "Trigger": {
            "Namespace": "AWS/SES",
            "MetricName": "Reputation.BounceRate",
            "Dimensions": [],
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "Threshold": 0.2,
        },
    }
    assert message["OldStateValue"] in {"OK", "INSUFFICIENT_DATA"}
    assert tenant.send("user@remote.example") == 554
    eventually(
        lambda: [
            data for _, to, data in receiver.messages if to == [f"owner@{tenant.domain}"] and b"bounces" in data
        ],
        what="the mail to the contact",
    )
    # It pauses once, when it comes to ALARM: whoever resumes then sends.
    product.run("account", "resume", tenant.account)
    assert tenant.send("user@remote.example") == 250
    tenant.alarm("create", "after", "--metric", "Reputation.BounceRate", "--threshold", "100%")
    tenant.wait_state("after", "OK")  # so there was a look at the one that is still in ALARM
    assert tenant.send("user@remote.example") == 250
    # And it never resumes: not when the rate is fine again.
    product.run("account", "pause", tenant.account)
    product.run("reputation", "fresh-start", "--account", tenant.account)
    product.run("alarm", "update", "bounces", "--volume-min", "0", "--account", tenant.account)
    tenant.wait_state("bounces", "OK")
    assert tenant.send("user@remote.example") == 554
    lines = [json.loads(line) for line in (product.data_dir / "audit.jsonl").read_text().splitlines()]
    (paused,) = [
        line
        for line in lines
        if line["account"] == tenant.account
        and line["operation"] == "alarm.change"
        and line["parameters"].get("actions")
    ]
    assert (paused["caller"], paused["parameters"]["actions"]) == ("relay", ["pause-account"])


@pytest.mark.req("ALARM-002", "PAUSE-005", "PAUSE-004")
def test_an_alarm_on_a_set_pauses_it_alone_and_stays_while_its_figure_is_missing(product, tenant, hook):
    topic = tenant.topic(hook)
    sets = ("--account", tenant.account)
    for name in ("news", "bills"):
        product.run("configuration-set", "create", name, "--reputation-metrics", *sets)
    tenant.alarm("create", "news", "--metric", "Reputation.BounceRate", "--configuration-set", "news",
                 "--threshold", "0.04", "--action", "pause-configuration-set", "--topic", topic)  # fmt: skip
    tenant.take(5, 5, headers="X-SES-CONFIGURATION-SET: news\r\n")
    tenant.wait_state("news", "ALARM")
    _, message = told(hook, len(tenant.history("news")))[-1]
    assert message["NewStateValue"] == "ALARM"
    assert message["Trigger"]["Dimensions"] == [{"name": "ses:configuration-set", "value": "news"}]
    assert tenant.send("x@remote.example", headers="X-SES-CONFIGURATION-SET: news\r\n") == 554
    assert tenant.send("x@remote.example", headers="X-SES-CONFIGURATION-SET: bills\r\n") == 250
    assert tenant.send("x@remote.example") == 250
    # Without reputation metrics there is no figure; the threshold that it would be below changes nothing.
    product.run("configuration-set", "set", "news", "--no-reputation-metrics", *sets)
    shown = tenant.alarm("update", "news", "--threshold", "0.9", "--action", "")
    assert "has no reputation metrics" in shown["warnings"][0]
    tenant.alarm("create", "whole", "--metric", "Reputation.BounceRate", "--threshold", "0.9")
    tenant.wait_state("whole", "OK")  # a look at everything is over
    assert tenant.alarm("show", "news")["state"] == "ALARM"
    product.run("configuration-set", "set", "news", "--reputation-metrics", *sets)
    tenant.wait_state("news", "OK")


@pytest.mark.req("ALARM-004", "PAUSE-005")
def test_a_test_runs_actions_and_the_next_look_returns_to_what_is_true(product, tenant, hook):
    topic = tenant.topic(hook)
    tenant.alarm("create", "drill", "--metric", "Reputation.ComplaintRate", "--threshold", "0.0009", "--topic", topic,
                 "--action", "pause-account")  # fmt: skip
    assert tenant.send("success@simulator.relay.example") == 250
    tenant.wait_state("drill", "OK")
    done = tenant.alarm("set-state", "drill", "ALARM", "--reason", "a drill")
    assert (done["state"], done["oldState"], done["done"]) == ("ALARM", "OK", ["pause-account"])
    assert tenant.send("x@remote.example") == 554
    tenant.wait_state("drill", "OK")
    assert tenant.send("x@remote.example") == 554  # resuming is never automatic
    changes = [(one["OldStateValue"], one["NewStateValue"]) for one in tenant.history("drill")]
    assert changes == [("INSUFFICIENT_DATA", "OK"), ("OK", "ALARM"), ("ALARM", "OK")]
    heard = [message for _, message in told(hook, 3)]
    assert [(one["OldStateValue"], one["NewStateValue"]) for one in heard] == changes
    assert heard[1]["NewStateReason"] == "a drill"
    eventually(lambda: all(one["told"] == "published" for one in tenant.history("drill")))
    product.run("account", "resume", tenant.account)
    assert tenant.send("x@remote.example") == 250


@pytest.mark.req("ALARM-004", "ALARM-002")
def test_a_test_without_any_figure_is_over_with_the_next_look(tenant):
    tenant.alarm("create", "drill", "--metric", "Reputation.BounceRate", "--threshold", "1%")
    tenant.alarm("set-state", "drill", "ALARM", "--reason", "a drill")
    tenant.wait_state("drill", "INSUFFICIENT_DATA")
    assert [one["NewStateValue"] for one in tenant.history("drill")] == ["ALARM", "INSUFFICIENT_DATA"]


@pytest.mark.req("PAUSE-005")
def test_a_function_that_hears_the_topic_pauses_as_well(product, tenant):
    product.run("configuration-set", "create", "news", "--account", tenant.account)

    def function(request):
        body = json.loads(request.body)
        if body["Type"] == "Notification" and json.loads(body["Message"])["NewStateValue"] == "ALARM":
            product.run("configuration-set", "set", "news", "--no-sending", "--account", tenant.account)
        return Answer()

    with Webhook(function) as hook:
        topic = tenant.topic(hook)
        tenant.alarm("create", "any", "--metric", "Reputation.BounceRate", "--threshold", "1%", "--topic", topic)
        tenant.alarm("set-state", "any", "ALARM", "--reason", "a drill")
        told(hook, 1)
        news = {"headers": "X-SES-CONFIGURATION-SET: news\r\n"}
        eventually(lambda: tenant.send("x@remote.example", **news) != 250, what="the pause of the set")
    assert tenant.send("x@remote.example") == 250


@pytest.mark.req("ALARM-003")
@pytest.mark.parametrize("victim", ["relay-office", "relay-events"])
def test_a_change_is_told_whatever_dies(product, tenant, hook, victim):
    topic = tenant.topic(hook)
    tenant.alarm("create", "any", "--metric", "Reputation.BounceRate", "--threshold", "1%", "--topic", topic)
    pid = product.children()[victim]
    tenant.alarm("set-state", "any", "ALARM", "--reason", "a drill")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: product.children().get(victim) not in {None, pid}, what="another process")
    assert told(hook, 2)[0][1]["NewStateReason"] == "a drill"
    eventually(lambda: all(one["told"] == "published" for one in tenant.history("any")))


@pytest.mark.req("ALARM-003")
def test_a_change_that_was_published_and_not_noted_is_published_once(receiver):
    """The office dies when the topic has the change, and the catalog does not say so yet."""
    with Product(receiver.port, **{**SETTINGS, "alarms": {"every": "60s"}}) as product:  # only changes of ours
        tenant = Tenant(product)
        topic = product.json("topic", "create", "alarms", "--account", tenant.account)["topicArn"]
        product.run("topic", "subscribe", topic, "sqs", "heard", "--account", tenant.account)
        heard = product.data_dir / "queues" / tenant.account / "heard.jsonl"
        tenant.alarm("create", "any", "--metric", "Reputation.BounceRate", "--threshold", "1%", "--topic", topic)
        pids = product.children()
        os.kill(pids["relay-events"], signal.SIGSTOP)
        try:
            tenant.alarm("set-state", "any", "ALARM", "--reason", "a drill")
            with contextlib.closing(sqlite3.connect(product.data_dir / "catalog.db", timeout=30)) as catalog:
                catalog.isolation_level = None
                catalog.execute("BEGIN IMMEDIATE")  # nobody else writes until it is closed
                os.kill(pids["relay-events"], signal.SIGCONT)
                eventually(lambda: heard.exists() and heard.read_text().endswith("\n"), what="the message")
                os.kill(pids["relay-office"], signal.SIGKILL)
                eventually(lambda: product.children().get("relay-office") not in {None, pids["relay-office"]})
        finally:
            os.kill(pids["relay-events"], signal.SIGCONT)

        def reasons():
            return [
                json.loads(json.loads(one)["Message"])["NewStateReason"] for one in heard.read_text().splitlines()
            ]

        eventually(lambda: "The test is over" in reasons()[-1], what="the change after it, which is told in order")
        assert reasons().count("a drill") == 1


def test_a_topic_that_is_gone_or_not_ones_own_is_noted(product, tenant, hook):
    topic = tenant.topic(hook)
    tenant.alarm("create", "gone", "--metric", "Reputation.BounceRate", "--threshold", "1%", "--topic", topic)
    foreign = Tenant(product)
    foreign.alarm("create", "foreign", "--metric", "Reputation.BounceRate", "--threshold", "1%", "--topic", topic)
    product.run("topic", "delete", topic)
    tenant.alarm("set-state", "gone", "ALARM", "--reason", "a drill")
    foreign.alarm("set-state", "foreign", "ALARM", "--reason", "a drill")
    eventually(lambda: tenant.history("gone")[0]["told"] == "refused")
    eventually(lambda: foreign.history("foreign")[0]["told"] == "refused")
    eventually(lambda: product.metric('relay_alarm_messages_total{told="refused"}') >= 2)


@pytest.mark.req("PAUSE-006")
def test_a_pause_that_comes_after_enforcement_is_warned_of(product, tenant):
    common = ("--metric", "Reputation.BounceRate", "--action", "pause-account")
    made = tenant.alarm("create", "late", *common, "--threshold", "5%")
    assert "is not below 5.00%" in made["warnings"][0]
    assert tenant.alarm("update", "late", "--threshold", "4.9%")["warnings"] == []
    done = product.run("alarm", "update", "late", "--threshold", "0.1", "--account", tenant.account)
    assert "Warning: It pauses at 10.00%, which is not below 10.00%" in done.stderr
    assert "which is not below" in product.run("alarm", "show", "late", "--account", tenant.account).stderr
    assert tenant.alarm("create", "mere", *common[:2], "--threshold", "50%")["warnings"] == []


def test_other_figures_listings_and_the_lag_of_events(tenant):
    tenant.alarm("create", "listed", "--metric", "DNSBL.ListedAddresses", "--threshold", "1")
    tenant.alarm("create", "outlook", "--metric", "SNDS.SpamRate", "--threshold", "1")
    tenant.alarm("create", "lag", "--metric", "Events.LagSeconds", "--threshold", "600")
    tenant.alarm("create", "any", "--metric", "Reputation.BounceRate", "--threshold", "1%")
    tenant.send("success@simulator.relay.example")
    tenant.wait_state("any", "OK")
    assert tenant.alarm("show", "listed")["state"] == "INSUFFICIENT_DATA"  # nobody looks at lists here
    assert tenant.alarm("show", "outlook")["state"] == "INSUFFICIENT_DATA"
    tenant.wait_state("lag", "OK")


def test_commands_list_change_and_delete_and_say_what_is_wrong(product, tenant):
    account = ("--account", tenant.account)
    tenant.alarm("create", "b", "--metric", "Reputation.BounceRate", "--threshold", "5%", "--description", "x")
    tenant.alarm("create", "a", "--metric", "Events.LagSeconds", "--threshold", "600")
    assert [one["alarm"] for one in product.rows("alarm", "list", *account)] == ["a", "b"]
    assert {"a", "b"} <= {one["alarm"] for one in product.rows("alarm", "list") if one["account"] == tenant.account}
    table = product.run("alarm", "list", *account).stdout
    assert table.splitlines()[0].split() == [
        "Account",
        "Alarm",
        "State",
        "Metric",
        "Set",
        "Threshold",
        "Does",
        "Since",
    ]
    assert "0.05 (5.00%)" in table
    assert ">= 600" in product.run("alarm", "show", "a", *account).stdout
    assert tenant.alarm("update", "b", "--description", "")["description"] is None
    refused = {
        ("create", "b", "--metric", "Reputation.BounceRate", "--threshold", "5%"): "has an alarm b already",
        ("create", "c", "--metric", "Reputation.Bounces", "--threshold", "5%"): "there are Reputation.BounceRate",
        ("create", "c", "--metric", "Reputation.BounceRate", "--threshold", "5"): "at most 1",
        ("create", "c", "--metric", "Reputation.BounceRate", "--threshold", "much"): "write one as 0.05",
        ("create", "c", "--metric", "Events.LagSeconds", "--threshold", "0"): "above 0",
        ("create", "c", "--metric", "Events.LagSeconds", "--threshold", "9", "--topic", "none"): "does not exist",
        ("create", "c", "--metric", "Events.LagSeconds", "--threshold", "9", "--action", "stop"): "pause-account",
        ("create", "c", "--metric", "Reputation.BounceRate", "--threshold", "1%", "--action",
         "pause-configuration-set"): "--configuration-set",
        ("create", "c", "--metric", "Reputation.BounceRate", "--threshold", "1%", "--configuration-set", "no"):
            "has no configuration set no",
        ("set-state", "b", "BROKEN", "--reason", "x"): "INSUFFICIENT_DATA",
        ("set-state", "b", "ALARM", "--reason", " "): "A reason has",
        ("show", "c"): "has no alarm c",
        ("history", "c"): "has no alarm c",
        ("delete", "c"): "has no alarm c",
    }  # fmt: skip
    for command, word in refused.items():
        done = product.run("alarm", *command, *account, check=False)
        assert done.returncode != 0, command
        assert word in done.stderr, (command, done.stderr)
    assert tenant.alarm("delete", "b")["deleted"]
    assert [one["alarm"] for one in product.rows("alarm", "list", *account)] == ["a"]
