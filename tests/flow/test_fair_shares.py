"""Fair shares from outside: a destination or a sender that holds everything up holds up nobody else."""

import pytest

from relay.testing.internet import FakeInternet
from tests.adversarial.wire import open_listener, waiting
from tests.product import Product, eventually

GOOD = [f"good{number}.test" for number in range(100)]
SLOW = [f"slow{number}.test" for number in range(100)]
TARPIT_CONNECTIONS_MAX = 20
OTHER = "000000000002"


@pytest.fixture(scope="module")
def net():
    # Nobody is ever greeted by the tarpit: its connections hang until the time-out of minutes.
    tarpits = ["tarpit.test", "tarpit2.test", *SLOW]
    domains = {domain: ["greet-hang"] for domain in tarpits} | {domain: [""] for domain in GOOD}
    with FakeInternet(domains).in_thread() as made:
        yield made


def settings(net, **delivery):
    return {
        "dns": {"nameservers": [net.dns.nameserver], "timeout": "2s"},
        "delivery": {"port": net.port, "allow_private_destinations": True, **delivery},
    }


@pytest.fixture
def product(net):
    with Product(**settings(net, connections_max=60)) as made:
        yield made


def send(client, recipients, head=b"From: app@example.com\r\nSubject: x\r\n", text=b"x\r\n"):
    reply = client.transaction(head + b"\r\n" + text, recipients=recipients)
    assert reply.startswith("250"), reply


def arrived(net, mark):
    return {
        recipient.rpartition("@")[2] for one in net.received if mark in one.content for recipient in one.recipients
    }


def test_a_tarpit_with_5000_messages_delays_no_other_domain(net, product):
    """Everything here is of one account, and one class."""
    with open_listener(product, "trusted") as client:
        for number in range(5):
            send(client, [f"u{number}-{each}@tarpit.test" for each in range(1000)])
        send(client, [f"u@{domain}" for domain in GOOD], text=b"mark-tarpit\r\n")
    eventually(lambda: len(arrived(net, b"mark-tarpit")) == len(GOOD), 30, "mail to all good domains")
    assert net.hosts["mx1.tarpit.test"].open_connections <= TARPIT_CONNECTIONS_MAX
    eventually(lambda: waiting(product) == 5000, what="the end of the rest")
    product.stop()  # and from disk, where the tarpit's mail is older
    with open_listener(started(product), "trusted") as client:
        send(client, [f"u@{domain}" for domain in GOOD], text=b"mark-again\r\n")
    eventually(lambda: len(arrived(net, b"mark-again")) == len(GOOD), 30, "mail to all good domains")
    eventually(lambda: waiting(product) == 5000, what="the end of the rest")


def test_a_hundred_tarpits_delay_no_other_domain_of_their_sender(net):
    """What waits for them is more than one account's share of the window, and all of it is bulk."""
    with Product(**settings(net)) as product, open_listener(product, "trusted") as client:
        for tarpit in SLOW:
            send(client, [f"u{each}@{tarpit}" for each in range(30)])
        send(client, [f"u@{domain}" for domain in GOOD[:30]], text=b"mark-hundred\r\n")
        eventually(lambda: len(arrived(net, b"mark-hundred")) == 30, 30, "mail to all good domains")


def started(product):
    product.start()
    return product


def test_an_account_that_holds_connections_and_window_delays_no_other(net, product):
    product.run("account", "create", OTHER, "--production")
    product.run("account", "weight", OTHER, "30")
    credentials = product.json("credentials", "create", "--account", OTHER)["smtp"]
    product.run("identity", "create", "other.example", "--account", OTHER)
    product.run("identity", "verify", "other.example", "--force", "--account", OTHER)
    with open_listener(product, "trusted") as client:
        for number in range(3):
            for tarpit in ("tarpit.test", "tarpit2.test"):
                send(client, [f"u{number}-{each}@{tarpit}" for each in range(1000)])
    product.user, product.password = credentials["username"], credentials["password"]
    with open_listener(product, "submission") as client:
        for domain in GOOD[:20]:
            text = b"From: app@other.example\r\nSubject: x\r\n\r\nmark-other\r\n"
            reply = client.transaction(text, "app@other.example", [f"u@{domain}"])
            assert reply.startswith("250"), reply
    eventually(lambda: len(arrived(net, b"mark-other")) == 20, 30, "mail of the other account")


def test_what_is_bulk_is_told_by_set_header_and_number(product):
    product.run("configuration-set", "create", "orders", "--priority", "transactional", "--weight", "40")
    product.run("configuration-set", "create", "news", "--priority", "BULK")
    plain = b"From: app@example.com\r\nSubject: x\r\n"
    with open_listener(product, "trusted") as client:
        send(client, ["a@tarpit.test"], plain)
        send(client, [f"a{number}@tarpit.test" for number in range(11)], plain)
        send(client, ["b@tarpit.test"], plain + b"List-Unsubscribe: <mailto:u@example.com>\r\n")
        send(client, ["c@tarpit.test"], plain + b"X-SES-CONFIGURATION-SET: news\r\n")
        send(client, ["d@tarpit.test"], plain + b"X-SES-CONFIGURATION-SET: orders\r\nPrecedence: bulk\r\n")

    def told():
        return [
            product.metric(f'relay_queue_class_deliveries{{class="{name}"}}') for name in ("transactional", "bulk")
        ]

    eventually(lambda: told() == [2, 13], 40, "both classes in the metrics")
    eventually(lambda: product.metric(f'relay_queue_account_due_seconds{{account="{product.account}"}}') > 0, 40)
    shown = product.json("configuration-set", "show", "orders")
    assert (shown["priority"], shown["weight"]) == ("TRANSACTIONAL", 40)


@pytest.mark.parametrize("weight", ["0", "1001"])
def test_a_weight_has_bounds(product, weight):
    for command in (
        ["account", "weight", product.account, weight],
        ["configuration-set", "create", "x", "--weight", weight],
    ):
        done = product.run(*command, check=False)
        assert done.returncode == 64
        assert "A weight is 1 to 1000" in done.stderr
