"""Events of configuration sets reach their destinations: streams, buses, metrics; also when a consumer is down."""

import gzip
import hashlib
import hmac
import json
import re
import threading
import time

import pytest

from tests.product import Product, Receiver, eventually
from tests.webhook import Webhook

pytestmark = pytest.mark.timeout(120)

SECRET = "a secret of the bus"


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def bus():
    with Webhook() as made:
        yield made


@pytest.fixture(scope="module")
def relay(receiver, bus):
    settings = {
        "streams": [
            {"name": "lines", "batch_age": "300ms"},
            {"name": "packed", "directory": "packed", "prefix": "mail/x=1/", "gzip": True, "batch_age": "300ms"},
            {"name": "slow", "batch_age": "1h"},
        ],
        "buses": [
            {"name": "default", "url": bus.url, "allow_private": True, "secret": SECRET},
            {"name": "patient", "url": bus.url, "allow_private": True, "timeout": "60s", "parallel": 3},
        ],
        "event_metrics": {"series_max": 4},
    }
    with Product(receiver.port, **settings) as product:
        yield product


def destination(relay, configuration_set, name, *arguments, types="all"):
    relay.run("event-destination", "create", configuration_set, name, "--types", types, *arguments)


def new_set(relay, name):
    relay.run("configuration-set", "create", name)
    return f"X-SES-CONFIGURATION-SET: {name}\r\n"


def lines(directory, suffix=".jsonl"):
    """Return all records in the files of a stream, by file."""
    read = gzip.decompress if suffix.endswith(".gz") else bytes
    files = sorted(path for path in directory.glob("**/*" + suffix) if ".incoming" not in path.parts)
    return {path: [json.loads(line) for line in read(path.read_bytes()).splitlines()] for path in files}


def records(directory, suffix=".jsonl"):
    return [record for found in lines(directory, suffix).values() for record in found]


def of(found, message_id):
    return [record for record in found if record["mail"]["messageId"] == message_id]


def own_events(relay, message_id, count):
    """Return the events of a message as the operator's file has them, once there are as many."""
    return eventually(lambda: len(found := of(relay.events(), message_id)) >= count and found)


@pytest.mark.req("DEST-001", "DEST-008", "DEST-009", "EVT-003")
def test_a_stream_has_each_event_as_a_line_below_its_hour(relay):
    header = new_set(relay, "streamed")
    destination(relay, "streamed", "lines", "--stream", "lines")
    before = time.time()
    message_id = relay.send(headers=header)
    directory = relay.data_dir / "streams" / "lines"
    found = eventually(lambda: len(own := of(records(directory), message_id)) >= 2 and own)
    assert found == own_events(relay, message_id, 2)
    assert {record["eventType"] for record in found} == {"Send", "Delivery"}
    hours = {time.strftime("%Y/%m/%d/%H", time.gmtime(at)) for at in (before, time.time())}
    for path in lines(directory):
        assert str(path.parent.relative_to(directory)) in hours
        assert path.read_bytes().endswith(b"}\n")
        assert path.stat().st_mode & 0o007 == 0
    assert list((directory / ".incoming").iterdir()) == []


def test_archived_events_are_published_again_to_streams_and_buses(relay, bus):
    message_id = relay.send()  # with no set: nobody got its events
    own = own_events(relay, message_id, 2)
    directory = relay.data_dir / "streams" / "lines"

    def replay(target, *more):
        options = ("events", "replay", "--destination", target, "--message", message_id, *more)
        return relay.run(*options, check=False)

    eventually(lambda: "2 events" in replay("stream:lines", "--dry-run").stderr, what="the archive")
    assert "2 events published again" in replay("stream:lines").stderr
    assert eventually(lambda: len(found := of(records(directory), message_id)) >= 2 and found) == own
    replay("stream:lines")
    eventually(lambda: len(of(records(directory), message_id)) == 4)  # another file, the first stays
    assert "1 event published again" in replay("bus:default", "--type", "Send").stderr
    (body,) = eventually(lambda: [body for body in bus.bodies() if message_id.encode() in body])
    assert json.loads(body)["detail"] == own[0]
    for target in ("stream:none", "bus:none"):
        done = replay(target)
        assert done.returncode != 0
        assert "There is no" in done.stderr


