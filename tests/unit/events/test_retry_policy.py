"""Delivery policies: the four phases, their limits, and whose policy counts (TOPIC-132 to TOPIC-136)."""

import json

import pytest

from relay.errors import RequestRefusedError
from relay.events.retry_policy import (
    HTTP_DEFAULT,
    LOCAL,
    MAIL,
    DeliveryPolicy,
    RetryPolicy,
    TopicDeliveryPolicy,
    effective,
    of_subscription,
    of_topic,
)

MIDDLE = 0.5  # the jitter that changes nothing


def waits(policy, count=200):
    found = [policy.wait_ms(number, MIDDLE) for number in range(1, count + 1)]
    return [None if wait is None else wait / 1000 for wait in found]


def healthy(**fields):
    return json.dumps({"healthyRetryPolicy": fields})


@pytest.mark.req("TOPIC-132")
def test_the_default_is_three_retries_after_twenty_seconds():
    assert waits(HTTP_DEFAULT, 4) == [20, 20, 20, None]
    assert of_subscription("") == DeliveryPolicy()
    assert of_subscription("{}") == DeliveryPolicy()
    assert effective(TopicDeliveryPolicy(), DeliveryPolicy()) == DeliveryPolicy(retry=HTTP_DEFAULT)
    assert of_subscription(healthy()).retry == HTTP_DEFAULT


@pytest.mark.req("TOPIC-133")
@pytest.mark.parametrize(
    ("function", "grown"),
    [
        ("linear", [5, 10, 15, 20, 25]),
        ("arithmetic", [5, 7, 11, 17, 25]),
        ("geometric", [5, 7.476, 11.18, 16.718, 25]),
        ("exponential", [5, 6.333, 9, 14.333, 25]),
    ],
)
def test_four_phases_follow_each_other(function, grown):
    policy = of_subscription(
        healthy(
            numRetries=12,
            numNoDelayRetries=3,
            numMinDelayRetries=2,
            numMaxDelayRetries=2,
            minDelayTarget=5,
            maxDelayTarget=25,
            backoffFunction=function,
        )
    ).retry
    assert policy.retries == 12
    assert waits(policy, 13) == pytest.approx([0, 0, 0, 5, 5, *grown, 25, 25, None], abs=0.002)


def test_one_step_of_back_off_takes_the_least_wait():
    assert waits(RetryPolicy(5, 25, backoff=1), 2) == [5, None]


@pytest.mark.req("TOPIC-133")
def test_jitter_is_a_tenth_to_either_side():
    assert HTTP_DEFAULT.wait_ms(1, 0.0) == 18_000
    assert HTTP_DEFAULT.wait_ms(1, 0.999) == pytest.approx(22_000, abs=10)


def test_no_retries_at_all():
    assert waits(of_subscription(healthy(numRetries=0)).retry, 2) == [None, None]


@pytest.mark.req("TOPIC-136")
def test_mail_is_tried_fifty_times_over_about_six_hours():
    found = waits(MAIL)
    assert found[:2] == [10, 10]
    assert found[2] == 10
    assert found[11] == 600
    assert found[2:12] == sorted(found[2:12])
    assert found[12:50] == [600] * 38
    assert found[50] is None
    assert 6 * 3600 <= sum(found[:50]) < 7 * 3600


@pytest.mark.req("TOPIC-136")
def test_local_subscribers_are_tried_without_end():
    found = waits(LOCAL)
    assert found[:5] == [0, 0, 0, 1, 1]
    assert (found[5], found[14]) == (1, 20)
    assert found[5:15] == sorted(found[5:15])
    assert set(found[15:]) == {20}
    assert LOCAL.wait_ms(1_000_000, MIDDLE) == 20_000


