"""Pools of source addresses on the whole product: which address each mail came from, as its receiver saw it.

Addresses of 127.0.0.0/8 are all of this host; where one has to vanish, root adds another to the loopback interface.
"""

import itertools
import json
import os
import shutil
import signal
import smtplib
import ssl
import subprocess
from collections import Counter

import pytest

from tests.flow.test_bounces import deliver_report
from tests.nameserver import NameServer
from tests.product import Product, Receiver, eventually

A, B = "000000000001", "000000000002"
SHARED = ("127.0.31.1", "127.0.31.2")
RETRY = {"retry": ["1s"], "retry_jitter_percent": 0}
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def answers():
    """What the receiver says to recipients, beside 250; tests add entries."""
    return {}


@pytest.fixture(scope="module")
def receiver(answers):
    def answer(verb, line):
        return next((text for who, text in list(answers.items()) if verb == "RCPT" and who in line), None)

    with Receiver(answer=answer) as made:
        yield made


@pytest.fixture(scope="module")
def six():
    with Receiver(host="::1") as made:
        yield made


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    zones = {
        "31.0.127.in-addr.arpa": "1 1 IN PTR one.hosts.example.\n2 1 IN PTR nowhere.hosts.example.\n",
        "41.0.127.in-addr.arpa": "9 1 IN TXT none\n",
        "hosts.example": "one 1 IN A 127.0.31.1\n",
    }
    with NameServer(tmp_path_factory.mktemp("nsd"), zones) as server:
        yield server


@pytest.fixture(scope="module")
def product(receiver, six, names):
    source_addresses = [{"address": SHARED[0], "ehlo_name": "one.hosts.example", "weight": 300}, SHARED[1]]
    routes = [
        {"domain": "six.example", "smarthost": f"[::1]:{six.port}"},
        {"domain": "*", "smarthost": f"127.0.0.1:{receiver.port}"},
    ]
    delivery = {"source_addresses": source_addresses, "managed_address_a_day": 10, **RETRY}
    dns = {"nameservers": [names.address], "timeout": "2s"}
    with Product(workers=2, routes=routes, delivery=delivery, dns=dns) as made:
        yield made


@pytest.fixture(scope="module")
def other(product):
    """A second account: what its client logs in with."""
    product.run("account", "create", B, "--production")
    for command in (["create"], ["verify", "--force"]):
        product.run("identity", *command, "b.example", "--account", B)
    return product.json("credentials", "create", "--account", B)["smtp"]


def recipient(domain="r.example"):
    return f"u{next(NUMBERS)}@{domain}"


def came(receiver, to):
    """Return address and EHLO name that a mail came from."""
    found = eventually(lambda: [one for one in list(receiver.arrivals) if one[2] == to], what=f"mail to {to}")
    assert len(found) == 1
    return found[0][:2]


def source(product, receiver, *, to=None, **more):
    """Send one message and return the address it came from."""
    to = to or recipient()
    product.send(to, **more)
    return came(receiver, to)[0]


def address(product, text):
    return product.json("address", "show", text)


def add(product, text, *more):
    product.run("address", "add", text, *more)


