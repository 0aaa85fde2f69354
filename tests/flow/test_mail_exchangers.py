"""Several mail exchangers, and ones that change: who gets the mail, as the hosts themselves see it."""

import pytest

from relay.testing.internet import FakeInternet
from tests.product import Product, eventually

HOSTS, MESSAGES = 10, 300


@pytest.fixture(scope="module")
def net():
    made = FakeInternet({"even.test": ["" for _ in range(HOSTS)], "moves.test": ["", ""], "example.com": [""]})
    zones = made.dns.zones
    zones["even.test"] = {"MX": [f"10 mx{number}.even.test." for number in range(1, HOSTS + 1)]}
    zones["moves.test"] = {"MX": ["10 mx1.moves.test."], "TTL": 1}
    with made.in_thread():
        yield made


@pytest.fixture(scope="module")
def product(net):
    delivery = {"port": net.port, "allow_private_destinations": True, "retry": ["1s"], "messages_per_connection": 5}
    with Product(dns={"nameservers": [net.dns.nameserver], "timeout": "5s"}, delivery=delivery) as made:
        yield made


def test_hosts_of_the_same_preference_share_the_mail(product, net):
    """RFC 5321 section 5.1 (J14)."""
    with product.client() as client:
        for number in range(MESSAGES):
            product.send(f"u{number}@even.test", client=client)
    hosts = [host for name, host in net.hosts.items() if name.endswith(".even.test")]
    eventually(lambda: sum(len(host.received) for host in hosts) == MESSAGES, 60, "all messages")
    even = MESSAGES / HOSTS
    assert all(0.8 * even <= len(host.received) <= 1.2 * even for host in hosts), [len(h.received) for h in hosts]


def test_a_new_exchanger_is_used_once_the_record_is_too_old(product, net):
    """J20: nothing is pinned to the old one."""
    old, new = net.hosts["mx1.moves.test"], net.hosts["mx2.moves.test"]
    product.send("first@moves.test")
    eventually(lambda: old.received, what="the first message")
    net.dns.zones["moves.test"] = {"MX": ["10 mx2.moves.test."], "TTL": 1}

    def moved():
        product.send("again@moves.test")
        return new.received

    eventually(moved, what="mail at the new host")
    seen = len(old.received)
    message_id = product.send("last@moves.test")
    eventually(
        lambda: [one for one in new.received if f"id {message_id}".encode() in one.content], what="the last one"
    )
    assert len(old.received) == seen
