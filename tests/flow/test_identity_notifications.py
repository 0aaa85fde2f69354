"""Notifications of bounces, complaints and deliveries to topics of identities, from outside."""

import json
import sqlite3
from contextlib import closing

import pytest

from tests.flow.test_feedback_mail import arf, report
from tests.product import Product, Receiver, eventually
from tests.shapes import faults

ARN = "arn:aws:sns:local-1:000000000001:{}"
OTHER = "000000000002"
KINDS = ("bounce", "complaint", "delivery")


def notification_faults(one):
    return faults(one, f"Notification {one['notificationType']}")


def answer(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" and "nobody" in line else None


@pytest.fixture(scope="module")
def receiver():
    with Receiver(answer=answer) as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port) as made:
        made.run("account", "contact", made.account, "owner@example.com")
        yield made


def queue(product, topic, account="000000000001"):
    """Make a topic with a local queue of the same name."""
    product.run("topic", "create", topic, "--account", account)
    product.run("topic", "subscribe", topic, "sqs", topic, "--raw", "--account", account)


def lines(product, topic, account="000000000001"):
    path = product.data_dir / "queues" / account / f"{topic}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def told(product, topic, message_id, account="000000000001"):
    """Return the notifications about a message, once there are any."""
    return eventually(
        lambda: [one for one in lines(product, topic, account) if one["mail"]["messageId"] == message_id],
        what=f"a notification in {topic} of {message_id}",
    )


def chosen(product, identity, *words, check=True):
    return product.run("identity", "notifications", "set", identity, *words, check=check)


def identity(product, name):
    product.run("identity", "create", name)
    product.run("identity", "verify", "--force", name)


def send(product, recipient, sender, headers=""):
    """Submit a message from an address; return its id."""
    text = f"From: App <{sender}>\r\nTo: {recipient}\r\nSubject: A test\r\n{headers}\r\nHello\r\n"
    client = product.client()
    client.ehlo_or_helo_if_needed()
    try:
        assert client.mail(sender)[0] == 250
        assert client.rcpt(recipient)[0] == 250
        code, reply = client.data(text.encode())
        assert code == 250, reply
    finally:
        client.quit()
    return reply.decode().split()[-1]


def left(receiver, recipient):
    return eventually(lambda: [m for m in receiver.messages if m[1] == [recipient]])[0]


@pytest.mark.req("NOTIF-001", "NOTIF-003", "NOTIF-010", "NOTIF-011", "NOTIF-012", "NOTIF-014", "TAG-006")
def test_each_kind_goes_to_its_topic_once_and_without_tags(product, receiver):
    for kind in KINDS:
        queue(product, f"all-{kind}")
    identity(product, "told.example")
    words = [word for kind in KINDS for word in (f"--{kind}-topic", f"all-{kind}")]
    chosen(product, "told.example", *words, "--headers", "delivery")
    shown = product.json("identity", "notifications", "show", "told.example")
    assert [shown[f"{kind.title()}Topic"] for kind in KINDS] == [ARN.format(f"all-{kind}") for kind in KINDS]

    headers = "X-SES-MESSAGE-TAGS: campaign=spring\r\nX-Own: kept\r\n"
    message_id = send(product, "friend@remote.example", "app@told.example", headers)
    (delivery,) = told(product, "all-delivery", message_id)
    assert not notification_faults(delivery)
    assert delivery["notificationType"] == "Delivery"
    assert delivery["delivery"]["remoteMtaIp"] == "127.0.0.1"
    assert {"name": "X-Own", "value": "kept"} in delivery["mail"]["headers"]
    assert delivery["mail"]["sourceIp"] == "127.0.0.1"
    assert delivery["mail"]["callerIdentity"]
    assert "tags" not in delivery["mail"]

    bounced = send(product, "nobody@remote.example", "app@told.example")
    (bounce,) = told(product, "all-bounce", bounced)
    assert not notification_faults(bounce)
    assert bounce["bounce"]["remoteMtaIp"] == "127.0.0.1"
    assert bounce["bounce"]["bouncedRecipients"][0]["emailAddress"] == "nobody@remote.example"
    assert not {"headers", "commonHeaders", "headersTruncated", "tags"} & set(bounce["mail"])
    mails = eventually(
        lambda: [m for m in receiver.messages if m[1] == ["app@told.example"]]
    )  # forwarding is on: both
    assert len(mails) == 1  # and the delivery before it was not mailed
    assert b"nobody@remote.example" in mails[0][2]

    path, _, content = left(receiver, "friend@remote.example")
    report(product, arf(f"Return-Path: <{path}>\r\n".encode() + content))
    (complaint,) = told(product, "all-complaint", message_id)
    assert not notification_faults(complaint)
    assert complaint["complaint"]["complainedRecipients"] == [{"emailAddress": "friend@remote.example"}]

    chosen(product, "told.example", "--bounce-topic", "none")  # the other kinds stay
    quiet = send(product, "nobody@remote.example", "app@told.example")
    later = send(product, "later@remote.example", "app@told.example")
    told(product, "all-delivery", later)
    assert not [one for one in lines(product, "all-bounce") if one["mail"]["messageId"] == quiet]


