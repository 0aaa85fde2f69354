"""Whatever a policy text, a condition or an ARN is: a value or our own faults, in bounded time."""

import json
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.policy.arn import BadArn, parse_identity_arn, parse_principal_arn
from relay.policy.authorization import Decision, SendContext, decide
from relay.policy.conditions import KEYS, OPERATORS, BadCondition, compile_condition
from relay.policy.delegation import Authorized, NamedArns, Senders, authorize
from relay.policy.document import FAULTS_MAX, Faults, parse_identity_policy, parse_user_policy
from relay.policy.statements import Policy
from tests.unit.policy.policies import DOMAIN, OWNER, SERVICES, guide

SECONDS_MAX = 5.0  # on a slow and busy machine; a few milliseconds are usual
TRICKY = st.text(alphabet=st.sampled_from('aA1*?@.:/"\\-_ {}[]$%\x00\n\u212a\u0308ü\u202e\ud800'), max_size=40)
VALUES = st.one_of(
    TRICKY,
    st.sampled_from(
        ["*", "true", "2021-08-31T12:00Z", "203.0.113.0/24", "123456789012", str(DOMAIN), "a@example.com"]
    ),
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), VALUES)
OPERATOR_NAMES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "ForAllValues:", "ForAnyValue:"]),
    st.one_of(st.sampled_from(OPERATORS), TRICKY),
    st.sampled_from(["", "IfExists"]),
)
CONDITION_KEYS = st.one_of(st.sampled_from(list(KEYS.values())), TRICKY)
CONDITIONS = st.dictionaries(
    OPERATOR_NAMES,
    st.one_of(LEAVES, st.dictionaries(CONDITION_KEYS, st.one_of(LEAVES, st.lists(LEAVES, max_size=3)), max_size=3)),
    max_size=3,
)
ELEMENTS = {
    "Sid": LEAVES,
    "Effect": st.one_of(st.sampled_from(["Allow", "Deny"]), LEAVES),
    "Principal": st.one_of(LEAVES, st.dictionaries(st.sampled_from(["AWS", "Service", "x"]), VALUES, max_size=2)),
    "Action": st.one_of(st.sampled_from(["ses:Send*", "ses:*", "*"]), st.lists(VALUES, max_size=2)),
    "NotAction": LEAVES,
    "Resource": st.one_of(st.just(str(DOMAIN)), st.lists(VALUES, max_size=2)),
    "NotResource": VALUES,
    "Condition": st.one_of(CONDITIONS, LEAVES),
}
STATEMENTS = st.fixed_dictionaries({}, optional=ELEMENTS)
DOCUMENTS = st.fixed_dictionaries(
    {"Statement": st.one_of(STATEMENTS, st.lists(STATEMENTS, max_size=3))},
    optional={"Version": st.one_of(st.sampled_from(["2012-10-17", "2008-10-17"]), LEAVES), "Id": LEAVES},
)
CONTEXTS = st.builds(
    SendContext,
    action=st.sampled_from(["ses:SendRawEmail", "ses:GetSendQuota"]),
    account=st.sampled_from([OWNER, "123456789012"]),
    user_arn=TRICKY,
    recipients=st.lists(TRICKY, max_size=3).map(tuple),
    from_addresses=st.lists(TRICKY, max_size=2).map(tuple),
    from_names=st.lists(TRICKY, max_size=2).map(tuple),
    feedback_address=TRICKY,
    now_ms=st.integers(0, 2**42),
    secure_transport=st.sampled_from([None, True, False]),
    source_ip=TRICKY,
    user_agent=TRICKY,
    source_arn=TRICKY,
)


def check(text: str, context: SendContext) -> None:
    begin = time.process_time()
    for policy in (parse_identity_policy("p", text, DOMAIN, SERVICES), parse_user_policy("p", text)):
        if isinstance(policy, Faults):
            assert 1 <= len(policy.faults) <= FAULTS_MAX
            assert all(fault.element and fault.reason and fault.example for fault in policy.faults)
            assert not set("\r\n\x00") & {char for fault in policy.faults for char in str(fault)}
        else:
            assert isinstance(policy, Policy)
            assert isinstance(decide(context, DOMAIN, [policy], []), Decision)
            assert isinstance(decide(context, DOMAIN, [], [policy]), Decision)
    assert time.process_time() - begin < SECONDS_MAX


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS, CONTEXTS)
def test_documents(document, context):
    check(json.dumps(document, ensure_ascii=False), context)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(guide().values())), st.data(), CONTEXTS)
def test_damaged_documents(text, data, context):
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 20)))
    check(text[:at] + data.draw(st.one_of(TRICKY, st.text(max_size=20))) + text[end:], context)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from('[]{}":,\\ 0eE-+.ntfNaI\ud800ü'), max_size=200), CONTEXTS)
def test_texts(text, context):
    check(text, context)


@settings(max_examples=400, deadline=None)
@given(OPERATOR_NAMES, CONDITION_KEYS, st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3), st.booleans())
def test_conditions(name, key, values, found, allowing):
    condition = compile_condition(name, key, tuple(values))
    if not isinstance(condition, BadCondition):
        assert condition.holds(found, allowing=allowing) in (True, False)


ARN_TEXTS = st.lists(
    st.one_of(
        st.sampled_from(["arn", "aws", "ses", "iam", "us-east-1", OWNER, "identity/example.com", "user/a"]), TRICKY
    ),
    max_size=7,
).map(":".join)


@settings(max_examples=400, deadline=None)
@given(ARN_TEXTS)
def test_arns(text):
    for parse in (parse_identity_arn, parse_principal_arn):
        arn = parse(text)
        if isinstance(arn, BadArn):
            assert text not in arn.text or len(text) < 20
        else:
            assert parse(str(arn)) == arn
            assert str(arn).isascii()
            assert str(arn).isprintable()


@settings(max_examples=300, deadline=None)
@given(ARN_TEXTS, TRICKY, TRICKY, TRICKY, CONTEXTS)
def test_nobody_is_authorized_by_an_empty_catalog(arn, author, envelope, return_path, context):
    result = authorize(
        NamedArns(arn, "", arn),
        Senders((author,), "", envelope, return_path),
        context,
        region="us-east-1",
        covering=lambda _account, _address: (),
    )
    assert not isinstance(result, Authorized)
    assert len(f"554 5.7.1 {result.text}\r\n".encode("utf-8", "replace")) <= 512
    assert not set("\r\n\x00") & set(result.text)
