"""Topics from outside: a running relay, real consumers, links that are visited, mail that is read."""

import contextlib
import email
import email.policy
import json
import os
import re
import signal
import sqlite3
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.authority import Certificate, authority, server_context
from tests.consumer import Answer, Webhook
from tests.product import Product, Receiver, eventually, free_ports
from tests.topics import verified

XMLNS = "{http://sns.amazonaws.com/doc/2010-03-31/}"
TOPIC = "arn:aws:sns:local-1:000000000001:{}"


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    made = authority()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_bytes(made.pem())
    return made, str(path)


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver, trusted):
    (port,) = free_ports(1)
    listeners = ({"kind": "http", "address": "127.0.0.1", "port": port},)
    settings = {
        "http": {"public_url": f"http://127.0.0.1:{port}"},
        "topics": {"private_networks": ["127.0.0.1/32"], "ca_file": trusted[1]},
    }
    with Product(receiver.port, listeners=listeners, **settings) as made:
        made.url = settings["http"]["public_url"]
        yield made


def create(product, name):
    product.run("topic", "create", name)
    return TOPIC.format(name)


def subscribe(product, topic, protocol, endpoint, *options):
    return product.json("topic", "subscribe", topic, protocol, endpoint, *options)["subscriptionArn"]


def publish(product, topic, message, *options):
    return product.json("topic", "publish", topic, message, *options)["messageId"]


def awaited(hook, count, timeout_seconds=30):
    return eventually(
        lambda: len(hook.requests) >= count and hook.requests[:count], timeout_seconds, f"post number {count}"
    )


def confirmed(hook, number=1):
    """Visit the SubscribeURL of the newest question; return the ARN that is answered."""
    asked = json.loads(awaited(hook, number)[-1].body)
    assert asked["Type"] == "SubscriptionConfirmation"
    answer = httpx.get(asked["SubscribeURL"])
    assert answer.status_code == 200, answer.text
    root = ET.fromstring(answer.text)
    assert root.tag == f"{XMLNS}ConfirmSubscriptionResponse"
    assert root.findtext(f"{XMLNS}ResponseMetadata/{XMLNS}RequestId")
    return root.findtext(f"{XMLNS}ConfirmSubscriptionResult/{XMLNS}SubscriptionArn")


def fault(answer):
    root = ET.fromstring(answer.text)
    assert root.tag == f"{XMLNS}ErrorResponse"
    return answer.status_code, root.findtext(f"{XMLNS}Error/{XMLNS}Code")


def in_catalog(product, statement, *values):
    with contextlib.closing(sqlite3.connect(product.data_dir / "catalog.db", timeout=10)) as file, file:
        return file.execute(statement, values).fetchall()


@pytest.mark.req(
    "TOPIC-006",
    "TOPIC-007",
    "TOPIC-102",
    "TOPIC-111",
    "TOPIC-112",
    "TOPIC-120",
    "TOPIC-122",
    "TOPIC-123",
    "TOPIC-130",
)
@pytest.mark.parametrize("version", ["1", "2"])
def test_a_consumer_over_tls_from_handshake_to_notification(product, trusted, tmp_path, version):
    topic = create(product, f"tls{version}")
    product.run("topic", "set", topic, "--signature-version", version)
    context = server_context(Certificate(["localhost"], trusted[0]), tmp_path)
    with Webhook(context=context) as hook:
        arn = subscribe(product, topic, "https", f"https://localhost:{hook.port}/sns")
        awaited(hook, 1)
        publish(product, topic, "before it is confirmed")
        assert confirmed(hook) == arn
        assert confirmed(hook) == arn  # a second visit says the same
        key = publish(product, topic, "hello", "--subject", "A subject", "--attribute", "store=x")
        request = awaited(hook, 2)[-1]
    pem = httpx.get(json.loads(request.body)["SigningCertURL"])
    assert pem.status_code == 200
    fields = verified(request.body, pem.content)
    assert (fields["MessageId"], fields["Message"], fields["Subject"]) == (key, "hello", "A subject")
    assert fields["SignatureVersion"] == version
    assert fields["MessageAttributes"] == {"store": {"Type": "String", "Value": "x"}}
    assert hook.requests[0].sni == "localhost"
    verified(hook.requests[0].body, pem.content)
    body = tmp_path / "body.json"
    body.write_bytes(request.body)
    assert product.json("topic", "verify", str(body)) == {"valid": True, "reason": None}
    body.write_bytes(request.body.replace(b"hello", b"hallo"))
    assert product.run("topic", "verify", str(body), check=False).returncode == 65


