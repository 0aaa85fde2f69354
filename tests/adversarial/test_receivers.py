"""Sections H and J: misbehaving receivers and bad DNS, through the whole product."""

import hashlib
import json
import signal

import pytest

from relay.testing.internet import FakeInternet
from tests.adversarial.wire import message, open_listener, waiting
from tests.product import Product, eventually

DOMAINS = {
    "example.com": [""],  # reports go there
    "good.test": [""],
    "rcpt552.test": ["rcpts-552.1"],
    "closing-mail.test": ["limit-msgs.3"],
    "closing-dot.test": ["dot-421", ""],
    "two-conns.test": ["limit-conns.2"],
    "fewer.test": ["limit-conns.2 slow-dot.0.03"],
    "one-each.test": ["drop-reused"],
    "flaky.test": ["flaky.1"],
    "grey.test": ["grey.1"],
    "tiny.test": ["size.10", "size.10"],
    "ehlo502.test": ["ehlo-502"],
    "ehlo-nothing.test": ["ehlo-nothing"],
    "ehlo-drop.test": ["ehlo-drop", ""],
    "lie.test": ["pipeline-lie", ""],
    "drip.test": ["drip slow-rcpt.0.3 slow-dot.1"],
    "self.test": ["ehlo-us"],
    "idle.test": ["close-idle.0.3"],
    "http.test": ["greet-http"],
    "g250.test": ["greet-250"],
    "garbage.test": ["greet-garbage"],
    "barelf.test": ["greet-barelf"],
    "endless.test": ["greet-endless"],
    "failing.test": ["mail-451"] * 8,
    "middrop.test": ["drop-mid-data", ""],
    "midreset.test": ["reset-mid-data", ""],
    "tls.test": ["tls"],
    "tls-garbage.test": ["tls-garbage"],
    "tls-drop.test": ["tls-drop"],
    "tls-inject.test": ["tls-inject"],
    "tls-454.test": ["tls-454"],
    "xn--bcher-kva.test": [""],
}
ZONES = {
    "null.test": {"MX": ["0 ."]},
    "implicit.test": {"A": ["127.0.16.2"]},  # mx1.good.test
    "unsure.test": {"FAULT": "servfail"},
    "loopback.test": {"MX": ["10 lo.loopback.test."]},
    "lo.loopback.test": {"A": ["127.0.0.1"]},
    "us.test": {"MX": ["10 relay.example."]},
}


@pytest.fixture(scope="module")
def net():
    with FakeInternet(DOMAINS, ZONES).in_thread() as made:
        yield made


@pytest.fixture(scope="module")
def product(net):
    settings = {
        "dns": {"nameservers": [net.dns.nameserver], "timeout": "1s", "nxdomain_recheck": "2s"},
        "delivery": {
            "port": net.port,
            "allow_private_destinations": True,
            "retry": ["1s"],
            "retry_jitter_percent": 0,
            "connection_idle": "5s",
            "starttls_failure_memory": "1s",
        },
    }
    with Product(**settings) as made:
        yield made


def send(product, *recipients, mark="x", body=b"x\r\n", options=""):
    """Submit one message and return its id."""
    with open_listener(product, "trusted") as client:
        answer = client.transaction(message(mark, body), recipients=recipients, options=options)
    assert answer[:3] == "250", answer
    return answer.split()[-1]


def events_of(product, message_id, kind):
    return [e for e in product.events(kind) if e["mail"]["messageId"] == message_id]


def wait_for(product, message_id, kind="Delivery", count=1):
    return eventually(
        lambda: len(found := events_of(product, message_id, kind)) >= count and found, 30, f"{kind} of {message_id}"
    )


def attempts(product, message_id):
    """Return the log lines about attempts of a message."""
    lines = [json.loads(line) for line in product.log_text().splitlines() if message_id in line]
    return [line for line in lines if line["event"] in {"delivered", "deferred", "bounced"}]


def logged(product, message_id, event):
    return eventually(
        lambda: [line for line in attempts(product, message_id) if line["event"] == event], 30, f"{event} in the log"
    )


def taken(net, domain):
    return [r for name, host in net.hosts.items() if name.endswith(f".{domain}") for r in host.received]


@pytest.mark.req("FLOW-009", "FLOW-019")
@pytest.mark.parametrize(
    "domain",
    [
        "good.test", "ehlo502.test", "ehlo-nothing.test", "ehlo-drop.test", "lie.test", "drip.test", "flaky.test",
        "grey.test", "middrop.test", "midreset.test", "closing-dot.test", "implicit.test", "tls.test",
    ],
)  # fmt: skip
def test_arrives_whole_and_once_in_the_end(domain, product, net):
    """H13, H16 to H19, J05: whatever the receiver does first."""
    body = b"".join(b"%06d %s\r\n" % (n, b"z" * 60) for n in range(4000))
    mark = f"whole-{domain}"
    message_id = send(product, f"user@{domain}", mark=mark, body=body)
    wait_for(product, message_id)
    found = [r for r in net.received if mark.encode() in r.data]
    assert len(found) == 1
    assert hashlib.sha256(found[0].content.split(b"\r\n\r\n", 1)[1]).digest() == hashlib.sha256(body).digest()
    assert events_of(product, message_id, "Bounce") == []


