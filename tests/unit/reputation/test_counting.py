"""What an event counts as: in points by time, and in the cells that rates are made of."""

import orjson
import pytest

from relay.events import payload
from relay.events.notes import SIMULATED, lane_notes
from relay.events.payload import RecipientStatus, timestamp
from relay.model.event import LoggedEvent
from relay.model.message import NewEvent
from relay.policy.suppression import SuppressedRecipient
from relay.reputation.counting import Count, Dimension, Rules, counted
from relay.reputation.rates import Cell

ACCEPTED, LATER = 1_790_000_000_000, 1_790_003_600_000
ACCOUNT = "000000000002"
RULES = Rules("relay.example", reporting=frozenset({"yahoo"}), traps=frozenset({"trap@remote.example"}))


def mail(*recipients, configuration_set="news", owner=ACCOUNT):
    return orjson.dumps(
        {
            "timestamp": timestamp(ACCEPTED),
            "messageId": "m-1",
            "source": "app@example.com",
            "sourceArn": f"arn:aws:ses:local-1:{owner}:identity/example.com",
            "sendingAccountId": ACCOUNT,
            "destination": list(recipients or ("user@remote.example",)),
            "tags": {"ses:configuration-set": [configuration_set], "ses:source-ip": ["192.0.2.1"]},
        }
    )


def is_own(account, recipient):
    assert account == ACCOUNT
    return recipient.endswith("@own.example")


def count(kind, body, notes=b"", event_id="m-1/0/x"):
    return counted(LoggedEvent(1, 1, NewEvent(event_id, kind, "m-1", body, notes)), RULES, is_own)


def delivery(*recipients, notes=b""):
    body = payload.delivery(
        mail(*recipients),
        timestamp_ms=LATER,
        processing_ms=1,
        recipients=recipients,
        smtp_response="250",
        reporting_mta="relay.example",
    )
    return count("Delivery", body, notes)


def bounce(
    kind="Permanent", sub="General", *, notes=b"", blocklist="", event_id="m-1/0/Bounce/0", to="user@remote.example"
):
    status = RecipientStatus(to, "failed", "5.1.1", "smtp; 550 no", blocklist)
    body = payload.bounce(
        mail(to),
        timestamp_ms=LATER,
        bounce_type=kind,
        bounce_sub_type=sub,
        recipients=(status,),
        feedback_id=event_id,
    )
    return count("Bounce", body, notes, event_id)


def complaint(sub=None, notes=b"", kind="abuse"):
    body = payload.complaint(
        mail(),
        timestamp_ms=LATER,
        recipients=("user@remote.example",),
        feedback_id="f",
        complaint_sub_type=sub,
        feedback_type=kind,
    )
    return count("Complaint", body, notes)


@pytest.mark.req("STAT-003")
def test_a_send_counts_each_recipient_at_the_time_it_was_accepted():
    found = count("Send", payload.send(mail("a@remote.example", "trap@remote.example")))
    assert (found.points, found.moment_ms, found.cell) == ({Count.SENDS: 2}, ACCEPTED, Cell(ACCEPTED, sent=2))
    assert found.trap_hits == 1
    assert [(dimension, name) for dimension, name, _ in found.shape(1).series()] == [
        (Dimension.ACCOUNT, ""),
        (Dimension.CONFIGURATION_SET, "news"),
        (Dimension.IDENTITY, "example.com"),
    ]
    found = count("Reject", payload.reject(mail("a@x.example", "b@x.example")))
    assert (found.points, found.cell) == ({Count.REJECTS: 2}, Cell(ACCEPTED, sent=-2))  # it was not sent after all


@pytest.mark.req("REP-015")
def test_delegated_mail_counts_for_who_sends():
    found = count("Send", payload.send(mail(owner="000000000009")))
    assert found.account == ACCOUNT
    assert found.identity == "arn:aws:ses:local-1:000000000009:identity/example.com"


@pytest.mark.req("REP-001", "REP-003")
def test_a_delivery_counts_when_it_happened_and_in_the_cell_of_its_message():
    found = delivery("user@remote.example", notes=lane_notes("yahoo", "bulk"))
    assert (found.moment_ms, found.points) == (LATER, {Count.DELIVERIES: 1})
    assert found.cell == Cell(ACCEPTED, reporting=1)
    lanes = {dimension: (name, dict(amounts)) for dimension, name, amounts in found.shape(1).series()}
    assert lanes[Dimension.PROVIDER] == ("yahoo", {Count.DELIVERIES: 1, Count.SENDS: 1})
    assert lanes[Dimension.POOL] == ("bulk", {Count.DELIVERIES: 1, Count.SENDS: 1})
    assert delivery("user@remote.example").cell is None
    assert delivery("user@remote.example").provider == "other"