@pytest.mark.req("TOPIC-103", "TOPIC-125")
def test_an_endpoint_unsubscribes_by_its_link_and_takes_it_back(product):
    topic = create(product, "leave")
    with Webhook() as hook:
        arn = subscribe(product, topic, "http", f"http://127.0.0.1:{hook.port}/")
        confirmed(hook)
        publish(product, topic, "one")
        link = json.loads(awaited(hook, 2)[-1].body)["UnsubscribeURL"]
        assert httpx.head(link).status_code == 200  # changes nothing
        assert product.json("topic", "subscription", arn)["state"] == "confirmed"
        answer = httpx.get(link)
        assert ET.fromstring(answer.text).tag == f"{XMLNS}UnsubscribeResponse"
        told = json.loads(awaited(hook, 3)[-1].body)
        assert told["Type"] == "UnsubscribeConfirmation"
        assert product.json("topic", "subscription", arn)["state"] == "ended"
        assert httpx.get(link).status_code == 200
        assert httpx.get(told["SubscribeURL"]).status_code == 200
        publish(product, topic, "two")
        assert json.loads(awaited(hook, 4)[-1].body)["Message"] == "two"


@pytest.mark.req("TOPIC-121", "TOPIC-123", "TOPIC-125", "TOPIC-130")
def test_links_that_cannot_be_used(product):
    topic = create(product, "links")
    with Webhook() as hook:
        arn = subscribe(product, topic, "http", f"http://127.0.0.1:{hook.port}/")
        asked = json.loads(awaited(hook, 1)[-1].body)
        link, token = asked["SubscribeURL"], asked["Token"]
        assert fault(httpx.get(link.replace(token, "f" * 64))) == (400, "InvalidParameter")
        assert fault(httpx.get(link.replace(":links&", ":others&"))) == (400, "InvalidParameter")
        assert fault(httpx.get(link.replace("local-1", "elsewhere"))) == (404, "NotFound")
        assert fault(httpx.get(f"{link}&AuthenticateOnUnsubscribe=true")) == (403, "AuthorizationError")
        assert fault(httpx.get(f"{product.url}/?Action=Unsubscribe&SubscriptionArn={arn[:-1]}x"))[0] == 400
        other = arn[:-12] + "0" * 12
        assert fault(httpx.get(f"{product.url}/?Action=Unsubscribe&SubscriptionArn={other}")) == (404, "NotFound")
        assert httpx.get(product.url).status_code == 404
        for action in ("Publish", "CreateTopic", "ListTopics", ""):
            assert fault(httpx.get(f"{product.url}/?Action={action}")) == (403, "MissingAuthenticationToken")
        assert fault(httpx.post(product.url, data={"Action": "Subscribe"}))[0] == 403
        assert httpx.get(f"{product.url}/SimpleNotificationService-{'0' * 32}.pem").status_code == 404
        assert httpx.get(f"{product.url}/SimpleNotificationService-..%2fauthority.pem").status_code == 404
        assert httpx.post(product.url, content=b"Action=Unsubscribe&" + b"x" * 100_000).status_code == 404
        in_catalog(product, "UPDATE topic_subscription SET token_ms = token_ms - 172800001 WHERE topic = 'links'")
        assert fault(httpx.get(link)) == (400, "InvalidParameter")
        eventually(lambda: not product.rows("topic", "subscriptions", topic), 60, "the end of the subscription")


