"""Endpoints are read strictly: what another reader could take for another host is refused (TOPIC-140, N04)."""

import pytest

from relay.policy.endpoint import WebEndpoint, parse_web_endpoint


@pytest.mark.parametrize(
    ("text", "scheme", "expected"),
    [
        ("https://hook.example", "https", ("hook.example", 443, "/", "")),
        ("https://HOOK.example:8443/a?b=c", "https", ("hook.example", 8443, "/a?b=c", "")),
        ("http://hook.example?x", "http", ("hook.example", 80, "/?x", "")),
        ("https://user:pa%3Ass@hook.example/", "https", ("hook.example", 443, "/", "user:pa:ss")),
        ("https://192.0.2.1/", "https", ("192.0.2.1", 443, "/", "")),
        ("https://[2001:DB8::1]:444/", "https", ("2001:db8::1", 444, "/", "")),
        ("https://localhost/", "https", ("localhost", 443, "/", "")),
    ],
)
def test_good_ones(text, scheme, expected):
    found = parse_web_endpoint(text, scheme)
    assert isinstance(found, WebEndpoint), found
    assert (found.host, found.port, found.target, found.login) == expected
    assert "pa:ss" not in f"{found} {found!r}"


def test_an_address_is_told_from_a_name():
    assert parse_web_endpoint("https://192.0.2.1/", "https").address == "192.0.2.1"
    assert parse_web_endpoint("https://[::1]/", "https").address == "::1"
    assert parse_web_endpoint("https://a.example/", "https").address == ""
    assert str(parse_web_endpoint("https://[::1]/x", "https")) == "https://[::1]/x"


@pytest.mark.req("TOPIC-140")
@pytest.mark.parametrize(
    "text",
    [
        "ftp://hook.example/",
        "file:///etc/passwd",
        "gopher://hook.example/",
        "http://hook.example/",  # another scheme than the protocol's
        "https://",
        "https:///path",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://010.0.0.1/",
        "https://1.2.3.4.5/",
        "https://hook.example:0/",
        "https://hook.example:99999/",
        "https://hook.example:80:80/",
        "https://hook.example\\@evil.example/",
        "https://a@b@hook.example/",
        "https://user@hook.example/",
        "https://hook.example/#part",
        "https://hook.example/a b",
        "https://hook.example/\r\nX: y",
        "https://hook.example/\x00",
        "https://h\u00f6ok.example/",
        "https://hook.example\u2044path",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://us%0aer:x@hook.example/",
        "https://hook..example/",
        "https://-hook.example/",
        "https://" + "a" * 3000,
        "hook.example",
    ],
)
def test_bad_ones_are_a_sentence(text):
    found = parse_web_endpoint(text, "https")
    assert isinstance(found, str), found
    assert found.endswith(".")
