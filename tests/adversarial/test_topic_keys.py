"""Keys of topics are damaged: only what must be signed waits; everybody else gets what he always got."""

import json
import shutil

import pytest

from tests.product import Product, Receiver, eventually
from tests.topics import verified
from tests.webhook import Webhook

DAMAGED = "is damaged"


@pytest.fixture(scope="module")
def made():
    """A relay with a set that goes to a topic and a bus, once started, stopped."""
    with Receiver() as receiver, Webhook() as hook:
        buses = [{"name": "default", "url": hook.url, "allow_private": True}]
        product = Product(receiver.port, suppression=True, buses=buses)
        product.receiver, product.hook = receiver, hook
        product.run("configuration-set", "create", "all")
        product.run("event-destination", "create", "all", "bus", "--types", "all", "--bus", "default")
        product.topic = product.json("topic", "create", "events")["topicArn"]
        product.run("event-destination", "create", "all", "topic", "--types", "Delivery", "--topic", product.topic)
        product.run("topic", "subscribe", product.topic, "sqs", "signed")
        product.run("topic", "subscribe", product.topic, "sqs", "raw", "--raw")
        with product:
            send(product)
            eventually(lambda: len(lines(product, "signed")) == 1, 30, "a signed notification")
            product.stop()
            yield product


@pytest.fixture
def stopped(made):
    """The relay, stopped, with sound keys; put back into that state afterwards."""
    keys = made.data_dir / "keys" / "topics"
    kept = {path: path.read_bytes() for path in keys.iterdir()}
    yield made
    made.stop()
    shutil.rmtree(keys, ignore_errors=True)
    keys.mkdir(mode=0o700)
    for path, content in kept.items():
        path.write_bytes(content)


def send(product):
    return product.send(headers="X-SES-CONFIGURATION-SET: all\r\n")


def lines(product, name):
    path = product.data_dir / "queues" / product.account / f"{name}.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def told(product, since):
    return [line for line in product.log_text()[since:].splitlines() if DAMAGED in line and '"level":"error"' in line]


def look(product):
    """Return what `relay doctor` says about keys of topics."""
    return [row for row in product.rows("doctor", check=False) if row["check"] == "topic keys"]


@pytest.mark.parametrize("name", ["state.json", "authority.key"])
def test_damaged_keys_let_signed_notifications_wait_and_nothing_else(stopped, name):
    path = stopped.data_dir / "keys" / "topics" / name
    kept, since = path.read_bytes(), len(stopped.log_text())
    signed, raw = len(lines(stopped, "signed")), len(lines(stopped, "raw"))
    path.write_bytes(b"noise")
    if name != "state.json":  # read when a certificate is made, so one has to be
        (stopped.data_dir / "keys" / "topics" / "current.key").unlink()
    stopped.start()
    events = stopped.children()["relay-events"]
    message_ids = [send(stopped) for _ in range(3)]
    for message_id in message_ids:
        eventually(lambda one=message_id: any(one in json.dumps(e) for e in stopped.events("Delivery")), 30, "events")
        eventually(lambda one=message_id: any(one.encode() in body for body in stopped.hook.bodies()), 30, "a bus")
        found = ("events", "search", "--message", message_id)
        eventually(lambda one=found: "Delivery" in stopped.run(*one, check=False).stdout, 30, "the archive")
    eventually(lambda: len(lines(stopped, "raw")) == raw + 3, 30, "notifications without a signature")
    published = stopped.json("topic", "publish", stopped.topic, "by hand")["messageId"]
    assert [str(path) in line for line in eventually(lambda: told(stopped, since))] == [True]
    (row,) = look(stopped)
    assert row["result"] == "error"
    assert str(path) in row["detail"]
    assert "backup" in row["next"]
    assert len(lines(stopped, "signed")) == signed
    path.write_bytes(kept)
    fresh = eventually(lambda: len(lines(stopped, "signed")) >= signed + 4 and lines(stopped, "signed")[signed:], 60)
    certificate = stopped.run("topic", "certificate").stdout.encode()
    bodies = [verified(line.encode(), certificate) for line in fresh]
    assert [one["MessageId"] for one in bodies if one["Message"] == "by hand"] == [published]
    assert all(any(one in body["Message"] for body in bodies) for one in message_ids)
    assert len(told(stopped, since)) == 1
    assert look(stopped)[0]["result"] == "ok"
    assert stopped.children()["relay-events"] == events


def test_damage_that_shows_while_it_runs_lets_the_key_in_use_go_on(stopped):
    path = stopped.data_dir / "keys" / "topics" / "state.json"
    kept = path.read_bytes()
    stopped.start()
    signed, since = len(lines(stopped, "signed")), len(stopped.log_text())
    path.write_bytes(b"{}")
    eventually(lambda: told(stopped, since), 30, "a line in the log")
    stopped.run("topic", "publish", stopped.topic, "goes on")
    fresh = eventually(lambda: lines(stopped, "signed")[signed:], 30, "a signed notification")
    path.write_bytes(kept)
    verified(fresh[0].encode(), stopped.run("topic", "certificate").stdout.encode())
    assert len(told(stopped, since)) == 1


def test_without_a_backup_a_new_certificate_signs_what_waited(stopped):
    keys = stopped.data_dir / "keys" / "topics"
    before = json.loads((keys / "state.json").read_text())["current"]
    (keys / "state.json").write_bytes(b"noise")
    stopped.start()
    signed = len(lines(stopped, "signed"))
    stopped.run("topic", "publish", stopped.topic, "waits")
    eventually(lambda: look(stopped)[0]["result"] == "error", 30)
    shutil.rmtree(keys)
    (line,) = eventually(lambda: lines(stopped, "signed")[signed:], 60, "a signed notification")
    fields = verified(line.encode(), stopped.run("topic", "certificate").stdout.encode())
    assert fields["Message"] == "waits"
    assert before not in fields["SigningCertURL"]