@pytest.mark.req("TOPIC-134")
@pytest.mark.parametrize(
    ("text", "names"),
    [
        (healthy(numRetries=101), "numRetries"),
        (healthy(numRetries=-1), "numRetries"),
        (healthy(numRetries="3"), "numRetries"),
        (healthy(numRetries=1.5), "numRetries"),
        (healthy(numRetries=True), "numRetries"),
        (healthy(minDelayTarget=0), "minDelayTarget"),
        (healthy(minDelayTarget=3601), "minDelayTarget"),
        (healthy(maxDelayTarget=3601), "maxDelayTarget"),
        (healthy(minDelayTarget=21, maxDelayTarget=20), "minDelayTarget"),
        (healthy(numRetries=2, numNoDelayRetries=1, numMinDelayRetries=1, numMaxDelayRetries=1), "numRetries"),
        (healthy(numRetries=100, minDelayTarget=36, maxDelayTarget=37), "3600 seconds"),
        (healthy(backoffFunction="cubic"), "backoffFunction"),
        (healthy(backoffFunction=["linear"]), "backoffFunction"),
        (healthy(retries=3), "retries"),
        ('{"throttlePolicy":{"maxReceivesPerSecond":0}}', "maxReceivesPerSecond"),
        ('{"throttlePolicy":{"maxReceivesPerSecond":1,"more":1}}', "more"),
        ('{"requestPolicy":{"headerContentType":"text/evil\\r"}}', "control character"),
        ('{"requestPolicy":{"headerContentType":"image/png"}}', "headerContentType"),
        ('{"http":{}}', "http"),
        ('{"healthyRetryPolicy":3}', "healthyRetryPolicy"),
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
        ('{"a":1,"a":1}', "twice"),
        ("x" * 9000, "longer"),
    ],
)
def test_broken_policies_are_refused_and_say_what_is_wrong(text, names):
    with pytest.raises(RequestRefusedError, match=names) as refusal:
        of_subscription(text)
    assert refusal.value.code == "InvalidParameter"


@pytest.mark.req("TOPIC-134")
def test_the_sum_of_delays_can_be_lifted():
    text = healthy(numRetries=100, minDelayTarget=60, maxDelayTarget=60)
    with pytest.raises(RequestRefusedError):
        of_subscription(text)
    assert of_subscription(text, sum_max_seconds=6000).retry.retries == 100
    at_limit = healthy(numRetries=100, minDelayTarget=36, maxDelayTarget=36)
    assert of_subscription(at_limit).retry.retries == 100


@pytest.mark.req("TOPIC-135")
def test_the_subscription_wins_unless_the_topic_forbids_it():
    topic_text = {
        "http": {
            "defaultHealthyRetryPolicy": {"numRetries": 7, "minDelayTarget": 1, "maxDelayTarget": 2},
            "defaultThrottlePolicy": {"maxReceivesPerSecond": 9},
            "disableSubscriptionOverrides": False,
        }
    }
    text = {
        "healthyRetryPolicy": {"numRetries": 1},
        "throttlePolicy": {"maxReceivesPerSecond": 5},
        "requestPolicy": {"headerContentType": "application/json"},
    }
    own = of_subscription(json.dumps(text))
    topic = of_topic(json.dumps(topic_text))
    assert effective(topic, own) == own
    assert effective(topic, DeliveryPolicy()).retry.retries == 7
    topic_text["http"]["disableSubscriptionOverrides"] = True
    strict = effective(of_topic(json.dumps(topic_text)), own)
    assert (strict.retry.retries, strict.receives_per_second, strict.content_type) == (7, 9, "")


@pytest.mark.req("TOPIC-134")
@pytest.mark.parametrize(
    "text", ['{"http":3}', '{"https":{}}', '{"http":{"disableSubscriptionOverrides":"no"}}', '{"http":{"x":1}}']
)
def test_broken_policies_of_topics_are_refused(text):
    with pytest.raises(RequestRefusedError):
        of_topic(text)


def test_an_empty_policy_of_a_topic_says_nothing():
    assert of_topic("") == of_topic("{}") == of_topic('{"http":{}}') == TopicDeliveryPolicy()
