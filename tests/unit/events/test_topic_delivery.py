"""From a publication to its subscribers: envelopes, retries, dead letters, filters, restarts (TOPIC-101 to 145)."""

import email
import email.policy
import hashlib
import hmac
import json
import re
import time

import pytest

from relay.errors import RequestRefusedError
from relay.model.topic import Attribute
from relay.policy.topic_access import Publisher
from tests.consumer import Answer, Webhook
from tests.topics import ACCOUNT, Bench, signers, verified

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
OTHER = "000000000002"
QUEUE = "arn:aws:sqs:local-1:000000000001:{}"


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


def url(hook, path="/hook", login=""):
    return f"http://{login}hook.example:{hook.port}{path}"


def lines(bench, name):
    path = bench.directory / "queues" / ACCOUNT / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


# --- envelopes -----------------------------------------------------------------------------------------------------


@pytest.mark.req("TOPIC-007", "TOPIC-101", "TOPIC-104", "TOPIC-110", "TOPIC-111", "TOPIC-112", "TOPIC-125")
@pytest.mark.parametrize("version", ["1", "2"])
def test_a_notification_as_consumers_expect_it(bench, version):
    topic = bench.topic(SignatureVersion=version)
    with Webhook() as hook:
        made = bench.subscribe(topic, "http", url(hook))
        key = bench.publish(topic, "a \u00fcber\nmessage", "The subject")
        bench.deliver()
    (request,) = hook.requests
    fields = verified(request.body, bench.certificate)
    arn = f"{topic}:{made.id}"
    assert UUID.match(key)
    assert {name: fields[name] for name in fields if name != "Signature"} == {
        "Type": "Notification",
        "MessageId": key,
        "TopicArn": "arn:aws:sns:local-1:000000000001:bounces",
        "Subject": "The subject",
        "Message": "a \u00fcber\nmessage",
        "Timestamp": "2026-09-21T14:13:20.000Z",
        "SignatureVersion": version,
        "SigningCertURL": f"https://relay.example/SimpleNotificationService-{signers()[0].name}.pem",
        "UnsubscribeURL": f"https://relay.example/?Action=Unsubscribe&SubscriptionArn={arn}",
    }
    assert request.method == "POST"
    headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
    assert headers == {
        "x-amz-sns-message-type": "Notification",
        "x-amz-sns-message-id": key,
        "x-amz-sns-topic-arn": str(topic),
        "x-amz-sns-subscription-arn": arn,
        "content-type": "text/plain; charset=UTF-8",
        "user-agent": "Amazon Simple Notification Service Agent",
    }


@pytest.mark.req("TOPIC-101")
def test_subject_and_attributes_are_there_only_when_given(bench):
    topic = bench.topic()
    with Webhook() as hook:
        bench.subscribe(topic, "http", url(hook))
        bench.publish(topic)
        bench.publish(topic, attributes={"store": Attribute("String", "x"), "n": Attribute("Number", "5")})
        bench.deliver()
    first, second = sorted((json.loads(one.body) for one in hook.requests), key=len)
    assert "Subject" not in first
    assert "MessageAttributes" not in first
    assert second["MessageAttributes"] == {
        "store": {"Type": "String", "Value": "x"},
        "n": {"Type": "Number", "Value": "5"},
    }
    verified(json.dumps(second), bench.certificate)


@pytest.mark.req("TOPIC-106", "TOPIC-120")
def test_raw_delivery_is_the_bare_message_and_confirmations_stay_whole(bench):
    topic = bench.topic()
    with Webhook() as hook:
        bench.subscribe(topic, "http", url(hook), RawMessageDelivery="true")
        bench.subscribe(topic, "http", url(hook, "/new"), confirmed=False, RawMessageDelivery="true")
        bench.publish(topic, '{"a": "\u00fc"}', "subject", attributes={"x": Attribute("String", "y")})
        bench.ask()
        bench.deliver()
    raw = next(one for one in hook.requests if one.target == "/hook")
    assert raw.body == '{"a": "\u00fc"}'.encode()
    assert raw.headers["x-amz-sns-rawdelivery"] == "true"
    asked = next(one for one in hook.requests if one.target == "/new")
    assert "x-amz-sns-rawdelivery" not in asked.headers
    assert verified(asked.body, bench.certificate)["Type"] == "SubscriptionConfirmation"