@pytest.mark.req("TOPIC-122", "TOPIC-130")
def test_a_client_confirms_by_an_unsigned_call(product):
    topic = create(product, "calls")
    with Webhook() as hook:
        arn = subscribe(product, topic, "http", f"http://127.0.0.1:{hook.port}/")
        token = json.loads(awaited(hook, 1)[-1].body)["Token"]
        call = {"Action": "ConfirmSubscription", "Version": "2010-03-31", "TopicArn": topic, "Token": token}
        assert arn in httpx.post(product.url, data=call).text
        call = {"Action": "Unsubscribe", "Version": "2010-03-31", "SubscriptionArn": arn}
        assert httpx.post(product.url, data=call).status_code == 200
        assert product.json("topic", "subscription", arn)["state"] == "ended"


@pytest.mark.req("TOPIC-125")
def test_only_the_owner_ends_a_protected_subscription(product):
    topic = create(product, "protected")
    with Webhook() as hook:
        arn = subscribe(product, topic, "http", f"http://127.0.0.1:{hook.port}/")
        token = json.loads(awaited(hook, 1)[-1].body)["Token"]
        product.run("topic", "confirm", topic, token, "--authenticate-on-unsubscribe")
        link = f"{product.url}/?Action=Unsubscribe&SubscriptionArn={arn}"
        assert fault(httpx.get(link)) == (403, "AuthorizationError")
        assert product.json("topic", "subscription", arn)["ConfirmationWasAuthenticated"] == "true"
        product.run("topic", "unsubscribe", arn)


@pytest.mark.req("TOPIC-006", "TOPIC-125", "TOPIC-126")
def test_a_mailbox_is_asked_notified_and_let_go_by_buttons(product, receiver):
    topic = create(product, "mailed")
    arn = subscribe(product, topic, "email", "joe@elsewhere.example")

    def mails():
        found = [data for _, to, data in receiver.messages if to == ["joe@elsewhere.example"]]
        return [email.message_from_bytes(data, policy=email.policy.default) for data in found]

    def link(mail, action):
        return re.search(rf"http://127\.0\.0\.1:\d+/\?Action={action}&\S+", mail.get_content()).group()

    asked = eventually(mails, 30, "the question")[0]
    question = link(asked, "ConfirmSubscription")
    page = httpx.get(question)
    assert "<button" in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert product.json("topic", "subscription", arn)["state"] == "pending"
    assert "You are subscribed" in httpx.post(question, data={"confirm": "yes"}).text
    publish(product, topic, "news of the day", "--subject", "News")
    mail = eventually(lambda: len(mails()) > 1 and mails()[1], 30, "the notification")
    assert mail["Subject"] == "News"
    assert mail["From"].addresses[0].addr_spec == "no-reply@relay.example"
    assert mail["DKIM-Signature"] is None or "d=" in mail["DKIM-Signature"]
    assert mail.get_content().startswith("news of the day")
    leave = link(mail, "Unsubscribe")
    for _ in range(2):  # a reader that fetches links
        assert "<button" in httpx.get(leave).text
    assert product.json("topic", "subscription", arn)["state"] == "confirmed"
    assert "You are unsubscribed" in httpx.post(leave, data={"confirm": "yes"}).text
    assert product.json("topic", "subscription", arn)["state"] == "ended"


@pytest.mark.req("TOPIC-001", "TOPIC-002", "TOPIC-101", "TOPIC-106", "TOPIC-144")
def test_events_of_a_configuration_set_reach_a_topic(product, receiver):
    topic = create(product, "events")
    product.run("configuration-set", "create", "news")
    product.run("event-destination", "create", "news", "told", "--types", "SEND,DELIVERY", "--topic", topic)
    with Webhook() as hook:
        subscribe(product, topic, "http", f"http://127.0.0.1:{hook.port}/")
        confirmed(hook)
        product.run("topic", "subscribe", topic, "sqs", "raw", "--raw")
        scope = ("--filter-scope", "MessageBody", "--filter", '{"eventType":["Delivery"]}')
        product.run("topic", "subscribe", topic, "sqs", "deliveries", *scope)
        message_id = product.send(headers="X-SES-CONFIGURATION-SET: news\r\n")
        requests = awaited(hook, 3)[1:]
        pem = httpx.get(json.loads(requests[0].body)["SigningCertURL"]).content
        records = [json.loads(verified(one.body, pem)["Message"]) for one in requests]
    assert {one["eventType"] for one in records} == {"Send", "Delivery"}
    assert {one["mail"]["messageId"] for one in records} == {message_id}
    queues = product.data_dir / "queues" / "000000000001"
    raw = eventually(
        lambda: (queues / "raw.jsonl").exists() and len((queues / "raw.jsonl").read_text().splitlines()) == 2, 30
    )
    assert raw
    assert {json.loads(line)["eventType"] for line in (queues / "raw.jsonl").read_text().splitlines()} == {
        "Send",
        "Delivery",
    }
    (line,) = eventually(
        lambda: (queues / "deliveries.jsonl").exists() and (queues / "deliveries.jsonl").read_text().splitlines(), 30
    )
    assert json.loads(json.loads(line)["Message"])["eventType"] == "Delivery"


