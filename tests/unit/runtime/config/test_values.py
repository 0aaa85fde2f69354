"""Every kind of value: what it takes, what it makes of it, and what it says otherwise."""

import re
from pathlib import Path

import pytest

from relay.runtime.config import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5),
        ("1m", 60),
        ("14h", 50400),
        ("30d", 2592000),
        ("1h30m", 5400),
        ("2w", 1209600),
        ("0s", 0),
    ],
)
def test_a_duration_becomes_seconds(text, seconds):
    assert values.parse_duration(text) == seconds


@pytest.mark.parametrize("value", [300, "300", 1.5])
def test_a_duration_without_a_unit_is_told_to_have_one(value):
    with pytest.raises(ValueError, match="has no unit; write "):
        values.parse_duration(value)


@pytest.mark.parametrize("value", ["", "5 parsecs", "-5s", "m5", True, None, [], "1" * 5000 + "s", "5S", "1e3s"])
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(ValueError, match=r"must be a duration|has no unit"):
        values.parse_duration(value)


@pytest.mark.parametrize("seconds", [0.5, 5, 60, 90, 5400, 50400, 86400, 604800, 1209600])
def test_a_formatted_duration_reads_back(seconds):
    assert values.parse_duration(values.format_duration(float(seconds))) == seconds


@pytest.mark.parametrize(
    ("value", "size_bytes"),
    [(0, 0), (41943040, 41943040), ("500KB", 512000), ("40MB", 41943040), ("40 MiB", 41943040), ("2gb", 2 << 30)],
)
def test_a_size_becomes_bytes(value, size_bytes):
    assert values.parse_size(value) == size_bytes


@pytest.mark.parametrize("value", [-1, True, 1.5, "40 megabytes", "MB", "", None, [], "9" * 5000 + "MB"])
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError, match="must be a size in bytes") as caught:
        values.parse_size(value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("relay.example", "relay.example"),
        ("Relay.EXAMPLE.", "relay.example"),
        ("_x.example", "_x.example"),
        ("a", "a"),
    ],
)
def test_a_domain_is_lower_case_without_its_final_dot(text, name):
    assert values.parse_domain(text) == name


@pytest.mark.parametrize(
    "value",
    ["", ".", "a..b", "-a.example", "a-.example", "a b.example", "bücher.example", "10.0.0.1", "x" * 64 + ".example",
     ".".join(["abcdefgh"] * 40), "a\n.example", 3, None],
)  # fmt: skip
def test_what_is_no_domain_is_refused(value):
    with pytest.raises(ValueError, match="must be"):
        values.parse_domain(value)


def test_a_host_name_has_no_underscore():
    with pytest.raises(ValueError, match="underscore"):
        values.parse_hostname("relay_1.example")


@pytest.mark.parametrize("value", ["*", "*.internal.example", "example.com"])
def test_domain_patterns(value):
    assert values.parse_domain_pattern(value) == value


@pytest.mark.parametrize("value", ["*.", "a.*.example", "**", "*example", "*.10.0.0.1", None])
def test_what_is_no_domain_pattern_is_refused(value):
    with pytest.raises(ValueError, match=r"must be|takes"):
        values.parse_domain_pattern(value)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.5:25", "10.0.0.5", 25),
        ("10.0.0.5", "10.0.0.5", 25),
        ("mail.example:587", "mail.example", 587),
        ("[2001:DB8::1]:2525", "2001:db8::1", 2525),
        ("[::1]", "::1", 25),
        ("2001:db8::1", "2001:db8::1", 25),
    ],
)
def test_a_smart_host_is_a_host_and_a_port(text, host, port):
    parsed = values.parse_smarthost(text)
    assert (parsed.host, parsed.port) == (host, port)
    assert values.parse_smarthost(str(parsed)) == parsed


@pytest.mark.parametrize(
    "value", ["mail.example:0", "mail.example:65536", "mail.example:smtp", "10.0.0.999", "", ":25", None, []]
)
def test_what_is_no_smart_host_is_refused(value):
    with pytest.raises(ValueError, match=r"must be|port that does not exist"):
        values.parse_smarthost(value)


@pytest.mark.parametrize(
    ("parse", "value", "sentence"),
    [
        (values.parse_smarthost, "10.0.0.5:250000", "has a port that does not exist: '10.0.0.5:250000'"),
        (values.parse_smarthost, "10.0.0.5:smtp", "must be a name or an address, with a port or without"),
        (values.parse_smarthost, "10.0.0.999", "must be a name or an address, with a port or without"),
        (values.parse_nameserver, "127.0.0.1:dns", "must be an IPv4 or IPv6 address, or address:port, not"),
        (values.parse_nameserver, "127.0.0.1:530000", "has a port that does not exist"),
        (values.parse_domain_pattern, "*.", "takes * only alone or as the first label (*.example), not '*.'"),
    ],
)
def test_a_refusal_names_what_may_stand_there(parse, value, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse(value)


def test_a_name_server_is_an_address():
    assert values.parse_nameserver("127.0.0.1:5353") == values.HostPort("127.0.0.1", 5353)
    assert values.parse_nameserver("::1") == values.HostPort("::1", 53)
    with pytest.raises(ValueError, match="must be an IPv4 or IPv6 address"):
        values.parse_nameserver("dns.example:53")


def test_localhost_is_told_its_addresses():
    with pytest.raises(ValueError, match=r"localhost is 127\.0\.0\.1"):
        values.parse_address("localhost")


def test_a_network_with_host_bits_is_told_what_to_do():
    assert values.parse_network("10.0.0.0/8") == "10.0.0.0/8"
    assert values.parse_network("10.0.0.1") == "10.0.0.1/32"
    with pytest.raises(ValueError, match="clear the bits after the prefix"):
        values.parse_network("10.0.0.1/8")


@pytest.mark.parametrize(("value", "account"), [("000000000001", "000000000001"), (123456789012, "123456789012")])
def test_an_account_has_twelve_digits(value, account):
    assert values.parse_account(value) == account


@pytest.mark.parametrize("value", ["1", "00000000000x", True, -1, None, "0000000000011"])
def test_what_is_no_account_is_refused(value):
    with pytest.raises(ValueError, match="12 digits"):
        values.parse_account(value)


@pytest.mark.parametrize(
    "value", ["postmaster", "@example.com", "a b@example.com", "a@b@example.com", "a@", None, "x" * 65 + "@a.example"]
)
def test_what_is_no_mail_address_is_refused(value):
    with pytest.raises(ValueError, match="must be"):
        values.parse_mailbox(value)


def test_a_value_in_an_error_is_escaped_and_short():
    assert values.shown("a\nb\x1b[31m") == r"'a\nb\x1b[31m'"
    assert len(values.shown("x" * 100_000)) == 60
    assert (values.shown({}), values.shown([]), values.shown(None), values.shown(True)) == (
        "a mapping",
        "a list",
        "nothing",
        "true",
    )


@pytest.mark.parametrize("value", ["", "a\0b", 3, None])
def test_what_is_no_path_is_refused(value):
    with pytest.raises(ValueError, match="must be a path"):
        values.parse_relative_path(value)
    assert values.parse_relative_path("a/b") == Path("a/b")