@pytest.mark.req("TOPIC-114")
def test_a_shared_secret_signs_the_body(bench):
    topic = bench.topic()
    secret = "correct horse battery staple"
    with Webhook() as hook:
        bench.subscribe(topic, "http", url(hook), SharedSecret=secret)
        bench.publish(topic)
        bench.deliver()
    (request,) = hook.requests
    expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-relay-signature"] == expected
    assert secret not in str(bench.log.lines)


@pytest.mark.req("TOPIC-135")
def test_a_content_type_of_the_policy(bench):
    topic = bench.topic()
    policy = json.dumps({"requestPolicy": {"headerContentType": "application/json"}})
    with Webhook() as hook:
        bench.subscribe(topic, "http", url(hook), DeliveryPolicy=policy)
        bench.publish(topic)
        bench.deliver()
    assert hook.requests[0].headers["content-type"] == "application/json"


@pytest.mark.req("TOPIC-150")
def test_texts_for_single_protocols(bench):
    topic = bench.topic()
    with Webhook() as hook:
        bench.subscribe(topic, "http", url(hook))
        bench.subscribe(topic, "sqs", "work")
        bench.publish(topic, "for all", by_protocol={"http": "for the web"})
        bench.deliver()
    assert verified(hook.requests[0].body, bench.certificate)["Message"] == "for the web"
    (line,) = lines(bench, "work")
    assert verified(json.dumps(line), bench.certificate)["Message"] == "for all"
    assert line["MessageId"] == json.loads(hook.requests[0].body)["MessageId"]


# --- confirmation --------------------------------------------------------------------------------------------------


@pytest.mark.req("TOPIC-006", "TOPIC-102", "TOPIC-104", "TOPIC-120", "TOPIC-121", "TOPIC-122")
def test_an_endpoint_is_asked_first_and_gets_nothing_before_it_confirms(bench):
    topic = bench.topic()
    with Webhook() as hook:
        made = bench.subscribe(topic, "http", url(hook), confirmed=False)
        bench.publish(topic, "too early")
        bench.ask()
        bench.deliver()
        (request,) = hook.requests
        fields = verified(request.body, bench.certificate)
        assert request.headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
        assert "x-amz-sns-subscription-arn" not in request.headers
        assert fields["Message"] == (
            f"You have chosen to subscribe to the topic {topic}.\n"
            "To confirm the subscription, visit the SubscribeURL included in this message."
        )
        token = fields["Token"]
        expected = f"https://relay.example/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}"
        assert fields["SubscribeURL"] == expected
        assert bench.catalog.subscriptions.confirm(ACCOUNT, "bounces", token).id == made.id
        bench.publish(topic, "in time")
        bench.deliver()
    assert [json.loads(one.body)["Message"] for one in hook.requests[1:]] == ["in time"]


@pytest.mark.req("TOPIC-120", "TOPIC-131")
def test_the_question_is_tried_again_as_notifications_are(bench):
    topic = bench.topic()
    with Webhook(lambda request: Answer(status=503)) as hook:
        bench.subscribe(topic, "http", url(hook), confirmed=False)
        bench.ask()
        bench.deliver(times=4, every_seconds=21)
    assert len(hook.requests) == 4
    assert len({one.body for one in hook.requests}) == 1


@pytest.mark.req("TOPIC-103")
def test_who_unsubscribes_without_signature_is_told_and_can_take_it_back(bench):
    topic = bench.topic()
    with Webhook() as hook:
        made = bench.subscribe(topic, "http", url(hook))
        bench.catalog.subscriptions.end(made.id)
        bench.publish(topic, "to nobody")
        bench.ask()
        bench.deliver()
        (request,) = hook.requests
        fields = verified(request.body, bench.certificate)
        arn = f"{topic}:{made.id}"
        assert request.headers["x-amz-sns-message-type"] == "UnsubscribeConfirmation"
        assert fields["Message"] == (
            f"You have chosen to deactivate subscription {arn}.\n"
            "To cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
        )
        assert bench.catalog.subscriptions.confirm(ACCOUNT, "bounces", fields["Token"]).id == made.id
        bench.publish(topic, "again")
        bench.deliver()
    assert json.loads(hook.requests[-1].body)["Message"] == "again"


