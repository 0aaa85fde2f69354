"""Messages of 40 MB: taken whole, never whole in memory, and no neighbour waits for them."""

import hashlib
import smtplib
import threading
import time

import dkim
import pytest

from tests.flow.test_first_message import zone
from tests.product import Product, Receiver

SIZE = 40 * 1000 * 1000


def large_body(size=SIZE):
    line = b"0123456789abcdef" * 4 + b"\r\n"
    return line * (size // len(line))


def submit(client, data):
    """Send a message that ends its lines and begins none with a dot; smtplib would search all of it for such."""
    client.ehlo()
    assert client.mail("app@example.com")[0] == client.rcpt("u@remote.example")[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.send(data)
    client.send(b".\r\n")
    code, text = client.getreply()
    if code != 250:
        raise smtplib.SMTPDataError(code, text)


def memory_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))


@pytest.mark.slow
@pytest.mark.req("QUOTA-007", "SMTP-018")
def test_a_40_mb_message_arrives_whole_and_signed():
    body = large_body()
    with Receiver() as receiver, Product(receiver.port) as product:
        with product.client() as client:
            client.sendmail("app@example.com", ["u@remote.example"], b"From: app@example.com\r\n\r\n" + body)
        data = receiver.wait(1, 60)[0][2]
        assert hashlib.sha256(data.split(b"\r\n\r\n", 1)[1]).digest() == hashlib.sha256(body).digest()
        assert dkim.verify(data, dnsfunc=zone(product))
        with product.client() as client:
            with pytest.raises(smtplib.SMTPSenderRefused) as caught:
                client.sendmail(
                    "app@example.com", ["u@remote.example"], b"From: app@example.com\r\n\r\n" + body + body
                )
            assert (caught.value.smtp_code, caught.value.smtp_error) == (552, b"Message is too long.")
            product.send(client=client)


@pytest.mark.slow
def test_ten_at_once_keep_memory_flat_and_neighbours_quick():
    body = b"From: app@example.com\r\n\r\n" + large_body()
    with Receiver(keep_bytes=False) as receiver, Product(receiver.port, workers=1) as product:
        product.send()
        worker = product.children()["worker-0001"]
        before = memory_kb(worker)
        peak, waits, failed = [before], [], []

        def run():
            try:
                with smtplib.SMTP("127.0.0.1", product.trusted_port, timeout=60) as client:
                    submit(client, body)
            except (OSError, smtplib.SMTPException) as error:
                failed.append(error)

        threads = [threading.Thread(target=run) for _ in range(10)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            with smtplib.SMTP("127.0.0.1", product.trusted_port) as neighbour:
                for _ in range(50):  # a hundred commands that move no mail would end the session
                    begin = time.monotonic()
                    neighbour.noop()
                    waits.append(time.monotonic() - begin)
                    peak.append(memory_kb(worker))
                    time.sleep(0.02)
        assert not failed
        receiver.wait(11, 90)
        peak.append(memory_kb(worker))
        assert max(peak) - before < 150 * 1024
        assert (
            sorted(waits)[int(len(waits) * 0.95)] < 2
        )  # the bound of 0.5 s is the benchmark's; this one catches hangs


@pytest.mark.slow
@pytest.mark.req("QUOTA-008")
def test_messages_over_10_mb_share_a_bandwidth():
    body = b"From: app@example.com\r\n\r\n" + large_body(30 * 1000 * 1000)
    with Receiver(keep_bytes=False) as receiver, Product(receiver.port, workers=1) as product:
        with smtplib.SMTP("127.0.0.1", product.trusted_port, timeout=60) as client:
            begun = time.monotonic()  # the turn of the first begins later, and the third waits for two turns
            for _ in range(3):
                submit(client, body)
            took = time.monotonic() - begun
        assert took > 2 * 30 / 42
        receiver.wait(3, 60)
