"""What topics and subscriptions may be, and how they begin (TOPIC-001 to 005, 120, 124, 134 to 141, 151)."""

import pytest

from relay.errors import RequestRefusedError, UsageError
from relay.runtime.topic_requests import create_topic, require_publishable, topic_arn
from tests.topics import ACCOUNT, REGION, Bench

QUEUE = "arn:aws:sqs:local-1:000000000001:{}"
OTHER = "000000000002"
LONG = '{"healthyRetryPolicy":{"numRetries":100,"minDelayTarget":100,"maxDelayTarget":100}}'


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.mark.req("TOPIC-001", "TOPIC-141", "TOPIC-150", "TOPIC-134")
@pytest.mark.parametrize(
    ("name", "attributes", "says"),
    [
        ("orders.fifo", {}, "only standard topics"),
        ("new", {"FifoTopic": "true"}, "only standard topics"),
        ("a b", {}, "Topic Name"),
        ("", {}, "Topic Name"),
        ("x" * 257, {}, "Topic Name"),
        ("new", {"SignatureVersion": "3"}, "SignatureVersion"),
        ("new", {"DisplayName": "x" * 101}, "DisplayName"),
        ("new", {"DisplayName": "a\nb"}, "DisplayName"),
        ("new", {"DeliveryPolicy": "{"}, "cannot be read"),
        ("new", {"DeliveryPolicy": '{"http":{"defaultHealthyRetryPolicy":{"numRetries":101}}}'}, "numRetries"),
        ("new", {"Else": "x"}, "AttributeName"),
    ],
)
def test_what_topics_cannot_be(bench, name, attributes, says):
    with pytest.raises(RequestRefusedError, match=says) as refusal:
        create_topic(bench.config, bench.catalog, ACCOUNT, name, attributes)
    assert refusal.value.code == "InvalidParameter"
    assert bench.catalog.topics.list(ACCOUNT) == []


def test_an_account_that_is_not_there(bench):
    with pytest.raises(UsageError, match="no account"):
        create_topic(bench.config, bench.catalog, "000000000009", "new", {})


@pytest.mark.req("TOPIC-004", "TOPIC-151")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("arn:aws:sns:elsewhere:000000000001:bounces", "NotFound"),
        ("arn:aws:sns:local-1:000000000001:x.fifo", "InvalidParameter"),
        ("arn:aws:sqs:local-1:000000000001:x", "InvalidParameter"),
        ("arn:aws:sns:local-1:1:x", "InvalidParameter"),
        ("arn:aws:sns:local-1:000000000001:a b", "InvalidParameter"),
        ("arn:aws:sns:local-1:000000000001:" + "x" * 400, "InvalidParameter"),
    ],
)
def test_arns_that_name_no_topic_here(text, code):
    with pytest.raises(RequestRefusedError) as refusal:
        topic_arn(text, REGION, ACCOUNT)
    assert refusal.value.code == code


@pytest.mark.req("TOPIC-001", "TOPIC-002", "TOPIC-003", "TOPIC-004")
def test_a_topic_that_cannot_be_published_to_is_not_chosen(bench):
    bench.catalog.accounts.create(OTHER, sandbox=False)
    own = bench.topic()
    source = "arn:aws:ses:local-1:{}:configuration-set/news"
    chosen = require_publishable(bench.config, bench.catalog, str(own), ACCOUNT, source.format(ACCOUNT), 0)
    assert chosen == own
    for arn, account in (
        (str(own), OTHER),
        (str(own).replace("local-1", "elsewhere"), ACCOUNT),
        (f"{own}x", ACCOUNT),
        (f"{own}.fifo", ACCOUNT),
    ):
        with pytest.raises(RequestRefusedError) as refusal:
            require_publishable(bench.config, bench.catalog, arn, account, source.format(account), 0)
        assert refusal.value.code == "InvalidParameterValue"


