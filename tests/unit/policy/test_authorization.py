"""The evaluator: whose Allow is needed, what a Deny does, what conditions see."""

import itertools

import pytest

from relay.policy.arn import IdentityArn
from relay.policy.authorization import Decision, Question, SendContext, Verdict, always_allows, decide
from tests.unit.policy.policies import DELEGATE, DOMAIN, OWNER, SERVICES, identity_policy, request, user_policy

ANYBODY = {"Principal": "*"}
ALLOW = identity_policy(DOMAIN, "allow", Sid="yes", **ANYBODY)
DENY = identity_policy(DOMAIN, "deny", Sid="no", Effect="Deny", **ANYBODY)
OTHER = identity_policy(DOMAIN, "other", Principal={"AWS": "999999999999"})
USER_ALLOW = user_policy(name="user-allow", Sid="uyes")
USER_DENY = user_policy(name="user-deny", Sid="uno", Effect="Deny")
USER_OTHER = user_policy(name="user-other", Action="ses:GetSendQuota")

YES, NO, NONE = Verdict.ALLOW, Verdict.DENY, Verdict.NO_MATCH


@pytest.mark.parametrize(
    ("of_identity", "of_user", "owner", "delegate"),
    [
        # identity, user          the owner's own account      another account
        ([], [], (YES, ""), (NONE, "")),
        ([ALLOW], [], (YES, ""), (YES, "allow")),
        ([OTHER], [], (YES, ""), (NONE, "")),
        ([DENY], [], (NO, "deny"), (NO, "deny")),
        ([ALLOW, DENY], [], (NO, "deny"), (NO, "deny")),
        ([DENY, ALLOW], [], (NO, "deny"), (NO, "deny")),
        ([], [USER_ALLOW], (YES, "user-allow"), (NONE, "")),
        ([], [USER_OTHER], (NONE, ""), (NONE, "")),
        ([], [USER_DENY], (NO, "user-deny"), (NO, "user-deny")),
        ([ALLOW], [USER_ALLOW], (YES, "user-allow"), (YES, "allow")),
        ([ALLOW], [USER_OTHER], (YES, "allow"), (NONE, "")),
        ([OTHER], [USER_OTHER], (NONE, ""), (NONE, "")),
        ([OTHER], [USER_ALLOW], (YES, "user-allow"), (NONE, "")),
        ([ALLOW], [USER_DENY], (NO, "user-deny"), (NO, "user-deny")),
        ([ALLOW], [USER_DENY, USER_ALLOW], (NO, "user-deny"), (NO, "user-deny")),
        ([DENY], [USER_ALLOW], (NO, "deny"), (NO, "deny")),
        ([DENY], [USER_DENY], (NO, "deny"), (NO, "deny")),
    ],
)
def test_whose_word_counts(of_identity, of_user, owner, delegate):
    own = decide(request(OWNER), DOMAIN, of_identity, of_user)
    assert (own.verdict, own.policy) == owner
    assert own.allowed is (own.verdict is YES)
    other = decide(request(DELEGATE), DOMAIN, of_identity, of_user)
    assert (other.verdict, other.policy) == delegate


def test_sids():
    assert decide(request(), DOMAIN, [ALLOW]) == Decision(YES, "allow", "yes")
    assert decide(request(), DOMAIN, [ALLOW, DENY]) == Decision(NO, "deny", "no")
    assert decide(request(OWNER), DOMAIN, [], [USER_ALLOW]) == Decision(YES, "user-allow", "uyes")


def test_services_need_an_allow_whatever_account_they_name():
    service = request(OWNER, service=SERVICES[0])
    assert decide(service, DOMAIN, []).verdict is NONE
    assert decide(service, DOMAIN, [identity_policy(Principal={"AWS": OWNER})]).verdict is NONE
    assert decide(service, DOMAIN, [identity_policy(Principal={"Service": SERVICES[0]})]).allowed
    assert decide(service, DOMAIN, [ALLOW]).allowed


