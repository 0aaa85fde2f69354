"""The health of a warm-up on the whole product: receivers that bounce or block set its schedule back, and say so."""

import json
import os
import signal
import smtplib

import pytest

from tests.product import Product, Receiver, eventually

BLOCKED, BOUNCED, GOOD = "127.0.62.1", "127.0.62.2", "127.0.62.3"
COUNT = 12
REPLIES = {"block": "550 5.7.1 our list has you", "bounce": "550 5.1.1 nobody of that name"}


def answer(verb, line):
    """Refuse as the first letters of the recipient say."""
    if verb != "RCPT":
        return None
    return next((reply for word, reply in REPLIES.items() if f"<{word}" in line), None)


@pytest.fixture(scope="module")
def product():
    health = {"attempts_min": 10, "bounce_rate": "30%", "block_rate": "20%", "step_back": 3}
    warmup = {
        "schedule": "ten",
        "schedules": [{"name": "ten", "volumes": [10_000_000 * day for day in range(1, 11)]}],
        "shares": [{"provider": "other", "share": "100%"}],
        "health": health,
    }
    with (
        Receiver(answer=answer) as receiver,
        Product(receiver.port, workers=2, warmup=warmup, delivery={"retry": ["1s"]}) as made,
    ):
        for address, pool in ((BLOCKED, "one"), (BOUNCED, "two"), (GOOD, "three")):
            made.run("pool", "create", pool, "--overflow", "none")
            made.run("address", "add", address, "--account", made.account, "--pool", pool)
            made.run("configuration-set", "create", pool, "--pool", pool)
            made.run("warmup", "set-percent", address, "60")
            made.run("warmup", "start", address)
        yield made


def send(product, pool, words):
    """Send a message for each word, which says how the receiver takes it, and wait until all have ended."""
    headers = f"X-SES-CONFIGURATION-SET: {pool}\r\n"
    with product.client() as client:
        ids = {product.send(f"{word}{number}@remote.example", headers=headers, client=client)
               for number, word in enumerate(words)}  # fmt: skip

    def ended():
        return {one["mail"]["messageId"] for kind in ("Delivery", "Bounce") for one in product.events(kind)}

    eventually(lambda: ids <= ended(), 60, "the end of all messages")


def shown_with(product, address, **wanted):
    def as_wanted():
        shown = product.json("warmup", "show", address)
        return shown if all(shown[key] == value for key, value in wanted.items()) else None

    return eventually(as_wanted, what=f"{address} with {wanted}")


def warnings(product, address):
    lines = [json.loads(line) for line in product.log_text().splitlines() if line.startswith("{")]
    return [one for one in lines if one.get("address") == address and "set back" in json.dumps(one)]


def test_blocks_and_bounces_set_a_warm_up_back_until_it_is_set_anew(product):
    assert product.json("warmup", "show", BLOCKED)["day"] == 7
    send(product, "one", ["block"] * 3 + ["fine"] * 9)
    # a quarter is blocked, over the line of a fifth: the day does not count
    shown = shown_with(product, BLOCKED, heldDays=1)
    assert (shown["day"], shown["percentage"], shown["volume"]) == (6, 50, 60_000_000)
    assert "blocked, over 20 %" in shown["heldBecause"]
    (provider,) = shown["providers"]
    assert (provider["attempts"] >= 10, provider["blocks"], provider["bounces"]) == (True, 3, 0)
    assert "1 days" in product.run("warmup", "list").stdout
    assert "blocked, over 20 %" in product.run("warmup", "show", BLOCKED).stdout
    (told,) = warnings(product, BLOCKED)
    assert (told["level"], told["days"]) == ("warning", 1)
    assert "blocked, over 20 %" in told["reason"]

    send(product, "two", ["bounce"] * COUNT)
    # all of it bounces, over twice the line: three days more are taken back
    shown = shown_with(product, BOUNCED, heldDays=4)
    assert (shown["day"], shown["percentage"], shown["volume"]) == (3, 20, 30_000_000)
    assert "100.0 %" in shown["heldBecause"]
    assert "bounced, over 30 %" in shown["heldBecause"]
    assert len(warnings(product, BOUNCED)) == 1

    send(product, "three", ["bounce"] * 3 + ["block"] * 2 + ["fine"] * 9)
    shown = shown_with(product, GOOD, heldDays=0)  # both are below their lines
    eventually(lambda: product.json("warmup", "show", GOOD)["providers"][0]["attempts"] == 14, what="all answers")
    assert shown_with(product, GOOD, heldDays=0)["day"] == 7
    assert not warnings(product, GOOD)
    eventually(lambda: product.metric("relay_warmup_holds_total") == 2, what="the count of holds")

    os.kill(product.children()["relay-permits"], signal.SIGKILL)
    product.wait_ready()
    assert shown_with(product, BOUNCED, heldDays=4)["day"] == 3  # it is on disk
    shown_with(product, BLOCKED, heldDays=1)

    shown = product.json("warmup", "release", BLOCKED)
    assert (shown["heldDays"], shown["heldBecause"], shown["day"], shown["percentage"]) == (0, None, 7, 60)
    assert product.run("warmup", "release", BLOCKED, check=False).returncode == 64  # nothing holds it
    product.run("warmup", "pause", BOUNCED)
    shown = product.json("warmup", "start", BOUNCED)  # released as well, from where it was set back to
    assert (shown["heldDays"], shown["percentage"], shown["day"]) == (0, 20, 3)
    for address, pool, day in ((BLOCKED, "one", 7), (BOUNCED, "two", 3)):
        send(product, pool, ["fine"])  # which is counted anew: what the day saw before is not held against it again
        eventually(lambda: product.json("warmup", "show", address)["providers"][0]["attempts"] == 1)  # noqa: B023
        shown = product.json("warmup", "show", address)
        assert (shown["heldDays"], shown["day"]) == (0, day)
    assert product.metric("relay_warmup_holds_total") == 2
    send(product, "one", ["block"] * COUNT)
    shown_with(product, BLOCKED, heldDays=4)  # but what comes now is
    product.stop()
    assert product.json("warmup", "release", BLOCKED)["heldDays"] == 0
    product.start()
    send(product, "one", ["fine"])
    eventually(lambda: product.json("warmup", "show", BLOCKED)["providers"][0]["attempts"] == 1)
    assert product.json("warmup", "show", BLOCKED)["heldDays"] == 0