def audited(product, operation):
    lines = (product.data_dir / "audit.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["operation"] == operation]


def waiting(product, to):
    return [one for one in product.rows("queue", "list") if one["recipient"] == to]


def test_shared_addresses_by_weight_over_all_workers(product, receiver):
    """Three quarters leave from the address with three times the weight, under its own name."""
    clients = [product.client() for _ in range(8)]
    sent = []
    for number in range(64):
        to = recipient()
        sent.append(to)
        product.send(to, client=clients[number % 8])
    found = Counter(came(receiver, to) for to in sent)
    assert set(found) == {(SHARED[0], "one.hosts.example"), (SHARED[1], "relay.example")}
    assert 42 <= found[SHARED[0], "one.hosts.example"] <= 54  # 48 and a little for each worker
    for client in clients:
        client.quit()


@pytest.mark.req("POOL-004", "CFG-006", "POOL-001")
def test_a_set_leaves_from_its_pool_only(product, receiver):
    refused = product.run("configuration-set", "create", "early", "--pool", "news", check=False)
    assert refused.returncode == 64
    assert "has no pool news" in refused.stderr
    product.run("pool", "create", "news", "--tag", "team=mail")
    again = product.run("pool", "create", "news", "--managed", check=False)
    assert again.returncode == 64
    assert product.json("pool", "show", "news")["tags"] == {"team": "mail"}
    add(product, "127.0.32.1", "--account", A, "--pool", "news", "--ehlo-name", "news.hosts.example")
    product.run("configuration-set", "create", "news", "--pool", "news")
    for built_in in ("ses-shared-pool", "ses-default-dedicated-pool"):
        product.run("configuration-set", "create", built_in, "--pool", built_in)
    headers = "X-SES-CONFIGURATION-SET: news\r\n"
    to = recipient()
    message_id = product.send(to, headers=headers)
    assert came(receiver, to) == ("127.0.32.1", "news.hosts.example")
    assert {source(product, receiver, headers=headers) for _ in range(6)} == {"127.0.32.1"}
    assert "127.0.32.1" not in {source(product, receiver) for _ in range(4)}
    shared = "X-SES-CONFIGURATION-SET: ses-shared-pool\r\n"
    assert {source(product, receiver, headers=shared) for _ in range(8)} == set(SHARED)
    attempt = product.json("trace", message_id)["deliveries"][0]["attempts"][0]
    assert (attempt["sourceAddress"], attempt["pool"]) == ("127.0.32.1", "news")
    event = eventually(
        lambda: [one for one in product.events("Delivery") if one["mail"]["messageId"] == message_id],
        what="its event",
    )[0]
    assert event["mail"]["tags"]["ses:outgoing-ip"] == ["127.0.32.1"]
    data = next(data for _, to_, data in receiver.messages if to_ == [to])
    assert b"X-SES-Outgoing: " in data  # the one address it can leave from
    assert b"-127.0.32.1\r\n" in data


def test_where_the_address_is_not_certain_no_field_tells_it(product, receiver):
    to = recipient()
    product.send(to)
    came(receiver, to)
    data = next(data for _, to_, data in receiver.messages if to_ == [to])
    assert b"x-ses-outgoing" not in data.lower()


@pytest.mark.req("POOL-003")
def test_an_address_that_is_moved_leaves_its_former_pool(product, receiver):
    for name in ("left", "right"):
        product.run("pool", "create", name)
        product.run("configuration-set", "create", f"to-{name}", "--pool", name)
    add(product, "127.0.33.1", "--account", A, "--pool", "left")
    add(product, "127.0.33.2", "--account", A, "--pool", "right")
    assert source(product, receiver, headers="X-SES-CONFIGURATION-SET: to-left\r\n") == "127.0.33.1"
    product.run("address", "move", "127.0.33.1", "--account", A, "--pool", "right")
    product.run("address", "move", "127.0.33.2", "--account", A, "--pool", "left")
    assert product.json("pool", "show", "left")["addresses"][0]["address"] == "127.0.33.2"

    def moved():
        return source(product, receiver, headers="X-SES-CONFIGURATION-SET: to-left\r\n") == "127.0.33.2"

    eventually(moved, what="the move")
    product.run("pool", "assign", "right", "--set", "to-left")
    assert product.json("pool", "show", "left")["configurationSets"] == []
    assert product.json("pool", "show", "right")["configurationSets"] == ["to-left", "to-right"]
    eventually(
        lambda: source(product, receiver, headers="X-SES-CONFIGURATION-SET: to-left\r\n") == "127.0.33.1",
        what="the other pool",
    )
    assert len(audited(product, "address.move")) == 2


@pytest.mark.req("POOL-005", "POOL-006", "POOL-017")
def test_own_addresses_are_the_default_and_carry_nobody_elses_mail(product, other, receiver):
    """The second account gets an address: from then on its mail, and no other, leaves from it."""

    def theirs(headers=""):
        to = recipient()
        with product_client(product, other) as client:
            text = f"From: x@b.example\r\nTo: {to}\r\n{headers}\r\nhello\r\n"
            client.sendmail("x@b.example", [to], text)
        return came(receiver, to)[0]

    assert {theirs() for _ in range(4)} <= set(SHARED)
    add(product, "127.0.34.1", "--account", B)
    eventually(lambda: theirs() == "127.0.34.1", what="its own address")
    assert {theirs() for _ in range(3)} == {"127.0.34.1"}
    assert {source(product, receiver) for _ in range(8)} == set(SHARED)
    assert product.json("pool", "show", "ses-default-dedicated-pool", "--account", B)["addresses"][0]["address"] == (
        "127.0.34.1"
    )
    # In a pool of its own it is the default pool's no more; the pool gone, it is again.
    product.run("pool", "create", "mine", "--account", B)
    product.run("configuration-set", "create", "mine", "--pool", "mine", "--account", B)
    product.run("address", "move", "127.0.34.1", "--account", B, "--pool", "mine")
    eventually(lambda: theirs() in SHARED, what="the shared pool")
    named = "X-SES-CONFIGURATION-SET: mine\r\n"
    assert theirs(named) == "127.0.34.1"
    add(product, "127.0.34.2", "--account", B)
    eventually(lambda: theirs() == "127.0.34.2", what="the default pool")
    told = product.json("pool", "delete", "mine", "--account", B)
    assert told["addresses"] == ["127.0.34.1"]
    assert address(product, "127.0.34.1")["pool"] == "ses-default-dedicated-pool"
    eventually(lambda: {theirs(named) for _ in range(4)} == {"127.0.34.1", "127.0.34.2"}, what="both by default")


def product_client(product, login):
    context = ssl.create_default_context(cafile=str(product.certificate))
    client = smtplib.SMTP("localhost", product.port, timeout=30)
    client.starttls(context=context)
    client.login(login["username"], login["password"])
    return client


def test_identities_rules_and_the_account_choose_a_pool(product, receiver):
    for number, name in enumerate(("of-identity", "of-rule"), 1):
        product.run("pool", "create", name)
        add(product, f"127.0.35.{number}", "--account", A, "--pool", name)
    product.run("pool", "assign", "of-identity", "--identity", "example.com")
    eventually(lambda: source(product, receiver) == "127.0.35.1", what="the identity's pool")
    rule = product.json("pool", "rule", "add", "of-rule", "--to", "*.ruled.example")
    eventually(
        lambda: source(product, receiver, to=f"u{next(NUMBERS)}@sub.ruled.example") == "127.0.35.2", what="the rule"
    )
    assert source(product, receiver) == "127.0.35.1"
    both = recipient("sub.ruled.example")
    product.send([both, recipient()])
    assert came(receiver, both)[0] == "127.0.35.1"  # not all recipients are the rule's
    product.run("pool", "rule", "remove", str(rule["rule"]))
    product.run("pool", "assign", "", "--identity", "example.com")
    eventually(lambda: source(product, receiver) in SHARED, what="the shared pool")
    product.run("pool", "assign", "of-rule", "--whole-account")
    eventually(lambda: source(product, receiver) == "127.0.35.2", what="the account's pool")
    product.run("pool", "assign", "", "--whole-account")
    eventually(lambda: source(product, receiver) in SHARED, what="the shared pool again")


def test_a_retry_keeps_its_address_and_survives_edits_of_the_pool(product, receiver, answers):
    """Put off by the receiver, the mail comes back from the same address, though the pool lost it meanwhile."""
    product.run("pool", "create", "kept")
    product.run("configuration-set", "create", "kept", "--pool", "kept")
    add(product, "127.0.36.1", "--account", A, "--pool", "kept")
    to = recipient()
    answers[to] = "451 4.2.0 later"
    message_id = product.send(to, headers="X-SES-CONFIGURATION-SET: kept\r\n")
    eventually(lambda: [one for one in waiting(product, to) if one["attempts"]], what="a first attempt")
    add(product, "127.0.36.2", "--account", A, "--pool", "kept")
    product.run("address", "move", "127.0.36.1", "--account", A)
    eventually(
        lambda: source(product, receiver, headers="X-SES-CONFIGURATION-SET: kept\r\n") == "127.0.36.2",
        what="the edit",
    )
    del answers[to]
    assert came(receiver, to)[0] == "127.0.36.1"
    attempts = eventually(
        lambda: [
            one
            for one in product.json("trace", message_id)["deliveries"][0]["attempts"]
            if one["outcome"] == "delivered"
        ],
        what="the trace",
    )
    assert attempts[0]["sourceAddress"] == "127.0.36.1"
    # Once it is gone, a retry gets another one.
    to = recipient()
    answers[to] = "451 4.2.0 later"
    product.send(to, headers="X-SES-CONFIGURATION-SET: kept\r\n")
    eventually(lambda: [one for one in waiting(product, to) if one["attempts"]], what="a first attempt")
    product.run("address", "move", "127.0.36.1", "--account", A, "--pool", "kept")
    product.run("address", "remove", "127.0.36.2", "--yes")
    del answers[to]
    assert came(receiver, to)[0] == "127.0.36.1"
    product.run("address", "remove", "127.0.36.1", "--yes")


def test_ipv6_only_where_the_host_has_it(product, receiver, six):
    product.run("pool", "create", "six")
    add(product, "::1", "--account", A, "--pool", "six")
    add(product, "127.0.37.1", "--account", A, "--pool", "six")
    product.run("configuration-set", "create", "six", "--pool", "six")
    headers = "X-SES-CONFIGURATION-SET: six\r\n"
    to = recipient("six.example")
    product.send(to, headers=headers)
    assert came(six, to)[0] == "::1"
    assert {source(product, receiver, headers=headers) for _ in range(4)} == {"127.0.37.1"}


def test_an_address_for_a_test(product, other, receiver):
    add(product, "127.0.38.1", "--account", A, "--weight", "0")
    product.run("address", "suspend", "127.0.38.1", "--reason", "new")
    to = recipient()
    product.run("send", "--from", "app@example.com", "--to", to, "--from-address", "127.0.38.1")
    assert came(receiver, to)[0] == "127.0.38.1"
    data = next(data for _, to_, data in receiver.messages if to_ == [to])
    assert b"x-ses-source" not in data.lower()
    assert b"-127.0.38.1\r\n" in data  # X-SES-Outgoing: it is certain
    add(product, "127.0.38.2", "--account", B)
    refused = product.run(
        "send", "--from", "app@example.com", "--to", to, "--from-address", "127.0.38.2", check=False
    )
    assert refused.returncode == 69
    assert "no address that mail of account" in refused.stdout + refused.stderr
    forged = f"From: app@example.com\r\nTo: {to}\r\nX-SES-Source-Address: 127.0.38.1 99 {'0' * 40}\r\n\r\nhello\r\n"
    with product.client() as client, pytest.raises(smtplib.SMTPDataError, match="without the right"):
        client.sendmail("app@example.com", [to], forged)
    for one in ("127.0.38.1", "127.0.38.2"):
        product.run("address", "remove", one, "--yes")


@pytest.mark.req("POOL-009")
def test_addresses_are_requested_granted_refused_and_given_back(product, other):
    details = ["--mail-type", "MARKETING", "--website-url", "https://b.example", "--use-case", "news"]
    asked = ["--opt-in", "a form on our site", "--bounces", "removed at once", "--account", B]
    ask = ["account", "request", "addresses", "2", *details, *asked]
    request = product.json(*ask)
    assert (request["kind"], request["addresses"], request["optIn"]) == ("addresses", 2, "a form on our site")
    assert product.run(*ask, check=False).returncode == 64  # one waits
    number = str(request["request"])
    assert product.json("account", "review", "show", number)["details"]["mailType"] == "MARKETING"
    poor = product.run("account", "review", "grant", number, check=False)
    assert poor.returncode == 64
    assert "The reserve has 0 addresses" in poor.stderr
    for last in (1, 2, 3):
        add(product, f"127.0.39.{last}", "--reserve")
    product.run("account", "review", "grant", number, "--reason", "good")
    owned = [one["address"] for one in product.rows("address", "list", "--account", B)]
    assert {"127.0.39.1", "127.0.39.2"} <= set(owned)
    assert address(product, "127.0.39.3")["reserve"]
    second = product.json(*ask)
    denied = product.json("account", "review", "deny", str(second["request"]), "--reason", "too many")
    assert (denied["state"], denied["reason"]) == ("DENIED", "too many")
    assert address(product, "127.0.39.3")["reserve"]
    unasked = product.run("address", "give-back", "127.0.39.1", "--account", B, check=False)
    assert unasked.returncode == 64  # nobody to confirm it
    assert address(product, "127.0.39.1")["account"] == B
    product.run("address", "give-back", "127.0.39.1", "--account", B, "--yes")
    assert address(product, "127.0.39.1")["reserve"]
    again = product.run("address", "give-back", "127.0.39.1", "--account", B, "--yes", check=False)
    assert again.returncode == 64
    assert audited(product, "address.give-back")
    for last in (1, 2, 3):
        product.run("address", "remove", f"127.0.39.{last}", "--yes")


@pytest.mark.req("POOL-010")
def test_a_range_is_its_accounts_alone(product, other):
    bring = ["address", "range", "add"]
    about = ["--registry", "RIPE NCC", "--use-case", "mail of before", "--account"]
    for number in range(40, 45):
        product.run(*bring, f"127.0.{number}.0/24", *about, B)
    assert product.run(*bring, "127.0.45.0/24", *about, B, check=False).returncode == 64
    assert product.run(*bring, "127.0.40.0/25", *about, A, check=False).returncode == 64
    assert product.run("address", "add", "127.0.40.1", "--account", A, check=False).returncode == 64
    assert product.run("address", "add", "127.0.40.1", "--reserve", check=False).returncode == 64
    assert [one["registry"] for one in product.rows("address", "range", "list")] == ["RIPE NCC"] * 5
    for number in (40, 42, 43, 44):
        product.run("address", "range", "remove", f"127.0.{number}.0/24")
    product.run("address", "range", "remove", "127.0.41.0/24")


@pytest.mark.req("POOL-010", "POOL-011")
def test_mail_waits_for_the_reverse_dns_of_an_accounts_own_range(product, receiver, names):
    """Barred from shared addresses, mail waits until the PTR record leads back, and says why."""
    about = ["--registry", "RIPE NCC", "--use-case", "mail of before", "--account", A]
    product.run("address", "range", "add", "127.0.41.0/24", *about)
    product.run("pool", "create", "own")
    add(product, "127.0.41.1", "--account", A, "--pool", "own", "--ehlo-name", "own.hosts.example")
    product.run("configuration-set", "create", "own", "--pool", "own")
    to = recipient()
    message_id = product.send(to, headers="X-SES-CONFIGURATION-SET: own\r\n")
    delays = eventually(
        lambda: [one for one in product.events("DeliveryDelay") if one["mail"]["messageId"] == message_id],
        what="the delay",
    )
    assert delays[0]["deliveryDelay"]["delayType"] == "BYOIPHostNameLookupUnavailable"
    assert waiting(product, to)[0]["attempts"] == 0
    checked = product.run("address", "check", "127.0.41.1", check=False)
    assert checked.returncode == 69
    names.publish("41.0.127.in-addr.arpa", "1 1 IN PTR own.hosts.example.\n")
    names.publish("hosts.example", "one 1 IN A 127.0.31.1\nown 1 IN A 127.0.41.1\n")

    def confirmed():
        product.run("address", "check", "127.0.41.1", check=False)
        return address(product, "127.0.41.1")["reverseDns"]["state"] == "confirmed"

    eventually(confirmed, what="the reverse DNS")
    assert address(product, "127.0.41.1")["reverseDns"]["ehloNameFits"]
    product.run("queue", "retry", message_id)
    assert came(receiver, to) == ("127.0.41.1", "own.hosts.example")
    product.run("pool", "shared", "bar")
    waits = recipient()
    product.send(waits)
    late = eventually(lambda: [one for one in waiting(product, waits) if one["lastReply"]], what="why it waits")
    assert "may not use the shared ones" in late[0]["lastReply"]
    product.run("pool", "shared", "allow")
    product.run("queue", "retry", late[0]["messageId"])
    assert came(receiver, waits)[0] in SHARED


def test_the_office_looks_at_reverse_dns(product):
    """Of the two shared addresses one leads back, under its EHLO name, and one does not."""
    one = eventually(
        lambda: (found := address(product, SHARED[0])["reverseDns"])["state"] == "confirmed" and found, what="a look"
    )
    assert one["ehloNameFits"]
    assert one["names"] == ["one.hosts.example"]
    two = eventually(
        lambda: (found := address(product, SHARED[1])["reverseDns"])["state"] != "unknown" and found, what="a look"
    )
    assert (two["state"], two["names"]) == ("unconfirmed", ["nowhere.hosts.example"])


@pytest.mark.req("POOL-007")
def test_pools_have_figures_of_their_own(product, receiver, answers):
    """Mail of one pool bounces; the other pool's figures have none of it."""
    for number, name in enumerate(("good", "bad"), 1):
        product.run("pool", "create", name)
        add(product, f"127.0.46.{number}", "--account", A, "--pool", name)
        product.run("configuration-set", "create", f"set-{name}", "--pool", name)
    to = recipient()
    answers[to] = "550 5.1.1 no such user"
    product.send(to, headers="X-SES-CONFIGURATION-SET: set-bad\r\n")
    source(product, receiver, headers="X-SES-CONFIGURATION-SET: set-good\r\n")

    def figure(number, name, verdict):
        labels = f'pool="{A}/{name}",source="127.0.46.{number}",verdict="{verdict}"'
        return product.metric(f"relay_source_attempts_total{{{labels}}}")

    eventually(lambda: figure(2, "bad", "permanent") == 1, what="the bounce")
    eventually(lambda: figure(1, "good", "delivered") == 1, what="the delivery")
    assert figure(1, "good", "permanent") == 0
    assert figure(2, "bad", "delivered") == 0
    # One that comes back later counts for the address that the mail left from.
    to = recipient()
    product.send(to, headers="X-SES-CONFIGURATION-SET: set-bad\r\n")
    came(receiver, to)
    path = next(sender for sender, to_, _ in receiver.messages if to_ == [to])
    eventually(lambda: figure(2, "bad", "delivered") == 1, what="the delivery")
    assert deliver_report(product, path, to)[0] == 250
    feedback = 'relay_source_feedback_total{{kind="bounce",source="127.0.46.{}"}}'
    eventually(lambda: product.metric(feedback.format(2)) == 1, what="the late bounce")
    assert product.metric(feedback.format(1)) == 0


def test_what_the_overflow_of_a_pool_is_for(product, receiver):
    """Its only address suspended, mail of a pool waits; with an overflow pool it leaves from there."""
    product.run("pool", "create", "narrow")
    product.run("pool", "create", "spare")
    add(product, "127.0.47.1", "--account", A, "--pool", "narrow")
    add(product, "127.0.47.2", "--account", A, "--pool", "spare")
    product.run("configuration-set", "create", "narrow", "--pool", "narrow")
    product.run("address", "suspend", "127.0.47.1", "--reason", "listed")
    to = recipient()
    message_id = product.send(to, headers="X-SES-CONFIGURATION-SET: narrow\r\n")
    late = eventually(lambda: [one for one in waiting(product, to) if one["lastReply"]], what="why it waits")
    assert "127.0.47.1 is suspended (listed)" in late[0]["lastReply"]
    delays = eventually(
        lambda: [one for one in product.events("DeliveryDelay") if one["mail"]["messageId"] == message_id],
        what="the delay",
    )
    assert delays[0]["deliveryDelay"]["delayType"] == "SendingDeferral"
    product.run("pool", "overflow", "narrow", "spare")
    product.run("queue", "retry", message_id)
    assert came(receiver, to)[0] == "127.0.47.2"
    for one in ("127.0.47.1", "127.0.47.2"):
        product.run("address", "remove", one, "--yes")


@pytest.mark.req("POOL-012")
def test_managed_pools(product):
    for last in range(1, 6):
        add(product, f"127.0.48.{last}", "--reserve")
    for number in range(5):
        product.run("pool", "create", f"managed{number}", "--managed")
    shown = product.json("pool", "show", "managed0")
    assert shown["mode"] == "MANAGED"
    assert [one["address"] for one in shown["addresses"]] == ["127.0.48.1"]
    sixth = product.run("pool", "create", "managed5", "--managed", check=False)
    assert sixth.returncode == 64
    assert "as many as it may" in sixth.stderr
    for number in range(5):
        told = product.json("pool", "delete", f"managed{number}")
        assert address(product, told["addresses"][0])["reserve"]
    for last in range(1, 6):
        product.run("address", "remove", f"127.0.48.{last}", "--yes")


@pytest.mark.req("POOL-013", "POOL-016")
def test_a_managed_pool_grows_with_its_volume(product, receiver):
    """One address carries ten messages a day here; eight of them are 80 %, so twenty need three."""
    for last in range(1, 5):
        add(product, f"127.0.49.{last}", "--reserve")
    product.run("pool", "create", "growing", "--managed")
    try:
        product.run("configuration-set", "create", "growing", "--pool", "growing")
        for number in range(20):
            product.send(f"m{number}@growing.example", headers="X-SES-CONFIGURATION-SET: growing\r\n")

        def held():
            return len(product.json("pool", "show", "growing")["addresses"])

        eventually(lambda: held() == 3, 60, "a pool of three addresses")
        audit = (product.data_dir / "audit.jsonl").read_text()
        assert '"pool.grow"' in audit
        pool = f"{A}/growing"
        eventually(lambda: product.metric(f'relay_managed_pool_addresses{{pool="{pool}"}}') == 3, 60, "its size")
        assert product.metric(f'relay_managed_pool_day_messages{{pool="{pool}"}}') == 20
        attempts = f'relay_managed_attempts_total{{pool="{pool}",provider="other",verdict="delivered"}}'
        eventually(lambda: product.metric(attempts) == 20, what="attempts by provider")
    finally:
        product.run("configuration-set", "delete", "growing", check=False)
        freed = product.json("pool", "delete", "growing")["addresses"]
        assert len(freed) == 3
        for last in range(1, 5):
            product.run("address", "remove", f"127.0.49.{last}", "--yes", check=False)


def reloaded(product, values):
    product.values["delivery"]["source_addresses"] = values
    product.save()
    product.process.send_signal(signal.SIGHUP)


def test_a_reload_takes_on_addresses_and_keeps_what_commands_said(receiver, names):
    delivery = {"source_addresses": ["127.0.49.1", "192.0.2.1"], **RETRY}
    with Product(receiver.port, delivery=delivery, dns={"nameservers": [names.address]}) as product:
        assert source(product, receiver) == "127.0.49.1"
        gone = address(product, "192.0.2.1")
        assert gone["absentSince"]  # never of this host: found out at the start
        product.run("address", "set", "127.0.49.1", "--weight", "7")
        reloaded(product, ["127.0.49.1", {"address": "127.0.49.2", "ehlo_name": "two.hosts.example"}])

        def weights():
            return {one["address"]: one["weight"] for one in product.rows("address", "list")}

        eventually(lambda: weights() == {"127.0.49.1": 7, "127.0.49.2": 100}, what="the reload")
        eventually(lambda: source(product, receiver) == "127.0.49.2", what="the new address")
        reloaded(product, ["127.0.49.1"])
        eventually(lambda: len(product.rows("address", "list")) == 1, what="the second reload")
        assert {source(product, receiver) for _ in range(4)} == {"127.0.49.1"}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="an address that comes and goes needs root")
