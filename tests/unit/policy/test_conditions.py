"""Every operator, with what it meets and what not; what is refused."""

import pytest

from relay.policy.conditions import KEYS, OPERATORS, BadCondition, Condition, Quantifier, compile_condition
from relay.policy.operands import fold, instant, plain_address

NAME, FROM, TIME, EPOCH = "ses:FromDisplayName", "ses:FromAddress", "aws:CurrentTime", "aws:EpochTime"
IP, ARN, SECURE, TO = "aws:SourceIp", "aws:SourceArn", "aws:SecureTransport", "ses:Recipients"


def condition(name: str, key: str, *values: str) -> Condition:
    compiled = compile_condition(name, key, values)
    assert isinstance(compiled, Condition), compiled
    return compiled


CASES = [
    ("StringEquals", NAME, ["Marketing"], ["Marketing"], ["marketing", "Marketing ", "Market*"]),
    ("StringEquals", NAME, ["a", "b"], ["a", "b"], ["c"]),
    ("StringEquals", NAME, ["a*"], ["a*"], ["ab"]),
    ("StringNotEquals", NAME, ["a", "b"], ["c"], ["a", "b"]),
    ("StringEqualsIgnoreCase", NAME, ["MarketinG", "Büro"], ["marketing", "BÜRO"], ["market", "mar\u212aeting"]),
    ("StringNotEqualsIgnoreCase", NAME, ["Marketing"], ["x", "mar\u212aeting"], ["marketing"]),
    ("StringLike", NAME, ["Mark*", "?"], ["Marketing", "x"], ["marketing", "xy"]),
    ("StringNotLike", NAME, ["Mark*"], ["marketing"], ["Marketing"]),
    ("StringLikeIgnoreCase", NAME, ["mark*"], ["Marketing"], ["The Marketing"]),
    ("StringNotLikeIgnoreCase", NAME, ["mark*"], ["x"], ["MARKETING"]),
    # The domain of an address has no case, its local part has; quotes it does not need change nothing.
    (
        "StringEquals",
        FROM,
        ["Admin@EXAMPLE.com"],
        ["Admin@example.com", '"Admin"@Example.com'],
        ["admin@example.com"],
    ),
    ("StringEquals", FROM, ['"admin"@example.com'], ["admin@example.com"], ["a@example.com"]),
    ("StringEqualsIgnoreCase", FROM, ["Admin@example.com"], ["aDMIN@example.com"], ["admin@example.org"]),
    ("StringLike", FROM, ["*@Example.com"], ["a@example.com"], ["a@example.com.evil.example", "a@sub.example.com"]),
    ("StringLike", FROM, ['"*"@example.com'], ['"a b"@example.com'], ["a@example.com", '"a"@example.com']),
    ("StringLikeIgnoreCase", FROM, ["ADMIN*"], ["admin@example.com"], ["x@example.com"]),
    ("StringLike", FROM, ["marketing+.*@example.com"], ["marketing+.a@example.com"], ["marketing+a@example.com"]),
    ("NumericEquals", EPOCH, ["10", "1.50"], ["10.0", "1.5"], ["11", "x", "1e1"]),
    ("NumericNotEquals", EPOCH, ["10"], ["11", "x"], ["10"]),
    ("NumericLessThan", EPOCH, ["10"], ["9.99", "-1"], ["10", "11", "nan"]),
    ("NumericLessThanEquals", EPOCH, ["10"], ["10"], ["10.1"]),
    ("NumericGreaterThan", EPOCH, ["10"], ["11"], ["10"]),
    ("NumericGreaterThanEquals", EPOCH, ["10"], ["10"], ["9"]),
    ("DateEquals", TIME, ["2021-08-31T12:00Z"], ["2021-08-31T12:00:00Z", "2021-08-31T14:00+02:00"], ["2021-08-31"]),
    ("DateNotEquals", TIME, ["2021-08-31"], ["2021-08-31T00:00:01Z", "x"], ["2021-08-31T00:00:00.000Z"]),
    ("DateLessThan", TIME, ["2021-08-31T12:00Z"], ["2021-08-31T11:59:59.999Z"], ["2021-08-31T12:00:00Z", ""]),
    ("DateLessThanEquals", TIME, ["2021-08-31T12:00:00Z"], ["2021-08-31T12:00:00Z"], ["2021-08-31T12:00:01Z"]),
    ("DateGreaterThan", TIME, ["2021-08-31T12:00Z"], ["2021-08-31T12:00:00.001Z"], ["2021-08-31T12:00:00Z"]),
    ("DateGreaterThanEquals", EPOCH, ["1630411200"], ["1630411200"], ["1630411199"]),
    ("Bool", SECURE, ["true"], ["true"], ["false", "1"]),
    ("Bool", SECURE, ["False"], ["false"], ["true"]),
    (
        "IpAddress",
        IP,
        ["203.0.113.0/24", "2001:db8::/32"],
        ["203.0.113.9", "2001:db8::1"],
        ["203.0.114.1", "x", "::1"],
    ),
    ("IpAddress", IP, ["203.0.113.9"], ["203.0.113.9", "::ffff:203.0.113.9"], ["203.0.113.8"]),
    ("IpAddress", IP, ["::ffff:203.0.113.0/120"], ["203.0.113.9"], ["203.0.114.9"]),
    ("IpAddress", IP, ["203.0.113.77/24"], ["203.0.113.1"], ["9" * 100]),
    ("IpAddress", IP, ["2001:db8::1"], ["2001:db8:0::1"], ["2001:db8::2", "203.0.113.1"]),
    ("NotIpAddress", IP, ["203.0.113.0/24"], ["198.51.100.1"], ["203.0.113.1"]),
    (
        "ArnEquals",
        ARN,
        ["arn:aws:cognito-idp:*:888888888888:userpool/a?"],
        ["arn:aws:cognito-idp:x:888888888888:userpool/ab"],
        ["arn:aws:cognito-idp:x:y:888888888888:userpool/ab", "x"],
    ),
    ("ArnLike", ARN, ["arn:aws:sns:*:*:t:*"], ["arn:aws:sns:a:b:t:u"], ["arn:aws:sns:a:b:t", "arn:aws:sqs:a:b:t:u"]),
    ("ArnNotEquals", ARN, ["arn:aws:sns:*:*:*"], ["arn:aws:sqs:a:b:c"], ["arn:aws:sns:a:b:c"]),
    ("ArnNotLike", ARN, ["arn:aws:sns:*:*:*"], ["arn:aws:sqs:a:b:c"], ["arn:aws:sns:a:b:c"]),
    ("Null", FROM, ["false"], ["a@example.com"], []),
    ("Null", FROM, ["true"], [], ["a@example.com"]),
]


