"""Every policy that the guide shows, read and asked."""

import json

import pytest

from relay.policy.arn import IdentityArn
from relay.policy.authorization import Verdict, decide
from relay.policy.document import Faults, parse_identity_policy, parse_user_policy
from relay.policy.statements import Policy
from tests.unit.policy.policies import DELEGATE, DOMAIN, OWNER, SERVICES, guide, identity_policy, request

GUIDE = guide()
ADDRESS = IdentityArn("us-east-1", "999999999999", "sender@example.com")
ANATOMY = IdentityArn("us-east-1", DELEGATE, "example.com")
SEPTEMBER, OCTOBER, AUGUST = 1_631_000_000_000, 1_633_100_000_000, 1_630_000_000_000
JOHN, JANE = "arn:aws:iam::111122223333:user/John", "arn:aws:iam::444455556666:user/Jane"
POOL = "arn:aws:cognito-idp:us-east-1:888888888888:userpool/your-user-pool-id-goes-here"
FROM, FEEDBACK = "from_addresses", "feedback_address"


def given(title: str, arn: IdentityArn = DOMAIN) -> Policy:
    policy = parse_identity_policy("guide", GUIDE[title], arn, SERVICES)
    assert isinstance(policy, Policy), str(policy)
    return policy


def test_every_example_is_used():
    assert len(GUIDE) == 21
    used = {case[0] for case in IDENTITY_CASES} | {case[0] for case in USER_CASES}
    assert {title for title in GUIDE if not title.startswith("fragment")} == used


IDENTITY_CASES = [
    ("anatomy", ANATOMY, {"account": DELEGATE}, True),
    ("delegate account with From pattern", DOMAIN, {FROM: ("marketing+.x@example.com",)}, True),
    ("delegate account with From pattern", DOMAIN, {FROM: ("marketing+x@example.com",)}, False),
    ("delegate account with From pattern", DOMAIN, {FROM: ("Marketing+.x@example.com",)}, False),
    (
        "delegate account with From pattern",
        DOMAIN,
        {"account": "111122223333", FROM: ("marketing+.x@example.com",)},
        False,
    ),
    ("two users", DOMAIN, {"account": "111122223333", "user_arn": JOHN}, True),
    ("two users", DOMAIN, {"account": "444455556666", "user_arn": JANE}, True),
    ("two users", DOMAIN, {"account": "444455556666", "user_arn": JOHN.replace("1111", "4444")}, False),
    ("two users", DOMAIN, {"account": "111122223333", "user_arn": JOHN.lower()}, False),
    ("two users", DOMAIN, {"account": "111122223333"}, False),
    ("service", DOMAIN, {"account": "", "service": SERVICES[0], "source_account": OWNER, "source_arn": POOL}, True),
    ("service", DOMAIN, {"account": "", "service": SERVICES[0], "source_account": OWNER}, False),
    (
        "service",
        DOMAIN,
        {"account": "", "service": "sns.amazonaws.com", "source_account": OWNER, "source_arn": POOL},
        False,
    ),
    ("service", DOMAIN, {"source_account": OWNER, "source_arn": POOL}, False),
    ("organization", DOMAIN, {"account": "777777777777", "org_id": "o-xxxxxxxxxxx"}, True),
    ("organization", DOMAIN, {"account": "777777777777", "org_id": "o-other"}, False),
    ("organization", DOMAIN, {"account": "777777777777"}, False),
    ("From address", DOMAIN, {FROM: ("sender@example.com",)}, True),
    ("From address", DOMAIN, {FROM: ("Sender@example.com",)}, False),
    ("From address", DOMAIN, {FROM: ("sender+x@example.com",)}, False),
    ("From address", DOMAIN, {FROM: ("sender@example.com", "other@example.com")}, False),
    ("time period", DOMAIN, {"now_ms": SEPTEMBER}, True),
    ("time period", DOMAIN, {"now_ms": AUGUST}, False),
    ("time period", DOMAIN, {"now_ms": OCTOBER}, False),
    ("action", DOMAIN, {"action": "ses:SendRawEmail"}, True),
    ("action", DOMAIN, {"action": "ses:SendEmail"}, False),
    ("display name", DOMAIN, {"from_names": ("Marketing",)}, True),
    ("display name", DOMAIN, {"from_names": ("The Marketing team",)}, False),
    ("display name", DOMAIN, {"from_names": ("marketing",)}, False),
    ("display name", DOMAIN, {"from_names": ("",)}, False),
    ("display name", DOMAIN, {"from_names": ("Marketing", "")}, False),
    ("several statements", ADDRESS, {"account": "111111111111", FEEDBACK: "x@example.com"}, True),
    ("several statements", ADDRESS, {"account": "222222222222"}, True),
    ("several statements", ADDRESS, {"account": "111111111111", FEEDBACK: "x@other.example"}, False),
    ("several statements", ADDRESS, {"account": "111111111111", FEEDBACK: ""}, False),
    (
        "several statements",
        ADDRESS,
        {
            "account": "333333333333",
            "user_arn": "arn:aws:iam::333333333333:user/Jane",
            "recipients": ("b@example.com",),
        },
        True,
    ),
    (
        "several statements",
        ADDRESS,
        {
            "account": "333333333333",
            "user_arn": "arn:aws:iam::333333333333:user/Jane",
            "recipients": ("b@example.com", "c@example.org"),
        },
        False,
    ),
    ("several statements", ADDRESS, {"account": "333333333333", "recipients": ("b@example.com",)}, False),
]


