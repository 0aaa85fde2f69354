"""Section J, from outside: every fault of DNS against the running relay, and a dead resolver under a full queue.

One message to a recipient at each domain; what became of each first attempt stands in the trace. Then DNS is mended,
and all that was not refused must arrive, once.
"""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from relay.testing.internet import FakeInternet
from tests.adversarial.wire import message, open_listener
from tests.product import Product, eventually

DELIVERED, DEFERRED, BOUNCED = "delivered", "temporary", "permanent"
GOOD = {"MX": ["10 mx1.good.test."]}
FORGED = "127.0.48.1"  # mx1.forged.test, which nothing may ever be delivered to
LONG = ".".join(["x" * 60] * 4)
BAD_TARGETS = ["10 127.0.48.2.", "20 localhost.", "30 mail.", "40 a\\032b.test.", "50 \\195\\188.test.", "60 ."]
DEAD_HOSTS = [f"{n} mx{n}.dead.test." for n in range(1, 1001)]
CHAIN = {f"c{n}.test": {"CNAME": f"c{n + 1}.test"} for n in range(20)}

# domain: its records, and what becomes of the first attempt, at which stage
CASES = {
    "good.test": ({}, DELIVERED, "final dot"),
    # No answer is never "no mail exchanger" and never "no such domain".
    "servfail.test": ({"FAULT": "servfail"}, DEFERRED, "dns"),
    "refused.test": ({"FAULT": "refused"}, DEFERRED, "dns"),
    "silent.test": ({"FAULT": "timeout"}, DEFERRED, "dns"),
    "garbage.test": ({"FAULT": "garbage"}, DEFERRED, "dns"),
    "pointer.test": ({"FAULT": "pointer-loop"}, DEFERRED, "dns"),
    "wrong-id.test": ({"FAULT": "wrong-id"}, DEFERRED, "dns"),
    "wrong-question.test": ({"FAULT": "wrong-question"}, DEFERRED, "dns"),
    "lame.test": ({"FAULT": "lame"}, DEFERRED, "dns"),
    "other-names.test": ({"FAULT": "other-names"}, DEFERRED, "dns"),
    "tcp-silent.test": ({"FAULT": "tcp-silent"}, DEFERRED, "dns"),
    "tcp-drop.test": ({"FAULT": "tcp-drop"}, DEFERRED, "dns"),
    # A domain with an address of its own must not be taken for one without MX records either.
    "servfail-mx.test": ({"FAULT-MX": "servfail", "A": [FORGED]}, DEFERRED, "dns"),
    "lame-mx.test": ({"FAULT-MX": "lame", "A": [FORGED]}, DEFERRED, "dns"),
    "other-mx.test": ({"FAULT-MX": "other-names", "A": [FORGED]}, DEFERRED, "dns"),
    "silent-mx.test": ({"FAULT-MX": "timeout", "A": [FORGED]}, DEFERRED, "dns"),
    "servfail-a.test": ({"FAULT-A": "servfail", "FAULT-AAAA": "servfail"}, DEFERRED, "dns"),
    # What attackers and odd servers put around an answer changes nothing.
    "spoofed.test": ({"FAULT": "spoofed", **GOOD}, DELIVERED, "final dot"),
    "mixed-case.test": ({"FAULT": "mixed-case", **GOOD}, DELIVERED, "final dot"),
    "truncated.test": ({"FAULT": "truncated", **GOOD}, DELIVERED, "final dot"),
    "ttl-0.test": ({"TTL": 0, **GOOD}, DELIVERED, "final dot"),
    "ttl-most.test": ({"TTL": 2**31 - 1, **GOOD}, DELIVERED, "final dot"),
    # Aliases.
    "alias.test": ({"CNAME": "good.test"}, DELIVERED, "final dot"),
    "mx-alias.test": ({"MX": ["10 c20.test."]}, DELIVERED, "final dot"),
    "c10.test": (CHAIN["c10.test"], DELIVERED, "final dot"),
    "c0.test": (CHAIN["c0.test"], DEFERRED, "dns"),
    "loop.test": ({"CNAME": "loop2.test"}, DEFERRED, "dns"),
    # Mail exchangers that are none.
    "null.test": ({"MX": ["0 ."]}, BOUNCED, "dns"),
    "null-too.test": ({"MX": ["0 .", "10 mx1.good.test."]}, DELIVERED, "final dot"),
    "bad-targets.test": ({"MX": BAD_TARGETS}, BOUNCED, "dns"),
    "some-bad.test": ({"MX": [*BAD_TARGETS, "70 mx1.good.test."]}, DELIVERED, "final dot"),
    "dangling.test": ({"MX": ["10 gone.test."]}, BOUNCED, "dns"),
    "dangling-a.test": ({"MX": ["10 gone.test."], "A": [FORGED]}, BOUNCED, "dns"),
    "unsure.test": ({"MX": ["10 gone.test.", "20 servfail.test."]}, DEFERRED, "dns"),
    "half.test": ({"MX": ["10 gone.test.", "20 mx1.good.test."]}, DELIVERED, "final dot"),
    "implicit.test": ({"A": ["127.0.48.2"]}, DELIVERED, "final dot"),
    "nothing.test": ({"TXT": ["x"]}, DEFERRED, "dns"),
    "underscore.test": ({"MX": ["10 _mx_.good.test."]}, DELIVERED, "final dot"),
    "long.test": ({"MX": [f"10 {LONG}."]}, DELIVERED, "final dot"),
    # Far too much.
    "thousand.test": ({"MX": [*DEAD_HOSTS, "0 mx1.good.test."]}, DELIVERED, "final dot"),
    "dead-thousand.test": ({"MX": DEAD_HOSTS}, DEFERRED, "dns"),
    "addresses.test": ({"MX": ["10 many.test."]}, DEFERRED, "connect"),
}  # fmt: skip
BULK = 300
ZONES = {
    **CHAIN,
    **{domain: {"TTL": 1, **records} for domain, (records, _, _) in CASES.items() if records},
    "c20.test": {**GOOD, "A": ["127.0.48.2"]},
    "loop2.test": {"CNAME": "loop.test"},
    "_mx_.good.test": {"A": ["127.0.48.2"]},
    LONG: {"A": ["127.0.48.2"]},
    "many.test": {"A": [f"127.0.{n // 250 + 60}.{n % 250 + 1}" for n in range(500)]},  # where nobody listens
    **{f"mx{n}.dead.test": {"FAULT": "servfail"} for n in range(1, 1001)},
    **{f"d{n}.bulk.test": {"MX": ["10 mx1.hub.test."]} for n in range(BULK)},
}
MEMORY_MAX_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def net():
    domains = {"forged.test": [""], "good.test": [""], "hub.test": [""], "example.com": [""]}
    with FakeInternet(domains, ZONES, network="127.0.48").in_thread() as made:
        yield made


