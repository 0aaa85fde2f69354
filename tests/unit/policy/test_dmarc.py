"""DMARC records and alignment (AUTHN-003 to 006; RFC 7489 sections 3.1, 6.3 and 6.6.3)."""

import pytest

from relay.policy.dmarc import Alignment, find_record, outlook, parse_record, sample_record


def organizational(domain):
    return ".".join(domain.split(".")[-2:])


def judged(from_domain, record="v=DMARC1; p=none", *, return_path="bounce.relay.example", signing=""):
    return outlook(
        from_domain,
        parse_record(record) if record else None,
        return_path_domain=return_path,
        signing_domain=signing,
        organizational=organizational,
    )


@pytest.mark.parametrize(
    ("from_domain", "record", "return_path", "signing", "by_spf", "by_dkim"),
    [
        ("x.example", "v=DMARC1;p=none", "bounce.relay.example", "", False, False),
        ("x.example", "v=DMARC1;p=none", "mail.x.example", "", True, False),
        ("x.example", "v=DMARC1;p=none;aspf=s", "mail.x.example", "", False, False),
        ("mail.x.example", "v=DMARC1;p=none;aspf=s", "mail.x.example", "", True, False),
        ("x.example", "v=DMARC1;p=none", "bounce.relay.example", "x.example", False, True),
        ("a.x.example", "v=DMARC1;p=none;adkim=r", "bounce.relay.example", "x.example", False, True),
        ("a.x.example", "v=DMARC1;p=none;adkim=s", "bounce.relay.example", "x.example", False, False),
        ("x.example", "v=DMARC1;p=none;adkim=S", "mail.x.example", "x.example", True, True),
        ("x.example", "", "mail.x.example", "relay.example", True, False),
        ("x.example", "v=DMARC1;p=none;aspf=q", "mail.x.example", "", True, False),
    ],
)
def test_alignment(from_domain, record, return_path, signing, by_spf, by_dkim):
    found = judged(from_domain, record, return_path=return_path, signing=signing)
    assert (found.spf.passes, found.dkim.passes) == (by_spf, by_dkim)
    assert found.passes is (by_spf or by_dkim)
    assert found.spf.reason
    assert found.dkim.reason


def test_what_aligns_counts_only_where_its_records_are_in_dns():
    found = outlook(
        "x.example",
        None,
        return_path_domain="mail.x.example",
        signing_domain="x.example",
        organizational=organizational,
        spf_fault="no SPF record",
        dkim_fault="no key",
    )
    assert (found.spf.passes, found.spf.reason) == (False, "no SPF record")
    assert (found.dkim.passes, found.dkim.reason) == (False, "no key")
    elsewhere = outlook(
        "x.example",
        None,
        return_path_domain="relay.example",
        signing_domain="",
        organizational=organizational,
        spf_fault="no SPF record",
    )
    assert "another organizational domain" in elsewhere.spf.reason


def test_a_record_is_read_as_receivers_read_it():
    record = parse_record("v=DMARC1; p=Quarantine; pct=25; rua=mailto:a@x.example, mailto:b@x.example; adkim=s")
    assert (record.policy, record.subdomain_policy, record.percent) == ("quarantine", "quarantine", 25)
    assert (record.spf, record.dkim) == (Alignment.RELAXED, Alignment.STRICT)
    assert record.reports_to == ("mailto:a@x.example", "mailto:b@x.example")
    assert record.faults == ()


@pytest.mark.parametrize("tag", ["p=none", "pct=101", "pct=ten", "aspf=x", "adkim=", "sp=all", "junk", "v=DMARC1"])
def test_what_receivers_read_over_is_told(tag):
    record = parse_record(f"v=DMARC1; p=reject; {tag}")
    assert record.policy == "reject"
    assert record.percent == 100
    assert len(record.faults) == 1


def test_only_one_record_counts():
    assert find_record(["other", "v=DMARC1;p=none"]) == "v=DMARC1;p=none"
    assert find_record(["v=DMARC1;p=none", "v=DMARC1;p=reject"]) is None
    assert find_record(["v=DMARC10;p=none", "p=none; v=DMARC1"]) is None
    assert find_record([]) is None


def test_the_sample_is_the_guides():
    name, value = sample_record("example.com", "dmarcreports@example.com")
    assert name == "_dmarc.example.com"
    assert value == "v=DMARC1;p=quarantine;pct=25;rua=mailto:dmarcreports@example.com"
    assert parse_record(value).faults == ()