REPORTS = {
    "bounce": (
        "delivery-status",
        "Final-Recipient: rfc822; {to}\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 gone\r\n",
    ),
    "complaint": ("feedback-report", "Feedback-Type: abuse\r\nUser-Agent: x/1\r\nVersion: 1\r\n"),
}


def send_back(product, receiver, kind, recipient):
    """Report to the return path of a message that was delivered, as its receiver would."""
    path = eventually(lambda: [m[0] for m in receiver.messages if m[1] == [recipient]], what=recipient)[0]
    name, fields = REPORTS[kind]
    head = "Reporting-MTA: dns; mx.remote.example\r\n\r\n" if kind == "bounce" else ""
    report = (
        f"From: MAILER-DAEMON@remote.example\r\nTo: {path}\r\nSubject: Report\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type={name}; boundary="b"\r\n\r\n'
        f"--b\r\nContent-Type: text/plain\r\n\r\nLook.\r\n--b\r\nContent-Type: message/{name}\r\n\r\n"
        f"{head}{fields.format(to=recipient)}\r\n"
        "--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: app@example.com\r\nSubject: A test\r\n\r\nHi\r\n--b--\r\n"
    )
    with smtplib.SMTP("127.0.0.1", product.mx_port) as client:
        client.sendmail("", [path], report)


def test_what_comes_back_later_counts_with_the_provider_that_had_the_mail():
    warmup = {
        "schedule": "ten",
        "schedules": [{"name": "ten", "volumes": [10_000 * day for day in range(1, 11)]}],
        "shares": [{"provider": "bigmail", "share": "50%"}, {"provider": "other", "share": "50%"}],
    }
    with Receiver() as receiver:
        shaping = {"directory": "shaping"}
        product = Product(receiver.port, workers=1, warmup=warmup, shaping=shaping)
        (product.directory / "shaping").mkdir()
        rule = "name: bigmail\nmatch: {routes: [127.0.0.1]}\n"
        (product.directory / "shaping" / "bigmail.yaml").write_text(rule)
        with product:
            product.run("pool", "create", "one", "--overflow", "none")
            product.run("address", "add", GOOD, "--account", product.account, "--pool", "one")
            product.run("configuration-set", "create", "one", "--pool", "one")
            product.run("warmup", "set-percent", GOOD, "60")
            send(product, "one", ["x"] * 2)
            send_back(product, receiver, "bounce", "x0@remote.example")
            send_back(product, receiver, "complaint", "x1@remote.example")

            def counted():
                shown = {one["provider"]: one for one in product.json("warmup", "show", GOOD)["providers"]}
                big = shown.get("bigmail", {})
                return (big.get("attempts"), big.get("bounces"), big.get("complaints")) == (2, 1, 1) and shown

            other = eventually(counted, what="the answers of the provider")["other"]
            assert (other["attempts"], other["bounces"], other["complaints"]) == (0, 0, 0)


def test_what_comes_back_later_counts_for_the_address_that_sent_it():
    """Two workers: whichever takes a report, and whichever has the message."""
    health = {"attempts_min": 10, "bounce_rate": "50%", "block_rate": "50%", "complaint_rate": "20%", "step_back": 3}
    warmup = {
        "schedule": "ten",
        "schedules": [{"name": "ten", "volumes": [10_000 * day for day in range(1, 11)]}],
        "shares": [{"provider": "other", "share": "100%"}],
        "health": health,
    }
    with Receiver() as receiver, Product(receiver.port, workers=2, warmup=warmup) as product:
        product.run("pool", "create", "one", "--overflow", "none")
        product.run("address", "add", GOOD, "--account", product.account, "--pool", "one")
        product.run("configuration-set", "create", "one", "--pool", "one")
        product.run("warmup", "set-percent", GOOD, "60")
        send(product, "one", ["x"] * 10)

        def counted(**wanted):
            provider = product.json("warmup", "show", GOOD)["providers"][0]
            return all(provider[key] == value for key, value in wanted.items())

        eventually(lambda: counted(attempts=10, bounces=0, complaints=0), what="all answers")
        for number in range(5):
            send_back(product, receiver, "bounce", f"x{number}@remote.example")
        eventually(lambda: counted(bounces=5), what="the bounces")
        for _ in range(2):  # a repeat changes nothing
            send_back(product, receiver, "bounce", "x0@remote.example")
        for number in (5, 6):
            send_back(product, receiver, "complaint", f"x{number}@remote.example")
        eventually(lambda: counted(attempts=10, bounces=5, complaints=2), what="the complaints")
        assert shown_with(product, GOOD, heldDays=0)  # half is no more than half, and two complaints are no rate
        send_back(product, receiver, "complaint", "x7@remote.example")
        shown = shown_with(product, GOOD, heldDays=1)
        assert "30.0 % of 10 complained about, over 20 %" in shown["heldBecause"]
