"""Section H, whole: every fault of a receiver at every stage of a dialogue, against the running relay.

One message to hundreds of recipients, each at a host of its own that misbehaves in its own way; what became of each
first attempt stands in trace, events and log. Then every host is mended, and all that was not refused must
arrive: once, or twice where the host had taken the message and the relay could not know (RFC 5321 section 6.1).
"""

import asyncio
import json
import re
import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.testing.internet import FakeInternet
from tests.adversarial.wire import message, open_listener
from tests.product import Product, eventually

DELIVERED, DEFERRED, BOUNCED, UNKNOWN = "delivered", "temporary", "permanent", "unknown"
NO_REPLY = ["hang", "drop", "rst", "half", "421"]
NOT_SMTP = ["zero", "nines", "ones", "bare", "empty", "noise", "mixed", "long", "endless", "tarpit", "drip", "deluge"]
OUT_OF_STEP = ["twice", "inject"]
SHOWN = ["garbage", "flood"]  # odd, and still a reply


def at(stage, faults, first="", how=DEFERRED, where=None, copies=1, taken=0):
    """Yield cases: script, outcome and stage of the first attempt, copies in the end, of which at once."""
    for fault in faults:
        yield (f"{first} at-{stage}-{fault}".strip(), how, where or stage, copies, taken)


WORKS = {"how": DELIVERED, "where": "final dot", "taken": 1}
DOUBT = {"how": UNKNOWN, "where": "final dot", "copies": 2, "taken": 1}
CASES = [
    ("", DELIVERED, "final dot", 1, 1),
    *at("greet", [*NO_REPLY, *NOT_SMTP, "code250", "code354", "code451"], where="greeting"),
    *at("greet", OUT_OF_STEP, where="ehlo"),
    *at("greet", ["code554"], how=BOUNCED, where="greeting", copies=0),
    *at("greet", SHOWN, **WORKS),
    # Who cannot say EHLO is asked by HELO, on another connection where that is needed (RFC 5321 section 3.2).
    *at("ehlo", [*NO_REPLY[:4], *NOT_SMTP, *SHOWN, "code502", "code250"], **WORKS),
    *at("ehlo", [*OUT_OF_STEP, "421", "code451", "code354"]),
    *at("helo", [*NO_REPLY, *NOT_SMTP, *OUT_OF_STEP], "ehlo-502", where="ehlo"),
    # What goes wrong with TLS goes on in clear, on another connection (TLS-003).
    *at("starttls", [*NO_REPLY[:4], *NOT_SMTP, "code454", "code500", "code250", "code354"], "tls", **WORKS),
    *at("starttls", [*OUT_OF_STEP, *SHOWN], "tls", **WORKS),  # what is said in clear behind the 220 is nobody's
    *at("starttls", ["421"], "tls", where="tls"),
    *at("handshake", [*NO_REPLY, *NOT_SMTP, "inject"], "tls", **WORKS),
    *at("ehlos", [*NO_REPLY[:3], *NOT_SMTP], "tls", **WORKS),
    *at("ehlos", ["421", *OUT_OF_STEP], "tls", where="ehlo"),
    *at("mail", [*NO_REPLY, *NOT_SMTP, "code451", "code354"]),
    *at("mail", OUT_OF_STEP, where="data"),
    *at("mail", ["code550"], how=BOUNCED, copies=0),  # while RCPT and DATA are taken
    *at("mail", SHOWN, **WORKS),
    *at("rcpt", [*NO_REPLY, *NOT_SMTP, "code450", "code354"]),
    *at("rcpt", OUT_OF_STEP, where="data"),
    *at("rcpt", ["code550"], how=BOUNCED, copies=0),  # and DATA is answered by 354 all the same
    *at("rcpt", SHOWN, **WORKS),
    *at("data", [*NO_REPLY, *NOT_SMTP, *OUT_OF_STEP, "code250", "code451"]),
    *at("data", ["code554"], how=BOUNCED, copies=0),
    *at("data", SHOWN, **WORKS),
    *at("dot", [*NO_REPLY[:4], *NOT_SMTP, "code354"], **DOUBT),
    *at("dot", [*SHOWN, *OUT_OF_STEP], **WORKS),
    ("dot-421", DEFERRED, "final dot", 1, 0),
    ("dot-451", DEFERRED, "final dot", 1, 0),
    ("dot-554", BOUNCED, "final dot", 0, 0),
    ("no-pipelining mail-550", BOUNCED, "mail", 0, 0),
    ("no-pipelining drop-rcpt", DEFERRED, "rcpt", 1, 0),
    ("greet-us", BOUNCED, "ehlo", 0, 0),
    ("ehlo-us", BOUNCED, "ehlo", 0, 0),
    ("limit-msgs.1", DELIVERED, "final dot", 1, 1),
    ("size.10", BOUNCED, "local", 0, 0),
]
# Mail too large for the buffers between: the host answers, or goes, while most of it is still here.
LARGE_CASES = [
    *(
        (f"rcvbuf.2048 at-body-{fault}", DEFERRED)
        for fault in ["stall", "drop", "rst", "half", "421", "code250", "code451", "noise"]
    ),
    ("rcvbuf.2048 at-body-code552", BOUNCED),
]
SIZES = {"memory": 200_000, "file": 1_500_000}  # a body in memory leaves in one write, one in a file block by block
TLS_STAGES = ("at-starttls", "at-handshake", "at-ehlos")

