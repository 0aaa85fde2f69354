"""History from outside: messages and events are found by what is known of them, and events are published again."""

import json
import os
import signal
import subprocess

import pytest

from tests.product import RELAY, Product, Receiver, eventually

pytestmark = pytest.mark.timeout(180)

SIMULATOR = "simulator.amazonses.com"


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def relay(receiver):
    routes = [
        {"domain": "later.example", "smarthost": "127.0.0.1:1"},  # nobody listens: it waits
        {"domain": "*", "smarthost": f"127.0.0.1:{receiver.port}"},
    ]
    with Product(workers=2, routes=routes) as product:
        product.run("configuration-set", "create", "news")
        yield product


@pytest.fixture(scope="module")
def sent(relay):
    """Send one message of each kind; return their ids once all is archived that is to come."""
    news = "X-SES-CONFIGURATION-SET: news\r\n"
    ids = {
        "delivered": relay.send(
            ["ann@one.example", "bob@two.example"], headers=f"{news}X-SES-MESSAGE-TAGS: campaign=book\r\n"
        ),
        "bounced": relay.send(f"bounce@{SIMULATOR}", headers="X-SES-MESSAGE-TAGS: campaign=clothing\r\n"),
        "complained": relay.send(f"complaint@{SIMULATOR}", headers=news),
        "waiting": relay.send("cat@later.example", sender="other@example.com"),
    }
    eventually(lambda: len(published(relay, ids)) >= 9, what="all events in the file")
    eventually(lambda: len(archived(relay)) >= 9, what="all events in the archive")
    return ids


def published(relay, ids):
    """Return the events of some messages in the file of the destination, each once: some are published again."""
    return {json.dumps(one) for one in relay.events() if one["mail"]["messageId"] in ids.values()}


def archived(relay, *options):
    return relay.rows("events", "search", "--limit", "1000", *options)


def found(relay, *options):
    return {one["messageId"] for one in relay.rows("messages", "search", *options) if one["sender"]}


CRITERIA = [
    (("--recipient", "BOB@two.example"), {"delivered"}),
    (("--domain", "one.example"), {"delivered"}),
    (("--domain", "later.example"), {"waiting"}),
    (("--sender", "other@example.com"), {"waiting"}),
    (("--identity", "example.com"), {"delivered", "bounced", "complained", "waiting"}),
    (("--subject", "a  TEST"), {"delivered", "bounced", "complained", "waiting"}),
    (("--subject", "A tes"), set()),
    (("--tag", "campaign=clothing"), {"bounced"}),
    (("--configuration-set", "news"), {"delivered", "complained"}),
    (("--set", "news", "--tag", "campaign=book"), {"delivered"}),
    (("--account", "000000000001", "--outcome", "bounced"), {"bounced"}),
    (("--outcome", "queued"), {"waiting"}),
    (("--account", "000000000002"), set()),
    (("--since", "10m"), {"delivered", "bounced", "complained", "waiting"}),
    (("--until", "10m"), set()),
]


@pytest.mark.parametrize(("options", "expected"), CRITERIA, ids=[" ".join(one) for one, _ in CRITERIA])
def test_messages_are_found_by_what_is_known_of_them(relay, sent, options, expected):
    assert found(relay, *options) == {sent[name] for name in expected}


def test_messages_are_found_by_their_ids(relay, sent):
    named = [sent["waiting"], sent["delivered"]]
    assert found(relay, *named) == set(named)
    assert found(relay, *named, "--outcome", "queued") == {sent["waiting"]}
    assert found(relay, named[0].replace("-000000", "-000001")) == set()
    done = relay.run("messages", "search", "0001", check=False)
    assert done.returncode == 64
    assert "no message id" in done.stderr


def test_a_subject_is_found_by_its_hash_without_being_known(relay, sent):
    one = relay.rows("messages", "search", "--recipient", "ann@one.example")[0]
    assert one["subject"] == "A test"
    assert len(one["subjectHash"]) == 32
    assert "A test" not in one["subjectHash"]
    assert found(relay, "--subject-hash", one["subjectHash"], "--tag", "campaign=book") == {sent["delivered"]}
    assert found(relay, "--subject-hash", "0" * 32) == set()


