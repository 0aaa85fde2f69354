"""Facts are read from the records that the relay itself writes."""

import orjson
import pytest

from relay.events import payload
from relay.model.event import LoggedEvent
from relay.model.facts import facts_of
from relay.model.message import NewEvent

MAIL = orjson.dumps(
    {
        "timestamp": "2026-11-26T01:02:03.456Z",
        "messageId": "0001-x",
        "source": "a@example.com",
        "sourceArn": "arn:aws:ses:local-1:000000000001:identity/example.com",
        "sendingAccountId": "000000000001",
        "destination": ["b@example.net", "c@example.net"],
        "tags": {"ses:configuration-set": ["news"], "color": ["red"]},
    }
)
ACCEPTED_MS = 1_795_654_923_456


def _facts(kind, body, notes=b""):
    event = LoggedEvent(1, 7, NewEvent("id", kind, "0001-x", body, notes))
    return facts_of(event), event


def test_of_a_send():
    facts, event = _facts("Send", payload.send(MAIL))
    assert (facts.account, facts.configuration_set, facts.identity) == ("000000000001", "news", "example.com")
    assert facts.recipients == ("b@example.net", "c@example.net")
    assert (facts.at_ms, facts.accepted_ms) == (ACCEPTED_MS, ACCEPTED_MS)
    assert (facts.tags["color"], facts.outgoing_ip, event.note) == (["red"], "", {})


def test_of_a_bounce():
    body = payload.bounce(
        MAIL,
        timestamp_ms=ACCEPTED_MS + 5000,
        bounce_type="Permanent",
        bounce_sub_type="NoEmail",
        recipients=[payload.RecipientStatus("b@example.net", status="5.1.1")],
        feedback_id="id",
        outgoing_ip="192.0.2.1",
    )
    facts, event = _facts("Bounce", body, b'{"provider":"gmail"}')
    assert (facts.bounce_type, facts.sub_type, facts.recipients) == ("Permanent", "NoEmail", ("b@example.net",))
    assert (facts.at_ms, facts.outgoing_ip) == (ACCEPTED_MS + 5000, "192.0.2.1")
    assert facts.feedback_id == payload.feedback_id_of("id")
    assert event.note == {"provider": "gmail"}


@pytest.mark.parametrize("sub_type", [None, "OnAccountSuppressionList"])
def test_of_a_complaint(sub_type):
    body = payload.complaint(
        MAIL, timestamp_ms=ACCEPTED_MS, recipients=["c@example.net"], feedback_id="x", complaint_sub_type=sub_type
    )
    facts, _ = _facts("Complaint", body)
    assert (facts.recipients, facts.sub_type) == (("c@example.net",), sub_type or "")


def test_of_a_delivery_and_a_delay():
    body = payload.delivery(
        MAIL, timestamp_ms=1, processing_ms=2, recipients=["b@example.net"], smtp_response="250", reporting_mta="r"
    )
    assert _facts("Delivery", body)[0].recipients == ("b@example.net",)
    body = payload.delivery_delay(
        MAIL,
        timestamp_ms=1000,
        delay_type="General",
        expiration_ms=2,
        recipients=[payload.RecipientStatus("c@example.net")],
        reporting_mta="",
    )
    facts, _ = _facts("DeliveryDelay", body)
    assert (facts.recipients, facts.at_ms) == (("c@example.net",), 1000)