# Each group is one message; each of its cases has a domain of its own.
GROUPS = {
    "table": [case[0] for case in CASES],
    "strict": [case[0] for case in CASES if any(stage in case[0] for stage in TLS_STAGES)],
    **{size: [case[0] for case in LARGE_CASES] for size in SIZES},
    "later": ["", ""],  # refuses connections, and takes them without an answer
}
HEADERS = {"strict": b"X-SES-CONFIGURATION-SET: strict\r\n"}
MEMORY_MAX_BYTES = 64 * 1024 * 1024
SECONDS = dict.fromkeys(["tls", "greeting", "ehlo", "mail", "rcpt", "data"], "1500ms")


def name_of(group, number):
    return f"{group}{number}.test"


@pytest.fixture(scope="module")
def net():
    domains = {name_of(group, number): [word] for group, words in GROUPS.items() for number, word in enumerate(words)}
    with FakeInternet({**domains, "example.com": [""]}, network="127.0.32").in_thread() as made:
        yield made


@pytest.fixture(scope="module")
def product(net):
    settings = {
        "dns": {"nameservers": [net.dns.nameserver], "timeout": "10s"},
        "delivery": {
            "port": net.port,
            "allow_private_destinations": True,
            "retry": ["1h"],  # again when the test says so
            "timeouts": {"connect": "3s", "data_block": "1500ms", "data_end": "3s", **SECONDS},
        },
    }
    with Product(**settings) as made:
        made.run("configuration-set", "create", "strict", "--tls", "REQUIRE")
        yield made


@dataclass(frozen=True)
class Case:
    """One recipient: its script, the copies its host had after the first attempt and in the end, and its events."""

    script: str
    first: dict
    early: list
    copies: list
    delivered: int
    bounced: int

    @property
    def where(self):
        """The stage of the first attempt; a reset at once may come before we know of the connection."""
        return "greeting" if self.script == "at-greet-rst" else self.first["stage"]


@pytest.fixture(scope="module")
def ended(net, product):
    """Send all groups at once, look, mend every host, and wait until all that was not refused has arrived."""
    before = worker_bytes(product, "VmRSS")
    refusing, silent = Switch(net, "later0.test"), Switch(net, "later1.test")
    refusing.off()
    silent.off()
    silent.swallow()
    ids = {group: submit(product, group, len(words)) for group, words in GROUPS.items()}
    count = sum(map(len, GROUPS.values()))
    eventually(lambda: len(settled(product, ids)) == count, 60, "an attempt for each")
    grown = worker_bytes(product, "VmHWM") - before
    first = {key: each[0] for group in GROUPS for key, each in attempts(product, group, ids[group]).items()}
    early = {key: kept(net, *key) for key in first}
    for group, number in first:
        net.hosts[f"mx1.{name_of(group, number)}"].mend(*(["tls"] if group == "strict" else []))
    refusing.on()
    silent.on()
    product.run("queue", "retry", "--all")
    left = {key for key, attempt in first.items() if attempt["outcome"] != BOUNCED}
    eventually(lambda: told(product, ids, "Delivery").keys() >= left, 60, "all mail")
    delivered, bounced = told(product, ids, "Delivery"), told(product, ids, "Bounce")
    cases = {
        key: Case(GROUPS[key[0]][key[1]], attempt, early[key], kept(net, *key), delivered[key], bounced[key])
        for key, attempt in first.items()
    }
    return cases, grown


def of_group(ended, group):
    return [case for key, case in sorted(ended[0].items()) if key[0] == group]


class Switch:
    """Takes a host off the network, lets its packets vanish, brings it back."""

    def __init__(self, net, domain):
        self.host = net.hosts[f"mx1.{domain}"]
        self.port = net.port
        self.loop = self.host.server.get_loop()
        self.sockets = []

    def off(self):
        self._run(self.host.stop())

    def swallow(self):
        """Listen with a full queue: the system then drops what else wants to connect (listen(2))."""
        address = self.host.address, self.port
        self.sockets = [socket.create_server(address, backlog=0)]
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)  # nobody waits for the last of them
            filler.connect_ex(address)
            self.sockets.append(filler)

    def on(self):
        for each in self.sockets:
            each.close()
        self._run(self.host.start(self.port))

    def _run(self, work):
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)


