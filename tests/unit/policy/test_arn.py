"""ARNs: what they name, and what is refused because it could be read in two ways."""

import pytest

from relay.policy.arn import (
    AccountRoot,
    BadArn,
    IdentityArn,
    UserArn,
    identity_name,
    parse_identity_arn,
    parse_principal_arn,
)

BEGIN = "arn:aws:ses:us-east-1:123456789012:identity/"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (BEGIN + "example.com", "example.com"),
        (BEGIN + "EXAMPLE.Com", "example.com"),
        (BEGIN + "Sender@Example.COM", "Sender@example.com"),
        (BEGIN + '"a b"@example.com', '"a b"@example.com'),
        (BEGIN + '"a:b/c"@example.com', '"a:b/c"@example.com'),
        (BEGIN + "a%40b@example.com", "a%40b@example.com"),
        (BEGIN + "xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_identities(text, name):
    arn = parse_identity_arn(text)
    assert arn == IdentityArn("us-east-1", "123456789012", name)
    assert parse_identity_arn(str(arn)) == arn


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "six parts"),
        ("example.com", "six parts"),
        ("arn:aws:ses:us-east-1:123456789012", "six parts"),
        ("ARN:aws:ses:us-east-1:123456789012:identity/example.com", "six parts"),
        (" " + BEGIN + "example.com", "six parts"),
        ("arn:aws-cn:ses:us-east-1:123456789012:identity/example.com", "partition"),
        ("arn:*:ses:us-east-1:123456789012:identity/example.com", "partition"),
        ("arn:aws:sns:us-east-1:123456789012:identity/example.com", "service"),
        ("arn:aws:SES:us-east-1:123456789012:identity/example.com", "service"),
        ("arn:aws:ses:US-EAST-1:123456789012:identity/example.com", "region"),
        ("arn:aws:ses::123456789012:identity/example.com", "region"),
        ("arn:aws:ses:*:123456789012:identity/example.com", "region"),
        ("arn:aws:ses:us-east-1:*:identity/example.com", "account"),
        ("arn:aws:ses:us-east-1:12345678901?:identity/example.com", "account"),
        ("arn:aws:ses:us-east-1:12345678901:identity/example.com", "account"),
        ("arn:aws:ses:us-east-1:1234567890123:identity/example.com", "account"),
        ("arn:aws:ses:us-east-1:１２３４５６７８９０１２:identity/example.com", "ASCII"),
        ("arn:aws:ses:us-east-1::identity/example.com", "account"),
        ("arn:aws:ses:us-east-1:123456789012:identity", "identity/"),
        ("arn:aws:ses:us-east-1:123456789012:template/example.com", "identity/"),
        (BEGIN, "neither"),
        (BEGIN + "*", "neither"),
        (BEGIN + "*.example.com", "neither"),
        (BEGIN + "example.com.", "neither"),
        (BEGIN + "example.com\n", "neither"),
        (BEGIN + "example.com/x", "neither"),
        (BEGIN + "example%2ecom", "neither"),
        (BEGIN + "sender%40example.com", "neither"),
        (BEGIN + "sender@example.com@evil.example", "neither"),
        (BEGIN + "sender@[192.0.2.1]", "neither"),
        (BEGIN + "bücher.example", "A-label"),
        (BEGIN + "ex\u0430mple.com", "A-label"),
        (BEGIN + "e\u200bxample.com", "A-label"),
        (BEGIN + "example\uff0ecom", "A-label"),
        (BEGIN + "xn--a.example", "neither"),
        (BEGIN + "a" * 400, "longer"),
    ],
)
def test_bad_identities(text, words):
    bad = parse_identity_arn(text)
    assert isinstance(bad, BadArn)
    assert words in bad.text


@pytest.mark.parametrize(
    ("text", "principal"),
    [
        ("123456789012", AccountRoot("123456789012")),
        ("arn:aws:iam::123456789012:root", AccountRoot("123456789012")),
        ("arn:aws:iam::123456789012:user/John", UserArn("123456789012", "John")),
        ("arn:aws:iam::123456789012:user/a.b@c+d=e,f-g_h", UserArn("123456789012", "a.b@c+d=e,f-g_h")),
    ],
)
def test_principals(text, principal):
    assert parse_principal_arn(text) == principal
    assert parse_principal_arn(str(principal)) == principal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "12 digits"),
        ("12345678901", "12 digits"),
        ("123456789012\n", "12 digits"),
        ("١٢٣٤٥٦٧٨٩٠١٢", "12 digits"),
        ("John", "12 digits"),
        ("arn:aws:iam::*:user/John", "account"),
        ("arn:aws:iam::1234567890*:root", "account"),
        ("arn:aws:iam:us-east-1:123456789012:user/John", "no region"),
        ("arn:aws:sts::123456789012:user/John", "service"),
        ("arn:aws:iam::123456789012:role/John", "user/"),
        ("arn:aws:iam::123456789012:user/", "user/"),
        ("arn:aws:iam::123456789012:user/*", "user/"),
        ("arn:aws:iam::123456789012:user/J\u043ehn", "ASCII"),
        ("arn:aws:iam::123456789012:ROOT", "user/"),
        ("arn:aws:iam::123456789012:user/" + "x" * 129, "user/"),
    ],
)
def test_bad_principals(text, words):
    bad = parse_principal_arn(text)
    assert isinstance(bad, BadArn)
    assert words in bad.text


def test_names():
    assert identity_name("Example.com") == "example.com"
    assert identity_name("a@Example.com") == "a@example.com"
    assert identity_name("jörg@example.com") is None
    assert identity_name("not a domain") is None