@pytest.mark.parametrize(("name", "key", "values", "yes", "no"), CASES)
def test_operators(name, key, values, yes, no):
    compiled = condition(name, key, *values)
    for allowing in (True, False):
        assert [text for text in yes if not compiled.holds((text,), allowing=allowing)] == []
        assert [text for text in no if compiled.holds((text,), allowing=allowing)] == []


def test_every_operator_has_a_case():
    assert set(OPERATORS) == {case[0] for case in CASES}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),
        ("StringEqualsIfExists", True),
        ("StringNotEqualsIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAllValues:StringNotEquals", True),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAnyValue:StringEqualsIfExists", True),
        ("ForAllValues:StringEqualsIfExists", True),
    ],
)
def test_a_key_without_value(name, missing):
    assert condition(name, TO, "a").holds((), allowing=True) is missing
    assert condition(name, TO, "a").holds((), allowing=False) is missing


def test_null_without_value():
    assert condition("Null", TO, "true").holds((), allowing=True)
    assert not condition("Null", TO, "false").holds((), allowing=True)


@pytest.mark.parametrize(
    ("name", "none", "some", "all_of_them"),
    [  # for an Allow
        ("StringLike", False, False, True),
        ("StringNotLike", True, False, False),
        ("ForAllValues:StringLike", False, False, True),
        ("ForAnyValue:StringLike", False, True, True),
        ("ForAllValues:StringNotLike", True, False, False),
        ("ForAnyValue:StringNotLike", True, True, False),
    ],
)
def test_several_values(name, none, some, all_of_them):
    compiled = condition(name, TO, "*@a.example")
    assert compiled.holds(("x@b.example", "y@b.example"), allowing=True) is none
    assert compiled.holds(("x@a.example", "y@b.example"), allowing=True) is some
    assert compiled.holds(("x@a.example", "y@a.example"), allowing=True) is all_of_them


def test_without_quantifier_the_stricter_reading_counts():
    mixed = ("x@a.example", "y@b.example")
    for name in ("StringLike", "StringNotLike"):
        assert not condition(name, TO, "*@a.example").holds(mixed, allowing=True)
        assert condition(name, TO, "*@a.example").holds(mixed, allowing=False)
    for allowing in (True, False):
        assert condition("ForAnyValue:StringLike", TO, "*@a.example").holds(mixed, allowing=allowing)
        assert not condition("ForAllValues:StringLike", TO, "*@a.example").holds(mixed, allowing=allowing)


def test_parts():
    compiled = condition("ForAnyValue:StringNotLikeIfExists", "SES:recipients", "a", "b")
    assert (compiled.operator, compiled.key, compiled.values) == ("ForAnyValue:StringNotLikeIfExists", TO, ("a", "b"))
    assert (compiled.quantifier, compiled.negated, compiled.if_missing) == (Quantifier.ANY, True, True)


