"""Policy texts: what is read, and what each fault says."""

import json

import pytest

from relay.policy.arn import IdentityArn
from relay.policy.document import (
    FAULTS_MAX,
    IDENTITY_POLICY_MAX_BYTES,
    USER_POLICY_MAX_BYTES,
    Faults,
    check_name,
    check_room,
    parse_identity_policy,
    parse_user_policy,
)
from relay.policy.jsontext import read_json
from relay.policy.statements import Effect, IdentityPattern, Policy
from tests.unit.policy.policies import DOMAIN, SERVICES

STATEMENT = {
    "Effect": "Allow",
    "Principal": {"AWS": "123456789012"},
    "Action": "ses:SendEmail",
    "Resource": str(DOMAIN),
}
USER_STATEMENT = {"Effect": "Allow", "Action": "ses:*", "Resource": "*"}


def without(name: str) -> dict:
    return {key: value for key, value in STATEMENT.items() if key != name}


def faults(text: str | dict, arn: IdentityArn | None = DOMAIN) -> list[str]:
    """Return the faults of a policy as text."""
    text = text if isinstance(text, str) else json.dumps(text)
    found = parse_user_policy("p", text) if arn is None else parse_identity_policy("p", text, arn, SERVICES)
    assert isinstance(found, Faults), found
    return str(found).split("\n")


def user_faults(**elements: object) -> list[str]:
    return faults({"Statement": USER_STATEMENT | elements}, None)


def read(arn: IdentityArn | None = DOMAIN, **elements: object) -> Policy:
    base = USER_STATEMENT if arn is None else STATEMENT
    text = json.dumps({"Statement": base | elements})
    policy = parse_user_policy("p", text) if arn is None else parse_identity_policy("p", text, arn, SERVICES)
    assert isinstance(policy, Policy), str(policy)
    return policy


def test_a_whole_policy():
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Id": "any ü",
            "Statement": [
                STATEMENT | {"Sid": "one", "Condition": {"Bool": {"aws:SecureTransport": True}}},
                STATEMENT
                | {
                    "Sid": "two",
                    "Effect": "Deny",
                    "Principal": {
                        "AWS": ["arn:aws:iam::111122223333:user/J", "arn:aws:iam::111122223333:root", "444455556666"],
                        "Service": "cognito-idp.amazonaws.com",
                    },
                    "Condition": {
                        "NumericLessThan": {"aws:EpochTime": 1630411200},
                        "StringLike": {"ses:FromAddress": ["a*", "b*"], "ses:FromDisplayName": "x"},
                    },
                },
            ],
        },
        ensure_ascii=False,
    )
    policy = parse_identity_policy("name", text, DOMAIN, SERVICES)
    assert isinstance(policy, Policy)
    assert (policy.name, policy.version, policy.policy_id) == ("name", "2012-10-17", "any ü")
    one, two = policy.statements
    assert (one.effect, one.sid, two.effect, two.sid) == (Effect.ALLOW, "one", Effect.DENY, "two")
    assert [(each.operator, each.key, each.values) for each in one.conditions + two.conditions] == [
        ("Bool", "aws:SecureTransport", ("true",)),
        ("NumericLessThan", "aws:EpochTime", ("1630411200",)),
        ("StringLike", "ses:FromAddress", ("a*", "b*")),
        ("StringLike", "ses:FromDisplayName", ("x",)),
    ]
    assert two.principals is not None
    assert two.principals.accounts == {"111122223333", "444455556666"}
    assert two.principals.users == {"arn:aws:iam::111122223333:user/J"}
    assert two.principals.services == set(SERVICES)


@pytest.mark.parametrize(
    "elements",
    [
        {"Principal": "*"},
        {"Principal": {"AWS": "*"}},
        {"Action": ["ses:Send*"]},
        {"Action": "SES:sendrawemail"},
        {"Resource": [str(DOMAIN)]},
        {"Resource": str(DOMAIN).replace("example.com", "EXAMPLE.com")},
        {"Condition": {}},
        {"Condition": {"ForAllValues:StringLike": {"ses:Recipients": "*@example.com"}}},
        {"Sid": ""},
    ],
)
def test_other_forms(elements):
    read(**elements)