def test_calls_about_no_identity():
    call = request(action="ses:GetSendQuota")
    assert decide(call, None, []).allowed
    assert decide(call, None, [], [user_policy(Action="ses:Get*")]).allowed
    assert not decide(call, None, [], [user_policy(Action="ses:Get*", Resource=str(DOMAIN))]).allowed
    assert not decide(call, None, [], [USER_ALLOW]).allowed


def test_resources_of_users():
    policy = user_policy(Resource="arn:aws:ses:*:888888888888:identity/example.com")
    assert decide(request(OWNER), DOMAIN, [], [policy]).allowed
    assert not decide(request(OWNER), IdentityArn("us-east-1", OWNER, "sub.example.com"), [], [policy]).allowed


KEYS = [
    ("StringEquals", "ses:Recipients", "bob@receiver.example", {}, {"recipients": ("x@receiver.example",)}),
    ("StringEquals", "ses:FromAddress", "sender@example.com", {}, {"from_addresses": ("x@example.com",)}),
    ("StringEquals", "ses:FromDisplayName", "Büro", {"from_names": ("Bu\u0308ro",)}, {"from_names": ("Buro",)}),
    ("StringEquals", "ses:FeedbackAddress", "sender@example.com", {}, {"feedback_address": ""}),
    ("StringEquals", "ses:ApiVersion", "2", {}, {"api_version": "1"}),
    ("DateEquals", "aws:CurrentTime", "2021-09-07T07:33:20.007Z", {"now_ms": 1_631_000_000_007}, {"now_ms": 0}),
    ("NumericEquals", "aws:EpochTime", "1631000000", {}, {"now_ms": 1}),
    ("Bool", "aws:SecureTransport", "true", {}, {"secure_transport": False}),
    ("Bool", "aws:SecureTransport", "true", {}, {"secure_transport": None}),
    ("IpAddress", "aws:SourceIp", "203.0.113.0/24", {}, {"source_ip": "203.0.114.1"}),
    ("IpAddress", "aws:SourceIp", "203.0.113.0/24", {}, {"source_ip": ""}),
    ("StringLike", "aws:UserAgent", "boto*", {"user_agent": "boto3/1"}, {}),
    ("StringEquals", "aws:SourceAccount", OWNER, {"source_account": OWNER}, {}),
    ("ArnLike", "aws:SourceArn", "arn:aws:s:*:*:x", {"source_arn": "arn:aws:s:a:1:x"}, {}),
    ("StringEquals", "aws:PrincipalOrgID", "o-1", {"org_id": "o-1"}, {"org_id": "o-2"}),
]


@pytest.mark.parametrize(("operator", "key", "value", "yes", "no"), KEYS)
def test_condition_keys(operator, key, value, yes, no):
    policy = identity_policy(Condition={operator: {key: value}})
    assert decide(request(**yes), DOMAIN, [policy]).allowed
    assert not decide(request(**no), DOMAIN, [policy]).allowed
    assert not decide(SendContext("ses:SendRawEmail", "999999999999"), DOMAIN, [policy]).allowed


def test_operators_and_keys_are_anded_values_ored():
    conditions = {
        "StringLike": {"ses:FromAddress": ["sender@*", "other@*"], "ses:Recipients": "bob@*"},
        "IpAddress": {"aws:SourceIp": ["198.51.100.0/24", "203.0.113.0/24"]},
    }
    policy = identity_policy(Condition=conditions)
    wrong = [{}, {"from_addresses": ("x@example.com",)}, {"recipients": ("x@a.example",)}, {"source_ip": "192.0.2.1"}]
    for left, right in itertools.product(wrong, wrong):
        allowed = decide(request(**(left | right)), DOMAIN, [policy]).allowed
        assert allowed is (not left and not right)
    assert decide(request(from_addresses=("other@example.com",)), DOMAIN, [policy]).allowed