def test_messages_come_newest_first_and_a_page_at_a_time(relay, sent):
    listed = [one["messageId"] for one in relay.rows("messages", "search", "--identity", "example.com")]
    assert listed == sorted(sent.values(), key=lambda one: one[4:16], reverse=True)
    paged, cursor = [], []
    while len(paged) < 10:
        done = relay.run("messages", "search", "--identity", "example.com", "--limit", "1", "--json", *cursor)
        paged += [json.loads(line)["messageId"] for line in done.stdout.splitlines()]
        if "--cursor" not in done.stderr:
            break
        cursor = ["--cursor", done.stderr.split()[-1]]
    assert paged == listed


def test_a_message_that_left_the_queue_is_found_in_history(relay, sent):
    def finished():
        return {one["messageId"] for one in relay.rows("messages", "search", "--set", "news") if one["finished"]}

    eventually(lambda: finished() == {sent["delivered"], sent["complained"]}, what="both in history")
    one = relay.rows("messages", "search", "--recipient", "ann@one.example")[0]
    assert [each["state"] for each in one["deliveries"]] == ["delivered", "delivered"]
    waiting = relay.rows("messages", "search", "--outcome", "queued", "--sender", "other@example.com")
    assert [each["finished"] for each in waiting] == [False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--outcome", "sent"), "no state"),
        (("--tag", "campaign"), "NAME=VALUE"),
        (("--since", "yesterday"), "--since"),
        (("--cursor", "1"), "no cursor"),
        (("--subject-hash", "xyz"), "hexadecimal"),
    ],
)
def test_a_search_that_makes_no_sense(relay, options, words):
    done = relay.run("messages", "search", *options, check=False)
    assert done.returncode == 64
    assert words in done.stderr


EVENTS = [
    (("--message", "delivered"), ["Send", "Delivery", "Delivery"]),
    (("--type", "bounce"), ["Bounce"]),
    (("--recipient", f"COMPLAINT@{SIMULATOR}"), ["Send", "Delivery", "Complaint"]),
    (("--recipient", "ann@one.example", "--type", "Delivery"), ["Delivery"]),
    (("--set", "news", "--type", "Send", "--account", "000000000001"), ["Send", "Send"]),
    (("--type", "Open"), []),
]


@pytest.mark.parametrize(("options", "kinds"), EVENTS, ids=[" ".join(one) for one, _ in EVENTS])
def test_events_are_found_by_what_is_known_of_them(relay, sent, options, kinds):
    rows = archived(relay, *(sent.get(option, option) for option in options))
    assert sorted(one["type"] for one in rows) == sorted(kinds)
    published = relay.events()
    assert all(one["event"] in published for one in rows)


def test_an_event_is_found_by_its_id(relay, sent):
    for one in archived(relay)[:3]:
        assert archived(relay, "--id", one["eventId"]) == [one]


def test_each_event_is_archived_once(relay, sent):
    rows = archived(relay)
    assert len({one["eventId"] for one in rows}) == len(rows)
    ended = {name: sent[name] for name in ("delivered", "bounced", "complained")}
    ours = [json.dumps(one["event"]) for one in rows if one["messageId"] in ended.values()]
    assert len(set(ours)) == len(ours)
    assert set(ours) == published(relay, ended)


def test_trace_shows_events_and_what_came_back_later(relay, sent):
    found = relay.json("trace", sent["complained"])
    assert {one["type"] for one in found["events"]} == {"Send", "Delivery", "Complaint"}
    text = relay.run("trace", sent["complained"]).stdout
    assert "Complaint" in text
    assert "abuse" in text


def test_trace_takes_a_recipient_for_the_latest_message(relay, sent):
    found = relay.json("trace", "Bob@two.example")
    assert found["messageId"] == sent["delivered"]
    assert [one["recipient"] for one in found["deliveries"]] == ["ann@one.example", "bob@two.example"]
    assert found["deliveries"][1]["attempts"][0]["outcome"] == "delivered"
    done = relay.run("trace", "nobody@one.example", check=False)
    assert done.returncode != 0
    assert "nobody@one.example" in done.stderr