@pytest.mark.req("NOTIF-014")
def test_a_bounce_that_no_server_said_names_no_server(product):
    queue(product, "local-bounces")
    identity(product, "local.example")
    chosen(product, "local.example", "--bounce-topic", "local-bounces")
    product.run("configuration-set", "create", "careful", "--suppressed-reasons", "BOUNCE")
    product.run("suppression", "add", "known-bad@remote.example", "--reason", "BOUNCE")
    headers = "X-SES-CONFIGURATION-SET: careful\r\n"
    message_id = send(product, "known-bad@remote.example", "app@local.example", headers)
    (bounce,) = told(product, "local-bounces", message_id)
    assert not notification_faults(bounce)
    assert "remoteMtaIp" not in bounce["bounce"]


@pytest.mark.req("NOTIF-010")
def test_an_address_of_its_own_is_no_part_of_its_domain(product):
    for topic in ("of-domain", "of-address"):
        queue(product, topic)
    identity(product, "both.example")
    identity(product, "own@both.example")
    chosen(product, "both.example", "--delivery-topic", "of-domain")
    chosen(product, "own@both.example", "--delivery-topic", "of-address")
    of_address = send(product, "a@remote.example", "own@both.example")
    of_domain = send(product, "b@remote.example", "else@both.example")
    told(product, "of-address", of_address)
    told(product, "of-domain", of_domain)
    assert [one["mail"]["source"] for one in lines(product, "of-domain")] == ["else@both.example"]
    assert [one["mail"]["source"] for one in lines(product, "of-address")] == ["own@both.example"]


@pytest.mark.req("TOPIC-001", "TOPIC-002", "TOPIC-003", "TOPIC-004", "TOPIC-142")
def test_a_topic_is_looked_at_when_it_is_chosen(product):
    identity(product, "choosy.example")
    queue(product, "good")
    product.run("account", "create", OTHER)
    product.run("topic", "create", "foreign", "--account", OTHER)
    foreign = f"arn:aws:sns:local-1:{OTHER}:foreign"
    for topic in ("missing", "good.fifo", "arn:aws:sns:elsewhere-1:000000000001:good", foreign, "arn:aws:sns:x"):
        done = chosen(product, "choosy.example", "--delivery-topic", "good", "--bounce-topic", topic, check=False)
        assert done.returncode
        assert "InvalidParameterValue" in done.stderr
    assert not product.json("identity", "notifications", "show", "choosy.example")["DeliveryTopic"]  # all or nothing
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "ses.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": foreign,
        "Condition": {
            "StringEquals": {
                "AWS:SourceAccount": "000000000001",
                "AWS:SourceArn": "arn:aws:ses:local-1:000000000001:identity/choosy.example",
            }
        },
    }
    policy = product.directory / "policy.json"
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    product.run("topic", "set", foreign, "--policy", str(policy), "--account", OTHER)
    chosen(product, "choosy.example", "--bounce-topic", foreign)
    identity(product, "another.example")  # the policy names one identity only
    assert chosen(product, "another.example", "--bounce-topic", foreign, check=False).returncode


