"""Who may publish to a topic (TOPIC-002, TOPIC-003, TOPIC-142)."""

import json

import pytest

from relay.policy.arn import TopicArn
from relay.policy.document import Faults, parse_topic_policy
from relay.policy.topic_access import SERVICE, SERVICES, Publisher, may_publish

OWN = "000000000001"
OTHER = "000000000002"
TOPIC = TopicArn("local-1", OWN, "bounces")
SET = "arn:aws:ses:local-1:{}:configuration-set/news"
IDENTITY = "arn:aws:ses:local-1:{}:identity/example.com"
RULE = "arn:aws:ses:local-1:{}:receipt-rule-set/main:receipt-rule/first"


def policy(effect="Allow", principal=None, condition=None, action="sns:Publish"):
    statement = {
        "Effect": effect,
        "Principal": principal or {"Service": SERVICE},
        "Action": action,
        "Resource": str(TOPIC),
    }
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def allowed(text, account, source=SET):
    publisher = Publisher(account, source.format(account) if source else "")
    return may_publish(TOPIC, text, publisher, 0).allowed


@pytest.mark.req("TOPIC-002", "TOPIC-142")
def test_own_topics_need_no_policy():
    assert allowed("", OWN)
    assert allowed("", OWN, source="")
    assert not allowed("", OTHER)
    assert allowed(policy(principal={"AWS": OTHER}), OWN)


@pytest.mark.req("TOPIC-142")
@pytest.mark.parametrize(
    ("condition", "source", "expected"),
    [
        (None, SET, True),
        ({"StringEquals": {"AWS:SourceAccount": OTHER}}, SET, True),
        ({"StringEquals": {"AWS:SourceAccount": OWN}}, SET, False),
        ({"StringEquals": {"aws:sourcearn": SET.format(OTHER)}}, SET, True),
        ({"ArnLike": {"AWS:SourceArn": IDENTITY.format(OTHER)}}, IDENTITY, True),
        ({"ArnLike": {"AWS:SourceArn": IDENTITY.format(OTHER)}}, SET, False),
        (
            {"StringEquals": {"AWS:SourceAccount": OTHER, "AWS:SourceArn": RULE.format(OTHER)}},
            RULE,
            True,
        ),
    ],
)
def test_topics_of_others_allow_the_service_under_conditions(condition, source, expected):
    assert allowed(policy(condition=condition), OTHER, source) is expected


@pytest.mark.req("TOPIC-003")
def test_topics_of_others_may_allow_the_sending_account():
    text = policy(principal={"AWS": OTHER}, action="SNS:Publish")
    assert allowed(text, OTHER)
    assert allowed(text, OTHER, source="")
    assert not allowed(text, "000000000003")


def test_the_service_alone_does_not_let_the_account_publish():
    assert not allowed(policy(), OTHER, source="")


@pytest.mark.req("TOPIC-002")
def test_a_deny_wins_on_own_topics_too():
    assert not allowed(policy("Deny"), OWN)
    assert not allowed(policy("Deny", {"AWS": OWN}), OWN)
    assert not allowed(policy("Deny", "*"), OWN, source="")
    assert allowed(policy("Deny", {"AWS": OTHER}), OWN)


def test_a_policy_that_cannot_be_read_denies_everything():
    assert not allowed("{", OWN)
    assert not allowed(policy().replace(str(TOPIC), "arn:aws:sns:local-1:000000000001:else"), OWN)


def test_the_default_policy_of_sns_can_be_read():
    text = policy(
        principal={"AWS": "*"},
        condition={"StringEquals": {"AWS:SourceOwner": OWN}},
        action=["SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:Subscribe", "SNS:Publish", "SNS:Receive"],
    )
    assert allowed(text, OWN)
    assert not allowed(text, OTHER)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (policy(action="ses:SendEmail"), 'An action of a topic is "sns:"'),
        (policy(principal={"Service": "lambda.amazonaws.com"}), "does not know the service"),
        (policy().replace(str(TOPIC), "*"), "the ARN of the topic"),
        (policy().replace('"Resource"', '"NotResource"'), "about that topic"),
        (policy(condition={"StringEquals": {"aws:Nothing": "x"}}), "no such condition key"),
        ("x" * 40_000, "longer"),
    ],
)
def test_broken_policies_say_what_is_wrong(text, says):
    read = parse_topic_policy(text, TOPIC, SERVICES)
    assert isinstance(read, Faults)
    assert says in str(read)
