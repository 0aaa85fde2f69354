"""TERM drains, shards of former workers are taken over, a dead process loses nothing."""

import os
import signal
import smtplib
import threading
import time

import pytest

from tests.product import Product, Receiver, eventually


@pytest.mark.req("SMTP-029")
def test_term_lets_a_message_in_transfer_end_and_then_closes_the_session():
    with Receiver() as receiver, Product(receiver.port, workers=2) as product:
        client = smtplib.SMTP("127.0.0.1", product.trusted_port, timeout=20)
        client.ehlo()
        client.mail("app@example.com")
        client.rcpt("user@remote.example")
        assert client.docmd("DATA")[0] == 354
        product.process.send_signal(signal.SIGTERM)
        eventually(lambda: "draining" in product.log_text())
        client.send(b"From: app@example.com\r\n\r\nthe rest\r\n.\r\n")
        assert client.getreply()[0] == 250
        assert product.process.wait(30) == 0
        product.log.close()
        product.start(image=False)
        receiver.wait(1)
        client.close()


def test_fewer_workers_take_over_what_more_workers_left():
    with Receiver() as receiver:
        port = receiver.port
    with Product(port, workers=3, delivery={"retry": ["1s"]}) as product:
        ids = set()
        while len({message_id[:4] for message_id in ids}) < 3:  # until every shard holds something
            ids.add(product.send())
            assert len(ids) < 100
        product.stop()
        product.values["workers"] = 1
        product.save()
        with Receiver(port=port) as receiver:
            product.start()
            receiver.wait(len(ids))
            eventually(lambda: product.rows("queue", "list") == [])
        assert len(product.wait_event("Delivery", len(ids))) == len(ids)
        assert product.json("trace", max(ids))["deliveries"][0]["state"] == "delivered"


def test_a_killed_worker_comes_back_and_the_other_goes_on():
    with Receiver(keep_bytes=False) as receiver, Product(receiver.port, workers=2) as product:
        victim = product.children()["worker-0001"]
        stop = threading.Event()
        accepted = []

        def submit():
            while not stop.is_set():
                try:
                    with smtplib.SMTP("127.0.0.1", product.trusted_port, timeout=10) as client:
                        client.sendmail(
                            "app@example.com", ["u@remote.example"], "From: app@example.com\r\n\r\nhi\r\n"
                        )
                        accepted.append(time.monotonic())
                except (OSError, smtplib.SMTPException):
                    time.sleep(0.02)

        thread = threading.Thread(target=submit)
        thread.start()
        eventually(lambda: len(accepted) > 5)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: product.children().get("worker-0001") not in {None, victim})
        count = len(accepted)
        eventually(lambda: len(accepted) > count + 20)
        stop.set()
        thread.join()
        receiver.wait(len(accepted))
