"""Which events go where, and what metrics count."""

import json
from dataclasses import replace

import orjson
import pytest

from relay.events.counting import MetricsApplier, dimensions_of
from relay.events.router import Router
from relay.model.event import LoggedEvent
from relay.model.event_destination import (
    DestinationKind,
    Dimension,
    DimensionSource,
    EventDestination,
    EventType,
)
from relay.model.feedback import DEFAULT_FEEDBACK, FeedbackKind, FeedbackSettings
from relay.model.message import NewEvent
from relay.ports.events import CountedSeries, NewItem
from relay.runtime.observe.event_counts import as_series
from relay.store.event_counts import EventCounts, read_counts
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog

ACCOUNT = "000000000001"
STREAM = EventDestination(
    ACCOUNT, "all", "lines", True, tuple(EventType), DestinationKind.STREAM,
    "arn:aws:firehose:r:000000000001:deliverystream/lines",
)  # fmt: skip
BUS = replace(STREAM, name="bus", kind=DestinationKind.BUS, target="arn:aws:events:r:000000000001:event-bus/default")
TOPIC = replace(STREAM, name="topic", kind=DestinationKind.TOPIC, target="arn:aws:sns:r:000000000001:t")
TAG = Dimension("campaign", DimensionSource.MESSAGE_TAG, "none")
GENRE = Dimension("X-Genre", DimensionSource.EMAIL_HEADER, "other")
PLACE = Dimension("place", DimensionSource.LINK_TAG, "nowhere")
METRICS = replace(STREAM, name="metrics", kind=DestinationKind.METRICS, target="", dimensions=(TAG,))


class Destinations:
    def __init__(self, *known):
        self.known = known
        self.changed = True

    def refresh(self):
        changed, self.changed = self.changed, False
        return changed

    def any(self):
        return bool(self.known)

    def of(self, account, name):
        return [one for one in self.known if (one.account, one.configuration_set) == (account, name)]

    def any_notified(self):
        return bool(getattr(self, "settings", {}))

    def feedback(self, account, key):
        return self.settings.get((account, key), DEFAULT_FEEDBACK)

    def metrics(self):
        return frozenset(
            (one.account, one.configuration_set, one.name)
            for one in self.known
            if one.kind is DestinationKind.METRICS
        )

    def close(self):
        pass


class Queue:
    def __init__(self):
        self.items = []
        self.places = {}

    def place(self, shard):
        return self.places.get(shard, 0)

    def accept(self, shard, seq, items, now_ms):
        self.items += items
        self.places[shard] = seq


def event(seq, kind="Send", name="all", body=None, **more):
    tags = {
        "ses:source-ip": ["192.0.2.1"],
        **({"ses:configuration-set": [name]} if name else {}),
        **more.get("tags", {}),
    }
    mail = {
        "timestamp": "2026-11-26T01:00:00.000Z", "messageId": f"m{seq}", "sourceArn": "arn:identity/x",
        "source": "a@b.example", "sendingAccountId": more.get("account", ACCOUNT), "destination": ["c@d.example"],
        "headers": more.get("headers", []), "tags": tags,
    }  # fmt: skip
    record = {"eventType": kind, "mail": mail, kind.lower(): body or {}}
    return LoggedEvent(1, seq, NewEvent(f"id/{seq}", kind, f"m{seq}", orjson.dumps(record)))


def routed(destinations, *events, topics=None):
    queue, woken = Queue(), []
    router = Router(lambda: queue, destinations, ManualClock(), woken.append, topics)
    router.open()
    router.apply(1, events)
    assert router.place(1) == events[-1].seq
    return queue.items, woken


@pytest.mark.req("DEST-001", "DEST-005")
def test_an_event_goes_to_all_enabled_destinations_of_its_set_that_want_it():
    off = replace(BUS, name="off", target=BUS.target + "2", enabled=False)
    bounces = replace(BUS, name="bounces", target=BUS.target + "3", types=(EventType.BOUNCE,))
    destinations = Destinations(STREAM, BUS, off, bounces, METRICS, replace(BUS, name="again"))
    one = event(1)
    items, woken = routed(destinations, one, event(2, name=""), event(3, name="other"), event(4, account="2" * 12))
    assert items == [NewItem("id/1", "Send", one.payload, ("stream:lines", "bus:default"), ACCOUNT)]
    assert woken == [frozenset({"stream:lines", "bus:default"})]


