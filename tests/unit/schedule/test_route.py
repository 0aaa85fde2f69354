"""Which route a domain takes."""

import pytest

from relay.schedule.route import Route, RouteTable, ip_address, literal_address, unroutable

TABLE = RouteTable(
    [
        Route("exact.example", "exact"),
        Route("*.internal.example", "wild"),
        Route("*.deep.internal.example", "deeper"),
        Route("UPPER.example", "upper"),
        Route("exact.example", "shadowed"),
    ]
)


@pytest.mark.parametrize(
    ("domain", "host"),
    [
        ("exact.example", "exact"),
        ("sub.exact.example", None),
        ("internal.example", None),
        ("a.internal.example", "wild"),
        ("b.a.internal.example", "wild"),
        ("x.deep.internal.example", "deeper"),
        ("deep.internal.example", "wild"),
        ("notinternal.example", None),
        ("upper.example", "upper"),
        ("", None),
    ],
)
def test_closest_route(domain, host):
    route = TABLE.find(domain)
    assert (route.host if route else None) == host


def test_catch_all_takes_what_is_left():
    table = RouteTable([Route("*", "all"), Route("a.example", "a")])
    assert table.find("a.example").host == "a"
    assert table.find("anything").host == "all"
    assert RouteTable().find("a.example") is None


@pytest.mark.parametrize(
    ("domain", "good"),
    [
        ("a.example", True),
        ("[192.0.2.1]", True),
        ("[IPv6:2001:db8::1]", True),
        ("[nonsense]", False),
        ("[192.0.2.1", False),
        ("localhost", False),
        ("sub.localhost", False),
        ("a.invalid", False),
        ("single", False),
        ("single.", False),
        ("", False),
    ],
)
def test_unroutable(domain, good):
    assert (unroutable(domain) == "") is good


def test_literals():
    assert literal_address("[IPv6:2001:DB8::1]") == "2001:db8::1"
    assert literal_address("192.0.2.1") == ""
    assert ip_address("192.0.2.01") == ""


def test_passwords_stay_out_of_texts():
    assert "secret" not in repr(Route("*", "h", password="secret"))
