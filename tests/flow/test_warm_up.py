"""Warm-up on the whole product: two workers, kills, and what commands say."""

import itertools
import json
import os
import signal
import time

import pytest

from tests.product import Product, Receiver, eventually

COLD, WARM = "127.0.61.1", "127.0.61.2"
DAY_SECONDS = 86_400
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    warmup = {
        "schedule": "two",
        "schedules": [{"name": "two", "volumes": [2] * 10}],
        "shares": [{"provider": "other", "share": "100%"}],
    }
    with Product(receiver.port, workers=2, warmup=warmup, delivery={"retry": ["1s"]}) as made:
        made.run("address", "add", COLD)
        made.run("address", "add", WARM)
        made.run("warmup", "start", COLD)
        yield made


def sources(product, receiver, count, headers=""):
    """Send messages and return the addresses they came from, as the receiver saw them."""
    sent = {f"u{next(NUMBERS)}@remote.example" for _ in range(count)}
    for to in sent:
        product.send(to, headers=headers)

    def all_there():
        found = [address for address, _, to in list(receiver.arrivals) if to in sent]
        return found if len(found) >= count else None

    return eventually(all_there, what="deliveries")


def delivered(product):
    for line in (product.data_dir / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["eventType"] == "Delivery":
            yield event["mail"]["messageId"], event["delivery"]["recipients"][0]


def audited(product, operation):
    lines = (product.data_dir / "audit.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["operation"] == operation]


@pytest.mark.req("WARM-003", "WARM-004")
def test_never_more_than_the_day_allows_over_workers_and_kills(product, receiver):
    """Each kill forgets the pace within the day, never the count; what has no room leaves from the warm address."""
    day = time.time() // DAY_SECONDS
    product.run("warmup", "start", COLD)
    seen = sources(product, receiver, 6)
    for victim in ("relay-permits", "worker-0001", "relay-permits"):
        os.kill(product.children()[victim], signal.SIGKILL)
        product.wait_ready()
        seen += sources(product, receiver, 4)
    days = 1 + time.time() // DAY_SECONDS - day
    assert seen.count(COLD) <= 2 * days
    assert seen.count(COLD) >= 2
    assert seen.count(WARM) == len(seen) - seen.count(COLD)
    shown = product.json("warmup", "show", COLD)
    assert (shown["status"], shown["percentage"], shown["day"], shown["volume"]) == ("IN_PROGRESS", 0, 1, 2)
    if days == 1:
        assert shown["used"] == 2
        assert [row["used"] for row in product.rows("warmup", "list")] == [2]


@pytest.mark.req("WARM-006", "WARM-007", "WARM-008", "WARM-009")
def test_a_percentage_is_set_reset_and_completed(product, receiver):
    product.run("warmup", "reset", COLD)
    shown = product.json("warmup", "show", COLD)
    assert (shown["status"], shown["percentage"], shown["volume"]) == ("IN_PROGRESS", 0, 0)
    eventually(lambda: set(sources(product, receiver, 2)) == {WARM}, what="mail from the warm address only")
    shown = product.json("warmup", "set-percent", COLD, "40")
    assert (shown["status"], shown["percentage"], shown["day"]) == ("IN_PROGRESS", 40, 4)
    shown = product.json("warmup", "start", COLD)  # goes on from there
    assert (shown["mode"], shown["percentage"]) == ("auto", 40)
    shown = product.json("warmup", "pause", COLD)
    assert (shown["mode"], shown["percentage"]) == ("percent", 40)
    shown = product.json("warmup", "complete", COLD)
    assert (shown["status"], shown["percentage"], shown["volume"]) == ("DONE", 100, None)
    advice = product.run("warmup", "show", COLD).stderr
    assert "about 1,000 messages a day to each provider from each address" in advice
    assert "sudden jump" in advice
    assert product.rows("warmup", "list") == []
    eventually(lambda: COLD in sources(product, receiver, 8), what="mail from the address that is warm now")
    for operation in ("reset", "set-percent", "start", "pause", "complete"):
        assert audited(product, f"warmup.{operation}")[-1]["parameters"]["address"] == COLD
    refused = product.run("warmup", "pause", COLD, check=False)
    assert refused.returncode == 64
    assert "does not warm up" in refused.stderr


def test_a_schedule_is_shown_by_day_and_provider(product):
    assert product.rows("warmup", "schedule")[0] == {"day": 1, "volume": 2, "providers": {"other": 2}}
    default = product.rows("warmup", "schedule", "default")
    assert (len(default), default[0]["volume"], default[-1]["volume"]) == (45, 50, 50_000)
    assert "50000" in product.run("warmup", "schedule", "default").stdout
    assert "There is no schedule x" in product.run("warmup", "schedule", "x", check=False).stderr


def test_what_has_no_room_anywhere_waits_and_says_so(receiver):
    """The only address is at 0 %: mail waits without an attempt, with an event that says why (WARM-007)."""
    with Product(receiver.port, delivery={"retry": ["1s"]}) as product:
        product.run("address", "add", COLD)
        product.run("warmup", "reset", COLD)
        message_id = product.send("waits@remote.example")
        waits = eventually(
            lambda: [one for one in product.rows("queue", "list") if "warm" in (one["lastReply"] or "")],
            what="a delivery that waits",
        )
        assert waits[0]["attempts"] == 0
        assert f"  waits: {waits[0]['lastReply']}" in product.run("trace", message_id).stdout
        assert "more mail waits for a warm-up than can leave in its lifetime" in product.log_text()
        product.run("warmup", "complete", COLD)
        product.run("queue", "retry", "--all")
        eventually(lambda: list(delivered(product)), what="its delivery")
        stopped = product.json("warmup", "show", COLD)
        product.stop()
        assert product.json("warmup", "show", COLD)["status"] == stopped["status"] == "DONE"


ENGAGED = "X-Relay-Engaged: YES\r\n"
OF_SET = "X-SES-CONFIGURATION-SET: fans\r\n"


def flat(volume):
    schedules = [{"name": "flat", "volumes": [volume] * 9}]
    return {"schedule": "flat", "schedules": schedules, "shares": [{"provider": "other", "share": "100%"}]}


def test_mail_to_engaged_recipients_goes_first(receiver):
    """Once marked mail found no room, the next room is for such mail; all other mail overflows meanwhile."""
    with Product(receiver.port, workers=2, warmup=flat(1), delivery={"retry": ["1s"]}) as product:
        for address in (COLD, WARM):
            product.run("address", "add", address)
        product.run("warmup", "start", COLD)
        made = product.json("configuration-set", "create", "fans", "--engaged")
        assert made["engaged"] is True
        assert sources(product, receiver, 1) == [COLD]
        assert sources(product, receiver, 1, ENGAGED) == [WARM]
        product.values["warmup"] = flat(5_000_000)
        product.save()
        product.process.send_signal(signal.SIGHUP)
        eventually(lambda: sources(product, receiver, 1, ENGAGED) == [COLD], what="room by the new schedule")
        assert sources(product, receiver, 2) == [WARM, WARM]
        assert sources(product, receiver, 2, OF_SET) == [COLD, COLD]
        assert sources(product, receiver, 1, OF_SET + "X-Relay-Engaged: no\r\n") == [WARM]
        assert sources(product, receiver, 2, ENGAGED) == [COLD, COLD]
        assert not [one for _, _, one in receiver.messages if b"x-relay-engaged" in one.lower()]
        with pytest.raises(AssertionError, match="'X-Relay-Engaged' is yes or no"):
            product.send(headers="X-Relay-Engaged: maybe\r\n")
        assert product.json("configuration-set", "set", "fans", "--not-engaged")["engaged"] is False
        product.run("warmup", "start", COLD)  # set anew: nobody is waited for
        eventually(lambda: sources(product, receiver, 1) == [COLD], what="room for all")


@pytest.mark.req("WARM-001", "WARM-005")
def test_automatic_warm_up_is_switched_for_an_account():
    """On at first. Off: what is added or taken from the reserve is warm from the start, what warms up goes on."""
    product = Product()
    account = product.account
    try:
        for address in (WARM, "127.0.61.8"):
            product.run("address", "add", address)
        assert product.json("warmup", "auto", "--account", account)["autoWarmupEnabled"] is True
        product.run("address", "add", COLD, "--account", account, "--warmup", "auto")
        product.run("address", "add", "127.0.61.3", "--reserve", "--warmup", "auto")
        assert product.json("warmup", "auto", "off", "--account", account)["autoWarmupEnabled"] is False
        assert product.json("warmup", "auto", "--account", account)["autoWarmupEnabled"] is False
        assert "is off" in product.run("warmup", "auto", "--account", account).stdout
        assert product.json("account", "show", account)["autoWarmupEnabled"] is False
        shown = product.json("warmup", "show", COLD)
        assert (shown["status"], shown["percentage"], shown["day"]) == ("IN_PROGRESS", 0, 1)
        added = product.run("address", "add", "127.0.61.4", "--account", account, "--warmup", "auto")
        assert "is warm from the start" in added.stderr
        product.run("address", "move", "127.0.61.3", "--account", account)
        for address in ("127.0.61.3", "127.0.61.4"):
            shown = product.json("warmup", "show", address)
            assert (shown["status"], shown["percentage"], shown["volume"]) == ("DONE", 100, None)
        product.run("warmup", "auto", "on", "--account", account)
        product.run("address", "add", "127.0.61.5", "--account", account, "--warmup", "auto")
        assert product.json("warmup", "show", "127.0.61.5")["status"] == "IN_PROGRESS"
        assert product.json("warmup", "show", "127.0.61.4")["status"] == "DONE"  # the switch changes nothing later
        assert audited(product, "warmup.auto")[0]["parameters"]["autoWarmupEnabled"] is False
        assert product.run("warmup", "auto", "maybe", check=False).returncode == 64
        assert product.run("warmup", "auto", "on", "--account", "000000000077", check=False).returncode != 0
    finally:
        product.stop()