def test_tail_shows_the_newest_and_follows(relay, sent):
    newest = [one["eventId"] for one in reversed(archived(relay)[:3])]
    assert [one["eventId"] for one in relay.rows("events", "tail", "-n", "3")] == newest
    first = relay.send("dog@one.example")
    eventually(lambda: archived(relay, "--message", first, "--type", "Send"), what="the event in the archive")
    options = ["--follow", "-n", "1", "--type", "Send", "--recipient", "dog@one.example", "--json"]
    command = [*RELAY, "events", "tail", *options, "-c", str(relay.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [json.loads(process.stdout.readline())]
            relay.send("cow@one.example")
            second = relay.send("dog@one.example")
            lines.append(json.loads(process.stdout.readline()))
        finally:
            process.send_signal(signal.SIGINT)
    assert [one["messageId"] for one in lines] == [first, second]
    assert {one["type"] for one in lines} == {"Send"}


def test_events_are_published_again_with_the_same_ids(relay, sent):
    before = relay.events("Bounce")
    done = relay.run("events", "replay", "--destination", "all", "--type", "Bounce", "--message", sent["bounced"])
    assert "1 event published again" in done.stderr
    after = relay.wait_event("Bounce", len(before) + 1)
    assert after[-1] == next(one for one in before if one["mail"]["messageId"] == sent["bounced"])


def test_events_are_written_to_a_file_in_their_order(relay, sent, tmp_path):
    target = tmp_path / "again.jsonl"
    relay.run("events", "replay", "--to", str(target), "--message", sent["delivered"])
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [one["eventType"] for one in lines] == ["Send", "Delivery", "Delivery"]
    assert all(one in relay.events() for one in lines)
    shown = relay.run("events", "replay", "--to", "-", "--message", sent["delivered"]).stdout
    assert [json.loads(line) for line in shown.splitlines()] == lines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--destination", "none", "--type", "Send"), "no event destination none"),
        (("--type", "Send"), "--destination"),
        (("--destination", "all"), "--all"),
        (("--destination", "all", "--to", "x", "--all"), "--destination"),
        (("--destination", "all", "--type", "Sent"), "no event type"),
    ],
)
def test_a_replay_that_makes_no_sense(relay, sent, options, words):
    done = relay.run("events", "replay", *options, check=False)
    assert done.returncode != 0
    assert words in done.stderr


def test_size_and_age_are_metrics(relay, sent):
    eventually(lambda: "relay_history_bytes" in relay.metrics(), what="the metric")
    for kind in ("messages", "events"):
        assert f'relay_history_bytes{{kind="{kind}"}}' in relay.metrics()
        assert f'relay_history_oldest_seconds{{kind="{kind}"}}' in relay.metrics()


def test_everything_is_found_while_the_relay_is_stopped(receiver):
    with Product(receiver.port) as relay:
        message = relay.send("ann@one.example")
        relay.wait_event("Delivery")
        relay.stop()
        assert found(relay, "--recipient", "ann@one.example") == {message}
        assert [one["type"] for one in relay.json("trace", message)["events"]] == ["Send", "Delivery"]
        done = relay.run("events", "replay", "--destination", "all", "--all", check=False)
        assert done.returncode == 69
        assert "not running" in done.stderr


def test_without_archive_nothing_is_kept_and_nothing_held_back(receiver):
    with Product(receiver.port, history={"events": False}) as relay:
        relay.send("ann@one.example")
        relay.wait_event("Delivery")
        assert not (relay.data_dir / "events" / "archive").exists()
        eventually(lambda: archived(relay) == [], 60, "the log pruned")


def test_a_killed_events_process_archives_every_event_once(receiver):
    with Product(receiver.port) as relay:
        ids = []
        with relay.client() as client:
            for number in range(40):
                ids.append(relay.send(f"user{number}@one.example", client=client))
                if number % 10 == 5:
                    process = eventually(lambda: relay.children().get("relay-events"), what="the events process")
                    os.kill(process, signal.SIGKILL)
        kinds = sorted(["Send", "Delivery"] * len(ids))
        eventually(
            lambda: len({one["eventId"] for one in archived(relay)}) == len(kinds), 60, "all events in the archive"
        )
        rows = archived(relay)
        assert sorted(one["type"] for one in rows) == kinds
        assert {one["messageId"] for one in rows} == set(ids)
