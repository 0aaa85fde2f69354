"""One message the whole way: submitted over STARTTLS and AUTH, signed, queued, delivered, told."""

import re
from datetime import datetime

import dkim
import pytest

from tests.product import Product, Receiver, eventually


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port) as made:
        yield made


@pytest.fixture(scope="module")
def sent(product, receiver):
    headers = "Bcc: hidden@remote.example\r\nX-SES-MESSAGE-TAGS: campaign=welcome\r\nX-Mine: kept\r\n"
    message_id = product.send(headers=headers, body="Hello\r\n.\r\n..two dots\r\n")
    sender, recipients, data = receiver.wait(1)[0]
    return message_id, sender, recipients, data


def zone(product):
    """The TXT records that `identity show` asks for, as dkimpy wants them."""
    records = product.json("identity", "show", product.domain)["records"]
    found = {record["name"].rstrip("."): record["value"] for record in records if record["type"] == "TXT"}
    return lambda name, timeout=5: found.get(name.decode().rstrip("."), "").encode()


@pytest.mark.req("FLOW-001", "FLOW-003", "SMTP-021")
def test_reply_header_events_and_trace_name_the_same_message(product, sent):
    message_id, _, _, data = sent
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d{6}", message_id)
    assert f"Message-ID: <{message_id}@relay.example>\r\n".encode() in data
    events = product.wait_event("Delivery")
    assert events[0]["mail"]["messageId"] == message_id
    assert product.json("trace", message_id)["messageId"] == message_id


def test_the_signature_verifies_with_the_key_that_the_identity_publishes(product, sent):
    data = sent[3]
    assert dkim.verify(data, dnsfunc=zone(product))
    head = data.split(b"\r\n\r\n")[0].lower()
    signature = head[head.index(b"dkim-signature:") :]
    assert b"d=example.com" in signature
    assert b" l=" not in signature


@pytest.mark.req("HDR-008", "HDR-016", "HDR-017")
def test_bcc_and_control_headers_stay_here(sent):
    data = sent[3]
    assert b"hidden@" not in data
    assert b"x-ses-message-tags" not in data.lower()
    assert b"X-Mine: kept\r\n" in data


@pytest.mark.req("SMTP-023")
def test_the_body_arrives_byte_for_byte(sent):
    assert sent[3].split(b"\r\n\r\n", 1)[1] == b"Hello\r\n.\r\n..two dots\r\n"


@pytest.mark.req("FLOW-017")
def test_the_return_path_is_a_token_at_the_bounce_domain(sent):
    _, sender, _, data = sent
    local, _, domain = sender.partition("@")
    assert domain == "bounce.relay.example"
    assert re.fullmatch(r"[a-z2-7=.+-]{20,64}", local)
    assert b"Return-Path" not in data


@pytest.mark.req("SMTP-032")
def test_one_received_field_without_the_client(sent):
    message_id, _, _, data = sent
    received = re.findall(rb"^Received: (?:.*\r\n[ \t])*.*", data, re.MULTILINE)
    assert len(received) == 1
    assert b"with ESMTPSA" in received[0]
    assert message_id.encode() in received[0]
    assert b"127.0.0.1" not in received[0]


@pytest.mark.req("EVT-001", "EVT-002", "EVT-004", "EVT-005", "EVT-015")
def test_send_and_delivery_events_have_the_documented_shape(product, sent):
    message_id = sent[0]
    product.wait_event("Delivery")
    send = product.wait_event("Send")[0]
    assert send["send"] == {}
    mail = send["mail"]
    assert (mail["messageId"], mail["source"], mail["destination"]) == (
        message_id,
        "app@example.com",
        ["user@remote.example"],
    )
    assert mail["sendingAccountId"] == product.account
    delivery = product.events("Delivery")[0]["delivery"]
    assert delivery["recipients"] == ["user@remote.example"]
    assert delivery["smtpResponse"].startswith("250 2.0.0 taken")
    assert delivery["reportingMTA"] == "relay.example"
    assert 0 <= delivery["processingTimeMillis"] < 30_000


@pytest.mark.req("FLOW-004")
def test_trace_tells_the_attempt(product, sent):
    trace = eventually(
        lambda: (t := product.json("trace", sent[0])) and t["deliveries"][0]["state"] == "delivered" and t
    )
    attempt = trace["deliveries"][0]["attempts"][0]
    assert attempt["outcome"] == "delivered"
    assert attempt["remoteAddress"].startswith("127.0.0.1")
    assert "taken" in attempt["reply"]
    assert attempt["tls"] == "none"
    begun, accepted = (datetime.fromisoformat(at) for at in (attempt["time"], trace["accepted"]))
    assert (begun - accepted).total_seconds() < 4  # at once: the index is looked at every 5 s


def test_metrics_and_health(product, sent):
    eventually(lambda: product.metric('relay_deliveries_total{state="delivered"}') >= 1)
    assert product.metric('relay_messages_accepted_total{protocol="ESMTPSA"}') >= 1


def test_every_log_line_is_json_and_those_about_the_message_name_it(product, sent):
    import json

    lines = [json.loads(line) for line in product.log_text().splitlines()]
    about = [line for line in lines if line.get("message_id") == sent[0]]
    assert {line["event"] for line in about} >= {"accepted", "delivered"}