def test_not_action_of_an_identity():
    elements = without("Action") | {"NotAction": "ses:SendEmail"}
    policy = parse_identity_policy("p", json.dumps({"Statement": elements}), DOMAIN)
    assert isinstance(policy, Policy)
    actions = policy.statements[0].actions
    assert [actions.match(one) for one in ("ses:SendEmail", "ses:SendRawEmail")] == [False, True]


BAD_STATEMENTS = [
    ("x", "Statement[0]: A statement is an object."),
    (without("Effect"), 'Statement[0].Effect: The effect is Allow or Deny. Example: "Allow"'),
    (STATEMENT | {"Effect": "allow"}, "Statement[0].Effect: "),
    (STATEMENT | {"Effect": ["Allow"]}, "Statement[0].Effect: "),
    (without("Principal"), 'Statement[0].Principal: The principal is "*", or an object'),
    (STATEMENT | {"Principal": "123456789012"}, "Statement[0].Principal: "),
    (STATEMENT | {"Principal": {}}, "Statement[0].Principal: "),
    (STATEMENT | {"Principal": {"AWS": []}}, "Statement[0].Principal.AWS: The value is a text, or a list"),
    (STATEMENT | {"Principal": {"AWS": 123456789012}}, "Statement[0].Principal.AWS: The value is a text, or a list"),
    (STATEMENT | {"Principal": {"AWS": "12345678901*"}}, "Statement[0].Principal.AWS: A principal is an account id"),
    (STATEMENT | {"Principal": {"AWS": "arn:aws:iam::*:root"}}, "Statement[0].Principal.AWS: The fifth part"),
    (STATEMENT | {"Principal": {"Federated": "x"}}, "Statement[0].Principal.Federated: Principals are named by"),
    (
        STATEMENT | {"Principal": {"Service": "*"}},
        "Statement[0].Principal.Service: This relay does not know the service; configured are: cognito-idp",
    ),
    (without("Principal") | {"NotPrincipal": {"AWS": "123456789012"}}, "Statement[0].NotPrincipal: NotPrincipal is"),
    (without("Action"), "Statement[0].Action: The element is missing. Example: "),
    (STATEMENT | {"NotAction": "ses:SendEmail"}, "Statement[0].NotAction: A statement has Action or NotAction"),
    (STATEMENT | {"Action": []}, "Statement[0].Action: The value is a text, or a list"),
    (STATEMENT | {"Action": {"a": 1}}, "Statement[0].Action: The value is a text, or a list"),
    (STATEMENT | {"Action": ["ses:SendEmail", None]}, "Statement[0].Action: The value is a text, or a list"),
    (STATEMENT | {"Action": "ses:*"}, "Statement[0].Action: A policy of an identity allows sending only"),
    (STATEMENT | {"Action": "*"}, "Statement[0].Action: A policy of an identity allows sending only"),
    (
        STATEMENT | {"Action": "ses:\u017fendEmail"},
        "Statement[0].Action: A policy of an identity allows sending only",
    ),
    (STATEMENT | {"Action": "ses:GetSendQuota"}, "Statement[0].Action: A policy of an identity allows sending only"),
    (
        without("Resource"),
        'Statement[0].Resource: The element is missing. Example: "arn:aws:ses:us-east-1:888888888888',
    ),
    (STATEMENT | {"Resource": "*"}, "Statement[0].Resource: The resource is one, the ARN of the identity"),
    (STATEMENT | {"Resource": [str(DOMAIN)] * 2}, "Statement[0].Resource: The resource is one"),
    (
        STATEMENT | {"Resource": str(DOMAIN).replace("888888888888", "*")},
        "Statement[0].Resource: The resource is one",
    ),
    (
        STATEMENT | {"Resource": str(DOMAIN).replace("example", "a.example")},
        "Statement[0].Resource: The resource is one",
    ),
    (
        STATEMENT | {"Resource": str(DOMAIN).replace("us-east-1", "eu-west-1")},
        "Statement[0].Resource: The resource is",
    ),
    (STATEMENT | {"Resource": str(DOMAIN).replace("a", "\u0430")}, "Statement[0].Resource: The resource is one"),
    (without("Resource") | {"NotResource": str(DOMAIN)}, "Statement[0].NotResource: NotResource is refused"),
    (STATEMENT | {"Sid": 7}, "Statement[0].Sid: The value is a text."),
    (STATEMENT | {"sid": "x"}, "Statement[0].sid: There is no such element; known are Sid, Effect"),
    (STATEMENT | {"Condition": []}, "Statement[0].Condition: The conditions are an object of operators."),
    (STATEMENT | {"Condition": {"StringLike": "x"}}, "Statement[0].Condition.StringLike: An operator has an object"),
    (STATEMENT | {"Condition": {"StringLike": {}}}, "Statement[0].Condition.StringLike: An operator has an object"),
    (
        STATEMENT | {"Condition": {"stringLike": {"ses:FromAddress": "x"}}},
        "Statement[0].Condition.stringLike: ses:FromAddress: There is no such condition operator; names are written",
    ),
    (
        STATEMENT | {"Condition": {"StringLike": {"ses:From\u00e4dress": "x"}}},
        "Statement[0].Condition.StringLike: ses:From\u00e4dress: There is no such condition key.",
    ),
    (
        STATEMENT | {"Condition": {"StringLike": {"ses:FromAddress": None}}},
        "Statement[0].Condition.StringLike: The values of a condition are texts, numbers or booleans.",
    ),
    (
        STATEMENT | {"Condition": {"StringLike": {"ses:FromAddress": ["a", {"b": 1}]}}},
        "Statement[0].Condition.StringLike: The values of a condition are texts",
    ),
    (
        STATEMENT | {"Condition": {"StringLike": {"ses:FromAddress": []}}},
        "Statement[0].Condition.StringLike: ses:FromAddress: A condition needs at least one value.",
    ),
    (
        STATEMENT | {"Condition": {"StringLike": {"ses:FromAddress": "${aws:username}@example.com"}}},
        "Statement[0].Condition.StringLike: Policy variables",
    ),
]