@pytest.mark.req("NOTIF-015")
def test_a_topic_that_is_gone_is_unset_mailed_instead_and_told(product, receiver):
    queue(product, "passing")
    for name in ("lost.example", "waits.example"):
        identity(product, name)
        chosen(product, name, "--no-forwarding", "--bounce-topic", "passing", "--delivery-topic", "passing")
    product.run("topic", "delete", "passing")

    send(product, "friend@remote.example", "app@lost.example")  # a delivery changes nothing
    message_id = send(product, "nobody@remote.example", "app@lost.example")
    shown = eventually(
        lambda: (
            (found := product.json("identity", "notifications", "show", "lost.example"))["BounceTopic"] is None
            and found
        )
    )
    assert shown["ForwardingEnabled"] is True
    assert shown["DeliveryTopic"] == ARN.format("passing")
    mail = eventually(lambda: [m for m in receiver.messages if m[1] == ["owner@example.com"]])[-1][2]
    assert b"lost.example" in mail
    assert b"passing" in mail
    assert message_id.encode() in mail
    other = product.json("identity", "notifications", "show", "waits.example")
    assert other["BounceTopic"] == ARN.format("passing")
    assert other["ForwardingEnabled"] is False

    send(product, "nobody2@remote.example", "app@lost.example")
    eventually(lambda: [m for m in receiver.messages if m[1] == ["app@lost.example"]])


@pytest.mark.req("NOTIF-015", "TOPIC-142")
def test_a_permission_that_is_taken_back_counts_as_gone(product):
    queue(product, "denied")
    identity(product, "denied.example")
    chosen(product, "denied.example", "--bounce-topic", "denied")
    arn = ARN.format("denied")
    statement = {"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": arn}
    policy = product.directory / "deny.json"
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    product.run("topic", "set", "denied", "--policy", str(policy))
    send(product, "nobody@remote.example", "app@denied.example")
    eventually(
        lambda: product.json("identity", "notifications", "show", "denied.example")["BounceTopic"] is None,
    )
    assert not lines(product, "denied")


@pytest.mark.req("NOTIF-015")
def test_the_queue_waits_while_a_lost_topic_cannot_be_unset(product):
    """Feedback counts as routed only after the catalog says that its topic is given up."""
    queue(product, "held")
    identity(product, "held.example")
    chosen(product, "held.example", "--bounce-topic", "held")
    product.run("topic", "delete", "held")
    with closing(sqlite3.connect(product.data_dir / "catalog.db", timeout=10)) as catalog:
        catalog.execute("BEGIN IMMEDIATE")  # nobody else writes
        message_id = send(product, "nobody@remote.example", "app@held.example")
        eventually(lambda: [e for e in product.events("Bounce") if e["mail"]["messageId"] == message_id])
        assert product.json("identity", "notifications", "show", "held.example")["BounceTopic"]
        catalog.rollback()
    eventually(lambda: product.json("identity", "notifications", "show", "held.example")["BounceTopic"] is None)