@pytest.fixture(scope="module")
def product(net):
    settings = {
        "dns": {"nameservers": [net.dns.nameserver], "timeout": "4s"},
        "delivery": {
            "port": net.port,
            "allow_private_destinations": True,
            "retry": ["3s"],
            "retry_jitter_percent": 50,
            "timeouts": {"connect": "5s"},
        },
    }
    with Product(**settings) as made:
        yield made


def submit(product, mark, recipients, each=1000):
    """Submit messages to so many recipients each; return their ids."""
    ids = set()
    with open_listener(product, "trusted") as client:
        for start in range(0, len(recipients), each):
            answer = client.transaction(message(mark), recipients=recipients[start : start + each])
            assert answer[:3] == "250", answer
            ids.add(answer.split()[-1])
    return ids


class Attempts:
    """What the log says about attempts, read on from where it was read before."""

    def __init__(self, product):
        self.path = product.directory / "relay.log"
        self.offset = 0
        self.lines = []

    def of(self, ids):
        """Return the lines about messages."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            *whole, _ = file.read().split(b"\n")
        self.offset += sum(len(line) + 1 for line in whole)
        found = [json.loads(line) for line in whole if b'"attempt":' in line]
        self.lines += [line for line in found if line["event"] in {"delivered", "deferred", "bounced"}]
        return [line for line in self.lines if line["message_id"] in ids]


@pytest.fixture(scope="module")
def attempts(product):
    return Attempts(product)


def told(product, ids, kind):
    """Return how often events of a kind were published about each domain."""
    found = Counter()
    for event in product.events(kind):
        if event["mail"]["messageId"] in ids:
            detail = event[kind.lower()]
            people = detail.get("recipients") or [one["emailAddress"] for one in detail["bouncedRecipients"]]
            found.update(address.partition("@")[2] for address in people)
    return found


def taken(net, mark):
    """Return how often each recipient's copy was taken."""
    marked = b"X-Mark: %s\r\n" % mark.encode()
    copies = [copy for copy in net.received if marked in copy.data and copy.sender]  # without reports to the sender
    return Counter(copy.recipients[0].partition("@")[2] for copy in copies)