def test_archived_events_are_published_again_to_a_topic_or_one_subscription(product):
    topic = create(product, "again")
    one = subscribe(product, topic, "sqs", "again-one", "--raw")
    scope = ("--filter-scope", "MessageBody", "--filter", '{"eventType":["Delivery"]}')
    subscribe(product, topic, "sqs", "again-deliveries", "--raw", *scope)
    message_id = product.send()  # with no set: no topic got its events
    queues = product.data_dir / "queues" / "000000000001"

    def kinds(name):
        path = queues / f"{name}.jsonl"
        return [json.loads(line)["eventType"] for line in path.read_text().splitlines()] if path.exists() else []

    def replay(target, *more):
        return product.run("events", "replay", "--destination", target, "--message", message_id, *more, check=False)

    eventually(lambda: "2 events" in replay(topic, "--dry-run").stderr, what="the archive")
    assert "2 events published again" in replay(topic).stderr
    eventually(
        lambda: (sorted(kinds("again-one")), kinds("again-deliveries")) == (["Delivery", "Send"], ["Delivery"])
    )
    assert "1 event published again" in replay(f"subscription:{one}", "--type", "Delivery").stderr
    eventually(lambda: sorted(kinds("again-one")) == ["Delivery", "Delivery", "Send"])
    assert kinds("again-deliveries") == ["Delivery"]
    for target in (f"{topic}-gone", "arn:aws:sns:nonsense", "subscription:x"):
        assert replay(target).returncode != 0


@pytest.mark.req("TOPIC-105", "TOPIC-138", "TOPIC-145")
def test_a_killed_process_and_a_restart_lose_nothing(product):
    topic = create(product, "killed")
    policy = {"healthyRetryPolicy": {"numRetries": 90, "minDelayTarget": 1, "maxDelayTarget": 1}}
    with Webhook() as hook:
        arn = subscribe(
            product, topic, "http", f"http://127.0.0.1:{hook.port}/", "--delivery-policy", json.dumps(policy)
        )
        confirmed(hook)
        hook.answer = lambda request: Answer(status=503)
        keys = {publish(product, topic, f"message {n}") for n in range(3)}
        awaited(hook, 4)
        pid = product.children()["relay-events"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: product.children().get("relay-events", pid) != pid, 60, "another process")
        product.stop()
        product.start()
        taken = []
        hook.answer = lambda request: taken.append(request) or Answer()
        eventually(lambda: {one.headers["x-amz-sns-message-id"] for one in taken} >= keys, 60, "all notifications")
        bodies = {}
        for one in hook.requests[1:]:
            bodies.setdefault(one.headers["x-amz-sns-message-id"], set()).add(one.body)
        assert all(len(found) == 1 for found in bodies.values())
        labels = f'account="000000000001",subscription="{arn.rpartition(":")[2]}",topic="killed"'
        eventually(lambda: product.metric(f"relay_topic_delivered_total{{{labels}}}") >= 3, 30, "the counter")


