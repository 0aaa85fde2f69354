"""Reports on TLS: who wants them, and what is in them (RFC 8460)."""

import pytest

from relay.policy.tls_report import (
    Count,
    Reporter,
    day_text,
    file_name,
    record_name,
    report,
    report_addresses,
)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([b"v=TLSRPTv1; rua=mailto:tls@example.com"], ("mailto:tls@example.com",)),
        ([b"v=TLSRPTv1;rua=mailto:a@b.test,https://c.test/v1?x=1"], ("mailto:a@b.test", "https://c.test/v1?x=1")),
        ([b"v=TLSRPTv1; rua=mailto:a@b.test!10m"], ()),
        ([b"v=TLSRPTv1; rua=mailto:a@b.test?subject=x"], ("mailto:a@b.test",)),
        ([b"other", b"v=TLSRPTv1; ext=1; rua=mailto:a@b.test;"], ("mailto:a@b.test",)),
        ([b"v=TLSRPTv1; rua=mailto:a@b.test", b"v=TLSRPTv1; rua=mailto:c@b.test"], ()),  # section 3
        ([b"v=TLSRPTv2; rua=mailto:a@b.test"], ()),
        ([b"v=TLSRPTv1"], ()),
        ([b"v=TLSRPTv1; rua="], ()),
        ([b"v=TLSRPTv1; rua=http://b.test/x"], ()),
        ([b"v=TLSRPTv1; rua=https://user@b.test/x"], ()),
        ([b"v=TLSRPTv1; rua=https://b.test:8443/x"], ()),
        ([b"v=TLSRPTv1; rua=https://[::1/x"], ()),
        ([b"v=TLSRPTv1; rua=https:///x"], ()),
        ([b"v=TLSRPTv1; rua=mailto:no address"], ()),
        ([b"v=TLSRPTv1; rua=mailto:a@b.test\r\nBcc: c@d.test"], ()),
        ([b"v=TLSRPTv1; rua=" + b",".join(b"mailto:a%d@b.test" % n for n in range(100))],
         tuple(f"mailto:a{n}@b.test" for n in range(4))),
        ([], ()),
    ],
)  # fmt: skip
def test_who_wants_reports(texts, expected):
    """Section 3; addresses that a report must not go to are passed over."""
    assert report_addresses(texts) == expected


def test_names():
    assert record_name("example.com") == "_smtp._tls.example.com"
    assert day_text(20_000) == "2024-10-04"
    assert file_name("example.com", 20_000, "relay.example") == (
        "relay.example!example.com!1728000000!1728086399.json.gz"
    )


def test_a_report():
    """Section 4: sessions are summed up by policy, failures by kind."""
    sts = {"day": 20_000, "domain": "a.test", "policy": "sts", "strings": ("version: STSv1",), "mx": ("mx.a.test",)}
    failed = Count(**sts, result="certificate-expired", source_address="192.0.2.1", host="mx.a.test",
                   address="192.0.2.2", reason="r" * 500)  # fmt: skip
    counts = {Count(**sts): 7, failed: 2, Count(20_000, "a.test", "no-policy-found"): 1}
    made = report(Reporter("Example", "tls@relay.example", "relay.example"), "a.test", 20_000, counts)
    assert made["organization-name"] == "Example"
    assert made["contact-info"] == "tls@relay.example"
    assert made["date-range"] == {"start-datetime": "2024-10-04T00:00:00Z", "end-datetime": "2024-10-04T23:59:59Z"}
    assert made["report-id"] == "2024-10-04.a.test@relay.example"
    none, policy = made["policies"]
    assert none == {
        "policy": {"policy-type": "no-policy-found", "policy-domain": "a.test"},
        "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
    }
    assert policy["policy"]["policy-string"] == ["version: STSv1"]
    assert policy["policy"]["mx-host"] == ["mx.a.test"]
    assert policy["summary"] == {"total-successful-session-count": 7, "total-failure-session-count": 2}
    assert policy["failure-details"] == [
        {
            "result-type": "certificate-expired",
            "failed-session-count": 2,
            "sending-mta-ip": "192.0.2.1",
            "receiving-mx-hostname": "mx.a.test",
            "receiving-ip": "192.0.2.2",
            "failure-reason-code": "r" * 200,
        }
    ]


def test_details_are_bounded_and_the_most_frequent_stay():
    counts = {Count(1, "a.test", "sts", result="x", host=f"h{n}"): n + 1 for n in range(1500)}
    made = report(Reporter("o", "c", "h"), "a.test", 1, counts)["policies"][0]
    assert len(made["failure-details"]) == 1000
    assert made["failure-details"][0]["failed-session-count"] == 1500
    assert made["summary"]["total-failure-session-count"] == sum(range(1, 1501))
