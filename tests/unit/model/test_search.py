"""Queries mean what they say, and every message and event that is meant is filed under all terms of its query."""

import orjson
import pytest

from relay.model.delivery import DeliveryState
from relay.model.search import EventFacts, EventQuery, MessageFacts, MessageQuery, message_terms, subject_hash

KEY = b"k" * 32
MAIL = {
    "source": "App@Example.com",
    "sourceArn": "arn:relay:ses:local-1:000000000001:identity/example.com",
    "commonHeaders": {"subject": "Your  order", "messageId": "<Own@example.com>"},
    "tags": {"campaign": ["book"], "ses:source-ip": ["192.0.2.1"]},
}
FACTS = MessageFacts(
    "000000000001",
    "app@example.com",
    "news",
    1000,
    orjson.dumps(MAIL),
    [("One@Example.ORG", DeliveryState.DELIVERED), ("two@example.net", DeliveryState.BOUNCED)],
)


@pytest.mark.parametrize(
    "query",
    [
        MessageQuery(),
        MessageQuery(recipient="one@example.org"),
        MessageQuery(domain="EXAMPLE.net"),
        MessageQuery(sender="APP@example.com"),
        MessageQuery(identity="example.com"),
        MessageQuery(account="000000000001", configuration_set="news"),
        MessageQuery(subject_hash=subject_hash(KEY, "your order ")),
        MessageQuery(header_id="Own@example.com"),
        MessageQuery(header_id=" <Own@example.com>"),
        MessageQuery(tags=(("campaign", "book"),)),
        MessageQuery(outcome=DeliveryState.BOUNCED),
        MessageQuery(outcome=DeliveryState.DELIVERED),
        MessageQuery(recipient="two@example.net", outcome=DeliveryState.BOUNCED),
        MessageQuery(since_ms=1000, until_ms=1001),
    ],
)
def test_a_message_that_is_meant_is_filed_under_every_term(query):
    assert query.meant(FACTS, KEY)
    assert set(query.terms()) <= message_terms(FACTS, KEY)


@pytest.mark.parametrize(
    "query",
    [
        MessageQuery(recipient="one@example.com"),
        MessageQuery(recipient="one@example.org", outcome=DeliveryState.BOUNCED),
        MessageQuery(recipient="one@example.org", domain="example.net"),
        MessageQuery(domain="ample.net"),
        MessageQuery(sender="other@example.com"),
        MessageQuery(identity="app@example.com"),
        MessageQuery(account="000000000002"),
        MessageQuery(configuration_set="new"),
        MessageQuery(subject_hash=subject_hash(b"other", "your order")),
        MessageQuery(subject_hash=subject_hash(KEY, "your orders")),
        MessageQuery(header_id="own@example.com"),
        MessageQuery(tags=(("campaign", "boo"),)),
        MessageQuery(outcome=DeliveryState.REJECTED),
        MessageQuery(since_ms=1001),
        MessageQuery(until_ms=1000),
    ],
)
def test_a_message_that_is_not_meant(query):
    assert not query.meant(FACTS, KEY)


@pytest.mark.parametrize("mail", [b"", b"{", b"[]", b'{"tags":1,"commonHeaders":[],"source":2,"sourceArn":[]}'])
def test_a_damaged_mail_object_is_filed_by_its_other_columns(mail):
    facts = FACTS._replace(mail_json=mail)
    assert set(MessageQuery(recipient="one@example.org", account="000000000001").terms()) <= message_terms(facts, KEY)
    assert not MessageQuery(tags=(("campaign", "book"),)).meant(facts, KEY)
    assert not MessageQuery(subject_hash=subject_hash(KEY, "x")).meant(facts, KEY)


EVENT = EventFacts("e1", "m1", "Bounce", "000000000001", "news", ("One@example.org",), 1000)


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        (EventQuery(), True),
        (EventQuery(event_id="e1", message_id="m1", kind="Bounce"), True),
        (EventQuery(recipient="one@EXAMPLE.org", account="000000000001", configuration_set="news"), True),
        (EventQuery(since_ms=1000, until_ms=1001), True),
        (EventQuery(event_id="e2"), False),
        (EventQuery(message_id="m"), False),
        (EventQuery(kind="Send"), False),
        (EventQuery(recipient="two@example.org"), False),
        (EventQuery(account="000000000002"), False),
        (EventQuery(configuration_set="new"), False),
        (EventQuery(since_ms=1001), False),
        (EventQuery(until_ms=1000), False),
    ],
)
def test_events(query, meant):
    assert query.meant(EVENT) is meant
    assert not meant or set(query.terms()) <= set(EVENT.terms())
