"""RFC 4865 from outside: mail that is to leave later is accepted now, kept durably, and leaves then."""

import datetime as dt
import re
import signal
import time

import pytest

from tests.product import Product, Receiver, eventually


@pytest.fixture(scope="module")
def receiver():
    refused = "451 4.2.1 later"
    with Receiver(answer=lambda verb, line: refused if verb == "RCPT" and "slow@" in line else None) as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    delivery = {"retry": ["1s"], "lifetime": "3s"}
    with Product(receiver.port, delivery=delivery, dkim={"expire_after": "1d"}) as made:
        yield made


def queued(product, message_id):
    return next((row for row in product.rows("queue", "list") if row["messageId"] == message_id), None)


def moment(text):
    return dt.datetime.fromisoformat(text).timestamp()


def test_held_mail_survives_a_crash_and_leaves_on_time(product, receiver):
    """HOLDFOR is the time of the first attempt, on disk before the answer; the lifetime counts from there."""
    begun = time.time()
    message_id = product.send(recipients="later@remote.example", options=["HOLDFOR=20"])
    row = queued(product, message_id)
    assert (row["state"], row["attempts"]) == ("queued", 0)
    assert 20 <= moment(row["release"]) - begun < 35
    assert row["nextAttempt"] == row["release"]
    assert moment(row["expires"]) - moment(row["release"]) == pytest.approx(3, abs=0.01)
    assert "not to leave before" in product.run("queue", "list").stdout
    product.process.send_signal(signal.SIGKILL)
    product.process.wait(60)
    product.log.close()
    product.start()
    assert queued(product, message_id)["nextAttempt"] == row["release"]
    eventually(lambda: [to for _, to, _ in receiver.messages if to == ["later@remote.example"]], 60, "the message")
    assert time.time() >= moment(row["release"])
    (attempt,) = product.json("trace", message_id)["deliveries"][0]["attempts"]
    assert moment(attempt["time"]) >= moment(row["release"])
    (data,) = [data for _, to, data in receiver.messages if to == ["later@remote.example"]]
    assert int(re.search(rb"; x=(\d+);", data).group(1)) >= moment(row["release"]) + 86_400  # counted from then


def test_until_a_time_and_its_lifetime_from_there(product):
    """HOLDUNTIL; a message that cannot be delivered then is tried for its whole lifetime."""
    until = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=4)
    message_id = product.send(
        recipients="slow@remote.example", options=[f"HOLDUNTIL={until.strftime('%Y-%m-%dT%H:%M:%SZ')}"]
    )
    eventually(
        lambda: [e for e in product.events("Bounce") if e["mail"]["messageId"] == message_id], 60, "the bounce"
    )
    attempts = product.json("trace", message_id)["deliveries"][0]["attempts"]
    assert moment(attempts[0]["time"]) >= until.timestamp()
    assert moment(attempts[-1]["time"]) >= until.timestamp() + 3


def test_an_operator_may_let_it_go_sooner_or_never(product, receiver):
    early = product.send(recipients="early@remote.example", options=["HOLDFOR=86400"])
    never = product.send(recipients="never@remote.example", options=["HOLDFOR=86400"])
    product.run("queue", "retry", early)
    product.run("queue", "delete", never, "--yes")
    eventually(lambda: [to for _, to, _ in receiver.messages if to == ["early@remote.example"]], what="the message")
    assert queued(product, never) is None


def test_the_quota_counts_when_it_is_accepted(product):
    """The promise is made at acceptance, and so is the count."""
    before = product.json("quota", "show")["sentLast24Hours"]
    product.send(recipients="counted@remote.example", options=["HOLDFOR=86400"])
    assert eventually(lambda: product.json("quota", "show")["sentLast24Hours"]) == before + 1


def test_it_can_be_turned_off(receiver):
    with Product(receiver.port, smtp={"future_release_max": "0s", "deliver_by": False, "dsn": False}) as product:
        with product.client() as client:
            client.ehlo()
            offered = set(client.esmtp_features)
            assert not offered & {"futurerelease", "deliverby", "dsn"}
            for parameter in ("HOLDFOR=60", "BY=60;R", "RET=FULL"):
                assert client.mail("app@example.com", [parameter])[0] == 555
        product.values["smtp"] = {"future_release_max": "90s"}
        product.save()
        product.process.send_signal(signal.SIGHUP)

        def offers():
            with product.client() as client:
                client.ehlo()
                return client.esmtp_features.get("futurerelease", "").split()[:1] == ["90"]

        eventually(offers, what="the reload")
