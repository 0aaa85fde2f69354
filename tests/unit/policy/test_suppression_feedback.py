"""Which events put which addresses on lists: a recipient's own fault, a complaint of one certain recipient."""

import pytest

from relay.policy.suppression_feedback import feedback_of, trigger_of

HOST = "relay.example"
SUPPRESS = {"suppress": True}
MAIL = {
    "timestamp": "2026-01-02T03:04:05.000Z",
    "messageId": "m",
    "source": "app@x.example",
    "sendingAccountId": "000000000001",
    "destination": ["a@x.example", "b@x.example"],
    "tags": {"ses:configuration-set": ["news"], "ses:source-ip": ["127.0.0.1"]},
}


def bounce(kind="Permanent", sub="General", status="5.1.1", text="smtp; 550 no", addresses=("A@x.example",)):
    recipients = [{"emailAddress": one, "status": status, "diagnosticCode": text} for one in addresses]
    body = {"bounceType": kind, "bounceSubType": sub, "bouncedRecipients": recipients}
    return {"mail": MAIL, "bounce": {**body, "timestamp": "2026-01-02T03:04:05.250Z", "feedbackId": "f"}}


def complaint(*addresses, sub=None, kind="abuse"):
    body = {"complainedRecipients": [{"emailAddress": one} for one in addresses], "complaintSubType": sub}
    body |= {"timestamp": "2026-01-02T03:04:05.250Z", "feedbackId": "f", "complaintFeedbackType": kind}
    return {"mail": MAIL, "complaint": body}


def test_what_is_known_of_a_bounce():
    found = feedback_of("Bounce", bounce(), SUPPRESS, HOST)
    assert (found.account, found.configuration_set, found.reason) == ("000000000001", "news", "BOUNCE")
    assert (found.addresses, found.message_id, found.feedback_id) == (["A@x.example"], "m", "f")
    assert found.occurred_ms == 1767323045250


@pytest.mark.parametrize(
    ("sub", "note", "listed"),
    [
        ("NoEmail", SUPPRESS, True),
        ("General", SUPPRESS, True),
        ("General", {"suppress": False}, False),
        ("NoEmail", {}, False),  # nobody said whose fault it was
        ("OnAccountSuppressionList", SUPPRESS, False),
        ("Suppressed", SUPPRESS, False),
    ],
)
def test_only_a_fault_of_the_recipient_counts(sub, note, listed):
    assert (feedback_of("Bounce", bounce(sub=sub), note, HOST) is not None) is listed


@pytest.mark.parametrize("kind", ["Transient", "Undetermined"])
def test_no_other_bounce_counts(kind):
    assert feedback_of("Bounce", bounce(kind), {"suppress": True}, HOST) is None


def test_the_simulator_is_never_listed():
    addresses = ("bounce@simulator.relay.example", "bounce@simulator.amazonses.com", "b@x.example")
    assert feedback_of("Bounce", bounce(addresses=addresses), SUPPRESS, HOST).addresses == ["b@x.example"]
    assert feedback_of("Bounce", bounce(addresses=addresses[:2]), SUPPRESS, HOST) is None
    assert feedback_of("Complaint", complaint(addresses[0]), {}, HOST) is None


def test_a_complaint_counts_when_it_is_certain_whose_it_is():
    assert feedback_of("Complaint", complaint("A@x.example"), {}, HOST).addresses == ["A@x.example"]
    assert feedback_of("Complaint", complaint("A@x.example", "a@X.example"), {}, HOST).reason == "COMPLAINT"
    assert feedback_of("Complaint", complaint("a@x.example", "b@x.example"), {}, HOST) is None
    assert feedback_of("Complaint", complaint(), {}, HOST) is None


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure"])
def test_reports_that_say_nothing_against_mail(kind):
    assert feedback_of("Complaint", complaint("a@x.example", kind=kind), {}, HOST) is None


def test_what_a_list_stopped_is_no_news():
    assert feedback_of("Complaint", complaint("a@x.example", sub="OnAccountSuppressionList"), {}, HOST) is None


def test_what_is_kept_has_no_other_recipients():
    kept = trigger_of("Bounce", bounce())
    assert kept["bounce"]["feedbackId"] == "f"
    assert kept["mail"] == {name: MAIL[name] for name in ("timestamp", "messageId", "source")}
