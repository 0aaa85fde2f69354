"""Which addresses may be connected to (decision 8)."""

import pytest

from relay.net.guard import Guard

JUDGED = [
    ("8.8.8.8", ""),
    ("2606:4700::1", ""),
    ("127.0.0.1", "own"),
    ("127.255.255.254", "own"),
    ("::1", "own"),
    ("::ffff:127.0.0.1", "own"),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:8.8.8.8", ""),
    ("64:ff9b::7f00:1", "own"),
    ("64:ff9b::a00:1", "private"),
    ("2002:7f00:1::", "own"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("192.168.255.255", "private"),
    ("100.64.0.1", "private"),
    ("169.254.169.254", "private"),
    ("100.100.100.200", "private"),
    ("fd00:ec2::254", "private"),
    ("fe80::1", "private"),
    ("fc00::1", "private"),
    ("0.0.0.0", "private"),
    ("::", "private"),
    ("224.0.0.1", "private"),
    ("ff02::1", "private"),
    ("255.255.255.255", "private"),
    ("192.0.2.1", "private"),
    ("9.9.9.9", "own"),
    ("::ffff:9.9.9.9", "own"),
    ("no address", "private"),
    ("", "private"),
    ("2130706433", "private"),
]


@pytest.mark.parametrize(("address", "verdict"), JUDGED)
def test_judge(address, verdict):
    assert Guard(["9.9.9.9"]).judge(address) == verdict


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "9.9.9.9"])
def test_private_destinations_can_be_allowed(address):
    assert Guard(["9.9.9.9"], allow_private=True).judge(address) == ""


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "x"])
def test_some_addresses_are_nobodys(address):
    assert Guard(allow_private=True).judge(address) == "private"
