"""`relay topic`: what commands make, show and refuse (TOPIC-001 to 006, 120 to 125, 135 to 151)."""

import contextlib
import json
import sqlite3
import time

import pytest
import yaml

from tests.commands import run_command
from tests.product import copy_of_template

ACCOUNT = "000000000001"
TOPIC = "arn:aws:sns:local-1:000000000001:bounces"
DAY_MS = 86_400_000


class Site:
    """A relay that is not running."""

    def __init__(self, directory):
        copy_of_template(directory, "example.com")
        self.config = directory / "relay.yaml"
        self.data_dir = directory / "data"
        values = yaml.safe_load(self.config.read_text())
        values["topics"] = {"private_networks": ["10.9.0.0/16"], "retry_delays_max": "2h"}
        self.config.write_text(yaml.safe_dump(values))

    def run(self, *arguments, code=0, input_text=None):
        done = run_command(["topic", *arguments, "-c", str(self.config)], input_text=input_text)
        assert done.returncode == code, f"{done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "--json", **options))

    def rows(self, *arguments):
        return [json.loads(line) for line in self.run(*arguments, "--json").splitlines()]

    def in_catalog(self, statement, *values):
        with contextlib.closing(sqlite3.connect(self.data_dir / "catalog.db", timeout=10)) as file, file:
            return file.execute(statement, values).fetchall()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.mark.req("TOPIC-150", "TOPIC-151")
def test_topics_are_made_listed_shown_and_deleted(site):
    assert site.json("create", "bounces") == {"topicArn": TOPIC, "created": True}
    assert site.json("create", "bounces") == {"topicArn": TOPIC, "created": False}
    assert "different attributes" in site.run("create", "bounces", "--display-name", "X", code=64)
    assert site.run("set", "bounces", "--display-name", "Bounces").strip()
    shown = site.json("show", TOPIC)
    assert shown.pop("created")
    effective = json.loads(shown.pop("EffectiveDeliveryPolicy"))
    assert effective["http"]["defaultHealthyRetryPolicy"] == {
        "minDelayTarget": 20,
        "maxDelayTarget": 20,
        "numRetries": 3,
        "numMaxDelayRetries": 0,
        "numNoDelayRetries": 0,
        "numMinDelayRetries": 0,
        "backoffFunction": "linear",
    }
    assert shown == {
        "TopicArn": TOPIC,
        "Owner": ACCOUNT,
        "DisplayName": "Bounces",
        "SubscriptionsConfirmed": "0",
        "SubscriptionsPending": "0",
        "SubscriptionsDeleted": "0",
        "SignatureVersion": "1",
    }
    site.run("create", "alarms")
    assert [row["topicArn"].rpartition(":")[2] for row in site.rows("list")] == ["alarms", "bounces"]
    assert site.json("delete", "alarms")["deleted"]
    assert not site.json("delete", "alarms")["deleted"]
    assert "NotFound: Topic does not exist" in site.run("show", "alarms", code=64)
    assert "Bounces" in site.run("show", "bounces")


@pytest.mark.req("TOPIC-002")
def test_a_policy_is_put_written_and_removed(site):
    site.run("create", "bounces")
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "ses.amazonaws.com"},
        "Action": "SNS:Publish",
        "Resource": TOPIC,
        "Condition": {"StringEquals": {"AWS:SourceAccount": "000000000002"}},
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    site.run("policy", "bounces", "-", input_text=text)
    assert site.run("policy", "bounces").strip() == text
    assert site.json("show", "bounces")["Policy"] == text
    broken = text.replace("SNS:Publish", "ses:SendEmail")
    assert 'An action of a topic is "sns:"' in site.run("policy", "bounces", "-", code=64, input_text=broken)
    assert site.run("policy", "bounces").strip() == text
    site.run("policy", "bounces", "--remove")
    assert "only its own account" in site.run("policy", "bounces")


@pytest.mark.req("TOPIC-139", "TOPIC-114")
def test_secrets_are_hidden_everywhere(site, tmp_path):
    site.run("create", "bounces")
    secret = tmp_path / "secret"
    secret.write_text("a very shared secret\n")
    made = site.json(
        "subscribe", "bounces", "https", "https://user:s3cr3t@hook.example/x", "--secret-file", str(secret)
    )
    arn = made["subscriptionArn"]
    assert made["endpoint"] == "https://****:****@hook.example/x"
    assert made["sharedSecret"] is True
    told = site.run("subscriptions") + site.run("subscription", arn) + site.run("subscription", arn, "--json")
    site.run("set-subscription", arn, "--secret-file", str(secret), "--raw")
    for text in (told, (site.data_dir / "audit.jsonl").read_text()):
        assert "s3cr3t" not in text
        assert "very shared" not in text
    assert all(b"s3cr3t" not in path.read_bytes() for path in site.data_dir.glob("catalog.db*"))