@pytest.mark.req("TOPIC-121")
def test_a_question_that_was_answered_or_replaced_is_not_asked_any_more(bench):
    topic = bench.topic()
    with Webhook() as hook:
        made = bench.subscribe(topic, "http", url(hook), confirmed=False)
        bench.ask()
        bench.clock.advance(1)
        bench.subscribe(topic, "http", url(hook), confirmed=False)  # asks anew
        bench.ask()
        bench.deliver()
        assert len(hook.requests) == 1
        bench.clock.advance(1)
        bench.subscribe(topic, "http", url(hook), confirmed=False)
        bench.ask()
        bench.catalog.subscriptions.confirm_by_owner(made.id)
        bench.deliver()
    assert len(hook.requests) == 1
    assert bench.waiting() == 0


# --- retries -------------------------------------------------------------------------------------------------------


@pytest.mark.req("TOPIC-105", "TOPIC-131", "TOPIC-132")
def test_a_retry_is_the_same_to_the_last_byte_whatever_key_signs_by_then(bench):
    """N08."""
    topic = bench.topic()
    answers = [500, 429, 200]
    with Webhook(lambda request: Answer(status=answers.pop(0))) as hook:
        bench.subscribe(topic, "http", url(hook))
        bench.publish(topic, "hello", "subject")
        bench.deliver()
        bench.signer.replace(signers()[1], "https://other.example")
        bench.clock.advance(19)
        bench.deliver()
        assert len(hook.requests) == 1
        bench.clock.advance(2)
        bench.deliver(times=2, every_seconds=21)
    assert len(hook.requests) == 3
    assert len({one.body for one in hook.requests}) == 1
    assert len({one.headers["x-amz-sns-message-id"] for one in hook.requests}) == 1
    verified(hook.requests[0].body, signers()[0].certificate)
    assert (bench.count("delivered"), bench.count("failed"), bench.count("retried")) == (1, 2, 2)
    assert bench.waiting() == 0


@pytest.mark.req("TOPIC-008", "TOPIC-131", "TOPIC-137")
@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        (Answer(status=500), 4),
        (Answer(status=503), 4),
        (Answer(status=429), 4),
        (Answer(status=302, headers={"Location": "http://10.0.0.1/"}), 4),
        (Answer(raw=b"rubbish\r\n\r\n", close=True), 4),
        (Answer(status=400), 1),
        (Answer(status=403), 1),
        (Answer(status=404), 1),
        (Answer(status=410), 1),
    ],
)
def test_what_is_tried_again_and_what_fails_at_once(bench, answer, tries):
    topic = bench.topic()
    with Webhook(lambda request: answer) as hook:
        made = bench.subscribe(topic, "http", url(hook))
        bench.publish(topic, "hello")
        bench.deliver(times=8, every_seconds=25)
    assert len(hook.requests) == tries
    (letter,) = bench.dead()
    assert letter.post.item.body == b"hello"
    assert letter.post.attempts == tries
    assert bench.catalog.subscriptions.require(made.id).state == "confirmed"
    assert bench.count("dead_lettered") == 1


@pytest.mark.req("TOPIC-131")
def test_an_endpoint_that_hangs_is_left_after_its_time(tmp_path):
    bench = Bench(tmp_path, seconds_max=0.3)
    topic = bench.topic()
    with Webhook(lambda request: Answer(hang=True)) as hook:
        bench.subscribe(topic, "http", url(hook))
        bench.publish(topic)
        bench.deliver(times=6, every_seconds=25)
        assert len(hook.requests) == 4
    assert bench.dead()[0].post.error == "took longer than 0.3 s"
    bench.close()


@pytest.mark.req("TOPIC-008", "TOPIC-133")
def test_an_endpoint_that_fails_for_hours_gets_what_its_policy_still_holds(bench):
    topic = bench.topic()
    policy = {"healthyRetryPolicy": {"numRetries": 12, "minDelayTarget": 60, "maxDelayTarget": 300}}
    back = [False]
    with Webhook(lambda request: Answer(status=200 if back[0] else 500)) as hook:
        bench.subscribe(topic, "http", url(hook), DeliveryPolicy=json.dumps(policy))
        keys = {bench.publish(topic, f"message {n}") for n in range(5)}
        bench.deliver(times=20, every_seconds=60)
        assert bench.dead() == []
        back[0] = True
        bench.deliver(times=6, every_seconds=300)
    assert {one.headers["x-amz-sns-message-id"] for one in hook.requests} == keys
    assert bench.waiting() == 0
    assert bench.count("delivered") == 5