def test_without_destinations_only_the_place_moves():
    items, woken = routed(Destinations(), event(1), event(2))
    assert (items, woken) == ([], [])


def test_events_that_are_given_again_are_not_routed_again():
    queue, woken = Queue(), []
    router = Router(lambda: queue, Destinations(STREAM), ManualClock(), woken.append)
    router.open()
    router.apply(1, [event(1), event(2)])
    router.apply(1, [event(1), event(2), event(3)])
    router.apply(1, [event(2)])
    assert [item.key for item in queue.items] == ["id/1", "id/2", "id/3"]
    assert (router.place(1), len(woken)) == (3, 2)


def test_topics_make_items_of_their_own():
    class Topics:
        def item(self, arn, one, facts):
            return NewItem("n", "Notification", b"{}", ("subscription:x",), facts.account) if arn else None

    items, _ = routed(Destinations(TOPIC, STREAM), event(1), topics=Topics())
    assert [item.targets for item in items] == [("subscription:x",), ("stream:lines",)]
    assert routed(Destinations(TOPIC), event(1))[0] == []


class Notified:
    """Topics that keep what they are asked for."""

    def __init__(self):
        self.asked = []

    def notification(self, arn, one, key, *, headers):
        self.asked.append((arn, one.kind, key, headers))
        return NewItem("n", "Notification", b"{}", ("subscription:x",))


@pytest.mark.req("NOTIF-010", "NOTIF-011", "NOTIF-012", "NOTIF-017")
@pytest.mark.parametrize("name", ["", "gone"])  # with or without a set
def test_the_sending_account_says_which_topic_hears_of_an_identity(name):
    other, destinations, topics = "2" * 12, Destinations(), Notified()
    shared = f"arn:aws:ses:r:{ACCOUNT}:identity/b.example"
    destinations.settings = {
        (ACCOUNT, "b.example"): FeedbackSettings(bounce_topic="own", headers=frozenset({FeedbackKind.BOUNCE})),
        (other, shared): FeedbackSettings(bounce_topic="delegate's", complaint_topic="complaints"),
    }

    def about(seq, kind, account=ACCOUNT):
        found = event(seq, kind, name, account=account)
        found.record["mail"]["sourceArn"] = shared
        return found

    kinds = ("Send", "Bounce", "Complaint", "Delivery", "DeliveryDelay")
    events = [about(seq, kind) for seq, kind in enumerate(kinds)]
    items, _ = routed(destinations, *events, *(about(9, kind, other) for kind in kinds), topics=topics)
    assert topics.asked == [
        ("own", "Bounce", "b.example", True),
        ("delegate's", "Bounce", shared, False),
        ("complaints", "Complaint", shared, False),
    ]
    assert len(items) == 3


@pytest.mark.req("DEST-013", "DEST-014", "DEST-017")
@pytest.mark.parametrize(
    ("dimensions", "more", "found"),
    [
        ((TAG,), {}, [("campaign", "none")]),
        ((TAG,), {"tags": {"campaign": ["spring", "x"]}}, [("campaign", "spring")]),
        (
            (TAG, GENRE),
            {"headers": [{"name": "x-genre", "value": "news"}]},
            [("campaign", "none"), ("X-Genre", "news")],
        ),
        ((GENRE,), {"headers": [{"name": "X-Genre", "value": "two words"}]}, None),
        ((GENRE,), {"headers": [{"name": "X-Genre", "value": "größe"}]}, None),
        ((GENRE,), {"headers": [{"name": "X-Genre", "value": ""}]}, None),
        ((TAG,), {"tags": {"campaign": ["a" * 256]}}, None),
        ((PLACE,), {}, None),
        ((TAG, PLACE), {}, None),
        ((PLACE,), {"kind": "Click", "body": {"linkTags": {"place": ["top"]}}}, [("place", "top")]),
        ((PLACE,), {"kind": "Click", "body": {"linkTags": None}}, [("place", "nowhere")]),
        ((TAG,), {"kind": "Click", "body": {"linkTags": None}}, [("campaign", "none")]),
    ],
)
def test_dimensions_of_an_event(dimensions, more, found):
    assert dimensions_of(event(1, **more).record, dimensions) == found


@pytest.fixture
def counts(tmp_path):
    def opened(series_max=100):
        return EventCounts(tmp_path / "events" / "metrics.db", MemoryLog(), series_max=series_max)

    return opened