@pytest.mark.parametrize(
    ("name", "key", "values", "words", "example"),
    [
        ("stringlike", FROM, ["a"], "operator", "StringLike"),
        ("StringMatches", FROM, ["a"], "operator", "StringLike"),
        ("ForSomeValues:StringLike", FROM, ["a"], "operator", "StringLike"),
        ("NullIfExists", FROM, ["true"], "operator", "StringLike"),
        ("ForAllValues:Null", FROM, ["true"], "operator", "StringLike"),
        ("IfExists", FROM, ["true"], "operator", "StringLike"),
        ("StringLike", "ses:FromAdress", ["a"], "condition key", FROM),
        ("StringLike", FROM, [], "at least one", "marketing@example.com"),
        ("StringLike", FROM, ["*@bücher.example"], "A-label", "*@xn--bcher-kva.example"),
        ("StringLike", FROM, ["*@*ü"], "A-label", "xn--"),
        ("StringLike", NAME, ["Bu\u0308ro"], "NFC", "composed"),
        ("NumericEquals", EPOCH, ["1", "x"], "number", "1630411200"),
        ("NumericEquals", EPOCH, ["9" * 19], "number", "1630411200"),
        ("NumericEquals", EPOCH, ["NaN"], "number", "1630411200"),
        ("DateLessThan", TIME, ["2021-08-31T12:00"], "time zone", "2021-08-31T12:00Z"),
        ("DateLessThan", TIME, ["31.8.2021"], "time zone", "2021-08-31T12:00Z"),
        ("DateLessThan", TIME, ["2021-02-30T12:00Z"], "time zone", "2021-08-31T12:00Z"),
        ("DateLessThan", TIME, ["2021-08-31T12:00+99:00"], "time zone", "2021-08-31T12:00Z"),
        ("Bool", SECURE, ["yes"], "true", "true"),
        ("Bool", SECURE, ["true", "false"], "true", "true"),
        ("Null", FROM, ["x"], "true", "true"),
        ("IpAddress", IP, ["203.0.113.0/33"], "range", "203.0.113.0/24"),
        ("IpAddress", IP, ["fe80::1%eth0"], "range", "203.0.113.0/24"),
        ("IpAddress", IP, ["203.0.113.*"], "range", "203.0.113.0/24"),
        ("IpAddress", IP, ["1" * 70], "range", "203.0.113.0/24"),
        ("ArnLike", ARN, ["*"], "ARN", "arn:aws"),
        ("ArnLike", ARN, ["a:b:c:d:e:f"], "ARN", "arn:aws"),
    ],
)
def test_refused(name, key, values, words, example):
    bad = compile_condition(name, key, tuple(values))
    assert isinstance(bad, BadCondition)
    assert words in bad.reason
    assert example in bad.example


@pytest.mark.req("AUTHZ-010")
@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2021-08-31T12:00Z", 1_630_411_200_000),
        ("2021-08-31T12:00:00Z", 1_630_411_200_000),
        ("2021-08-31T12:00:00.5Z", 1_630_411_200_500),
        ("2021-08-31T12:00:00.123456789Z", 1_630_411_200_123),
        ("2021-08-31T10:00-02:00", 1_630_411_200_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2021-08-31", 1_630_368_000_000),
        ("1630411200", 1_630_411_200_000),
        ("1630411200.25", 1_630_411_200_250),
        ("0001-01-01T00:00+23:59", -62_135_683_140_000),
        ("2021-08-31T24:00Z", None),
        ("2021-13-01", None),
        ("2021-08-31 12:00Z", None),
        ("２０２１-08-31", None),
        ("", None),
    ],
)
def test_instants(text, milliseconds):
    assert instant(text) == milliseconds


def test_forms():
    assert fold("ABC \u212a Ü") == "abc \u212a ü"
    assert plain_address('"a"@B.example') == "a@b.example"
    assert plain_address('"a b"@B.example') == '"a b"@b.example'
    assert plain_address('"broken@B.example') == '"broken@b.example'
    assert plain_address("nothing") == "nothing"
    assert plain_address("a@BÜ.example") == "a@BÜ.example"
    assert len(KEYS) == 14


@pytest.mark.parametrize("pattern", ["*Example.com", "*.Example.com", "a*Example.com", "Example.com", "?Example.com"])
@pytest.mark.parametrize("key", ["ses:FromAddress", "ses:Recipients", "ses:FeedbackAddress"])
def test_a_pattern_that_ends_in_capitals_of_a_domain_is_refused(key, pattern):
    for operator in ("StringLike", "StringNotLike", "ForAnyValue:StringLikeIfExists"):
        fault = compile_condition(operator, key, ("ok@example.com", pattern))
        assert isinstance(fault, BadCondition)
        assert "capitals" in fault.reason
        assert fault.example == pattern.lower()
    assert isinstance(compile_condition("StringLikeIgnoreCase", key, (pattern,)), Condition)
    assert isinstance(compile_condition("StringLike", "ses:FromDisplayName", (pattern,)), Condition)


@pytest.mark.parametrize("pattern", ["Marketing*", "*B?example.com", "*@Example.com", "Bob@Example.com", "*X*", "*"])
def test_capitals_that_can_match_are_taken(pattern):
    assert isinstance(compile_condition("StringLike", "ses:FromAddress", (pattern,)), Condition)