def test_an_address_that_vanishes_is_taken_out_and_comes_back(product, receiver):
    """Seen within seconds: in the list, the metrics, the audit log and at the receiver."""
    fleeting = f"198.18.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"

    def interface(word):
        subprocess.run(["ip", "address", word, f"{fleeting}/32", "dev", "lo"], check=True, capture_output=True)

    interface("add")
    there = True
    try:
        product.run("pool", "create", "fleeting")
        add(product, fleeting, "--account", A, "--pool", "fleeting")
        add(product, "127.0.50.1", "--account", A, "--pool", "fleeting", "--weight", "1")
        product.run("address", "set", fleeting, "--weight", "1000")
        product.run("configuration-set", "create", "fleeting", "--pool", "fleeting")
        headers = "X-SES-CONFIGURATION-SET: fleeting\r\n"
        eventually(lambda: source(product, receiver, headers=headers) == fleeting, what="its mail")
        interface("del")
        there = False
        at_once = recipient()
        message_id = product.send(at_once, headers=headers)
        assert came(receiver, at_once)[0] == "127.0.50.1"
        attempts = eventually(
            lambda: product.json("trace", message_id)["deliveries"][0]["attempts"], what="the attempt on disk"
        )
        assert [one["outcome"] for one in attempts] == ["delivered"]  # the lost address cost none
        eventually(lambda: address(product, fleeting)["absentSince"], what="the loss")
        eventually(lambda: audited(product, "address.absent"), what="the audit log")
        assert audited(product, "address.absent")[-1]["parameters"] == {"address": fleeting}
        assert {source(product, receiver, headers=headers) for _ in range(6)} == {"127.0.50.1"}
        eventually(lambda: product.metric('relay_source_addresses{state="absent"}') == 1, what="the gauge")
        assert "a source address is gone from this host" in product.log_text()
        interface("add")
        there = True
        eventually(lambda: not address(product, fleeting)["absentSince"], what="its return")
        eventually(lambda: source(product, receiver, headers=headers) == fleeting, what="its mail again")
    finally:
        if there:
            interface("del")
        product.run("address", "remove", fleeting, "--yes", check=False)