def applied(counts, destinations, *events, series_max=100):
    applier = MetricsApplier(lambda: counts(series_max), destinations)
    applier.open()
    begin = applier.place(1)
    applier.apply(1, [one for one in events if one.seq > begin])
    applier.close()


@pytest.mark.req("DEST-018", "DEST-020")
def test_each_event_counts_for_its_account_and_each_destination(counts, tmp_path):
    both = replace(METRICS, name="both", dimensions=(TAG, GENRE))
    destinations = Destinations(METRICS, both, replace(METRICS, name="off", enabled=False))
    spring = {"tags": {"campaign": ["spring"]}}
    applied(counts, destinations, event(1, **spring), event(2, "Click", **spring), event(3, name=""))
    applied(counts, destinations, event(3, name=""), event(4, **spring), event(5, account="2" * 12, name=""))
    found, dropped = read_counts(tmp_path)
    key = (ACCOUNT, "all")
    assert found == {
        CountedSeries((ACCOUNT, "", ""), "Send"): 3,  # the third came twice, and counts once
        CountedSeries((ACCOUNT, "", ""), "Click"): 1,
        CountedSeries(("2" * 12, "", ""), "Send"): 1,
        CountedSeries((*key, "metrics"), "Send", '[["campaign","spring"]]'): 2,
        CountedSeries((*key, "metrics"), "Click", '[["campaign","spring"]]'): 1,
        CountedSeries((*key, "both"), "Send", '[["campaign","spring"],["X-Genre","other"]]'): 2,
        CountedSeries((*key, "both"), "Click", '[["campaign","spring"],["X-Genre","other"]]'): 1,
    }
    assert dropped == {}


@pytest.mark.req("DEST-019")
def test_series_are_bounded_and_what_is_left_out_is_counted(counts, tmp_path):
    events = [event(n, tags={"campaign": [f"c{n % 5}"]}) for n in range(1, 21)]
    applied(counts, Destinations(METRICS), *events, series_max=3)
    found, dropped = read_counts(tmp_path)
    assert len([one for one in found if one.destination[2]]) == 3
    assert sum(count for one, count in found.items() if one.destination[2]) == 12
    assert dropped == {(ACCOUNT, "all", "metrics"): 8}
    assert found[CountedSeries((ACCOUNT, "", ""), "Send")] == 20
    applied(counts, Destinations(STREAM), event(21))  # the destination is no more
    found, dropped = read_counts(tmp_path)
    assert (dropped, {one.destination for one in found}) == ({}, {(ACCOUNT, "", "")})


@pytest.mark.req("DEST-021")
def test_counts_are_metrics_with_labels_that_prometheus_takes():
    def series(name, *dimensions, kind="Send"):
        return CountedSeries((ACCOUNT, "all", name), kind, json.dumps(dimensions))

    found = as_series(
        {
            CountedSeries((ACCOUNT, "", ""), "Rendering Failure"): 2,
            series("a", ("campaign", "x")): 1,
            series("b", ("campaign", "x")): 2,
            series("c", ("ses:from-domain", "d"), ("1st", "e"), ("account", "f"), ("a-b", "g"), ("a_b", "h")): 4,
            series("d", kind="Unknown"): 1,
        },
        {(ACCOUNT, "all", "a"): 7},
    )
    assert found["relay_ses_rendering_failure_total"] == [({"account": ACCOUNT}, 2)]
    odd = {"account": ACCOUNT, "ses_from_domain": "d", "_1st": "e", "account_": "f", "a_b": "g", "a_b_": "h"}
    assert found["relay_ses_send_total"] == [({"account": ACCOUNT, "campaign": "x"}, 3), (odd, 4)]
    labels = {"account": ACCOUNT, "configuration_set": "all", "destination": "a"}
    assert found["relay_ses_series_dropped_total"] == [(labels, 7)]
    assert len(found) == 3


def test_events_that_are_given_again_are_not_counted_again(counts, tmp_path):
    applier = MetricsApplier(lambda: counts(10), Destinations())
    applier.open()
    applier.apply(1, [event(1), event(2)])
    applier.apply(1, [event(1), event(2), event(3)])
    applier.apply(1, [event(2)])
    assert applier.place(1) == 3
    applier.close()
    assert read_counts(tmp_path)[0] == {CountedSeries((ACCOUNT, "", ""), "Send"): 3}


def test_counts_that_are_not_there_are_none(tmp_path):
    assert read_counts(tmp_path) == ({}, {})
