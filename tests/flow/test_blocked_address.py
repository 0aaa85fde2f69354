"""A provider that blocks one of two source addresses: what leaves from where, as its receivers see it."""

import pytest

from relay.testing.internet import FakeInternet
from tests.product import Product, eventually

BLOCKED, OTHER = "127.0.53.1", "127.0.53.2"
RULES = """\
name: bigmail
match: {hosts: ["*.big.test"]}
responses:
  - {name: blocked, code: 5xx, text: 'is blocked', switch: 1h, retry: 3, retry_after: 1s}
"""
DOMAINS = {"big.test": [""], "small.test": [""], "example.com": [""]}


@pytest.fixture(scope="module")
def net():
    with FakeInternet(DOMAINS).in_thread() as made:
        yield made


@pytest.fixture(scope="module")
def product(net):
    delivery = {
        "port": net.port,
        "allow_private_destinations": True,
        "retry": ["1s"],
        "retry_jitter_percent": 0,
        "connection_idle": "0s",
        "source_addresses": [BLOCKED, OTHER],
    }
    dns = {"nameservers": [net.dns.nameserver], "timeout": "1s"}
    made = Product(workers=2, dns=dns, delivery=delivery, shaping={"directory": "shaping"})
    (made.directory / "shaping").mkdir()
    (made.directory / "shaping" / "bigmail.yaml").write_text(RULES)
    with made:
        yield made


def sources(host, people):
    """Return which addresses mail to these recipients came from, once all of it is there."""

    def all_there():
        found = {copy.recipients[0]: copy.peer for copy in list(host.received)}
        return found if found.keys() >= set(people) else None

    found = eventually(all_there, what="all mail")
    return {found[person] for person in people}


def test_a_blocked_address_is_passed_over_at_its_provider_alone(product, net):
    """H30: the other address carries the mail there, at once and by both workers; elsewhere both go on."""
    big, small = net.hosts["mx1.big.test"], net.hosts["mx1.small.test"]
    big.replies_from = {BLOCKED: {"mail": f"550 5.7.1 {BLOCKED} is blocked"}}
    first = [f"first{n}@big.test" for n in range(12)]
    product.send(first)
    assert sources(big, first) == {OTHER}
    told = eventually(
        lambda: (said := product.run("shaping", "explain", "big.test").stdout) and BLOCKED in said and said,
        what="the reason",
    )
    assert "switch" in told
    assert "is blocked" in told

    refused = product.log_text().count("is blocked")
    later = [[f"later{n}@big.test"] for n in range(12)]
    elsewhere = [f"e{n}@small.test" for n in range(40)]
    for people in (*later, elsewhere):
        product.send(people)
    assert sources(big, [person for people in later for person in people]) == {OTHER}
    assert sources(small, elsewhere) == {BLOCKED, OTHER}
    assert product.log_text().count("is blocked") == refused
    assert product.events("Bounce") == []

    big.replies_from = {}
    assert f"switch from {BLOCKED} to bigmail is over" in product.run("shaping", "lift", "big.test").stdout
    again = [f"again{n}@big.test" for n in range(40)]
    for person in again:
        product.send(person)
    assert sources(big, again) == {BLOCKED, OTHER}
    assert product.json("shaping", "explain", "big.test")["effects"] == []
    assert product.json("shaping", "lift", "big.test")["ended"] == []
    assert '"operation": "shaping.lift"' in (product.data_dir / "audit.jsonl").read_text()
