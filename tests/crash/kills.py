"""Kill the product at random instants under load, and count: nothing acknowledged may be lost.

    python -m tests.crash.kills --kills 1000 [--seed N]

Supervisor, workers, permits and office are killed with SIGKILL, chosen at random. At most one duplicate for each
kill and open outgoing connection is allowed (RFC 5321 section 6.1).
"""

import argparse
import contextlib
import os
import random
import signal
import smtplib
import threading
import time

from tests.product import Product, Receiver, eventually

CONNECTIONS_PER_SITE = 4
SENDERS = 4
WORKERS = 2


class Submitter(threading.Thread):
    """Submits numbered messages over and over; remembers which were acknowledged."""

    def __init__(self, product, name, stop):
        super().__init__(daemon=True)
        self.product, self.label, self.stopping = product, name, stop
        self.acknowledged = []

    def run(self):
        number = 0
        while not self.stopping.is_set():
            try:
                client = smtplib.SMTP("127.0.0.1", self.product.trusted_port, timeout=10)
                with contextlib.closing(client):
                    client.ehlo()
                    while not self.stopping.is_set():
                        number += 1
                        self.send(client, f"{self.label}-{number}")
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    def send(self, client, number):
        text = f"From: app@example.com\r\nTo: u@remote.example\r\nX-Number: {number}\r\n\r\n" + "text\r\n" * 200
        client.sendmail("app@example.com", ["u@remote.example"], text)
        self.acknowledged.append(number)


def kill_one(product, chance):
    """Kill one process of the product; a dead supervisor is started again."""
    children = list(product.children().values())
    victim = chance.choice([product.process.pid, *children, *children])
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    if victim == product.process.pid:
        product.process.wait(10)
        product.log.close()
        product.start(ready=False)
        product.wait_ready()


def run(kills, seed, pause_seconds=0.4):
    """Return (acknowledged, lost, duplicates, allowed duplicates)."""
    chance = random.Random(seed)
    stop = threading.Event()
    delivery = {"connections_per_site": CONNECTIONS_PER_SITE, "retry": ["1s"]}
    with (
        Receiver(keep_bytes=False) as receiver,
        Product(receiver.port, workers=WORKERS, delivery=delivery) as product,
    ):
        submitters = [Submitter(product, f"s{index}", stop) for index in range(SENDERS)]
        for submitter in submitters:
            submitter.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.02, pause_seconds))
            kill_one(product, chance)
        stop.set()
        for submitter in submitters:
            submitter.join(30)
        acknowledged = [number for submitter in submitters for number in submitter.acknowledged]
        with contextlib.suppress(AssertionError):
            eventually(lambda: all(number in receiver.seen for number in acknowledged), 90)
        lost = [number for number in acknowledged if number not in receiver.seen]
        duplicates = sum(count - 1 for count in receiver.seen.values())
        if lost:
            print(product.log_text()[-5000:], lost[:10])
    return len(acknowledged), len(lost), duplicates, kills * CONNECTIONS_PER_SITE * WORKERS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    begin = time.monotonic()
    acknowledged, lost, duplicates, allowed = run(args.kills, args.seed)
    print(
        f"{args.kills} kills (seed {args.seed}), {acknowledged} acknowledged, {lost} lost, {duplicates} duplicates "
        f"(at most {allowed} allowed), {time.monotonic() - begin:.0f} s"
    )
    raise SystemExit(1 if lost or duplicates > allowed or not acknowledged else 0)


if __name__ == "__main__":
    main()