@pytest.mark.req("TOPIC-005", "TOPIC-120", "TOPIC-124")
@pytest.mark.parametrize(
    ("protocol", "endpoint", "state"),
    [
        ("https", "https://hook.example/a", "pending"),
        ("http", "http://hook.example:8080/", "pending"),
        ("http", "http://127.0.0.1:12345/", "pending"),
        ("email", "joe@elsewhere.example", "pending"),
        ("email-json", "joe@elsewhere.example", "pending"),
        ("sqs", "work", "confirmed"),
        ("sqs", QUEUE.format("work"), "confirmed"),
    ],
)
def test_subscriptions_begin_as_their_protocol_says(bench, protocol, endpoint, state):
    topic = bench.topic()
    made = bench.subscribe(topic, protocol, endpoint, confirmed=False)
    assert made.state == state
    assert bench.subscribe(topic, protocol, endpoint, confirmed=False).id == made.id
    with pytest.raises(RequestRefusedError, match="different attributes"):
        bench.subscribe(topic, protocol, endpoint, confirmed=False, FilterPolicy='{"a":["b"]}')


@pytest.mark.req("TOPIC-005", "TOPIC-134", "TOPIC-139", "TOPIC-140", "TOPIC-144")
@pytest.mark.parametrize(
    ("protocol", "endpoint", "attributes", "says"),
    [
        ("sms", "+15551234", {}, "text messages are not offered"),
        ("lambda", "f", {}, "not offered yet"),
        ("firehose", "s", {}, "not offered yet"),
        ("application", "x", {}, "not offered"),
        ("carrier-pigeon", "x", {}, "one of http"),
        ("https", "http://hook.example/", {}, "Endpoint"),
        ("https", "https://10.0.0.1/", {}, "topics.private_networks"),
        ("https", "https://[::1]/", {}, "topics.private_networks"),
        ("https", "https://169.254.169.254/", {}, "topics.private_networks"),
        ("https", "https://[::ffff:10.0.0.1]/", {}, "topics.private_networks"),
        ("https", "https://192.168.1.1/", {}, "topics.private_networks"),
        ("https", "https://[fe80::1]/", {}, "topics.private_networks"),
        ("https", "https://0x7f000001/", {}, "usual form"),
        ("https", "https://8.8.8.8:25/", {}, "port 25"),
        ("email", "no address", {}, "Endpoint"),
        ("email", "a@b.example\r\nBcc: c@d.example", {}, "Endpoint"),
        ("sqs", "a b", {}, "a local queue has a name"),
        ("sqs", "../../x", {}, "a local queue has a name"),
        ("sqs", "arn:aws:sqs:local-1:000000000002:x", {}, "is one of account 000000000001"),
        ("sqs", "arn:aws:sqs:elsewhere:000000000001:x", {}, "in region local-1"),
        ("email", "a@b.example", {"RawMessageDelivery": "true"}, "mail has no other form"),
        ("email", "a@b.example", {"DeliveryPolicy": "{}"}, "only http and https"),
        ("sqs", "x", {"RawMessageDelivery": "yes"}, "true or false"),
        ("sqs", "x", {"FilterPolicy": "{"}, "FilterPolicy"),
        ("sqs", "x", {"FilterPolicy": '{"a":[true]}'}, "body only"),
        ("sqs", "x", {"FilterPolicyScope": "Else"}, "FilterPolicyScope"),
        ("sqs", "x", {"RedrivePolicy": '{"deadLetterTargetArn":"x"}'}, "RedrivePolicy"),
        (
            "sqs",
            "x",
            {"RedrivePolicy": '{"deadLetterTargetArn":"arn:aws:sqs:local-1:000000000002:x"}'},
            "RedrivePolicy",
        ),
        ("sqs", "x", {"SharedSecret": "long enough to be one"}, "only http and https"),
        ("https", "https://h.example/", {"SharedSecret": "short"}, "SharedSecret"),
        ("https", "https://h.example/", {"DeliveryPolicy": '{"healthyRetryPolicy":{"numRetries":-1}}'}, "numRetries"),
        ("https", "https://h.example/", {"DeliveryPolicy": LONG}, "3600 seconds"),
        ("sqs", "x", {"Else": "x"}, "AttributeName"),
    ],
)
def test_what_subscriptions_cannot_be(bench, protocol, endpoint, attributes, says):
    topic = bench.topic()
    with pytest.raises(RequestRefusedError, match=says) as refusal:
        bench.subscribe(topic, protocol, endpoint, confirmed=False, **attributes)
    assert refusal.value.code == "InvalidParameter"
    assert bench.catalog.subscriptions.of_owner(ACCOUNT) == []
