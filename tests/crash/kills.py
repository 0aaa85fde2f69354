"""Kill the product at random instants under load, and count: nothing acknowledged may be lost.

    python -m tests.crash.kills --kills 1000 [--seed N]

Supervisor, workers, permits, office and events are killed with SIGKILL, chosen at random. At most one duplicate for
each kill and open outgoing connection is allowed (RFC 5321 section 6.1).

Every event of the shards' logs must have taken effect exactly once, whatever died when: in the statistics, in the
suppression lists (an address is refused now and then, some again and again), in the counters and in the archive; a
stream and a topic's local queue file have each at least once (`tests.crash.ledger`).
"""

import argparse
import contextlib
import json
import os
import random
import signal
import smtplib
import threading
import time
from collections import Counter

from tests.crash.ledger import checked, lines_of, missing, unfinished
from tests.product import Product, Receiver, eventually

CONNECTIONS_PER_SITE = 4
SENDERS = 4
WORKERS = 2
REFUSED_EVERY = 10  # messages: to an address of its own, and every other time to one of a few
COMMON_ADDRESSES = 3
SET = "all"
UNLISTED = "complaints"  # its bounces put nobody on the account's list, so that an address is tried again
QUEUE = "crash"


class Submitter(threading.Thread):
    """Submits numbered messages over and over; remembers which were acknowledged."""

    def __init__(self, product, name, stop):
        super().__init__(daemon=True)
        self.product, self.label, self.stopping = product, name, stop
        self.acknowledged = []
        self.refused = 0

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
                        if number % REFUSED_EVERY == 0:
                            self.send_refused(client, f"{self.label}-{number}")
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    def send(self, client, number):
        text = f"From: app@example.com\r\nTo: u@remote.example\r\nX-Number: {number}\r\n\r\n" + "text\r\n" * 200
        client.sendmail("app@example.com", ["u@remote.example"], f"X-SES-CONFIGURATION-SET: {SET}\r\n{text}")
        self.acknowledged.append(number)

    def send_refused(self, client, number):
        """Send to an address that is refused; what it gives is counted from the events."""
        own = self.refused % 2 == 0
        address = f"gone-{number}@remote.example" if own else f"gone{self.refused % COMMON_ADDRESSES}@remote.example"
        configuration_set = SET if own else UNLISTED
        text = f"From: app@example.com\r\nTo: {address}\r\nX-SES-CONFIGURATION-SET: {configuration_set}\r\n\r\nx\r\n"
        client.sendmail("app@example.com", [address], text)
        self.refused += 1


def refuse(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" and ":<gone" in line else None


def prepare(product):
    """Make two configuration sets with a stream, and a topic with a queue file."""
    product.run("topic", "create", "news")
    product.run("topic", "subscribe", "news", "sqs", QUEUE, "--raw")
    product.run("configuration-set", "create", SET)
    product.run("configuration-set", "create", UNLISTED, "--suppressed-reasons", "COMPLAINT")
    for name in (SET, UNLISTED):
        create = ("event-destination", "create", name, "--types", "all")
        product.run(*create[:3], "lines", *create[3:], "--stream", "lines")
        product.run(*create[:3], "news", *create[3:], "--topic", "news")


def kill_one(product, chance):
    """Kill one process of the product; a dead supervisor is started again."""
    children = product.children()
    events = [pid for name, pid in children.items() if name == "relay-events"]
    victim = chance.choice([product.process.pid, *children.values(), *children.values(), *events])
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    if victim == product.process.pid:
        product.process.wait(10)
        product.log.close()
        product.start(ready=False)
        product.wait_ready()


def run(kills, seed, pause_seconds=0.4):
    """Return (acknowledged, lost, duplicates, allowed duplicates, events by kind). Raise AssertionError."""
    chance = random.Random(seed)
    stop = threading.Event()
    delivery = {"connections_per_site": CONNECTIONS_PER_SITE, "retry": ["1s"]}
    streams = [{"name": "lines", "batch_age": "100ms"}]
    with (
        Receiver(keep_bytes=False, answer=refuse) as receiver,
        Product(receiver.port, workers=WORKERS, delivery=delivery, streams=streams, suppression=True) as product,
    ):
        prepare(product)
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
        counts = settled_events(product)
    return len(acknowledged), len(lost), duplicates, kills * CONNECTIONS_PER_SITE * WORKERS, counts


def settled_events(product):
    """Wait until all mail and all events are done, stop the relay and compare; return the events by kind."""
    destinations = {"streams": ["lines"], "queues": [QUEUE]}
    eventually(lambda: not unfinished(product), 60, "what became of every message")
    eventually(lambda: not missing(product, **destinations), 60, "all events at all destinations")
    product.stop()
    bounces = bounces_of(product)
    listed = {address for address in bounces if address.startswith("gone-")}
    try:
        counts = checked(product, bounces, listed, **destinations)
    except AssertionError:
        print(
            *[line for line in product.log_text().splitlines() if '"error"' in line or "effects" in line][-40:],
            sep="\n",
        )
        raise
    assert set(counts) >= {"Send", "Delivery", "Bounce"}
    return counts


def bounces_of(product):
    """Return how often each address bounced, by the event file."""
    events = [json.loads(line) for line in lines_of(product)]
    return Counter(
        recipient["emailAddress"]
        for event in events
        if event["eventType"] == "Bounce"
        for recipient in event["bounce"]["bouncedRecipients"]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    begin = time.monotonic()
    print(f"seed {args.seed}", flush=True)
    acknowledged, lost, duplicates, allowed, counts = run(args.kills, args.seed)
    print(
        f"{args.kills} kills (seed {args.seed}), {acknowledged} acknowledged, {lost} lost, {duplicates} duplicates "
        f"(at most {allowed} allowed), events applied exactly once: {counts}, {time.monotonic() - begin:.0f} s"
    )
    raise SystemExit(1 if lost or duplicates > allowed or not acknowledged else 0)


if __name__ == "__main__":
    main()