@pytest.mark.req("DEST-008", "DEST-009")
def test_files_may_be_compressed_below_a_prefix(relay):
    header = new_set(relay, "packed")
    destination(relay, "packed", "packed", "--stream", "packed", types="SEND")
    message_id = relay.send(headers=header)
    directory = relay.data_dir / "packed" / "mail" / "x=1"
    found = eventually(lambda: of(records(directory, ".jsonl.gz"), message_id))
    assert [record["eventType"] for record in found] == ["Send"]


@pytest.mark.req("DEST-010", "EVT-003")
def test_a_bus_gets_each_event_in_its_envelope(relay, bus):
    header = new_set(relay, "on-bus")
    destination(relay, "on-bus", "bus", "--bus", "default")
    message_id = relay.send(headers=header)

    def look():
        found = [request for request in bus.requests if message_id.encode() in request[2]]
        return len(found) >= 2 and found

    requests = eventually(look)
    events = {event["eventType"]: event for event in own_events(relay, message_id, 2)}
    for path, headers, body in requests:
        envelope = json.loads(body)
        assert path == "/hook"
        assert headers["Content-Type"] == "application/json"
        assert headers["X-Relay-Event-Id"] == envelope["id"]
        kind = envelope["detail"]["eventType"]
        assert envelope["detail"] == events[kind]
        assert envelope["detail-type"] == {"Send": "Email Sent", "Delivery": "Email Delivered"}[kind]
        assert (envelope["version"], envelope["source"], envelope["region"]) == ("0", "aws.ses", "local-1")
        assert envelope["account"] == relay.account
        assert envelope["resources"] == [f"arn:aws:ses:local-1:{relay.account}:configuration-set/on-bus"]
        stamp, _, digest = headers["X-Relay-Signature"].partition(",v1=")
        seconds = stamp.removeprefix("t=")
        signed = hmac.new(SECRET.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
        assert digest == signed
        assert abs(int(seconds) - time.time()) < 60
    assert len({headers["X-Relay-Event-Id"] for _, headers, _ in requests}) == 2


@pytest.mark.req("DEST-011")
def test_a_slow_post_holds_up_none_of_the_others(relay, bus):
    header = new_set(relay, "patient")
    destination(relay, "patient", "bus", "--bus", "patient", types="SEND")
    slow, go_on, now, most, answered = threading.Lock(), threading.Event(), set(), [], []

    def answer(request):
        key = request[1]["X-Relay-Event-Id"]
        now.add(key)
        most.append(len(now))
        if slow.acquire(blocking=False):  # the first one, whichever it is
            go_on.wait(60)
        now.discard(key)
        answered.append(key)
        return 200

    bus.answer = answer
    try:
        for _ in range(13):
            relay.send(headers=header)
        eventually(lambda: len(set(answered)) == 12, 30, "all others")
        assert len(now) == 1
    finally:
        go_on.set()
        bus.answer = lambda request: 200
    eventually(lambda: _waiting(relay, "bus:patient") == 0, 30, "the end of the slow one")
    assert len(answered) == len(set(answered)) == 13
    assert max(most) <= 3


def _waiting(relay, target):
    rows = [row for row in relay.rows("event-destination", "backlog") if row["target"] == target]
    return rows[0]["waiting"] if rows else 0


@pytest.mark.req("DEST-001", "DEST-005")
def test_only_enabled_destinations_whose_types_match_get_events(relay, bus):
    header = new_set(relay, "choosy")
    destination(relay, "choosy", "deliveries", "--stream", "lines", types="DELIVERY")
    destination(relay, "choosy", "off", "--bus", "default", "--disabled")
    other = new_set(relay, "elsewhere")
    plain = relay.send()
    foreign = relay.send(headers=other)
    first = relay.send(headers=header)
    directory = relay.data_dir / "streams" / "lines"
    eventually(lambda: of(records(directory), first))
    relay.run("event-destination", "enable", "choosy", "off")
    second = relay.send(headers=header)
    eventually(lambda: any(second.encode() in body for body in bus.bodies()))
    eventually(lambda: of(records(directory), second))
    relay.run("event-destination", "disable", "choosy", "off")
    third = relay.send(headers=header)
    eventually(lambda: of(records(directory), third))
    assert [each["eventType"] for each in of(records(directory), first)] == ["Delivery"]
    bodies = b"".join(bus.bodies())
    assert [one for one in (first, third, plain, foreign) if one.encode() in bodies] == []  # not replayed either
    assert of(records(directory), plain) == of(records(directory), foreign) == []


@pytest.mark.req("DEST-011")
def test_a_bus_that_fails_gets_everything_later_and_nobody_waits(relay, bus):
    header = new_set(relay, "failing")
    destination(relay, "failing", "bus", "--bus", "default")
    destination(relay, "failing", "lines", "--stream", "lines")
    bus.requests.clear()
    bus.answer = lambda _request: 500
    try:
        sent = [relay.send(headers=header) for _ in range(10)]
        eventually(lambda: bus.requests)
        directory = relay.data_dir / "streams" / "lines"
        eventually(lambda: all(len(of(records(directory), one)) == 2 for one in sent))
        eventually(lambda: len(relay.events("Delivery")) and own_events(relay, sent[-1], 2))
        (row,) = [row for row in relay.rows("event-destination", "backlog") if row["target"] == "bus:default"]
        assert row["waiting"] == 20
        name = 'relay_events_backlog{destination="bus:default"}'
        eventually(lambda: relay.metric(name) == 20, 60)
        assert relay.metric('relay_events_lag_seconds{destination="bus:default"}') > 0
    finally:
        bus.answer = lambda _request: 200
    bus.requests.clear()
    eventually(lambda: len({h["X-Relay-Event-Id"] for _, h, _ in bus.requests}) == 20, 90)
    eventually(lambda: relay.metric(name) == 0, 60)


def test_what_a_bus_refuses_is_listed_and_replayed(relay, bus):
    header = new_set(relay, "refused")
    destination(relay, "refused", "bus", "--bus", "default", types="SEND")
    bus.answer = lambda _request: 404
    message_ids = [relay.send(headers=header) for _ in range(3)]
    letters = eventually(
        lambda: len(found := relay.rows("event-destination", "dead-letters", "list", "bus:default")) == 3 and found
    )
    assert {json.loads(one["body"])["mail"]["messageId"] for one in letters} == set(message_ids)
    assert {one["error"] for one in letters} == {"status 404"}
    assert "status 404" in relay.run("event-destination", "dead-letters", "list").stdout
    told = [row for row in relay.rows("doctor", check=False) if row["check"] == "events"]
    assert "bus:default: 3 dead letters" in [row["detail"] for row in told]
    bus.answer = lambda _request: 200
    bus.requests.clear()
    done = relay.json("event-destination", "dead-letters", "replay", "--id", str(letters[0]["id"]))
    assert done == {"count": 1}
    eventually(lambda: letters[0]["eventId"].encode() in b"".join(bus.bodies()))
    assert relay.json("event-destination", "dead-letters", "delete", "bus:default") == {"count": 2}
    assert relay.rows("event-destination", "dead-letters", "list") == []
    wrong = relay.run("event-destination", "dead-letters", "list", "defualt", check=False)
    assert (wrong.returncode, "stream:NAME, bus:NAME" in wrong.stderr) == (64, True)
    refused = relay.run("event-destination", "dead-letters", "replay", check=False)
    assert refused.returncode == 64


def series(relay, name):
    """Return the series of a metric: labels by name, and value."""
    found = re.findall(rf"^{name}\{{(.*)\}} (\S+)$", relay.metrics(), re.MULTILINE)
    return {",".join(sorted(labels.split(","))): float(value) for labels, value in found}


@pytest.mark.req("DEST-013", "DEST-014", "DEST-017", "DEST-018", "DEST-019", "DEST-020", "DEST-021")
def test_metrics_count_by_dimensions(relay):
    header = new_set(relay, "counted")
    tag, from_header = "MESSAGE_TAG:campaign=none", "EMAIL_HEADER:X-Genre=other"
    destination(relay, "counted", "both", "--dimension", tag, "--dimension", from_header, types="SEND,DELIVERY")
    destination(relay, "counted", "links", "--dimension", "LINK_TAG:place=nowhere")
    destination(relay, "counted", "set", "--dimension", "MESSAGE_TAG:ses:configuration-set=x", types="SEND")
    total = f'account="{relay.account}"'
    before = series(relay, "relay_ses_send_total").get(total, 0)
    relay.send(headers=header + "X-SES-MESSAGE-TAGS: campaign=spring\r\nX-Genre: news\r\n")
    relay.send(headers=header + "X-SES-MESSAGE-TAGS: campaign=spring\r\nX-Genre: news\r\n")
    relay.send(headers=header)
    odd = relay.send(headers=header + "X-Genre: not a value\r\n")
    own_events(relay, odd, 2)  # the send itself goes well
    account = f'account="{relay.account}"'
    spring, plain = f'X_Genre="news",{account},campaign="spring"', f'X_Genre="other",{account},campaign="none"'

    def look():
        sends = series(relay, "relay_ses_send_total")
        deliveries = series(relay, "relay_ses_delivery_total")
        return deliveries.get(spring) == 2 and sends.get(total, 0) == before + 4 and (sends, deliveries)

    sends, deliveries = eventually(look, 60)
    assert (sends[spring], sends[plain]) == (2, 1)
    assert {labels for labels in sends if "X_Genre" in labels} == {spring, plain}
    assert sends[f'{account},ses_configuration_set="counted"'] == 4
    assert not any("place" in labels for labels in (*sends, *deliveries))
    assert series(relay, "relay_ses_complaint_total") == {}
    # There are four series, and no more may be.
    relay.send(headers=header + "X-SES-MESSAGE-TAGS: campaign=summer\r\nX-Genre: news\r\n")
    dropped = f'{account},configuration_set="counted",destination="both"'
    eventually(lambda: series(relay, "relay_ses_series_dropped_total").get(dropped), 60)
    relay.run("event-destination", "delete", "counted", "both")
    relay.send(headers=header)
    eventually(lambda: not any("X_Genre" in one for one in series(relay, "relay_ses_send_total")), 60)


@pytest.mark.req("DEST-020")
def test_counts_and_what_waits_survive_a_restart(relay, bus):
    header = new_set(relay, "kept")
    destination(relay, "kept", "bus", "--bus", "default", types="SEND")
    destination(relay, "kept", "slow", "--stream", "slow", types="SEND")
    bus.answer = lambda _request: 503
    message_id = relay.send(headers=header)
    total = f'account="{relay.account}"'
    count = eventually(lambda: own_events(relay, message_id, 2) and series(relay, "relay_ses_send_total").get(total))

    def waiting():
        return {row["target"] for row in relay.rows("event-destination", "backlog") if row["waiting"]}

    eventually(lambda: waiting() == {"bus:default", "stream:slow"})
    relay.stop()
    bus.answer = lambda _request: 200
    relay.start()
    eventually(lambda: any(message_id.encode() in body for body in bus.bodies()))
    assert series(relay, "relay_ses_send_total").get(total) >= count
    eventually(lambda: waiting() == {"stream:slow"})


def test_a_reload_takes_other_streams_and_buses(relay):
    relay.values["streams"][2]["batch_age"] = "200ms"
    relay.save()
    header = new_set(relay, "reloaded")
    destination(relay, "reloaded", "slow", "--stream", "slow", types="SEND")
    relay.process.send_signal(1)
    message_id = relay.send(headers=header)
    eventually(lambda: of(records(relay.data_dir / "streams" / "slow"), message_id))