@pytest.mark.parametrize(("statement", "begin"), BAD_STATEMENTS)
def test_faults_of_a_statement(statement, begin):
    found = faults({"Version": "2012-10-17", "Statement": [statement]})
    assert [one for one in found if one.startswith(begin)], found
    assert all(" Example: " in one for one in found)


@pytest.mark.parametrize(
    ("document", "begin"),
    [
        ({"Statement": []}, "Statement: A policy has at least one statement"),
        ({}, "Statement: A policy has at least one statement"),
        ({"Statement": "x"}, "Statement: A policy has at least one statement"),
        ({"Statement": STATEMENT | {"Effect": 1}}, "Statement.Effect: "),
        ({"Version": "2021-01-01", "Statement": STATEMENT}, "Version: The language has the versions 2008-10-17 and"),
        ({"Version": "", "Statement": STATEMENT}, "Version: The language has the versions"),
        ({"Version": 2012, "Statement": STATEMENT}, "Version: The value is a text."),
        ({"Id": [], "Statement": STATEMENT}, "Id: The value is a text."),
        ({"statement": STATEMENT}, "statement: There is no such element; known are Version, Id, Statement."),
        ({"Statement": [STATEMENT | {"Sid": "a"}] * 2}, "Statement: Two statements have the same Sid."),
        ("", "Policy: The text is not JSON"),
        ("[]", "Policy: The text is not a JSON object."),
        ('"Statement"', "Policy: The text is not a JSON object."),
        ('{"Statement": 1} x', "Policy: The text is not JSON: Extra data (line 1, column 18)."),
        ("\ufeff{}", "Policy: The text is not JSON"),
        ('{"Id": NaN}', "Policy: NaN and Infinity are not JSON."),
        ('{"Id": -Infinity}', "Policy: NaN and Infinity are not JSON."),
        ('{"Id": "a", "Id": "b"}', 'Policy: The name "Id" occurs twice in one object.'),
        ('{"\\u0000": 1, "\\u0000": 2}', 'Policy: The name "?" occurs twice in one object.'),
        ('{"Id": "\\ud800"}', "Policy: A text in it has a control character"),
        ('{"Id": ["\\n"]}', "Policy: A text in it has a control character"),
        ('{"Id": "\ud800"}', "Policy: A text in it has a control character"),
        ("[" * 2000, "Policy: The text has more than 12 levels of brackets."),
        ('{"a":' * 13 + "1" + "}" * 13, "Policy: The text has more than 12 levels of brackets."),
        ('{"Id": "' + "a" * IDENTITY_POLICY_MAX_BYTES + '"}', "Policy: The text is longer than 4096 bytes."),
        ('{"Id": "' + "ü" * (IDENTITY_POLICY_MAX_BYTES // 2) + '"}', "Policy: The text is longer than 4096 bytes."),
    ],
)
def test_faults_of_a_text(document, begin):
    found = faults(document)
    assert [one for one in found if one.startswith(begin)], found


def test_a_text_that_only_looks_deep_or_large():
    text = json.dumps({"Id": "[{" * 100 + '"', "Statement": STATEMENT})
    exact = text + " " * (IDENTITY_POLICY_MAX_BYTES - len(text))
    assert isinstance(parse_identity_policy("p", exact, DOMAIN), Policy)
    assert isinstance(parse_identity_policy("p", exact + " ", DOMAIN), Faults)
    assert read_json('{"n": 12345678901234567890123.5e400}', 100) == {"n": "12345678901234567890123.5e400"}


def test_variables_are_plain_text_in_the_old_version():
    text = json.dumps({"Statement": STATEMENT | {"Condition": {"StringLike": {"ses:FromAddress": "${a}*"}}}})
    assert isinstance(parse_identity_policy("p", text, DOMAIN), Policy)


def test_faults_are_bounded_and_safe_to_show():
    found = faults({"Statement": ["x"] * 300})
    assert len(found) == FAULTS_MAX
    name = "\u202e" + "\x7f" * 60
    text = json.dumps({"Statement": {**STATEMENT, name: "x"}})
    assert "control character" in str(parse_identity_policy("p", text, DOMAIN))
    long = faults({"Statement": {**STATEMENT, "y" * 3000: "x"}})
    assert len(long[0]) < 400


@pytest.mark.parametrize(
    ("elements", "begin"),
    [
        ({"Principal": "*"}, "Statement.Principal: A policy of a user is about that user"),
        ({"NotPrincipal": "*"}, "Statement.NotPrincipal: "),
        ({"Action": "s3:GetObject"}, 'Statement.Action: An action is "ses:" and'),
        ({"Action": "ses:"}, 'Statement.Action: An action is "ses:" and'),
        ({"Resource": "example.com"}, 'Statement.Resource: A resource is "*" or the ARN of an identity'),
        ({"Resource": "arn:aws:ses:*:*:configuration-set/x"}, "Statement.Resource: A resource is"),
        ({"Resource": "arn:aws:ses:us-east-1:123:identity/.x"}, "Statement.Resource: The name in the ARN"),
        ({"Resource": "arn:aws:ses:us-east-1:123:identity/bücher.example"}, "Statement.Resource: A resource is"),
        ({"Resource": "arn:aws:ses:us-east-1:123:identity/*.Example.com"}, "Statement.Resource: In a name with"),
        ({"NotResource": "*"}, "Statement.NotResource: A statement has Resource or NotResource"),
    ],
)
def test_faults_of_a_user_policy(elements, begin):
    found = user_faults(**elements)
    assert [one for one in found if one.startswith(begin)], found


def test_variables_in_resources():
    document = {
        "Version": "2012-10-17",
        "Statement": USER_STATEMENT | {"Resource": "arn:aws:ses:*:*:identity/${aws:username}@example.com"},
    }
    assert faults(document, None)[0].startswith("Statement.Resource: Policy variables")


def test_user_policies_may_be_larger():
    text = json.dumps({"Statement": USER_STATEMENT})
    assert isinstance(parse_user_policy("p", text + " " * (USER_POLICY_MAX_BYTES - len(text))), Policy)
    assert isinstance(parse_user_policy("p", text + " " * (USER_POLICY_MAX_BYTES - len(text) + 1)), Faults)


@pytest.mark.parametrize(
    ("resource", "yes", "no"),
    [
        ("*", ["example.com", None], []),
        ("arn:aws:ses:us-east-1:888888888888:identity/Example.com", ["example.com"], ["a.example.com", None]),
        ("arn:aws:ses:*:*:identity/*", ["example.com", "a@example.com"], [None]),
        ("arn:aws:ses:*:88888888888?:identity/*@example.com", ["a@example.com"], ["example.com", "a@b.example.com"]),
        ("arn:aws:ses:*:99*:identity/*", [], ["example.com"]),
        ("arn:aws:ses:eu-*:*:identity/*", [], ["example.com"]),
        ("arn:aws:ses:*:*:identity/Admin@Example.com", ["Admin@example.com"], ["admin@example.com"]),
    ],
)
def test_resources_of_a_user_policy(resource, yes, no):
    def arn(name: str | None) -> IdentityArn | None:
        return None if name is None else IdentityArn("us-east-1", "888888888888", name)

    resources = read(None, Resource=["arn:aws:ses:x:1:identity/x", resource]).statements[0].resources
    assert resources is not None
    assert [name for name in yes if not resources.match(arn(name))] == []
    assert [name for name in no if resources.match(arn(name))] == []
    text = json.dumps({"Statement": {"Effect": "Deny", "Action": "ses:*", "NotResource": resource}})
    negated = parse_user_policy("p", text)
    assert isinstance(negated, Policy)
    others = negated.statements[0].resources
    assert others is not None
    assert [name for name in yes if others.match(arn(name))] == []
    assert [name for name in no if not others.match(arn(name))] == []
    assert all(isinstance(pattern, IdentityPattern) for pattern in others.patterns)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("ses:*", ["ses:SendEmail", "ses:GetSendQuota"], ["sns:Publish"]),
        ("*", ["ses:SendEmail"], []),
        ("ses:Send*Email", ["ses:SendRawEmail", "ses:SENDEMAIL"], ["ses:SendBounce"]),
        ("ses:SendEmai?", ["ses:SendEmail"], ["ses:SendEmai"]),
        ("ses:sendemail", ["ses:SendEmail"], ["ses:SendRawEmail"]),
    ],
)
def test_actions_of_a_user_policy(pattern, yes, no):
    actions = read(None, Action=pattern).statements[0].actions
    assert [name for name in yes if not actions.match(name)] == []
    assert [name for name in no if actions.match(name)] == []


@pytest.mark.parametrize("name", ["a", "A-b_9", "x" * 64])
def test_names(name):
    assert check_name(name) is None


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a.b", "ä", "a\n", "a/b"])
def test_bad_names(name):
    fault = check_name(name)
    assert fault is not None
    assert fault.element == "PolicyName"
    both = parse_identity_policy(name, "{}", DOMAIN)
    assert isinstance(both, Faults)
    assert [one.element for one in both.faults] == ["PolicyName", "Statement"]


def test_room():
    twenty = [f"p{number}" for number in range(20)]
    assert check_room(twenty[:19], "new") is None
    assert check_room(twenty, "p7") is None
    fault = check_room(twenty, "new")
    assert fault is not None
    assert "at most 20" in str(fault)