def body_of(group):
    return (b"y" * 998 + b"\r\n") * (SIZES.get(group, 0) // 1000) + b"end\r\n"


def submit(product, group, count):
    text = message(group, body_of(group), HEADERS.get(group, b""))
    with open_listener(product, "trusted") as client:
        answer = client.transaction(text, recipients=[f"user@{name_of(group, number)}" for number in range(count)])
    assert answer[:3] == "250", answer
    return answer.split()[-1]


def key_of(address):
    group, number = re.fullmatch(r"user@([a-z]+)(\d+)\.test", address).groups()
    return group, int(number)


def settled(product, ids):
    """Return the recipients whose first attempt is in the log."""
    words = '"event":"delivered"', '"event":"deferred"', '"event":"bounced"'
    lines = [line for line in product.log_text().splitlines() if any(word in line for word in words)]
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return {key_of(line["recipient"]) for line in found if line["message_id"] in ids.values()}


def attempts(product, group, message_id):
    """Return {key: the attempts of its delivery}, as the trace shows them."""
    deliveries = product.json("trace", message_id)["deliveries"]
    return {key_of(each["recipient"]): each["attempts"] for each in deliveries}


def told(product, ids, kind):
    """Return how often events of a kind were published about each recipient."""
    found = Counter()
    for event in product.events(kind):
        if event["mail"]["messageId"] in ids.values():
            detail = event[kind.lower()]
            people = detail.get("recipients") or [one["emailAddress"] for one in detail["bouncedRecipients"]]
            found.update(map(key_of, people))
    return found


def kept(net, group, number):
    """Return the copies of a group's message that the host of a case took."""
    mark = b"X-Mark: %s\r\n" % group.encode()
    return [copy for copy in net.hosts[f"mx1.{name_of(group, number)}"].received if mark in copy.data]


def worker_bytes(product, what):
    status = Path(f"/proc/{product.children()['worker-0001']}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(what))) * 1024


@pytest.mark.req("FLOW-008", "FLOW-009", "TLS-003")
def test_every_fault_at_every_stage_has_its_outcome(ended):
    got = {(case.script, case.first["outcome"], case.where, len(case.early)) for case in of_group(ended, "table")}
    wanted = {(script, how, where, taken) for script, how, where, _, taken in CASES}
    assert (sorted(got - wanted), sorted(wanted - got)) == ([], [])


@pytest.mark.req("FLOW-005", "FLOW-008", "FLOW-009")
def test_nothing_is_lost_and_only_doubt_sends_twice(ended):
    got = {(case.script, len(case.copies), case.delivered, case.bounced) for case in of_group(ended, "table")}
    wanted = {(script, copies, how != BOUNCED, how == BOUNCED) for script, how, _, copies, _ in CASES}
    assert (sorted(got - wanted), sorted(wanted - got)) == ([], [])


def test_memory_is_bounded_and_nothing_breaks(ended, product):
    cases, grown = ended
    assert grown < MEMORY_MAX_BYTES
    replies = [case.first["reply"] for case in cases.values()]
    assert all(reply.isprintable() and len(reply) < 1100 for reply in replies)
    assert "Traceback" not in product.log_text()
    assert not [line for line in product.log_text().splitlines() if '"level":"error"' in line]


@pytest.mark.req("TLS-004", "CFG-005")
def test_no_broken_tls_makes_mail_that_requires_it_leave_in_clear(ended):
    for case in of_group(ended, "strict"):
        assert all(copy.tls for copy in case.copies), case.script
        assert case.first["outcome"] == (DELIVERED if case.early else DEFERRED), case.script
        assert (len(case.copies), case.delivered) == (1, 1), case.script


@pytest.mark.req("FLOW-008", "FLOW-009")
@pytest.mark.parametrize("group", SIZES)
def test_an_answer_in_the_middle_of_a_message_never_means_that_it_was_taken(group, ended):
    """Neither body fits into the buffers between the two."""
    for case, (script, how) in zip(of_group(ended, group), LARGE_CASES, strict=True):
        outcome = case.first["outcome"]
        assert outcome in ({how} if how == BOUNCED else {DEFERRED, UNKNOWN}), (script, case.first)
        assert not case.early or outcome == UNKNOWN, script
        assert len(case.copies) == len(case.early) + case.delivered, script
        assert (case.delivered, case.bounced) == (how != BOUNCED, how == BOUNCED), script
        assert all(copy.content.endswith(body_of(group)) for copy in case.copies), script


def test_a_host_that_takes_no_connections_gets_its_mail_when_it_is_back(ended):
    refusing, silent = of_group(ended, "later")
    for case in (refusing, silent):
        assert (case.first["outcome"], case.first["stage"]) == (DEFERRED, "connect")
        assert (len(case.early), len(case.copies), case.delivered) == (0, 1, 1)
    assert "refused" in refusing.first["reply"]
    assert "no answer in 3 s" in silent.first["reply"]
