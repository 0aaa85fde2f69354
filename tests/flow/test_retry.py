"""A remote that says later, hangs, or goes away: the message waits and arrives once."""

import pytest

from tests.product import Product, Receiver, eventually


@pytest.mark.req("FLOW-009", "FLOW-021")
def test_greylisted_then_delivered():
    seen = []

    def answer(verb, line):
        if verb == "RCPT":
            seen.append(line)
            return "451 4.7.1 greylisted" if len(seen) == 1 else None
        return None

    with Receiver(answer=answer) as receiver, Product(receiver.port, delivery={"retry": ["1s"]}) as product:
        message_id = product.send()
        first, *_ = eventually(lambda: product.json("trace", message_id)["deliveries"][0]["attempts"])
        assert first["nextAttempt"] > first["finished"]  # it will be tried again
        product.wait_event("Delivery")
        kinds = [event["eventType"] for event in product.events()]
        assert kinds == ["Send", "DeliveryDelay", "Delivery"]
        attempts = product.json("trace", message_id)["deliveries"][0]["attempts"]
        assert [attempt["outcome"] for attempt in attempts] == ["temporary", "delivered"]
        assert [attempt["reply"] for attempt in attempts] == ["451 4.7.1 greylisted", "250 2.0.0 taken"]
        for attempt in attempts:
            assert attempt["time"] <= attempt["finished"]
            assert (attempt["remoteAddress"], attempt["tls"]) == ("127.0.0.1", "none")
            assert attempt["sourceAddress"] == "127.0.0.1"  # as the system chose it
        assert attempts[1]["nextAttempt"] is None
        assert len(receiver.messages) == 1


def test_mail_queued_while_the_next_hop_is_down_survives_a_restart():
    with Receiver() as receiver:
        port = receiver.port
    delivery = {"retry": ["1s"]}
    with Product(port, workers=2, delivery=delivery) as product:
        ids = [product.send() for _ in range(6)]
        listed = eventually(lambda: (rows := product.rows("queue", "list")) and len(rows) == 6 and rows)
        assert {row["messageId"] for row in listed} == set(ids)
        product.stop()
        assert {row["messageId"] for row in product.rows("queue", "list")} == set(ids)
        with Receiver(port=port) as receiver:
            product.start()
            receiver.wait(6)
            eventually(lambda: product.rows("queue", "list") == [])
            assert len(receiver.messages) == 6


def test_queue_commands_hold_release_and_delete():
    with Receiver() as receiver:
        port = receiver.port
    with Product(port, delivery={"retry": ["1h"]}) as product:
        kept, dropped = product.send(), product.send()
        eventually(lambda: all(row["attempts"] for row in product.rows("queue", "list")))
        product.run("queue", "hold", kept)
        product.run("queue", "delete", dropped, "--yes")
        states = {row["messageId"]: row["state"] for row in product.rows("queue", "list")}
        assert states == {kept: "held"}
        with Receiver(port=port) as receiver:
            product.run("queue", "release", kept)
            receiver.wait(1)
        assert product.json("trace", dropped)["deliveries"][0]["state"] == "deleted"
