"""Public suffixes, from the list that comes with the library."""

import pytest

from relay.policy.suffix import is_public_suffix, registrable_domain


@pytest.mark.parametrize(
    ("domain", "suffix", "registrable"),
    [
        ("com", True, "com"),
        ("co.uk", True, "co.uk"),
        ("example.co.uk", False, "example.co.uk"),
        ("a.b.example.co.uk", False, "example.co.uk"),
        ("github.io", True, "github.io"),
        ("me.github.io", False, "me.github.io"),
        ("www.ck", False, "www.ck"),
        ("other.ck", True, "other.ck"),
        ("xn--55qx5d.cn", True, "xn--55qx5d.cn"),
        ("unlisted-tld", True, "unlisted-tld"),
        ("relay.unlisted-tld", False, "relay.unlisted-tld"),
    ],
)
def test_suffixes(domain, suffix, registrable):
    assert is_public_suffix(domain) is suffix
    assert registrable_domain(domain) == registrable
