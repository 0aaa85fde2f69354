"""Addresses that redirects and mails may name."""

import pytest

from relay.policy.weburl import origin_of, parse_base_url, parse_web_url


@pytest.mark.parametrize(
    "url", ["https://www.example.com/a?b=c#d", "http://x.example", "https://[::1]:8443/x", "https://x.example/%C3%BC"]
)
def test_web_addresses(url):
    assert parse_web_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.example",
        "//x.example/",
        "ftp://x.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://",
        "https:///x",
        "https://user@x.example/",
        "https://good.example@evil.example/",
        "https://x.example/\r\nSet-Cookie: a=b",
        "https://x.example/ y",
        'https://x.example/"y',
        "https://x.example/<y>",
        "https://x.example\\@y.example/",
        "https://x.example:99999/",
        "https://[::1/",
        "https://ü.example/",
        "https://x.example/" + "y" * 2048,
        None,
    ],
)
def test_what_is_none(url):
    with pytest.raises(ValueError, match=r"^(must|has)"):
        parse_web_url(url)


def test_base_addresses():
    assert parse_base_url("https://mail.example.com/relay/") == "https://mail.example.com/relay"
    assert parse_base_url("http://127.0.0.1:8080") == "http://127.0.0.1:8080"
    for url in ("http://mail.example.com", "https://x.example/?a", "https://x.example/#a"):
        with pytest.raises(ValueError, match=r"^must"):
            parse_base_url(url)


def test_origins():
    assert origin_of("https://x.example:8443/a?b") == "https://x.example:8443"