@pytest.mark.req("TOPIC-138")
def test_deliveries_survive_a_restart(tmp_path):
    bench = Bench(tmp_path)
    topic = bench.topic()
    with Webhook(lambda request: Answer(status=500)) as hook:
        bench.subscribe(topic, "http", url(hook))
        key = bench.publish(topic, "kept")
        bench.deliver()
        bench.close()
        bench.clock.advance(25)
        hook.answer = lambda request: Answer()
        again = Bench(tmp_path, clock=bench.clock, master=bench.master)
        again.deliver()
        assert [one.headers["x-amz-sns-message-id"] for one in hook.requests] == [key, key]
        assert hook.requests[0].body == hook.requests[1].body
        assert again.waiting() == 0
        again.close()


@pytest.mark.req("TOPIC-138")
def test_one_slow_endpoint_delays_no_other(tmp_path):
    bench = Bench(tmp_path, seconds_max=3.0)
    topic = bench.topic()
    with Webhook(lambda request: Answer(hang=True)) as slow, Webhook() as quick:
        seen = []
        quick.answer = lambda request: seen.append(time.monotonic()) or Answer()
        for n in range(3):
            bench.subscribe(topic, "http", url(slow, f"/{n}"))
        bench.subscribe(topic, "http", url(quick))
        for _ in range(20):
            bench.publish(topic)
        begun = time.monotonic()
        bench.deliver()
        assert len(seen) == 20
        assert seen[-1] - begun < 2.5
        assert time.monotonic() - begun >= 3.0
    bench.close()


@pytest.mark.req("TOPIC-134", "TOPIC-135")
def test_a_throttle_holds_posts_back(bench):
    topic = bench.topic()
    policy = json.dumps({"throttlePolicy": {"maxReceivesPerSecond": 20}})
    times = []
    with Webhook(lambda request: times.append(time.monotonic()) or Answer()) as hook:
        bench.subscribe(topic, "http", url(hook), DeliveryPolicy=policy)
        for _ in range(12):
            bench.publish(topic)
        bench.deliver()
    assert len(times) == 12
    assert times[-1] - times[0] >= 11 / 20 * 0.9


# --- dead letters --------------------------------------------------------------------------------------------------


@pytest.mark.req("TOPIC-137")
def test_a_redrive_policy_names_a_local_queue(bench):
    topic = bench.topic()
    redrive = json.dumps({"deadLetterTargetArn": QUEUE.format("lost")})
    with Webhook(lambda request: Answer(status=404)) as hook:
        bench.subscribe(topic, "http", url(hook), RedrivePolicy=redrive)
        bench.publish(topic, "lost one")
        bench.deliver()
    assert bench.dead() == []
    (line,) = lines(bench, "lost")
    assert verified(json.dumps(line), bench.certificate)["Message"] == "lost one"
    assert bench.count("dead_lettered") == 1


@pytest.mark.req("TOPIC-008", "TOPIC-137")
def test_dead_letters_are_replayed_and_deleted(bench):
    topic = bench.topic()
    with Webhook(lambda request: Answer(status=404)) as hook:
        bench.subscribe(topic, "http", url(hook))
        keys = [bench.publish(topic, f"n {n}") for n in range(2)]
        bench.deliver()
        first, second = bench.dead()
        hook.answer = lambda request: Answer()
        bench.queue.replay([first.id], bench.clock.now_ms())
        bench.queue.delete_dead([second.id])
        bench.deliver()
    assert hook.requests[-1].headers["x-amz-sns-message-id"] == keys[0]
    assert len(hook.requests) == 3
    assert bench.dead() == []


@pytest.mark.req("TOPIC-137")
def test_what_waits_for_a_subscription_that_is_gone_is_over(bench):
    topic = bench.topic()
    with Webhook() as hook:
        made = bench.subscribe(topic, "http", url(hook))
        bench.publish(topic)
        bench.catalog.subscriptions.delete(made.id)
        bench.deliver()
        assert hook.requests == []
    assert bench.waiting() == 0
    assert bench.dead() == []


