"""Rates and pauses of a destination hold over all workers, as receivers see them, and over a kill of permits."""

import os
import signal
import time

import pytest

from relay.model.ids import shard_of
from relay.testing.internet import FakeInternet
from tests.product import Product, eventually

MESSAGES, CONNECTIONS = 90, 60  # a minute
SECONDS = 66  # watched: more than a minute
WINDOW = 58  # less than a minute: what this machine may delay an arrival by does not count
WAITING = 140
RULES = {
    "messages": f"limits: {{connections: 6, messages_per_minute: {MESSAGES}}}",
    "dials": f"limits: {{connections: 6, connections_per_minute: {CONNECTIONS}, messages_per_connection: 1}}",
    "asks": "responses: [{name: later, code: 450, text: 'come later', pause: 2h}]",
}


class Stamped(list):
    """The log of a host: (connection, command line), and when each came."""

    def __init__(self):
        self.stamps = []

    def append(self, entry):
        super().append(entry)
        self.stamps.append(time.monotonic())

    def when(self, verb):
        lines = list(self)
        return [at for at, (_, line) in zip(list(self.stamps), lines, strict=False) if line.upper().startswith(verb)]


@pytest.fixture(scope="module")
def hosts():
    internet = FakeInternet({f"{name}.test": [""] for name in RULES} | {"example.com": [""]}, network="127.0.63")
    for host in internet.hosts.values():
        host.log = Stamped()
    with internet.in_thread():
        yield internet


@pytest.fixture(scope="module")
def product(hosts):
    made = Product(
        workers=2,
        dns={"nameservers": [hosts.dns.nameserver], "timeout": "5s"},
        delivery={
            "port": hosts.port,
            "allow_private_destinations": True,
            "retry": ["1s"],
            "retry_jitter_percent": 0,
        },
        shaping={"directory": "shaping"},
    )
    (made.directory / "shaping").mkdir()
    for name, rules in RULES.items():
        text = f"name: {name}\nabout: Made up.\nmatch: {{hosts: ['*.{name}.test']}}\n{rules}\n"
        (made.directory / "shaping" / f"{name}.yaml").write_text(text)
    with made:
        yield made


def send(product, domain, count, clients=16):
    """Submit messages over many connections, of which each of two workers gets some."""
    ids = []
    for client in range(clients):
        with product.client() as connection:
            for number in range(count // clients):
                ids.append(product.send(f"u{client}-{number}@{domain}", client=connection))
    assert len({shard_of(one) for one in ids}) == 2


def most_within(stamps, seconds):
    """Return how many there are at most in any so many seconds."""
    return max(sum(begin <= one < begin + seconds for one in stamps) for begin in stamps)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_rates_hold_over_two_workers_at_the_receivers(product, hosts):
    """In less than a minute never more than the limit of a minute; and the limit is what held the rest back."""
    messages, dials = (hosts.hosts[f"mx1.{name}.test"].log for name in ("messages", "dials"))
    for name in ("messages", "dials"):
        send(product, f"{name}.test", WAITING)
    eventually(lambda: messages.when(b"MAIL") and dials.when(b"EHLO"), what="the first of both")
    begin = time.monotonic()
    eventually(lambda: time.monotonic() - begin > SECONDS, SECONDS + 30, "more than a minute")
    for stamps, limit in ((messages.when(b"MAIL"), MESSAGES), (dials.when(b"EHLO"), CONNECTIONS)):
        assert most_within(stamps, WINDOW) <= limit
        seconds = stamps[-1] - stamps[0]
        assert seconds > WINDOW
        assert len(stamps) >= 0.85 * limit * seconds / 60
    assert len(dials.when(b"MAIL")) <= len(dials.when(b"EHLO"))


def waiting(product):
    rows = product.rows("queue", "list", "--domain", "asks.test")
    return [one for one in rows if "rule asks/later" in (one["lastReply"] or "")]


def test_a_pause_holds_for_both_workers_and_over_a_kill_of_permits(product, hosts):
    asks = hosts.hosts["mx1.asks.test"]
    asks.replies = {"rcpt": "450 4.7.1 come later please"}
    product.send("first@asks.test")
    eventually(lambda: 'relay_shaping_effects_total{kind="pause"}' in product.metrics(), what="the pause")
    asks.replies = {}
    seen = len(asks.log.when(b"MAIL"))
    assert seen == 1
    expected = 0
    for victim in ("", "relay-permits", "worker-0001", "relay-permits"):
        if victim:
            kill(product, victim)
        send(product, "asks.test", 16)
        expected += 16
        eventually(lambda: len(waiting(product)) >= expected, what="mail that waits")  # noqa: B023
    found = product.json("shaping", "explain", "asks.test")
    assert "asks/later" in str(found)
    assert len(asks.log.when(b"MAIL")) == seen


def kill(product, name):
    """Kill a process and wait for the next one of its name, and for readiness."""
    killed = product.children()[name]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: product.children().get(name, killed) != killed, what=f"another {name}")
    product.wait_ready()