@pytest.mark.req("TOPIC-135", "TOPIC-137", "TOPIC-144")
def test_attributes_are_changed_and_shown(site):
    site.run("create", "bounces")
    arn = site.json("subscribe", "bounces", "https", "https://hook.example/")["subscriptionArn"]
    site.run(
        "set-subscription", arn, "--raw", "--filter", '{"eventType":["Bounce"]}', "--filter-scope", "MessageBody",
        "--dead-letter-queue", "arn:aws:sqs:local-1:000000000001:lost",
        "--delivery-policy", '{"throttlePolicy":{"maxReceivesPerSecond":5}}',
    )  # fmt: skip
    shown = site.json("subscription", arn)
    assert shown["RawMessageDelivery"] == "true"
    assert shown["FilterPolicy"] == '{"eventType":["Bounce"]}'
    assert shown["FilterPolicyScope"] == "MessageBody"
    assert json.loads(shown["RedrivePolicy"]) == {"deadLetterTargetArn": "arn:aws:sqs:local-1:000000000001:lost"}
    assert json.loads(shown["EffectiveDeliveryPolicy"])["throttlePolicy"] == {"maxReceivesPerSecond": 5}
    assert json.loads(shown["EffectiveDeliveryPolicy"])["healthyRetryPolicy"]["numRetries"] == 3
    assert shown["PendingConfirmation"] == "true"
    site.run("set-subscription", arn, "--no-raw", "--filter", "", "--dead-letter-queue", "", "--delivery-policy", "")
    shown = site.json("subscription", arn)
    assert {"FilterPolicy", "RedrivePolicy", "DeliveryPolicy"}.isdisjoint(shown)
    assert shown["RawMessageDelivery"] == "false"


@pytest.mark.req("TOPIC-120", "TOPIC-123")
def test_an_operator_confirms_and_removes(site):
    site.run("create", "bounces")
    arn = site.json("subscribe", "bounces", "https", "https://hook.example/")["subscriptionArn"]
    assert "InvalidParameter" in site.run("confirm", "bounces", "f" * 64, code=64)
    assert site.json("confirm", arn)["state"] == "confirmed"
    assert site.json("confirm", arn)["subscriptionArn"] == arn
    assert site.json("show", "bounces")["SubscriptionsConfirmed"] == "1"
    assert site.json("unsubscribe", arn)["deleted"]
    assert site.json("show", "bounces")["SubscriptionsDeleted"] == "1"
    assert "NotFound" in site.run("unsubscribe", arn, code=64)


def test_deleting_a_topic_takes_its_subscriptions(site):
    site.run("create", "bounces")
    site.run("subscribe", "bounces", "sqs", "work")
    site.run("delete", "bounces")
    assert site.rows("subscriptions") == []


@pytest.mark.req("TOPIC-123")
def test_no_token_is_kept_in_clear(site):
    site.run("create", "bounces")
    site.run("subscribe", "bounces", "https", "https://hook.example/")
    ((kept, made_ms),) = site.in_catalog("SELECT token_hash, token_ms FROM topic_subscription")
    assert len(kept) == 32
    assert abs(made_ms - time.time() * 1000) < DAY_MS


def test_publishing_needs_a_running_relay(site):
    site.run("create", "bounces")
    assert "not running" in site.run("publish", "bounces", "hello", code=69)


@pytest.mark.req("TOPIC-112", "TOPIC-113")
def test_the_certificate_is_made_once_and_rotated_on_demand(site):
    pem = site.run("certificate")
    assert pem.startswith("-----BEGIN CERTIFICATE-----")
    first = site.json("certificate")
    assert first["url"] == f"https://relay.example/SimpleNotificationService-{first['certificate']}.pem"
    assert site.run("certificate") == pem
    second = site.json("certificate", "--rotate")
    assert second["certificate"] != first["certificate"]
    assert [one["certificate"] for one in second["retired"]] == [first["certificate"]]
    keys = site.data_dir / "keys" / "topics"
    assert {path.name for path in keys.glob("*.key")} == {"authority.key", "current.key"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys.glob("*.key"))
    assert site.run("certificate", "--authority").startswith("-----BEGIN CERTIFICATE-----")