def test_a_deny_reaches_one_recipient_of_many():
    deny = identity_policy(
        DOMAIN, "d", Effect="Deny", Condition={"StringLike": {"ses:Recipients": "*@rival.example"}}
    )
    many = request(recipients=("a@b.example", "x@rival.example"))
    assert decide(many, DOMAIN, [ALLOW, deny]).verdict is NO
    assert decide(request(), DOMAIN, [ALLOW, deny]).allowed


@pytest.mark.parametrize(
    ("address", "denied"),
    [
        ("admin@example.com", True),
        ('"admin"@example.com', True),
        ("admin@EXAMPLE.com", True),
        ("Admin@example.com", False),  # with case (AUTHZ-009)
        ("\u0430dmin@example.com", False),  # another letter is another address
    ],
)
def test_one_address_written_in_other_ways(address, denied):
    deny = identity_policy(
        DOMAIN, "d", Effect="Deny", Condition={"StringEquals": {"ses:FromAddress": "admin@Example.com"}}
    )
    assert (decide(request(from_addresses=(address,)), DOMAIN, [ALLOW, deny]).verdict is NO) is denied


def test_the_caller_as_refusals_name_it():
    assert request().caller_arn == f"arn:aws:iam::{DELEGATE}:root"
    assert request(user_arn="arn:aws:iam::1:user/J").caller_arn == "arn:aws:iam::1:user/J"


# --- what a request may cost --------------------------------------------------------------------------------------

MANY = {"StringLike": {"ses:Recipients": [f"*{number}*x@*.example" for number in range(100)]}}


@pytest.mark.parametrize(
    ("recipients", "policies", "verdict"), [(1, 20, YES), (50, 1, YES), (1000, 20, Verdict.TOO_MUCH)]
)
def test_more_than_a_request_may_cost_allows_nothing(recipients, policies, verdict):
    context = request(recipients=tuple(f"{number}@receiver.example" for number in range(recipients)))
    slow = [identity_policy(DOMAIN, f"p{number}", Condition=MANY, **ANYBODY) for number in range(policies)]
    decision = decide(context, DOMAIN, [*slow, ALLOW])
    assert decision.verdict is verdict
    assert decision.allowed is (verdict is YES)


def test_the_cost_of_all_identities_of_a_request_adds_up():
    question = Question(request(recipients=tuple(f"{number}@receiver.example" for number in range(30))))
    slow = [identity_policy(DOMAIN, "p", Condition=MANY, **ANYBODY)]
    verdicts = [question.decide(DOMAIN, slow).verdict for _ in range(20)]
    assert verdicts[0] is NONE
    assert verdicts[-1] is Verdict.TOO_MUCH


def test_the_log_names_policy_and_statement():
    assert str(Decision(Verdict.DENY, "p", "s")) == "explicit deny of policy p, statement s"
    assert str(Decision(Verdict.ALLOW, "p")) == "allow of policy p"
    assert str(Decision(Verdict.NO_MATCH)) == "no matching allow"


@pytest.mark.parametrize(
    ("policies", "always"),
    [
        ([], False),
        ([USER_ALLOW], True),
        ([USER_OTHER, USER_ALLOW], True),
        ([user_policy(Action="ses:*")], True),
        ([user_policy(NotAction="ses:Get*", Action=None)], True),
        ([USER_OTHER], False),
        ([USER_ALLOW, USER_DENY], False),
        ([USER_ALLOW, user_policy(Effect="Deny", Action="ses:Get*")], False),
        ([user_policy(Resource=str(DOMAIN))], False),
        ([user_policy(NotResource="*", Resource=None)], False),
        ([user_policy(Condition={"Bool": {"aws:SecureTransport": "true"}})], False),
    ],
)
def test_what_a_user_may_always_do(policies, always):
    assert always_allows(policies, "ses:SendRawEmail") is always
    if always:  # then it may here
        assert decide(request(OWNER, user_arn=f"arn:aws:iam::{OWNER}:user/u"), DOMAIN, [], policies).allowed