def test_a_helo_only_host_gets_no_pipelining(product, net):
    """H16."""
    host = net.hosts["mx1.ehlo502.test"]
    message_id = send(product, "plain@ehlo502.test")
    wait_for(product, message_id)
    assert host.commands(b"HELO")
    assert host.received[-1].parameters == ""


@pytest.mark.req("TLS-003")
@pytest.mark.parametrize("domain", ["tls-garbage.test", "tls-drop.test", "tls-inject.test", "tls-454.test"])
def test_broken_tls_falls_back_to_clear_on_a_new_connection(domain, product, net):
    message_id = send(product, f"user@{domain}", mark=domain)
    wait_for(product, message_id)
    found = taken(net, domain)
    assert len(found) == 1
    if domain == "tls-inject.test":
        assert b"injected" not in b"".join(line for _, line in net.hosts["mx1.tls-inject.test"].log)


@pytest.mark.req("TLS-003")
def test_tls_is_used_where_it_works(product, net):
    message_id = send(product, "secure@tls.test")
    wait_for(product, message_id)
    assert taken(net, "tls.test")[-1].tls.startswith("TLSv1.")
    assert logged(product, message_id, "delivered")[0]["tls"].startswith("TLSv1.")


def test_a_552_for_one_recipient_too_many_is_no_bounce(product, net):
    """H10: every recipient has a transaction of its own, so each gets there."""
    recipients = [f"u{n}@rcpt552.test" for n in range(4)]
    message_id = send(product, *recipients)
    wait_for(product, message_id, count=4)
    assert sorted(r.recipients[0] for r in taken(net, "rcpt552.test")) == recipients


def test_hosts_with_limits_get_everything_and_nothing_bounces(product, net):
    """H11, H12: 421 or nothing at all after some messages, and more connections than the host wants."""
    ids = []
    for domain, count in (("closing-mail.test", 10), ("two-conns.test", 50), ("one-each.test", 10)):
        recipients = [f"u{n}@{domain}" for n in range(count)]
        ids.append((send(product, *recipients), domain, recipients))
    for message_id, domain, recipients in ids:
        wait_for(product, message_id, count=len(recipients))
        assert sorted(r.recipients[0] for r in taken(net, domain)) == sorted(recipients)
        assert events_of(product, message_id, "Bounce") == []


def test_connections_fall_when_a_host_wants_fewer(product, net):
    """H12: after 421 "too many connections" it sees fewer, and gets everything all the same."""
    host = net.hosts["mx1.fewer.test"]
    recipients = [f"u{n}@fewer.test" for n in range(50)]
    wait_for(product, send(product, *recipients), count=len(recipients))
    most = host.open_most
    assert most > 2  # it was asked for more than the two that it grants
    eventually(lambda: host.open_connections == 0, what="the end of the first connections")
    host.open_most = 0
    message_id = send(product, *recipients)
    wait_for(product, message_id, count=len(recipients))
    assert 1 <= host.open_most < most
    assert len(taken(net, "fewer.test")) == 2 * len(recipients)
    assert events_of(product, message_id, "Bounce") == []
    assert "too many connections" in product.run("shaping", "explain", "fewer.test").stdout


@pytest.mark.req("FLOW-008")
def test_a_message_too_large_for_every_host_bounces_without_data(product, net):
    """H15."""
    message_id = send(product, "user@tiny.test")
    bounce = wait_for(product, message_id, "Bounce")[0]["bounce"]
    assert bounce["bouncedRecipients"][0]["status"] == "5.3.4"
    assert net.hosts["mx1.tiny.test"].commands(b"DATA") == []
    assert net.hosts["mx2.tiny.test"].commands(b"DATA") == []


@pytest.mark.parametrize("domain", ["self.test", "us.test"])
def test_a_loop_to_ourselves_bounces(domain, product, net):
    """H20."""
    message_id = send(product, f"user@{domain}")
    bounce = wait_for(product, message_id, "Bounce")[0]["bounce"]
    assert bounce["bouncedRecipients"][0]["status"] == "5.4.6"


def test_a_connection_closed_while_idle_is_replaced_in_silence(product, net):
    """H23."""
    first = send(product, "a@idle.test")
    wait_for(product, first)
    eventually(lambda: net.hosts["mx1.idle.test"].open_connections == 0)
    second = send(product, "b@idle.test")
    wait_for(product, second)
    assert events_of(product, second, "DeliveryDelay") == []


