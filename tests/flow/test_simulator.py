"""The mailbox simulator from outside: a real product, its events, and what comes back by mail."""

import json
import smtplib
import socket
import threading
import time

import pytest

from relay.mail.classify import classify
from tests.product import Product, Receiver, eventually

pytestmark = pytest.mark.timeout(120)

OWN = "simulator.relay.example"
SES = "simulator.amazonses.com"


class NameServer:
    """Counts the questions it gets and answers none: nothing here may ask one."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.questions = []
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self):
        while True:
            try:
                self.questions.append(self.socket.recv(4096))
            except OSError:
                return


@pytest.fixture(scope="module")
def names():
    server = NameServer()
    yield server
    server.socket.close()


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def relay(receiver, names):
    with Product(receiver.port, dns={"nameservers": [f"127.0.0.1:{names.port}"], "timeout": "1s"}) as product:
        yield product


def events_of(relay, message_id, kinds, timeout_seconds=30):
    """Return the events of a message once it has those kinds, in order."""

    def look():
        found = [event for event in relay.events() if event["mail"]["messageId"] == message_id]
        return sorted(event["eventType"] for event in found) == sorted(kinds) and found

    return eventually(look, timeout_seconds, f"{kinds} of {message_id}")


def mail_about(receiver, message_id):
    """Return the one mail that names a message (its sender, recipients and bytes)."""
    found = eventually(
        lambda: [mail for mail in receiver.messages if message_id.encode() in mail[2]], what="mail about the message"
    )
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("domain", [OWN, SES, OWN.upper()])
@pytest.mark.req("SIM-001", "SIM-002")
def test_success_is_delivered_without_leaving(relay, receiver, names, domain):
    before = receiver.connections
    message_id = relay.send(f"success@{domain}")
    _, delivered = events_of(relay, message_id, ["Send", "Delivery"])
    assert delivered["delivery"]["recipients"] == [f"success@{domain.lower()}"]
    assert delivered["delivery"]["smtpResponse"].startswith("250 2.")
    assert delivered["delivery"]["reportingMTA"] == "relay.example"
    assert receiver.connections == before
    assert names.questions == []
    trace = relay.json("trace", message_id)
    assert [one["state"] for one in trace["deliveries"]] == ["delivered"]
    assert len(trace["deliveries"][0]["attempts"]) == 1


@pytest.mark.parametrize("local", ["bounce", "BOUNCE", "nobody", "bounce+label1"])
@pytest.mark.req("SIM-003", "SIM-007", "EVT-034")
def test_bounce_is_an_unknown_user(relay, receiver, local):
    message_id = relay.send(f"{local}@{SES}", headers="Message-ID: <mine@example.com>\r\n")
    _, event = events_of(relay, message_id, ["Send", "Bounce"])
    bounce = event["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "General")
    assert bounce["bouncedRecipients"] == [
        {
            "emailAddress": f"{local}@{SES}",
            "action": "failed",
            "status": "5.1.1",
            "diagnosticCode": "smtp; 550 5.1.1 user unknown",
        }
    ]
    assert bounce["reportingMTA"] == "dns; relay.example"
    sender, recipients, report = mail_about(receiver, message_id)
    assert (sender, recipients) == ("", ["app@example.com"])
    seen = classify(report)
    assert (seen.kind, seen.rule) == ("bounce", "RFC 3464 bounce")
    assert [(each.address, each.status) for each in seen.recipients] == [(f"{local}@{SES}", "5.1.1")]
    assert relay.rows("suppression", "list") == []


@pytest.mark.req("SIM-008", "EVT-034")
def test_bounces_of_one_request_are_one_notification(relay, receiver):
    everybody = [f"bounce+{number}@{(OWN, SES)[number % 2]}" for number in range(30)]
    message_id = relay.send([*everybody, f"success@{OWN}", "user@remote.example"])
    found = events_of(relay, message_id, ["Send", "Bounce", "Delivery", "Delivery"])
    (bounce,) = (event["bounce"] for event in found if event["eventType"] == "Bounce")
    assert [each["emailAddress"] for each in bounce["bouncedRecipients"]] == everybody
    reports = eventually(
        lambda: [mail for mail in receiver.messages if mail[0] == "" and message_id.encode() in mail[2]]
    )
    assert len(reports) == 1
    assert [each.address for each in classify(reports[0][2]).recipients] == everybody


@pytest.mark.req("SIM-004", "SIM-007")
def test_out_of_office_answers_the_return_path_header(relay, receiver):
    headers = "Return-Path: <bounces@example.com>\r\nMessage-ID: <first@example.com>\r\n"
    message_id = relay.send(f"ooto+away@{SES}", headers=headers)
    events_of(relay, message_id, ["Send", "Delivery"])
    sender, recipients, reply = eventually(
        lambda: next((mail for mail in receiver.messages if b"<first@example.com>" in mail[2]), None)
    )
    assert (sender, recipients) == ("", ["bounces@example.com"])
    for line in (
        b"From: <ooto+away@simulator.amazonses.com>",
        b"To: <bounces@example.com>",
        b"Subject: Auto: A test",
        b"Auto-Submitted: auto-replied",
        b"In-Reply-To: <first@example.com>",
        b"References: <first@example.com>",
    ):
        assert line + b"\r\n" in reply
    assert (classify(reply).kind, classify(reply).rule) == ("auto-reply", "RFC 3834 Auto-Submitted")


@pytest.mark.req("SIM-004")
def test_out_of_office_else_answers_mail_from(relay, receiver):
    message_id = relay.send(f"ooto@{OWN}", sender="other@example.com")
    events_of(relay, message_id, ["Send", "Delivery"])
    sender, recipients, reply = mail_about(receiver, message_id)
    assert (sender, recipients) == ("", ["other@example.com"])
    assert f"In-Reply-To: <{message_id}@relay.example>".encode() in reply


@pytest.mark.req("SIM-005", "SIM-007")
def test_a_complaint_follows_its_delivery(relay, receiver):
    message_id = relay.send(f"complaint+x@{OWN}")
    _, delivered, complained = events_of(relay, message_id, ["Send", "Delivery", "Complaint"])
    assert delivered["eventType"] == "Delivery"
    complaint = complained["complaint"]
    assert complaint["complainedRecipients"] == [{"emailAddress": f"complaint+x@{OWN}"}]
    assert complaint["complaintFeedbackType"] == "abuse"
    assert complaint["complaintSubType"] is None
    assert complaint["userAgent"]
    assert complaint["arrivalDate"].endswith("Z")
    assert complaint["feedbackId"] != message_id
    sender, recipients, report = mail_about(receiver, message_id)
    assert (sender, recipients) == ("", ["app@example.com"])
    seen = classify(report)
    assert (seen.kind, seen.rule) == ("complaint", "RFC 5965")
    assert seen.complaint.recipients == (f"complaint+x@{OWN}",)


@pytest.mark.req("SIM-006", "SIM-007")
def test_the_suppression_list_bounces_at_once(relay):
    listed = [f"suppressionlist@{OWN}", f"suppressionlist+a@{SES}"]
    message_id = relay.send([*listed, f"success@{OWN}"])
    found = events_of(relay, message_id, ["Send", "Bounce", "Delivery"])
    (bounce,) = (event["bounce"] for event in found if event["eventType"] == "Bounce")
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "Suppressed")
    assert [each["emailAddress"] for each in bounce["bouncedRecipients"]] == listed
    states = {one["recipient"]: one["state"] for one in relay.json("trace", message_id)["deliveries"]}
    assert states == dict.fromkeys(listed, "suppressed") | {f"success@{OWN}": "delivered"}


@pytest.mark.req("SIM-009", "QUOTA-003")
def test_simulator_recipients_count_against_the_rate_only(relay):
    relay.run("quota", "set", "--daily", "3", "--rate", "1000")
    try:
        with relay.client() as client:
            before = relay.json("quota", "show")["sentLast24Hours"]
            relay.run("quota", "set", "--daily", str(before + 2), "--rate", "1000")
            relay.send([f"success+{number}@{SES}" for number in range(20)], client=client)
            relay.send(["one@remote.example", f"bounce@{OWN}", "two@remote.example"], client=client)
            assert relay.json("quota", "show")["sentLast24Hours"] == before + 2
            with pytest.raises(AssertionError, match="Daily message quota exceeded"):
                relay.send("three@remote.example", client=client)
            relay.send(f"success@{SES}", client=client)  # the quota is used up, and the simulator needs none
            relay.run("quota", "set", "--daily", "-1", "--rate", "1")
            relay.send([f"success+{number}@{SES}" for number in range(100)], client=client)
            with pytest.raises(AssertionError, match="Maximum sending rate exceeded"):
                relay.send(f"success@{SES}", client=client)
    finally:
        relay.run("quota", "set", "--daily", "-1", "--rate", "-1")


@pytest.mark.req("SIM-009")
def test_what_is_simulated_counts_nowhere_else(relay):
    def counted():
        lines = relay.metrics().splitlines()
        names = ("relay_deliveries_total", "relay_attempts_total", "relay_recipients_suppressed_total")
        return [line for line in lines if line.startswith(names)]

    def played():
        lines = [line for line in relay.metrics().splitlines() if line.startswith("relay_simulator_deliveries_total")]
        return sum(float(line.split()[-1]) for line in lines)

    time.sleep(1.1)  # the page is kept for a second, and has to know all that earlier tests did
    before, played_before = counted(), played()
    message_id = relay.send([f"bounce@{OWN}", f"success@{OWN}", f"suppressionlist@{OWN}"], sender="")
    events_of(relay, message_id, ["Send", "Bounce", "Bounce", "Delivery"])
    eventually(lambda: played() == played_before + 3, what="the simulator's metric")
    assert counted() == before


@pytest.mark.req("SIM-001")
@pytest.mark.parametrize("name", [OWN, SES, f"success@{SES}", "Simulator.Relay.Example"])
def test_simulator_domains_are_no_identities(relay, name):
    refused = relay.run("identity", "create", name, check=False)
    assert refused.returncode != 0
    assert "simulator" in refused.stderr
    assert relay.run("identity", "show", name, check=False).returncode != 0


@pytest.mark.req("SIM-010")
def test_mail_from_outside_is_refused(relay):
    with smtplib.SMTP("127.0.0.1", relay.mx_port, timeout=30) as client:
        client.ehlo("other.example")
        assert client.mail("stranger@other.example")[0] == 250
        for address in (f"success@{OWN}", f"bounce@{SES}", f"OOTO@{OWN.upper()}"):
            assert client.rcpt(address)[0] == 550


def test_a_held_message_is_played_after_its_release(relay):
    # A hold that comes in time leaves the delivery alone; whichever way it went, it is played exactly once.
    message_id = relay.send(f"success@{OWN}")
    relay.run("queue", "hold", message_id, check=False)
    relay.run("queue", "release", message_id, check=False)
    events_of(relay, message_id, ["Send", "Delivery"])
    assert json.loads(relay.run("trace", message_id, "--json").stdout)["deliveries"][0]["state"] == "delivered"
