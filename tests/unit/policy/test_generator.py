"""Policies written from their parts are read back as meant."""

import json

import pytest

from relay.policy.authorization import decide
from relay.policy.document import Faults, parse_identity_policy
from relay.policy.generator import StatementParts, generate
from relay.policy.statements import Policy
from tests.unit.policy.policies import DELEGATE, DOMAIN, SERVICES, request


def made(*statements: StatementParts) -> tuple[dict, Policy]:
    text = generate("marketing", DOMAIN, statements, SERVICES)
    assert isinstance(text, str), str(text)
    policy = parse_identity_policy("marketing", text, DOMAIN, SERVICES)
    assert isinstance(policy, Policy)
    return json.loads(text), policy


def test_the_short_form():
    document, policy = made(StatementParts([DELEGATE]))
    assert document == {
        "Version": "2012-10-17",
        "Id": "marketing",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": [DELEGATE]},
                "Action": [
                    "ses:SendEmail",
                    "ses:SendRawEmail",
                    "ses:SendTemplatedEmail",
                    "ses:SendBulkTemplatedEmail",
                ],
                "Resource": "arn:aws:ses:us-east-1:888888888888:identity/example.com",
            }
        ],
    }
    assert decide(request(), DOMAIN, [policy]).allowed


def test_all_parts():
    document, policy = made(
        StatementParts(
            [DELEGATE, "arn:aws:iam::111122223333:user/John", "cognito-idp.amazonaws.com"],
            actions=["SendRawEmail", "ses:SendEmail"],
            conditions=[
                ("StringLike", "ses:FromAddress", "büro*@example.com"),
                ("StringLike", "ses:FromAddress", "sender@example.com"),
                ("StringLike", "ses:FeedbackAddress", "*@example.com"),
                ("DateLessThan", "aws:CurrentTime", "2021-10-01T12:00Z"),
            ],
            sid="september",
        ),
        StatementParts(["*"], effect="Deny", conditions=[("Bool", "aws:SecureTransport", "false")]),
    )
    first, second = document["Statement"]
    assert first["Sid"] == "september"
    assert first["Principal"] == {
        "AWS": [DELEGATE, "arn:aws:iam::111122223333:user/John"],
        "Service": ["cognito-idp.amazonaws.com"],
    }
    assert first["Action"] == ["ses:SendRawEmail", "ses:SendEmail"]
    assert first["Condition"] == {
        "StringLike": {
            "ses:FromAddress": ["büro*@example.com", "sender@example.com"],
            "ses:FeedbackAddress": ["*@example.com"],
        },
        "DateLessThan": {"aws:CurrentTime": ["2021-10-01T12:00Z"]},
    }
    assert second["Principal"] == "*"
    assert decide(request(), DOMAIN, [policy]).allowed
    assert not decide(request(secure_transport=False), DOMAIN, [policy]).allowed


@pytest.mark.parametrize(
    ("parts", "element"),
    [
        ([], "Statement"),
        ([StatementParts([])], "Statement[0].Principal"),
        ([StatementParts(["John"])], "Statement[0].Principal.AWS"),
        ([StatementParts(["sns.amazonaws.com"])], "Statement[0].Principal.Service"),
        ([StatementParts([DELEGATE], effect="Permit")], "Statement[0].Effect"),
        ([StatementParts([DELEGATE], actions=[])], "Statement[0].Action"),
        ([StatementParts([DELEGATE], actions=["GetSendQuota"])], "Statement[0].Action"),
        ([StatementParts([DELEGATE], conditions=[("Like", "ses:FromAddress", "x")])], "Statement[0].Condition.Like"),
        ([StatementParts([DELEGATE])] * 40, "Policy"),
    ],
)
def test_faults(parts, element):
    found = generate("p", DOMAIN, parts, SERVICES)
    assert isinstance(found, Faults)
    assert found.faults[0].element == element


def test_a_bad_name():
    found = generate("a b", DOMAIN, [StatementParts([DELEGATE])])
    assert isinstance(found, Faults)
    assert found.faults[0].element == "PolicyName"


def test_a_statement_is_added_to_a_policy_that_is_there():
    before = generate("p", DOMAIN, [StatementParts([DELEGATE], sid="first")])
    assert isinstance(before, str)
    after = generate("p", DOMAIN, [StatementParts(["*"], effect="Deny", sid="second")], existing=before)
    assert isinstance(after, str)
    assert [one["Sid"] for one in json.loads(after)["Statement"]] == ["first", "second"]
    single = json.dumps(json.loads(before) | {"Statement": json.loads(before)["Statement"][0], "Id": "mine"})
    after = generate("p", DOMAIN, [StatementParts(["*"], effect="Deny", sid="second")], existing=single)
    assert isinstance(after, str)
    assert len(json.loads(after)["Statement"]) == 2
    assert json.loads(after)["Id"] == "mine"
    assert isinstance(generate("p", DOMAIN, [StatementParts(["*"])], existing="[]"), Faults)