@pytest.mark.parametrize("domain", ["http.test", "g250.test", "garbage.test", "barelf.test", "endless.test"])
def test_odd_greetings_are_temporary_with_a_clear_text(domain, product, net):
    """H25."""
    message_id = send(product, f"user@{domain}")
    line = logged(product, message_id, "deferred")[0]
    assert line["reply"]
    assert len(line["reply"]) < 2000
    assert events_of(product, message_id, "Bounce") == []
    assert taken(net, domain) == []


def test_eight_failing_hosts_cost_two_sessions_an_attempt(product, net):
    """H29."""
    message_id = send(product, "user@failing.test")
    logged(product, message_id, "deferred")
    hosts = [host for name, host in net.hosts.items() if name.endswith(".failing.test")]
    tried = attempts(product, message_id)
    assert sum(host.connections for host in hosts) <= 2 * (len(tried) + 1)


@pytest.mark.req("FLOW-019", "FLOW-008")
def test_null_mx_bounces_at_once(product):
    message_id = send(product, "user@null.test")
    bounce = wait_for(product, message_id, "Bounce")[0]["bounce"]
    assert (bounce["bounceType"], bounce["bouncedRecipients"][0]["status"]) == ("Permanent", "5.1.10")
    assert len(attempts(product, message_id)) == 1


@pytest.mark.req("FLOW-008", "FLOW-009")
def test_a_missing_domain_is_asked_twice_and_servfail_for_ever(product, net):
    """Decision 3."""
    missing, unsure = send(product, "user@missing.test"), send(product, "user@unsure.test")
    bounce = wait_for(product, missing, "Bounce")[0]["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "General")
    assert bounce["bouncedRecipients"][0]["status"] == "5.1.2"
    assert [line["event"] for line in attempts(product, missing)] == ["deferred", "bounced"]
    assert net.dns.queries.count(("missing.test", "MX", "udp")) == 2
    assert events_of(product, missing, "DeliveryDelay")
    eventually(lambda: len(attempts(product, unsure)) >= 2)
    assert events_of(product, unsure, "Bounce") == []


def test_a_domain_that_appears_at_the_second_look_is_delivered(product, net):
    message_id = send(product, "user@newborn.test")
    logged(product, message_id, "deferred")
    net.dns.zones["newborn.test"] = net.dns.zones["good.test"]
    wait_for(product, message_id)
    assert events_of(product, message_id, "Bounce") == []


def test_both_spellings_of_a_domain_are_one_destination(product, net):
    """D21."""
    ids = [
        send(product, "user@xn--bcher-kva.test"),
        send(product, "user@XN--BCHER-KVA.test"),
        send(product, "user@bücher.test", options=" SMTPUTF8"),
    ]
    for message_id in ids:
        wait_for(product, message_id)
    assert len(taken(net, "xn--bcher-kva.test")) == 3
    assert [q for q in net.dns.queries if q[0] == "xn--bcher-kva.test"] == [("xn--bcher-kva.test", "MX", "udp")]


@pytest.mark.parametrize("domain", ["localhost", "relay.example", "single", "a.invalid", "machine.localhost"])
def test_domains_that_are_no_internet_names_bounce_at_once(domain, product):
    """D22: nothing is looked up by address, nothing reaches this machine."""
    with open_listener(product, "trusted") as client:
        answer = client.transaction(message("nowhere"), recipients=[f"user@{domain}"])
    if answer[0] == "5":
        return
    bounce = wait_for(product, answer.split()[-1], "Bounce")[0]["bounce"]
    assert bounce["bounceType"] == "Permanent"


def test_loopback_hosts_are_refused_unless_allowed(product, net):
    """J, decision 8: with the default setting nothing is delivered to this machine, whatever DNS says."""

    def reload(allowed):
        count = product.log_text().count("reloaded")
        product.values["delivery"]["allow_private_destinations"] = allowed
        product.save()
        product.process.send_signal(signal.SIGHUP)
        eventually(lambda: product.log_text().count("reloaded") > count)

    before = len(net.received)
    reload(False)
    try:
        for domain in ("loopback.test", "implicit.test"):
            message_id = send(product, f"private@{domain}")
            bounce = wait_for(product, message_id, "Bounce")[0]["bounce"]
            assert bounce["bouncedRecipients"][0]["status"] in {"5.4.6", "5.4.4"}
        assert len(net.received) == before
    finally:
        reload(True)


def test_what_is_left_is_what_must_still_be_tried(product):
    """Nothing was forgotten: only mail for hosts that never work is still queued."""
    stuck = {"unsure.test", "http.test", "g250.test", "garbage.test", "barelf.test", "endless.test", "failing.test"}
    eventually(lambda: waiting(product) <= len(stuck), 20)
    rows = product.rows("queue", "list")
    assert {row["recipient"].partition("@")[2] for row in rows} <= stuck
