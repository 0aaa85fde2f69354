"""The events process is killed again and again: no event is lost, none is counted twice (F23)."""

import json
import os
import re
import signal
import time

import pytest

from tests.product import Product, Receiver, eventually
from tests.webhook import Webhook

pytestmark = pytest.mark.timeout(240)

MESSAGES = 150
KILLS = 6
HEADER = "X-SES-CONFIGURATION-SET: all\r\nX-SES-MESSAGE-TAGS: campaign=one\r\n"


def ids_in_files(directory):
    """Return each line of a stream as (message id, event type)."""
    found = []
    for path in directory.glob("2*/**/*.jsonl"):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            found.append((record["mail"]["messageId"], record["eventType"]))
    return found


def counters(relay):
    """Return the counters of the one metrics destination, and of the account."""
    found = re.findall(r"^relay_ses_(send|delivery)_total\{(.*)\} (\S+)$", relay.metrics(), re.MULTILINE)
    return {(name, "campaign" in labels): float(value) for name, labels, value in found}


@pytest.mark.req("DEST-011", "DEST-020")
def test_kills_lose_nothing_and_count_nothing_twice():
    with Receiver(keep_bytes=False) as receiver, Webhook() as bus:
        settings = {
            "streams": [{"name": "lines", "batch_age": "100ms"}],
            "buses": [{"name": "default", "url": bus.url, "allow_private": True}],
        }
        with Product(receiver.port, workers=2, **settings) as relay:
            relay.run("configuration-set", "create", "all")
            create = ("event-destination", "create", "all")
            relay.run(*create, "lines", "--types", "all", "--stream", "lines")
            relay.run(*create, "bus", "--types", "all", "--bus", "default")
            relay.run(*create, "metrics", "--types", "all", "--dimension", "MESSAGE_TAG:campaign=none")
            sent = _send_while_killing(relay)
            wanted = {(message_id, kind) for message_id in sent for kind in ("Send", "Delivery")}
            directory = relay.data_dir / "streams" / "lines"
            eventually(lambda: set(ids_in_files(directory)) >= wanted, 120, "all lines")
            eventually(lambda: _posted(bus) >= wanted, 120, "all posts")
            exact = {(kind, by_tag): MESSAGES for kind in ("send", "delivery") for by_tag in (True, False)}
            eventually(lambda: counters(relay) == exact, 60, "exact counters")
            # At least once: repeats have the ids they had, and there are few.
            names = {headers["X-Relay-Event-Id"] for _, headers, _ in bus.requests}
            assert len(names) == 2 * MESSAGES
            eventually(lambda: not any(row["waiting"] for row in relay.rows("event-destination", "backlog")), 60)
            assert counters(relay) == exact


def _send_while_killing(relay):
    sent = []
    with relay.client() as client:
        for number in range(MESSAGES):
            sent.append(relay.send(headers=HEADER, client=client))
            if number % (MESSAGES // KILLS) == MESSAGES // KILLS - 1:
                time.sleep(0.01 * (number % 7))  # another instant each time
                os.kill(eventually(lambda: relay.children().get("relay-events")), signal.SIGKILL)
    return sent


def _posted(bus):
    found = set()
    for body in list(bus.bodies()):
        record = json.loads(body)["detail"]
        found.add((record["mail"]["messageId"], record["eventType"]))
    return found