@pytest.mark.parametrize(("title", "arn", "values", "allowed"), IDENTITY_CASES)
def test_policies_of_identities(title, arn, values, allowed):
    owner_asks = values.get("account") == arn.account
    context = request(**({"account": DELEGATE} | values))
    decision = decide(context, arn, [given(title, arn)])
    assert decision.allowed is allowed
    if not owner_asks:
        assert decision.verdict is (Verdict.ALLOW if allowed else Verdict.NO_MATCH)


def test_the_sids_of_several_statements():
    policy = given("several statements", ADDRESS)
    decision = decide(request("111111111111"), ADDRESS, [policy])
    assert (decision.policy, decision.sid) == ("guide", "AuthorizeAWS")
    jane = request("333333333333", user_arn="arn:aws:iam::333333333333:user/Jane", recipients=("b@example.com",))
    assert decide(jane, ADDRESS, [policy]).sid == "AuthorizeInternal"


@pytest.mark.parametrize("title", sorted({case[0] for case in IDENTITY_CASES} - {"several statements"}))
def test_a_policy_belongs_to_its_identity_alone(title):
    other = IdentityArn("us-east-1", OWNER, "other.example")
    assert isinstance(parse_identity_policy("guide", GUIDE[title], other, SERVICES), Faults)


USER_CASES = [
    ("full access", {"action": "ses:GetSendQuota"}, True),
    ("full access", {}, True),
    ("API version 2", {"api_version": "2"}, True),
    ("API version 2", {"api_version": "1"}, False),
    ("sending only", {"action": "ses:SendRawEmail"}, True),
    ("sending only", {"action": "ses:GetSendStatistics"}, False),
    ("user time period", {"now_ms": 1_537_000_000_000}, True),
    ("user time period", {"now_ms": SEPTEMBER}, False),
    ("user recipients", {"recipients": ("a@example.com", "b@example.com")}, True),
    ("user recipients", {"recipients": ("a@example.com", "b@example.org")}, False),
    ("user From address", {FROM: ("marketing@example.com",)}, True),
    ("user From address", {FROM: ("sales@example.com",)}, False),
    ("user SendBounce", {"action": "ses:SendBounce", FROM: ("bounce@example.com",)}, True),
    ("user SendBounce", {"action": "ses:SendBounce", FROM: ("x@example.com",)}, False),
    ("user SendBounce", {FROM: ("bounce@example.com",)}, False),
    ("user display name", {"from_names": ("Marketing",)}, True),
    ("user display name", {"from_names": ("Sales",)}, False),
    ("user feedback", {FEEDBACK: "feedback@example.com"}, True),
    ("user feedback", {FEEDBACK: "sender@example.com"}, False),
]


@pytest.mark.parametrize(("title", "values", "allowed"), USER_CASES)
def test_policies_of_users(title, values, allowed):
    policy = parse_user_policy("guide", GUIDE[title])
    assert isinstance(policy, Policy), str(policy)
    own = IdentityArn("us-east-1", DELEGATE, "example.com")
    decision = decide(request(DELEGATE, **values), own, [], [policy])
    assert decision.verdict is (Verdict.ALLOW if allowed else Verdict.NO_MATCH)


@pytest.mark.parametrize(
    ("title", "address", "allowed"),
    [
        ("fragment invoicing", "invoicing@example.com", True),
        ("fragment invoicing", "invoicing+7@example.com", True),
        ("fragment invoicing", "x-invoicing@example.com", False),
        ("fragment admin", "sender@example.com", True),
        ("fragment admin", "admin@example.com", False),
        ("fragment admin", '"admin"@example.com', False),
        ("fragment admin", "admin+1@example.com", False),
        ("fragment admin", "sender@admin.example.com", False),
    ],
)
def test_fragments(title, address, allowed):
    condition = json.loads("{" + GUIDE[title] + "}")["Condition"]
    policy = identity_policy(Condition=condition)
    assert decide(request(from_addresses=(address,)), DOMAIN, [policy]).allowed is allowed
