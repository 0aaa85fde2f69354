"""The relay's own mail reaches its reader whatever is down meanwhile, once, and signed."""

import os
import signal
import time

import dkim
import pytest

from tests.flow.test_address_verification import mail_to, shown
from tests.product import Product, Receiver, eventually


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    made = Product(receiver.port, workers=2, domain="relay.example")
    made.run("identity", "create", "before@stopped.example")
    with made:
        yield made


@pytest.mark.req("IDENT-017", "HDR-021")
def test_what_was_asked_for_while_the_relay_was_stopped_leaves_at_its_start(product, receiver):
    [mail] = mail_to(receiver, "before@stopped.example")
    assert mail[0] == ""
    records = {
        one["name"] + ".": one["value"] for one in product.json("identity", "show", "relay.example")["records"]
    }
    assert dkim.verify(mail[2], dnsfunc=lambda name, timeout=5: records[name.decode()].encode())
    assert b"d=relay.example" in mail[2]
    assert b"auto-submitted" in mail[2].lower()


def test_an_office_that_dies_again_and_again_loses_and_repeats_nothing(product, receiver):
    addresses = [f"r{number}@killed.example" for number in range(6)]
    for address in addresses:
        os.kill(eventually(lambda: product.children().get("relay-office"), 20), signal.SIGKILL)
        product.run("identity", "create", address)
    for address in addresses:
        mail_to(receiver, address, timeout_seconds=40)
    product.run("identity", "create", "last@killed.example")
    mail_to(receiver, "last@killed.example", timeout_seconds=40)
    counts = [sum(1 for message in receiver.messages if message[1] == [address]) for address in addresses]
    assert counts == [1] * len(addresses)


def test_while_its_worker_is_away_mail_waits(product, receiver):
    worker = product.children()["worker-0001"]
    os.kill(worker, signal.SIGSTOP)
    try:
        product.run("identity", "create", "waits@away.example")
        time.sleep(1.5)  # longer than a round of the office; nothing can arrive to be waited for
        assert all(message[1] != ["waits@away.example"] for message in receiver.messages)
    finally:
        os.kill(worker, signal.SIGKILL)
    mail_to(receiver, "waits@away.example", timeout_seconds=60)
    assert sum(1 for message in receiver.messages if message[1] == ["waits@away.example"]) == 1


def test_a_forced_verification_takes_the_waiting_mail_back(receiver):
    with Receiver() as other:
        made = Product(other.port)
        made.run("identity", "create", "me@forced.example")
        made.run("identity", "verify", "me@forced.example", "--force")
        made.run("identity", "create", "you@forced.example")
        with made:
            mail_to(other, "you@forced.example")
            assert all(message[1] != ["me@forced.example"] for message in other.messages)
            assert shown(made, "me@forced.example")["state"] == "SUCCESS"