@pytest.mark.req("NOTIF-018")
def test_a_message_is_looked_up_by_its_own_message_id(product, receiver):
    queue(product, "looked-up")
    identity(product, "lookup.example")
    chosen(product, "lookup.example", "--bounce-topic", "looked-up")
    own = "Message-ID: <order-17.a+b@shop.lookup.example>\r\n"
    message_id = send(product, "nobody@remote.example", "app@lookup.example", own)
    told(product, "looked-up", message_id)

    def traced(name):
        found = product.json("trace", name)
        return found["deliveries"][0]["state"] == "bounced" and len(found["events"]) == 2 and found

    for name in ("<order-17.a+b@shop.lookup.example>", "order-17.a+b@shop.lookup.example", message_id):
        found = eventually(lambda name=name: traced(name))
        assert found["messageId"] == message_id
        assert found["deliveries"][0]["recipient"] == "nobody@remote.example"
        assert {"Send", "Bounce"} == {one["type"] for one in found["events"]}
    (row,) = product.rows("messages", "search", "--message-id", "<order-17.a+b@shop.lookup.example>")
    assert row["messageId"] == message_id
    assert product.run("trace", "<order-18@shop.lookup.example>", check=False).returncode
    assert not product.rows("messages", "search", "--message-id", "order-17")

    delivered = send(product, "reader@remote.example", "app@lookup.example", own)
    data = left(receiver, "reader@remote.example")[2]
    shown = next(line for line in data.split(b"\r\n") if line.lower().startswith(b"message-id:"))
    assert product.json("trace", shown.decode().partition(":")[2].strip())["messageId"] == delivered


@pytest.mark.req("NOTIF-009")
def test_whether_a_set_tells_bounces_decides_about_mail_where_forwarding_is_off(product, receiver):
    queue(product, "set-bounces")
    identity(product, "decides.example")
    chosen(product, "decides.example", "--no-forwarding")
    for name, types in (("tells", "BOUNCE"), ("silent", "DELIVERY"), ("off", "BOUNCE")):
        product.run("configuration-set", "create", name)
        product.run("event-destination", "create", name, "told", "--types", types, "--topic", "set-bounces")
    product.run("event-destination", "disable", "off", "told")

    def bounce_with(name):
        headers = f"X-SES-CONFIGURATION-SET: {name}\r\n" if name else ""
        return send(product, f"nobody-{name}@remote.example", "app@decides.example", headers)

    def mailed():
        return {name for name in ("tells", "silent", "off", "") for m in receiver.messages
                if m[1] == ["app@decides.example"] and f"nobody-{name}@remote.example".encode() in m[2]}  # fmt: skip

    told_id = bounce_with("tells")
    eventually(lambda: [e for e in product.events("Bounce") if e["mail"]["messageId"] == told_id])
    for name in ("silent", "off", ""):
        bounce_with(name)
    eventually(lambda: len(mailed()) >= 3)
    assert mailed() == {"silent", "off", ""}


@pytest.mark.req("EVT-027", "NOTIF-012")
def test_who_is_listed_for_a_complaint_is_told_as_one(product):
    queue(product, "listed")
    identity(product, "listed.example")
    chosen(product, "listed.example", "--complaint-topic", "listed", "--headers", "complaint")
    product.run("configuration-set", "create", "minds", "--suppressed-reasons", "COMPLAINT")
    product.run("suppression", "add", "angry@remote.example", "--reason", "COMPLAINT")
    headers = "X-SES-CONFIGURATION-SET: minds\r\n"
    message_id = send(product, "angry@remote.example", "app@listed.example", headers)
    (complaint,) = told(product, "listed", message_id)
    assert not notification_faults(complaint)
    assert complaint["complaint"]["complaintSubType"] == "OnAccountSuppressionList"
    assert complaint["mail"]["commonHeaders"]["subject"] == "A test"


@pytest.mark.req("EVT-007", "NOTIF-012")
def test_large_headers_are_cut_and_say_so(product):
    queue(product, "large")
    identity(product, "large.example")
    chosen(product, "large.example", "--delivery-topic", "large", "--headers", "delivery")
    headers = "".join(f"X-Large-{number}: {'y' * 900}\r\n" for number in range(20))
    message_id = send(product, "large@remote.example", "app@large.example", headers)
    (delivery,) = told(product, "large", message_id)
    assert not notification_faults(delivery)
    mail = delivery["mail"]
    assert mail["headersTruncated"] is True
    names = [one["name"] for one in mail["headers"]]
    assert names[:4] == ["From", "To", "Subject", "X-Large-0"]
    assert "X-Large-19" not in names
    assert sum(len(one["name"]) + len(one["value"]) for one in mail["headers"]) < 10 * 1024
