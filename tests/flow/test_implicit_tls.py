"""A smart host on port 465: TLS from the first byte, from the configuration file to the trace."""

import pytest

from relay.testing.internet import FakeInternet
from tests.product import Product


@pytest.fixture(scope="module")
def net():
    with FakeInternet({"hub.test": ["implicit auth"], "old.test": ["tls auth"]}).in_thread() as made:
        yield made


@pytest.fixture(scope="module")
def product(net):
    login = {"username": "relay", "password": "secret", "tls": "implicit"}
    settings = {
        "dns": {"nameservers": [net.dns.nameserver]},
        "delivery": {"retry": ["1h"], "timeouts": {"tls": "2s"}},
        "routes": [
            {"domain": "hub.example", "smarthost": f"mx1.hub.test:{net.port}", **login},
            {"domain": "old.example", "smarthost": f"mx1.old.test:{net.port}", **login},
        ],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(net.certificate))
        with Product(**settings) as made:
            yield made


def test_mail_goes_to_a_smart_host_over_implicit_tls(product, net):
    message_id = product.send("user@hub.example")
    product.wait_event("Delivery")
    (received,) = net.hosts["mx1.hub.test"].received
    assert (received.username, received.tls, received.recipients) == ("relay", "TLSv1.3", ["user@hub.example"])
    (attempt,) = product.json("trace", message_id)["deliveries"][0]["attempts"]
    assert (attempt["outcome"], attempt["tls"]) == ("delivered", "TLSv1.3")


def test_a_host_that_speaks_first_gets_neither_password_nor_mail(product, net):
    message_id = product.send("user@old.example")
    product.wait_event("DeliveryDelay")
    (attempt,) = product.json("trace", message_id)["deliveries"][0]["attempts"]
    assert (attempt["outcome"], attempt["stage"], attempt["tls"]) == ("temporary", "tls", "none")
    host = net.hosts["mx1.old.test"]
    assert host.received == []
    assert host.commands(b"EHLO") == host.commands(b"AUTH") == []