def worker_bytes(product, what):
    status = Path(f"/proc/{product.children()['worker-0001']}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(what))) * 1024


@pytest.mark.req("FLOW-008", "FLOW-009", "FLOW-019")
def test_every_fault_of_dns_has_its_outcome_and_nothing_is_lost(product, net, attempts):
    ids = submit(product, "table", [f"user@{domain}" for domain in CASES])
    eventually(lambda: len({line["recipient"] for line in attempts.of(ids)}) == len(CASES), 60, "attempts")
    (message_id,) = ids
    deliveries = product.json("trace", message_id)["deliveries"]
    first = {each["recipient"].partition("@")[2]: each["attempts"][0] for each in deliveries}
    got = {(domain, attempt["outcome"], attempt["stage"]) for domain, attempt in first.items()}
    wanted = {(domain, how, where) for domain, (_, how, where) in CASES.items()}
    assert (sorted(got - wanted), sorted(wanted - got)) == ([], [])
    assert net.hosts["mx1.forged.test"].connections == 0

    for domain, (_, how, _) in CASES.items():
        if how == DEFERRED:
            net.dns.zones[domain] = GOOD
    left = {domain for domain, (_, how, _) in CASES.items() if how != BOUNCED}
    left.remove("nothing.test")  # that it has no records is an answer, which holds for minutes
    eventually(lambda: taken(net, "table").keys() >= left, 60, "all mail")
    eventually(lambda: told(product, ids, "Delivery") == dict.fromkeys(left, 1), 30, "an event for each")
    assert taken(net, "table") == dict.fromkeys(left, 1)
    assert told(product, ids, "Bounce") == dict.fromkeys(CASES.keys() - left - {"nothing.test"}, 1)
    assert net.hosts["mx1.forged.test"].connections == 0


def test_of_a_thousand_hosts_few_are_looked_up(product, net, attempts):
    """J13: ten hosts an attempt, whatever DNS says, and the best of them."""
    net.dns.zones["hosts.test"] = {"MX": [f"{n} mx{n}.hosts.test." for n in range(1, 1001)]}
    net.dns.zones.update({f"mx{n}.hosts.test": {"FAULT": "servfail"} for n in range(1, 1001)})
    ids = submit(product, "hosts", ["user@hosts.test"])
    (line, *_) = eventually(lambda: attempts.of(ids), 30, "an attempt")
    assert line["event"] == "deferred"
    asked = {name for name, *_ in net.dns.queries if re.fullmatch(r"mx\d+\.hosts\.test", name)}
    assert asked == {f"mx{n}.hosts.test" for n in range(1, 11)}


@pytest.mark.req("FLOW-009")
def test_a_dead_resolver_bounces_nothing_and_all_is_delivered_when_it_is_back(product, net, attempts):
    before = worker_bytes(product, "VmRSS")
    names = [f"d{n}.bulk.test" for n in range(BULK)]
    net.dns.dead = True
    ids = submit(product, "bulk", [f"user@{name}" for name in names], each=10)
    eventually(lambda: sum(line["attempt"] == 2 for line in attempts.of(ids)) == len(names), 60, "two attempts each")
    seen = attempts.of(ids)
    assert {line["event"] for line in seen} == {"deferred"}
    assert all("Cannot look up" in line["reply"] for line in seen)
    seconds = Counter(re.sub(r"\..*", "", line["time"]) for line in seen if line["attempt"] == 2)
    assert len(seconds) >= 3  # a wait of 3 s, longer or shorter by up to a half: no wave
    net.dns.dead = False
    eventually(lambda: sum(line["event"] == "delivered" for line in attempts.of(ids)) == len(names), 60, "all mail")
    assert taken(net, "bulk") == dict.fromkeys(names, 1)
    assert {line["event"] for line in attempts.of(ids)} == {"deferred", "delivered"}
    assert worker_bytes(product, "VmHWM") - before < MEMORY_MAX_BYTES
