"""Event payloads: the shapes of docs/spec/feedback.md section 3, field by field and type by type."""

import json

import pytest

from relay.events import payload
from relay.mail.compose import ShapeRules, shape
from relay.model.ids import is_message_id
from relay.policy.suppression import SuppressedRecipient
from tests.unit.mail.messages import HEAD, MESSAGE_ID, NOW_MS, submission

TIME = "2026-11-23T03:38:23.000Z"


def mail(head=HEAD, **changes):
    shaped = shape(submission(head, **changes), ShapeRules("relay.example"), MESSAGE_ID, NOW_MS)
    return payload.mail(
        shaped,
        timestamp_ms=NOW_MS,
        message_id=MESSAGE_ID,
        source="app@sender.example",
        source_arn="arn:aws:ses:local-1:000000000001:identity/sender.example",
        account="000000000001",
        destination=("someone@rcpt.example", "other@rcpt.example"),
        source_ip="192.0.2.1",
        caller="user",
        configuration_set="one",
    )


@pytest.mark.req("EVT-004", "EVT-005", "EVT-006", "EVT-007", "EVT-008", "TAG-004", "TAG-006")
def test_mail_object():
    tagged = b"X-SES-CONFIGURATION-SET: one\r\nX-SES-MESSAGE-TAGS: a=1, ses=2\r\n"
    tagged += b"Reply-To: R <r@s.example>, q@s.example\r\n"
    found = json.loads(mail(tagged + HEAD.replace(b"A message", b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=")))
    assert found == {
        "timestamp": TIME,
        "messageId": MESSAGE_ID,
        "source": "app@sender.example",
        "sourceArn": "arn:aws:ses:local-1:000000000001:identity/sender.example",
        "sendingAccountId": "000000000001",
        "destination": ["someone@rcpt.example", "other@rcpt.example"],
        "headersTruncated": False,
        "headers": [
            {"name": "X-SES-CONFIGURATION-SET", "value": "one"},
            {"name": "X-SES-MESSAGE-TAGS", "value": "a=1, ses=2"},
            {"name": "Reply-To", "value": "R <r@s.example>, q@s.example"},
            {"name": "From", "value": "App <app@sender.example>"},
            {"name": "To", "value": "someone@rcpt.example"},
            {"name": "Subject", "value": "=?utf-8?q?Gr=C3=BC=C3=9Fe?= of two lines"},
            {"name": "Date", "value": "Mon, 23 Nov 2026 01:00:00 +0100"},
            {"name": "Message-ID", "value": "<abc.123@sender.example>"},
            {"name": "MIME-Version", "value": "1.0"},
            {"name": "Content-Type", "value": "text/plain; charset=utf-8"},
            {"name": "X-Mailer", "value": "app 1.0"},
        ],
        "commonHeaders": {
            "replyTo": ["R <r@s.example>", "q@s.example"],
            "from": ["App <app@sender.example>"],
            "to": ["someone@rcpt.example"],
            "subject": "Grüße of two lines",
            "date": "Mon, 23 Nov 2026 01:00:00 +0100",
            "messageId": "<abc.123@sender.example>",
        },
        "tags": {
            "a": ["1"],
            "ses": ["2"],
            "ses:configuration-set": ["one"],
            "ses:source-ip": ["192.0.2.1"],
            "ses:from-domain": ["sender.example"],
            "ses:caller-identity": ["user"],
        },
    }


@pytest.mark.req("EVT-004")
def test_message_id_stands_in():
    common = json.loads(mail(b"From: app@sender.example\r\n\r\n"))["commonHeaders"]
    assert common == {"from": ["app@sender.example"], "to": [], "messageId": MESSAGE_ID}


@pytest.mark.req("EVT-007")
def test_headers_are_cut_at_10_kb():
    found = json.loads(mail(HEAD[:-2] + (b"X-Big: " + b"y" * 900 + b"\r\n") * 20 + b"\r\n"))
    assert found["headersTruncated"] is True
    assert sum(len(each["name"]) + len(each["value"]) for each in found["headers"]) < 10 * 1024
    assert found["headers"][0]["name"] == "From"


def test_subject_and_lists_are_bounded():
    head = HEAD.replace(b"A message", b"\r\n ".join([b"w" * 900] * 200))
    assert len(json.loads(mail(head))["commonHeaders"]["subject"]) <= 2000


def test_smtputf8_headers():
    head = HEAD.replace(b"App <app@sender.example>", "Jö <jö@bücher.example>".encode())
    found = json.loads(mail(head, smtputf8=True))
    assert found["commonHeaders"]["from"] == ["Jö <jö@xn--bcher-kva.example>"]
    assert found["tags"]["ses:from-domain"] == ["xn--bcher-kva.example"]


def event(data):
    assert b"\n" not in data
    found = json.loads(data)
    assert found.pop("mail")["messageId"] == MESSAGE_ID
    return found


@pytest.mark.req("EVT-001", "EVT-002", "EVT-012")
def test_send():
    assert event(payload.send(mail())) == {"eventType": "Send", "send": {}}


@pytest.mark.req("EVT-001", "EVT-002", "EVT-015")
def test_delivery():
    data = payload.delivery(
        mail(), timestamp_ms=NOW_MS + 1234, processing_ms=1234, recipients=("a@b.example",),
        smtp_response='250 "ok"', reporting_mta="relay.example",
    )  # fmt: skip
    assert event(data) == {
        "eventType": "Delivery",
        "delivery": {
            "timestamp": "2026-11-23T03:38:24.234Z",
            "processingTimeMillis": 1234,
            "recipients": ["a@b.example"],
            "smtpResponse": '250 "ok"',
            "reportingMTA": "relay.example",
        },
    }


@pytest.mark.req("TAG-005")
def test_outgoing_address_is_added_when_known():
    data = payload.delivery(
        mail(), timestamp_ms=NOW_MS, processing_ms=1, recipients=("a@b.example",), smtp_response="250",
        reporting_mta="relay.example", outgoing_ip="192.0.2.9",
    )  # fmt: skip
    tags = json.loads(data)["mail"]["tags"]
    assert tags["ses:outgoing-ip"] == ["192.0.2.9"]
    assert tags["ses:source-ip"] == ["192.0.2.1"]
    assert "ses:outgoing-ip" not in json.loads(payload.send(mail()))["mail"]["tags"]


@pytest.mark.req("EVT-001", "EVT-030")
def test_delivery_delay():
    status = payload.RecipientStatus("a@b.example", "", "4.4.1", "smtp; 421 4.4.1 no")
    data = payload.delivery_delay(
        mail(), timestamp_ms=NOW_MS, delay_type="TransientCommunicationFailure", expiration_ms=NOW_MS + 1000,
        recipients=(status,), reporting_mta="192.0.2.7",
    )  # fmt: skip
    assert event(data) == {
        "eventType": "DeliveryDelay",
        "deliveryDelay": {
            "timestamp": TIME,
            "delayType": "TransientCommunicationFailure",
            "expirationTime": "2026-11-23T03:38:24.000Z",
            "reportingMTA": "192.0.2.7",
            "delayedRecipients": [
                {"emailAddress": "a@b.example", "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 no"}
            ],
        },
    }


@pytest.mark.req("EVT-001", "EVT-018", "EVT-019", "EVT-020")
def test_bounce_leaves_out_what_is_not_known():
    statuses = (
        payload.RecipientStatus("a@b.example", "failed", "5.1.1", "smtp; 550 no"),
        payload.RecipientStatus("c@d.example"),
    )
    found = event(
        payload.bounce(
            mail(), timestamp_ms=NOW_MS, bounce_type="Permanent", bounce_sub_type="NoEmail", recipients=statuses,
            feedback_id=f"{MESSAGE_ID}/0/Bounce/0", reporting_mta="mx.example",
        )
    )  # fmt: skip
    shown = found["bounce"].pop("feedbackId")
    assert is_message_id(shown)
    assert shown != MESSAGE_ID
    assert (
        shown
        == payload.feedback_id_of(f"{MESSAGE_ID}/0/Bounce/0")
        != payload.feedback_id_of(f"{MESSAGE_ID}/1/Bounce/0")
    )
    assert found == {
        "eventType": "Bounce",
        "bounce": {
            "bounceType": "Permanent",
            "bounceSubType": "NoEmail",
            "bouncedRecipients": [
                {
                    "emailAddress": "a@b.example",
                    "action": "failed",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 no",
                },
                {"emailAddress": "c@d.example"},
            ],
            "timestamp": TIME,
            "reportingMTA": "dns; mx.example",
        },
    }


@pytest.mark.req("SUPP-010", "EVT-027")
def test_suppressed_recipients():
    one = SuppressedRecipient(0, "a@b.example", "Complaint")
    found = event(payload.suppressed(mail(), one, timestamp_ms=NOW_MS, feedback_id="x"))
    assert found["complaint"]["complaintSubType"] == "OnAccountSuppressionList"
    assert found["complaint"]["complainedRecipients"] == [{"emailAddress": "a@b.example"}]
    assert is_message_id(found["complaint"]["feedbackId"])
    two = SuppressedRecipient(0, "a@b.example", "Bounce")
    found = event(payload.suppressed(mail(), two, timestamp_ms=NOW_MS, feedback_id="x"))
    assert (found["bounce"]["bounceType"], found["bounce"]["bounceSubType"]) == (
        "Permanent",
        "OnAccountSuppressionList",
    )


@pytest.mark.req("EVT-026", "EVT-027")
def test_complaint():
    data = payload.complaint(
        mail(), timestamp_ms=NOW_MS, recipients=("a@b.example",), feedback_id="x", user_agent="P/1",
        feedback_type="abuse", arrival_ms=NOW_MS,
    )  # fmt: skip
    found = event(data)["complaint"]
    assert found["complaintSubType"] is None
    assert (found["userAgent"], found["complaintFeedbackType"], found["arrivalDate"]) == ("P/1", "abuse", TIME)
