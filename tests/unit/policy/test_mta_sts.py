"""MTA-STS records and policies: what is one, what is none, and which hosts a policy names (RFC 8461)."""

import pytest

from relay.model.tls import StsMode, StsPolicy
from relay.policy.mta_sts import names_host, parse_policy, policy_host, record_id, record_name

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1;id=1"], "1"),
        ([b"v=STSv1 ; id=1 ; unknown=x"], "1"),
        ([b"v=spf1 -all", b"v=STSv1; id=a"], "a"),
        ([b"v=STSv1; id=1; id=2"], "1"),
        ([], ""),
        ([b"v=STSv1; id=1", b"v=STSv1; id=2"], ""),  # section 3.1: more than one is none
        ([b"v=STSv2; id=1"], ""),
        ([b"v=STSv1"], ""),
        ([b"v=STSv1;"], ""),
        ([b"v=STSv1; id="], ""),
        ([b"v=STSv1; id=a-b"], ""),
        ([b"v=STSv1; id=" + b"a" * 33], ""),
        ([b"id=1; v=STSv1"], ""),
        ([b"v=STSv1; =x; id=1"], ""),
        ([b"V=STSV1; id=1"], ""),
        ([b"v=STSv1; id=\xff"], ""),
    ],
)
def test_record(texts, expected):
    """Section 3.1."""
    assert record_id(texts) == expected


def test_names():
    assert record_name("example.com") == "_mta-sts.example.com"
    assert policy_host("example.com") == "mta-sts.example.com"


def test_a_policy_is_read():
    """Section 3.2."""
    expected = StsPolicy(StsMode.ENFORCE, ("mail.example.com", "*.example.net"), 604800)
    assert parse_policy(GOOD) == expected
    assert parse_policy(GOOD.replace(b"\r\n", b"\n")) == expected
    assert parse_policy(GOOD + b"unknown: x\r\nmode: none\r\n") == expected  # the first counts


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"STSv1", b"STSv2", "version"),
        (b"version: STSv1\r\n", b"", "version"),
        (b"enforce", b"obey", "mode"),
        (b"mode: enforce\r\n", b"", "mode"),
        (b"604800", b"-1", "max_age"),
        (b"604800", b"1" * 11, "max_age"),
        (b"mx: mail.example.com\r\nmx: *.example.net\r\n", b"", "no mx"),
        (b"*.example.net", b"a.*.example.net", "no host name"),
        (b"*.example.net", b"*", "no host name"),
        (b"*.example.net", b"", "no host name"),
        (b"mode:", b"mode", "no field"),
        (b"enforce", b"enforce\xff", "UTF-8"),
        (b"mx: mail.example.com\r\n", b"mx: mail.example.com\r\n" * 4000, "64 KiB"),
        (b"mx: mail.example.com\r\n", b"".join(b"mx: m%d.example\r\n" % n for n in range(1001)), "more than 1000"),
    ],
)
def test_what_is_no_policy(old, new, fault):
    found = parse_policy(GOOD.replace(old, new, 1))
    assert isinstance(found, str)
    assert fault in found


def test_none_needs_no_hosts_and_ages_are_bounded():
    found = parse_policy(b"version: STSv1\nmode: none\nmax_age: 9999999999\n")
    assert found == StsPolicy(StsMode.NONE, (), 31_557_600)


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("mail.example.com", "mail.example.com", True),
        ("mail.example.com", "MAIL.example.com.", True),
        ("mail.example.com", "a.mail.example.com", False),
        ("*.example.com", "mail.example.com", True),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "mail.example.com.evil.test", False),
    ],
)
def test_names_host(pattern, host, expected):
    """Section 4.1: a wildcard is one label."""
    assert names_host(StsPolicy(StsMode.ENFORCE, (pattern,), 1), host) is expected