@pytest.mark.req("TOPIC-140", "TOPIC-137")
def test_a_name_of_a_private_address_is_refused_at_delivery(product):
    topic = create(product, "inner")
    with Webhook(host="127.0.0.2") as inner:
        # 127.0.0.2 is in no private network of this relay; the address is judged when the post is made
        arn = subscribe(product, topic, "http", "http://hook.example:8080/")
        product.run("topic", "confirm", arn)
        in_catalog(
            product,
            "UPDATE topic_subscription SET endpoint = ? WHERE topic = 'inner'",
            f"http://127.0.0.2:{inner.port}/",
        )
        product.run("topic", "set-subscription", arn, "--raw")
        publish(product, topic, "never there")
        letters = eventually(lambda: product.rows("topic", "dead-letters", "list", topic), 30, "a dead letter")
        assert letters[0]["error"] == "its address must not be connected to"
        assert inner.connections == 0
        assert product.json("topic", "dead-letters", "delete", topic)["count"] == 1


@pytest.mark.req("TOPIC-008", "TOPIC-137")
def test_dead_letters_are_listed_replayed_and_deleted_by_commands(product):
    topic = create(product, "dead")
    with Webhook() as hook:
        arn = subscribe(product, topic, "http", f"http://127.0.0.1:{hook.port}/")
        confirmed(hook)
        hook.answer = lambda request: Answer(status=404)
        keys = [publish(product, topic, f"number {n}") for n in range(3)]
        letters = eventually(
            lambda: len(found := product.rows("topic", "dead-letters", "list", topic)) == 3 and found, 30, "letters"
        )
        assert [one["messageId"] for one in letters] == keys
        assert {(one["subscriptionArn"], one["attempts"], one["error"]) for one in letters} == {
            (arn, 1, "status 404")
        }
        assert letters[0]["message"] == "number 0"
        assert product.rows("topic", "dead-letters", "list", arn) == letters
        hook.answer = lambda request: Answer()
        before = len(hook.requests)
        assert product.json("topic", "dead-letters", "replay", topic, "--id", str(letters[0]["id"]))["count"] == 1
        awaited(hook, before + 1)
        assert json.loads(hook.requests[-1].body)["MessageId"] == keys[0]
        assert product.json("topic", "dead-letters", "delete", topic, "--id", str(letters[1]["id"]))["count"] == 1
        assert product.json("topic", "dead-letters", "replay", topic)["count"] == 1
        awaited(hook, before + 2)
        assert json.loads(hook.requests[-1].body)["MessageId"] == keys[2]
        assert product.rows("topic", "dead-letters", "list", topic) == []
        wrong = product.run("topic", "dead-letters", "list", "nonesuch", check=False)
        assert (wrong.returncode, "Topic does not exist" in wrong.stderr) == (64, True)
        assert product.json("topic", "subscription", arn)["state"] == "confirmed"


@pytest.mark.req("TOPIC-112")
def test_a_rotated_certificate_signs_and_the_old_one_is_still_served(product):
    topic = create(product, "rotated")
    old = product.json("topic", "certificate")
    new = product.json("topic", "certificate", "--rotate")
    assert httpx.get(old["url"]).status_code == httpx.get(new["url"]).status_code == 200
    product.run("topic", "subscribe", topic, "sqs", "rotated")
    path = product.data_dir / "queues" / "000000000001" / "rotated.jsonl"

    def signed_by_new():
        publish(product, topic, "who signs")
        lines = path.read_text().splitlines() if path.exists() else []
        return lines and json.loads(lines[-1])["SigningCertURL"] == new["url"] and lines[-1]

    line = eventually(signed_by_new, 30, "a notification signed with the new key")
    verified(line, httpx.get(new["url"]).content)


def test_no_secret_is_in_the_log(product):
    topic = create(product, "secrets")
    with Webhook(lambda request: Answer(status=404)) as hook:
        arn = subscribe(product, topic, "http", f"http://user:s3cr3t@127.0.0.1:{hook.port}/?key=t0ken")
        product.run("topic", "confirm", arn)
        publish(product, topic, "private text")
        eventually(lambda: product.rows("topic", "dead-letters", "list", topic), 30, "a dead letter")
    log = product.log_text()
    for secret in ("s3cr3t", "t0ken", "private text"):
        assert secret not in log
    assert arn in log
