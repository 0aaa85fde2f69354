"""SPF records (AUTHN-001, AUTHN-002; RFC 7208)."""

import pytest

from relay.policy.spf import LOOKUPS_MAX, find_record, include_record, lookups, own_record, with_include


def test_the_relays_own_record_lists_addresses_and_costs_no_lookup():
    record = own_record(["198.51.100.7", "2001:db8::1", "198.51.100.6", "198.51.100.7"])
    assert record == "v=spf1 ip4:198.51.100.6 ip4:198.51.100.7 ip6:2001:db8::1 ~all"
    assert lookups(record) == 0
    assert own_record([]) == "v=spf1 -all"


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ("v=spf1 mx -all", "v=spf1 mx include:spf.relay.example -all"),
        ("v=spf1 redirect=_spf.x.example", "v=spf1 include:spf.relay.example redirect=_spf.x.example"),
        ("v=spf1 a", "v=spf1 a include:spf.relay.example ~all"),
        ("v=spf1 include:SPF.relay.example ~all", "v=spf1 include:SPF.relay.example ~all"),
        ("v=spf1 ALL", "v=spf1 include:spf.relay.example ALL"),
        ("v=spf1", include_record("spf.relay.example")),
    ],
)
def test_the_include_comes_before_all(existing, expected):
    assert with_include(existing, "spf.relay.example") == expected


def test_lookups_are_counted():
    assert (
        lookups("v=spf1 a mx a:x.example mx/24 ptr exists:%{i}.x.example include:y.example redirect=z.example") == 8
    )
    assert lookups("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 all") == 0
    assert LOOKUPS_MAX == 10


def test_only_one_record_counts():
    assert find_record(["v=spf10", "V=SPF1 -all"]) == "V=SPF1 -all"
    assert find_record(["v=spf1 -all", "v=spf1 ~all"]) is None
