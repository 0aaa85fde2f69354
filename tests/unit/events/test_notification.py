"""Notifications have the form of feedback.md section 3, and no tags."""

import orjson
import pytest

from relay.events import payload
from relay.events.notification import notification
from relay.model.event import LoggedEvent
from relay.model.message import NewEvent
from tests.unit.model.test_facts import ACCEPTED_MS, MAIL

FULL = orjson.dumps(
    {
        **{name: value for name, value in orjson.loads(MAIL).items() if name != "tags"},
        "headersTruncated": False,
        "headers": [{"name": "Subject", "value": "x"}],
        "commonHeaders": {"subject": "x"},
        "tags": {"ses:source-ip": ["192.0.2.9"], "ses:caller-identity": ["app"], "color": ["red"]},
    }
)


def _made(kind, body, notes=b'{"remoteMtaIp":"198.51.100.7"}', *, headers=False):
    return orjson.loads(notification(LoggedEvent(1, 1, NewEvent("id", kind, "m", body, notes)), headers=headers))


def _bounce():
    return payload.bounce(
        FULL,
        timestamp_ms=ACCEPTED_MS,
        bounce_type="Permanent",
        bounce_sub_type="General",
        recipients=[payload.RecipientStatus("b@example.net")],
        feedback_id="x",
        outgoing_ip="192.0.2.1",
    )


def _delivery():
    return payload.delivery(
        FULL, timestamp_ms=1, processing_ms=2, recipients=["b@x.example"], smtp_response="250 ok", reporting_mta="r"
    )


@pytest.mark.req("NOTIF-012", "NOTIF-014", "TAG-006")
def test_of_a_bounce_without_headers():
    made = _made("Bounce", _bounce())
    assert list(made) == ["notificationType", "mail", "bounce"]
    assert made["notificationType"] == "Bounce"
    assert list(made["mail"]) == [
        "timestamp",
        "messageId",
        "source",
        "sourceArn",
        "sourceIp",
        "sendingAccountId",
        "callerIdentity",
        "destination",
    ]
    assert (made["mail"]["sourceIp"], made["mail"]["callerIdentity"]) == ("192.0.2.9", "app")
    assert made["bounce"]["remoteMtaIp"] == "198.51.100.7"
    assert made["bounce"]["bounceType"] == "Permanent"


@pytest.mark.req("NOTIF-012", "NOTIF-014")
def test_with_headers_and_without_a_remote_host():
    made = _made("Bounce", _bounce(), b"", headers=True)
    assert made["mail"]["headers"] == [{"name": "Subject", "value": "x"}]
    assert made["mail"]["headersTruncated"] is False
    assert made["mail"]["commonHeaders"] == {"subject": "x"}
    assert "remoteMtaIp" not in made["bounce"]
    assert "tags" not in made["mail"]


@pytest.mark.req("NOTIF-014")
def test_a_delivery_always_says_where_it_went():
    assert _made("Delivery", _delivery())["delivery"]["remoteMtaIp"] == "198.51.100.7"
    assert _made("Delivery", _delivery(), b"")["delivery"]["remoteMtaIp"] == ""


def test_of_a_complaint():
    body = payload.complaint(FULL, timestamp_ms=1, recipients=["b@x.example"], feedback_id="x", feedback_type="abuse")
    made = _made("Complaint", body)
    assert made["complaint"]["complaintFeedbackType"] == "abuse"
    assert "remoteMtaIp" not in made["complaint"]
