"""Settings of feedback in the catalog: what is kept under which name, and what becomes of a topic that is lost."""

import pytest

from relay.errors import NotFoundError, UsageError
from relay.model.feedback import DEFAULT_FEEDBACK, FeedbackKind, FeedbackSettings
from relay.store.catalog import open_catalog
from relay.store.event_destinations import EventDestinationView

KEY = bytes(range(32))
A, B = "000000000001", "000000000002"
TOPIC = "arn:aws:sns:r:000000000001:t"
SHARED = f"arn:aws:ses:r:{A}:identity/x.example"


@pytest.fixture
def catalog(tmp_path):
    with open_catalog(tmp_path, KEY, now_ms=lambda: 1000) as opened:
        opened.accounts.create(A, contact="owner@a.example")
        opened.accounts.create(B)
        opened.identities.create(A, "x.example")
        yield opened


def letter(recipient):
    return f"To: {recipient}\r\n".encode(), b"lost\r\n"


@pytest.mark.req("NOTIF-015")
@pytest.mark.parametrize("kind", [FeedbackKind.BOUNCE, FeedbackKind.COMPLAINT])
def test_a_lost_topic_is_given_up_once_and_told_with_the_change(catalog, kind):
    catalog.feedback.set_forwarding(A, "x.example", enabled=False)
    for each in FeedbackKind:
        catalog.feedback.set_topic(A, "x.example", each, TOPIC)
    assert not catalog.feedback.topic_failed(A, "x.example", kind, "arn:aws:sns:r:000000000001:before", letter)
    assert not catalog.feedback.topic_failed(A, "x.example", FeedbackKind.DELIVERY, TOPIC, letter)
    assert catalog.notices.waiting() == []
    assert catalog.feedback.topic_failed(A, "x.example", kind, TOPIC, letter)
    assert not catalog.feedback.topic_failed(A, "x.example", kind, TOPIC, letter)  # an event that is read again
    assert [catalog.notices.get(one).recipient for one in catalog.notices.waiting()] == ["owner@a.example"]
    found = catalog.feedback.get(A, "x.example")
    assert found.forwarding
    assert {each for each in FeedbackKind if found.topic(each)} == set(FeedbackKind) - {kind}


@pytest.mark.req("NOTIF-010", "NOTIF-017")
def test_owner_and_delegate_have_settings_of_their_own(catalog):
    catalog.feedback.set_topic(A, "X.example", FeedbackKind.BOUNCE, TOPIC)
    catalog.feedback.set_topic(B, SHARED, FeedbackKind.COMPLAINT, TOPIC)
    assert catalog.feedback.get(A, SHARED) == FeedbackSettings(bounce_topic=TOPIC)  # the owner may use either name
    assert catalog.feedback.get(B, SHARED) == FeedbackSettings(complaint_topic=TOPIC)
    with pytest.raises(NotFoundError):
        catalog.feedback.get(B, "x.example")
    with pytest.raises(UsageError):
        catalog.feedback.set_topic(A, "x.example", FeedbackKind.BOUNCE, "x" * 401)


def test_what_changes_is_seen_by_who_publishes(catalog, tmp_path):
    view = EventDestinationView(tmp_path)
    view.refresh()
    assert not view.any_notified()
    assert view.feedback(A, "x.example") == DEFAULT_FEEDBACK
    catalog.feedback.set_topic(A, "x.example", FeedbackKind.DELIVERY, TOPIC)
    assert view.refresh()
    assert view.any_notified()
    assert view.feedback(A, "x.example").delivery_topic == TOPIC
    catalog.identities.delete(A, "x.example")
    assert view.refresh()
    assert not view.any_notified()
    view.close()
