"""Delivery by MX, with an independent name server (nsd) that holds the zones."""

import pytest

from tests.nameserver import NameServer
from tests.product import Product, Receiver

ZONES = {
    "remote.example": "@ 60 IN MX 20 second\n@ 60 IN MX 10 first\n"
    "first 60 IN A 127.0.0.11\nsecond 60 IN A 127.0.0.1\n",
    "implicit.example": "@ 60 IN A 127.0.0.1\n",
    "null.example": "@ 60 IN MX 0 .\n",
    "alias.example": "@ 60 IN MX 10 mail\nmail 60 IN CNAME host\nhost 60 IN A 127.0.0.1\n",
}


@pytest.fixture(scope="module")
def name_server(tmp_path_factory):
    """A running nsd; gives its `address:port`."""
    with NameServer(tmp_path_factory.mktemp("nsd"), ZONES) as server:
        yield server.address


@pytest.mark.peer
@pytest.mark.req("FLOW-019", "FLOW-008", "FLOW-009")
def test_mail_goes_where_a_real_name_server_says(name_server):
    with Receiver(host="127.0.0.1") as receiver:
        delivery = {"port": receiver.port, "allow_private_destinations": True, "retry": ["1s"]}
        dns = {"nameservers": [name_server], "nxdomain_recheck": "1s", "timeout": "2s"}
        with Product(None, delivery=delivery, dns=dns) as product:
            for domain in ("remote.example", "implicit.example", "alias.example"):
                product.send(f"user@{domain}")
            receiver.wait(3)
            assert sorted(message[1][0] for message in receiver.messages) == [
                "user@alias.example",
                "user@implicit.example",
                "user@remote.example",
            ]
            never = {
                product.send("user@null.example"): "5.1.10",
                product.send("user@no.such.remote.example"): "5.1.2",
            }
            bounces = product.wait_event("Bounce", 2)
            told = {b["mail"]["messageId"]: b["bounce"]["bouncedRecipients"][0]["status"] for b in bounces}
            assert told == never


@pytest.mark.peer
def test_private_destinations_are_refused_by_default(name_server):
    with Receiver() as receiver:
        with Product(None, delivery={"port": receiver.port}, dns={"nameservers": [name_server]}) as product:
            product.send("user@implicit.example")
            bounce = product.wait_event("Bounce")[0]["bounce"]
            assert bounce["bouncedRecipients"][0]["status"] in {"5.4.4", "5.4.6"}
            assert not receiver.messages