@pytest.mark.req("REP-002")
def test_mail_to_own_verified_names_is_in_no_bounce_rate():
    sent = payload.send(mail("me@own.example", "user@remote.example", "success@simulator.relay.example"))
    assert count("Send", sent).cell == Cell(ACCEPTED, sent=1)
    assert delivery("me@own.example", notes=lane_notes("yahoo", "")).cell == Cell(ACCEPTED, reporting=1)
    assert bounce(to="me@own.example").cell is None
    assert bounce(to="me@own.example").points == {Count.HARD_BOUNCES: 1}


@pytest.mark.req("REP-001", "REP-002", "STAT-001")
def test_hard_bounces_count_and_soft_ones_do_not():
    assert bounce().cell == Cell(ACCEPTED, hard_bounces=1)
    assert bounce().points == {Count.HARD_BOUNCES: 1}
    assert bounce("Transient").cell is None
    assert bounce("Transient").points == {Count.SOFT_BOUNCES: 1}
    assert bounce("Undetermined", "Undetermined").points == {Count.SOFT_BOUNCES: 1}


def test_a_bounce_that_comes_back_later_is_not_sent_a_second_time():
    late = bounce(event_id="m-1/0/Bounce/returned", notes=lane_notes("yahoo", "bulk"))
    assert late.cell == Cell(ACCEPTED, hard_bounces=1)
    assert late.lane_points == {Count.HARD_BOUNCES: 1}
    assert bounce("Transient", event_id="m-1/0/Bounce/returned").cell is None


@pytest.mark.req("REP-002")
def test_a_refusal_of_our_address_is_no_fault_of_the_list():
    assert bounce(blocklist="zen.example").cell is None
    assert bounce(notes=lane_notes("yahoo", "", blocked=True)).cell is None
    assert bounce(notes=b'{"autoReply":true}').cell is None


@pytest.mark.req("REP-002", "REP-003", "SUPP-010")
def test_what_the_accounts_own_list_stops_counts_in_no_rate():
    one = SuppressedRecipient(0, "user@remote.example", "Bounce")
    body = payload.suppressed(mail(), one, timestamp_ms=ACCEPTED, feedback_id="f")
    found = count("Bounce", body)
    assert (found.points, found.cell) == ({Count.SUPPRESSED: 1}, Cell(ACCEPTED, sent=-1))
    found = complaint("OnAccountSuppressionList")
    assert (found.points, found.cell) == ({Count.SUPPRESSED: 1}, Cell(ACCEPTED, sent=-1))


@pytest.mark.req("REP-002", "SUPP-004", "FLOW-015")
def test_what_the_list_of_the_relay_stops_counts_as_a_bounce():
    body = payload.suppressed_by_relay(mail(), ["user@remote.example"], timestamp_ms=ACCEPTED, feedback_id="f")
    found = count("Bounce", body)
    assert found.points == {Count.HARD_BOUNCES: 1, Count.SUPPRESSED: 1}
    assert found.cell == Cell(ACCEPTED, hard_bounces=1)
    assert (found.lane_points, found.provider) == ({}, "")


@pytest.mark.req("REP-003", "STAT-002")
def test_a_complaint_counts_against_the_time_its_message_was_sent():
    found = complaint(notes=lane_notes("yahoo", ""))
    assert (found.moment_ms, found.points) == (LATER, {Count.COMPLAINTS: 1})
    assert found.cell == Cell(ACCEPTED, complaints=1)


@pytest.mark.req("REP-003")
def test_a_complaint_about_mail_that_is_not_in_the_volume_is_not_in_its_rate():
    found = complaint(notes=lane_notes("elsewhere", ""))
    assert (found.points, found.cell) == ({Count.COMPLAINTS: 1}, None)


@pytest.mark.req("REP-003", "STAT-002")
@pytest.mark.parametrize("kind", ["not-spam", "auth-failure"])
def test_a_report_that_says_nothing_against_the_mail_is_no_complaint(kind):
    assert complaint(kind=kind) is None


@pytest.mark.req("REP-002", "REP-003", "STAT-003")
def test_the_simulator_is_counted_by_time_and_in_no_rate():
    for found in (delivery("success@simulator.relay.example", notes=SIMULATED), bounce(notes=SIMULATED)):
        assert found.points
        assert (found.cell, found.provider) == (None, "")
    assert complaint(notes=SIMULATED).cell is None


def test_what_says_nothing_countable_is_nothing():
    assert count("Something", payload.send(mail())) is None
    with pytest.raises(KeyError):
        count("Delivery", payload.send(mail()))


@pytest.mark.req("REP-003")
def test_a_complaint_that_may_be_from_several_recipients_is_one():
    body = payload.complaint(
        mail("a@remote.example", "b@remote.example"),
        timestamp_ms=LATER,
        recipients=("a@remote.example", "b@remote.example"),
        feedback_id="f",
    )
    assert count("Complaint", body).points == {Count.COMPLAINTS: 1}
    assert count("Complaint", body, SIMULATED).points == {Count.COMPLAINTS: 2}
