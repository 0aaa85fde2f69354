"""kill -9 of the events process while bounces are applied: each lengthens a stay once, none is left out."""

import contextlib
import os
import random
import signal
import threading

import pytest

from tests.product import Product, Receiver, eventually

ADDRESSES = 12
BOUNCES = 4  # of each address: stays of 1, 2, 4 and 8 days
KILLS = 5
SET = "X-SES-CONFIGURATION-SET: complaints\r\n"  # bounces add nothing to the account's list, and are tried again


def refuse(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" else None


def kill(product, stop, chance):
    for _ in range(KILLS):
        if stop.wait(chance.uniform(0.1, 0.8)):
            return
        victim = eventually(lambda: product.children().get("relay-events"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


@pytest.mark.req("SUPP-003")
def test_no_bounce_is_applied_twice_or_left_out():
    seed = random.randrange(1 << 30)
    addresses = [f"gone{number}@remote.example" for number in range(ADDRESSES)]
    with Receiver(answer=refuse) as receiver, Product(receiver.port, workers=2, suppression=True) as product:
        product.run("configuration-set", "create", "complaints", "--suppressed-reasons", "COMPLAINT")
        stop = threading.Event()
        killer = threading.Thread(target=kill, args=(product, stop, random.Random(seed)))
        killer.start()
        try:
            for _ in range(BOUNCES):
                with product.client() as client:
                    for address in addresses:
                        product.send(address, headers=SET, client=client)
            product.send("last@remote.example")
        finally:
            killer.join(120)
            stop.set()
        last = ADDRESSES * BOUNCES + 1
        eventually(lambda: len({e["bounce"]["feedbackId"] for e in product.events("Bounce")}) == last, 60)
        eventually(lambda: all(stay(product, address) == 8 for address in addresses), 60, f"all stays, seed {seed}")
        assert product.rows("suppression", "list")[0]["emailAddress"] == "last@remote.example", f"seed {seed}"
        product.stop()  # which carries what is left in the logs
        assert [stay(product, address) for address in [*addresses, "last@remote.example"]] == [8] * ADDRESSES + [1]


def stay(product, address):
    found = product.json("suppression", "relay-wide", "check", address)
    assert found.get("days", 0) <= 8, f"{address}: a bounce was applied twice"
    return found.get("days")