# --- other protocols -----------------------------------------------------------------------------------------------


@pytest.mark.req("TOPIC-005", "TOPIC-124")
def test_a_local_queue_gets_lines_at_once(bench):
    topic = bench.topic()
    made = bench.subscribe(topic, "sqs", "work", confirmed=False)
    assert made.state == "confirmed"
    raw = bench.subscribe(topic, "sqs", QUEUE.format("raw"), confirmed=False, RawMessageDelivery="true")
    assert raw.endpoint == QUEUE.format("raw")
    keys = [bench.publish(topic, text) for text in ("plain\ntext", '{"a":\n 1}')]
    bench.deliver()
    found = lines(bench, "work")
    assert [one["MessageId"] for one in found] == keys
    assert verified(json.dumps(found[0]), bench.certificate)["Message"] == "plain\ntext"
    assert lines(bench, "raw") == ["plain\ntext", {"a": 1}]


@pytest.mark.req("TOPIC-126")
def test_mail_has_text_and_a_link_to_unsubscribe(bench):
    topic = bench.topic(DisplayName="Bounce Desk")
    made = bench.subscribe(topic, "email", "joe@elsewhere.example")
    bench.subscribe(topic, "email-json", "program@elsewhere.example")
    bench.publish(topic, "one\n\ntwo \u00fc " + "long " * 300, "A subject \u00e9")
    bench.publish(topic, "\x00\x07 bell")
    bench.deliver()
    mails = [
        (to, email.message_from_bytes(head + body, policy=email.policy.default))
        for _, to, head, body in bench.mails.kept
    ]
    first, second = (mail for to, mail in mails if to == "joe@elsewhere.example")
    assert first["Subject"] == "A subject \u00e9"
    assert first["From"].addresses[0].addr_spec == "no-reply@relay.example"
    assert first["From"].addresses[0].display_name == "Bounce Desk"
    text = first.get_content().replace("\r\n", "\n")
    assert text.startswith("one\n\ntwo \u00fc long long")
    assert f"https://relay.example/?Action=Unsubscribe&SubscriptionArn={topic}:{made.id}" in text
    assert second["Subject"] == "AWS Notification Message"
    assert second.get_content().startswith("?? bell")
    as_json = next(mail for to, mail in mails if to == "program@elsewhere.example")
    assert verified(as_json.get_content(), bench.certificate)["Subject"] == "A subject \u00e9"
    assert all(max(map(len, (head + body).split(b"\r\n"))) <= 998 for _, _, head, body in bench.mails.kept)


@pytest.mark.req("TOPIC-006", "TOPIC-126")
def test_mail_asks_with_a_link_before_it_notifies(bench):
    topic = bench.topic()
    made = bench.subscribe(topic, "email", "joe@elsewhere.example", confirmed=False)
    assert made.state == "pending"
    bench.publish(topic)
    bench.ask()
    bench.deliver()
    ((_, to, head, body),) = bench.mails.kept
    assert to == "joe@elsewhere.example"
    text = email.message_from_bytes(head + body, policy=email.policy.default).get_content()
    token = re.search(r"https://relay.example/\?Action=ConfirmSubscription&TopicArn=\S+&Token=(\w+)", text)
    assert bench.catalog.subscriptions.confirm(ACCOUNT, "bounces", token.group(1)).id == made.id


@pytest.mark.req("TOPIC-136")
def test_mail_that_cannot_be_handed_over_waits(bench):
    topic = bench.topic()
    bench.subscribe(topic, "email", "joe@elsewhere.example")
    bench.mails.full = True
    bench.publish(topic)
    bench.deliver(times=3, every_seconds=12)
    assert bench.waiting() == 1
    bench.mails.full = False
    bench.clock.advance(12)
    bench.deliver()
    assert len(bench.mails.kept) == 1


@pytest.mark.req("TOPIC-124")
def test_mail_to_a_verified_identity_needs_no_question(bench):
    bench.catalog.identities.create(ACCOUNT, "example.com")
    bench.catalog.identities.set_verified(ACCOUNT, "example.com", verified=True)
    topic = bench.topic()
    assert bench.subscribe(topic, "email", "ops@example.com", confirmed=False).state == "confirmed"
    assert bench.subscribe(topic, "email", "ops@else.example", confirmed=False).state == "pending"


# --- who gets what -------------------------------------------------------------------------------------------------


@pytest.mark.req("TOPIC-144", "TOPIC-145")
def test_filters_choose(bench):
    topic = bench.topic()
    bench.subscribe(topic, "sqs", "corp", FilterPolicy='{"store": ["corp"]}')
    bench.subscribe(topic, "sqs", "hard", FilterPolicy='{"hard": [true]}', FilterPolicyScope="MessageBody")
    bench.publish(topic, '{"hard": true}', attributes={"store": Attribute("String", "other")})
    bench.publish(topic, '{"hard": false}', attributes={"store": Attribute("String", "corp")})
    bench.publish(topic, "neither")
    bench.deliver()
    assert [one["Message"] for one in lines(bench, "corp")] == ['{"hard": false}']
    assert [one["Message"] for one in lines(bench, "hard")] == ['{"hard": true}']
    assert (bench.count("published"), bench.count("filtered"), bench.count("delivered")) == (3, 4, 2)


@pytest.mark.req("TOPIC-002", "TOPIC-142", "TOPIC-143")
def test_a_publication_that_a_policy_denies_is_dropped_and_counted(bench):
    bench.catalog.accounts.create(OTHER, sandbox=False)
    topic = bench.topic()
    bench.subscribe(topic, "sqs", "work")
    source = f"arn:aws:ses:local-1:{OTHER}:configuration-set/news"
    with pytest.raises(RequestRefusedError) as refusal:
        bench.publish(topic, publisher=Publisher(OTHER, source))
    assert refusal.value.code == "AuthorizationError"
    assert bench.count("denied") == 1
    bench.deliver()
    assert lines(bench, "work") == []


@pytest.mark.req("TOPIC-150", "TOPIC-151")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"message": ""}, "InvalidParameter"),
        ({"message": "x" * 262_145}, "InvalidParameter"),
        ({"message": "half \ud800"}, "InvalidParameter"),
        ({"subject": "x" * 101}, "InvalidParameter"),
        ({"subject": "two\nlines"}, "InvalidParameter"),
        ({"subject": " blank"}, "InvalidParameter"),
        ({"attributes": {"x": Attribute("Date", "y")}}, "InvalidParameter"),
        ({"attributes": {"": Attribute("String", "y")}}, "InvalidParameter"),
        ({"topic": "none"}, "NotFound"),
    ],
)
def test_what_cannot_be_published(bench, change, code):
    topic = bench.topic()
    bench.subscribe(topic, "sqs", "work")
    if change.pop("topic", ""):
        topic = type(topic)("local-1", ACCOUNT, "none")
    with pytest.raises(RequestRefusedError) as refusal:
        bench.publish(topic, **change)
    assert refusal.value.code == code
    assert bench.waiting() == 0


@pytest.mark.req("TOPIC-139")
def test_a_password_is_used_and_nowhere_else(bench):
    topic = bench.topic()

    def answer(request):
        if "authorization" in request.headers:
            return Answer(status=500)
        return Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    with Webhook(answer) as hook:
        bench.subscribe(topic, "http", url(hook, login="user:s3cr3t@"))
        bench.publish(topic)
        bench.deliver(times=6, every_seconds=25)
        assert len(hook.requests) == 5
    assert bench.dead()
    told = f"{bench.log.lines} {bench.dead()} {bench.counts.found}"
    assert "s3cr3t" not in told
    assert all(b"s3cr3t" not in path.read_bytes() for path in bench.directory.rglob("*") if path.is_file())


def test_subscriptions_of_an_address_are_found_and_erased(bench):
    topic, other = bench.topic(), bench.topic("other")
    for where, protocol in ((topic, "email"), (topic, "email-json"), (other, "email")):
        bench.subscribe(where, protocol, "Joe@elsewhere.example")
    kept = bench.subscribe(topic, "email", "ann@elsewhere.example")
    assert len(bench.catalog.subscriptions.export("joe@ELSEWHERE.example")) == 3
    assert bench.catalog.subscriptions.erase("joe@elsewhere.example") == 3
    assert bench.catalog.subscriptions.export("joe@elsewhere.example") == []
    assert [one.id for one in bench.catalog.subscriptions.of_owner(ACCOUNT)] == [kept.id]
