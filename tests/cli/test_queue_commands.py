"""The queue through the command line: a stopped relay's spool, and a running worker's socket."""

import asyncio
import contextlib
import io
import json
import os
import threading
import uuid

import pytest

from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.ids import new_message_id
from relay.model.message import Delivery, Message, NewMessage, Settlement
from relay.runtime import supervisor_start
from relay.runtime.cli.trace import write_trace
from relay.runtime.clock import SteadyClock
from relay.runtime.observe.log import open_log
from relay.runtime.rpc import Ops, Server
from relay.store.spool import ShardSpool

NOW = 1_900_000_000_000


async def _fill(data_dir, shard, recipients, reply="451 \x1b[2J no"):
    """Put one message a recipient list into a shard; return the message ids."""
    spool = ShardSpool.open(data_dir, shard, SteadyClock(), open_log("json", "error"))
    spool.start(asyncio.get_running_loop())
    ids = []
    for number, names in enumerate(recipients):
        message_id = new_message_id(shard, NOW + number, entropy=uuid.UUID(int=number))
        mail = json.dumps({"commonHeaders": {"subject": "hi \x1b[31m"}}).encode()
        key = spool.next_key()
        message = Message(key, message_id, "000000000001", "s@x.test", NOW, NOW + 1000, 10, False, False, mail)
        deliveries = [Delivery(message, index, name, next_ms=NOW) for index, name in enumerate(names)]
        new = NewMessage(message, Content(b"A: b\r\n\r\n", b"body"), deliveries)
        await _done(lambda done, new=new: spool.append(new, done))
        attempt = {"startedMs": NOW, "finishedMs": NOW + 5, "outcome": "temporary", "stage": "rcpt"}
        attempt |= {"remoteHost": "mx.x.test", "remoteAddress": "192.0.2.1", "tls": None, "reply": "451 \x1b[2J no"}
        settlement = Settlement(
            deliveries[0], DeliveryState.QUEUED, 1, NOW + 60_000, reply, json.dumps(attempt).encode()
        )
        await _done(lambda done, settlement=settlement: spool.settle(settlement, done))
        ids.append(message_id)
    spool.close()
    return ids


async def _done(start):
    future = asyncio.get_running_loop().create_future()
    start(lambda error: future.set_result(None) if error is None else future.set_exception(error))
    await future


@pytest.fixture
def queued(site):
    """Two shards: two messages with three deliveries in the first, one with one in the second."""
    data = site.made.config.parent / "data"
    first = asyncio.run(_fill(data, 1, [["a@one.test", "b@two.test"], ["c@one.test"]]))
    second = asyncio.run(_fill(data, 2, [["d@One.test"]]))
    return [*first, *second]


def states(site):
    return {one["recipient"]: one["state"] for one in site.json("queue", "list")}


def test_list_has_one_object_a_delivery(site, queued):
    rows = site.json("queue", "list")
    assert [row["recipient"] for row in rows] == ["a@one.test", "b@two.test", "c@one.test", "d@One.test"]
    first = rows[0]
    assert (first["messageId"], first["state"], first["attempts"]) == (queued[0], "queued", 1)
    assert first["nextAttempt"] == "2030-03-17T17:47:40.000Z"
    assert first["lastReply"] == "451 \x1b[2J no"
    assert rows[1]["lastReply"] is None


def test_table_shows_hostile_replies_as_text(site, queued):
    out, _ = site.call("queue", "list")
    assert "\x1b" not in out
    assert "451 \\x1b[2J no" in out
    assert all(one in out for one in queued)
    assert len(out.splitlines()) == 5


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--domain", "one.test"], ["a@one.test", "c@one.test", "d@One.test"]),
        (["--domain", "TWO.test"], ["b@two.test"]),
        (["--state", "held"], []),
        (["--domain", "none.test"], []),
        (["--domain", ".test"], ["a@one.test", "b@two.test", "c@one.test", "d@One.test"]),
        (["--domain", "one.test", "--domain", "two.test"], ["a@one.test", "b@two.test", "c@one.test", "d@One.test"]),
        (["--recipient", "?@one.test", "--reply", "451"], ["a@one.test", "c@one.test", "d@One.test"]),
        (["--recipient", "B@two.test"], ["b@two.test"]),
        (["--sender", "s@*"], ["a@one.test", "b@two.test", "c@one.test", "d@One.test"]),
        (["--sender", "t@x.test"], []),
        (["--reply", "no", "--domain", "two.test"], []),
        (["--reply-regex", r"^451 .* n[o0]$", "--recipient", "a*"], ["a@one.test"]),
        (["--account", "000000000002"], []),
        (["--configuration-set", "none"], []),
        (["--pool", "none"], []),
        (["--source", "192.0.2.1"], []),
        (["--older-than", "1s"], []),
        (["--newer-than", "1d"], ["a@one.test", "b@two.test", "c@one.test", "d@One.test"]),
    ],
)
def test_filters(site, queued, filters, expected):
    assert [row["recipient"] for row in site.json("queue", "list", *filters)] == expected


def test_paging_goes_over_shards(site, queued):
    seen, cursor = [], []
    for _ in range(10):
        out, error = site.call("queue", "list", "--limit", "1", "--json", *cursor)
        seen += [json.loads(line)["recipient"] for line in out.splitlines()]
        if "--cursor" not in error:
            break
        cursor = ["--cursor", error.split("--cursor ")[1].strip()]
    assert seen == ["a@one.test", "b@two.test", "c@one.test", "d@One.test"]
    site.call("queue", "list", "--cursor", "x", code=64)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--reply-regex", "("], "no regular expression"),
        (["--reply-regex", "x" * 201], "at most 200"),
        (["--older-than", "5"], "--older-than has no unit"),
        (["--newer-than", "99999999d"], "ten years"),
        (["--domain", "a b"], "no domain"),
        (["--source", "mx.one.test"], "no IP address"),
        (["--state", "lost"], "no state"),
        (["--recipient", ""], "1000 characters"),
        (["--by", "colour"], "no --by"),
    ],
)
def test_a_bad_choice_names_the_option_and_changes_nothing(site, queued, arguments, says):
    _, error = site.call("queue", "list", *arguments, code=64)
    assert says in error


def test_a_pattern_that_never_ends_is_ended(site, queued, monkeypatch):
    monkeypatch.setattr("relay.runtime.cli.queue_reading.PATTERN_SECONDS", 0.2)
    hostile = [["x@one.test"]]
    asyncio.run(_fill(site.made.config.parent / "data", 3, hostile, reply="a" * 900))
    _, error = site.call("queue", "list", "--reply-regex", "(a|a)*b", code=64)
    assert "takes too long" in error


def test_counting(site, queued):
    assert site.call("queue", "count")[0] == "4 deliveries: 4 queued.\n"
    assert site.json("queue", "count", "--domain", "one.test") == [{"count": 3, "states": {"queued": 3}}]
    assert site.call("queue", "count", "--domain", "none.test")[0] == "0 deliveries.\n"


def test_groups(site, queued):
    site.call("queue", "hold", "--domain", "two.test")
    first, second = site.json("queue", "list", "--by", "domain")
    assert first == {
        "by": "domain",
        "name": "one.test",
        "deliveries": 3,
        "queued": 3,
        "held": 0,
        "quarantined": 0,
        "oldest": "2030-03-17T17:46:40.000Z",
        "nextDue": "2030-03-17T17:47:40.000Z",
    }
    assert (second["name"], second["held"], second["nextDue"]) == ("two.test", 1, None)
    assert [row["name"] for row in site.json("queue", "list", "--by", "account")] == ["000000000001"]
    assert [row["name"] for row in site.json("queue", "list", "--by", "state")] == ["queued", "held"]
    reasons = site.json("queue", "list", "--by", "reason")
    assert [(row["name"], row["deliveries"]) for row in reasons] == [("451 \x1b[2J no", 3), (None, 1)]
    assert [row["name"] for row in site.json("queue", "list", "--by", "pool")] == [None]
    out, error = site.call("queue", "list", "--by", "domain", "--limit", "1")
    assert out.splitlines()[1].split()[:3] == ["one.test", "3", "3"]
    assert "1 of 2 groups" in error


def test_actions_on_a_stopped_relay(site, queued):
    assert site.call("queue", "hold", queued[0])[0] == "2 deliveries held.\n"
    assert states(site)["a@one.test"] == states(site)["b@two.test"] == "held"
    assert site.json("queue", "release", "--domain", "one.test") == [{"action": "release", "count": 1, "inFlight": 0}]
    assert states(site)["a@one.test"] == "queued"
    assert site.json("queue", "hold", "--all")[0]["count"] == 3
    assert site.json("queue", "release", "--state", "held")[0]["count"] == 4
    assert site.json("queue", "retry", queued[2])[0]["count"] == 1
    (shown,) = site.json("queue", "show", queued[2])
    assert shown["nextAttempt"] < "2030"
    assert site.json("queue", "delete", queued[1], "--yes")[0]["count"] == 1
    assert "c@one.test" not in states(site)


def audit(site):
    path = site.made.config.parent / "data" / "audit.jsonl"
    lines = map(json.loads, path.read_text().splitlines())
    return [line for line in lines if line["operation"].startswith("queue.")]


def test_a_dry_run_changes_nothing(site, queued):
    for action in ("hold", "retry", "delete", "bounce"):
        found = site.json("queue", action, "--domain", "one.test", "--dry-run")
        assert found == [{"action": action, "count": 3, "dryRun": True}]
    assert site.call("queue", "delete", "--all", "--dry-run")[0] == "4 deliveries would be deleted.\n"
    assert set(states(site).values()) == {"queued"}
    site.call("queue", "hold", "--domain", "new.test", "--new", "--dry-run")
    assert site.json("queue", "holds", "list") == []


def test_a_bounce_of_a_stopped_relay_tells_the_sender(site, queued):
    """Event and report are committed with the state; the report leaves at the next start."""
    done = site.json("queue", "bounce", "--domain", "one.test", "--reason", "closed \t for good", "--yes")
    assert done[0]["count"] == 3
    waiting = site.json("queue", "list")
    assert [row["recipient"] for row in waiting if row["sender"]] == ["b@two.test"]
    reports = [row for row in waiting if not row["sender"]]
    assert {row["recipient"] for row in reports} == {"s@x.test"}
    assert len(reports) == 3
    (found,) = site.json("trace", queued[1])
    (bounced,) = found["deliveries"]
    assert (bounced["state"], bounced["lastReply"]) == ("bounced", "5.3.0 closed for good")
    assert bounced["attempts"][-1]["stage"] == "operator"
    _, error = site.call("queue", "bounce", queued[0], "--reason", "x" * 501, "--yes", code=64)
    assert "one line" in error


def test_moving_to_another_pool(site, queued):
    site.call("queue", "move", queued[0], code=64)
    site.call("queue", "move", queued[0], "--to", "no pool", code=64)
    site.call("queue", "move", queued[0], "--to", "marketing", code=64)
    site.call("pool", "create", "marketing")
    _, note = site.call("queue", "move", "--recipient", "a@one.test", "--to", "marketing")
    assert "1 more delivery of the same messages" in note
    assert [row["recipient"] for row in site.json("queue", "list", "--pool", "marketing")] == [
        "a@one.test",
        "b@two.test",
    ]
    assert site.json("queue", "move", queued[0], "--to", "default")[0]["count"] == 2
    assert site.json("queue", "list", "--pool", "marketing") == []


def test_holds_with_an_end_are_listed_with_it(site, queued):
    site.call("queue", "hold", "--domain", "two.test", "--for", "2h")
    (row,) = site.json("queue", "list", "--state", "held")
    assert row["heldUntil"] > row["accepted"] or row["heldUntil"]
    out, _ = site.call("queue", "list", "--state", "held")
    assert "held until 2" in out
    site.call("queue", "hold", "--domain", "two.test", "--for", "soon", code=64)
    assert site.json("queue", "hold", "--domain", "two.test", "--for", "4h")[0]["count"] == 0
    assert site.json("queue", "hold", "--domain", "two.test", "--state", "held", "--for", "4h")[0]["count"] == 1
    (later,) = site.json("queue", "list", "--state", "held")
    assert later["heldUntil"] > row["heldUntil"]


def test_standing_holds_of_a_stopped_relay(site, queued):
    _, error = site.call("queue", "hold", "--reply", "451", "--new", code=64)
    assert "not by reply" in error
    site.call("queue", "hold", "--all", "--new", code=64)
    done = site.json("queue", "hold", "--domain", ".one.test", "--new", "--reason", "outage", "--for", "1h")
    assert done[0]["count"] == 3
    (hold,) = site.json("queue", "holds", "list")
    assert (hold["hold"], hold["held"], hold["reason"]) == (1, 3, "outage")
    assert hold["selection"] == {"domains": [".one.test"]}
    out, _ = site.call("queue", "holds", "list")
    assert "domain .one.test" in out
    site.call("queue", "holds", "remove", "9", code=64)
    assert site.json("queue", "holds", "remove", "1") == [{"hold": 1, "released": 3}]
    assert set(states(site).values()) == {"queued"}
    assert site.json("queue", "holds", "list") == []
    site.call("queue", "hold", "--domain", "two.test", "--new")
    assert site.json("queue", "holds", "list")[0]["hold"] == 2, "numbers do not come again"


def test_a_standing_hold_of_nothing_yet_is_told_all_the_same(site, queued):
    out, error = site.call("queue", "hold", "--domain", "quiet.test", "--new")
    assert "0 deliveries held" in out
    assert "Mail that comes later is held, too" in error
    assert "relay queue holds remove 1" in error


def test_a_standing_hold_that_is_forgotten_is_told_by_the_doctor(site, queued, monkeypatch):
    site.call("queue", "hold", "--domain", "one.test", "--new")

    def told():
        return list(map(json.loads, site.spawn("doctor", "--json").communicate()[0].splitlines()))

    assert not [one for one in told() if "standing hold" in json.dumps(one)]
    path = site.made.config.parent / "data" / "holds.json"
    values = json.loads(path.read_text())
    values["holds"][0]["created_ms"] -= 90_000_000
    path.write_text(json.dumps(values))
    assert [one for one in told() if "standing hold 1 (domain one.test)" in json.dumps(one)]


def test_everything_is_in_the_audit_log(site, queued):
    site.call("queue", "hold", "--domain", "one.test", "--for", "1h")
    site.call("queue", "hold", "--account", "000000000001", "--new", "--reason", "outage")
    site.call("queue", "holds", "remove", "1")
    site.call("queue", "bounce", queued[2], "--reason", "gone", "--yes")
    site.call("queue", "delete", "--all", "--yes")
    lines = audit(site)
    assert [line["operation"] for line in lines] == [
        "queue.hold",
        "queue.holds.add",
        "queue.hold",
        "queue.holds.remove",
        "queue.bounce",
        "queue.delete",
    ]
    assert all(line["caller"] and line["uid"] == os.getuid() and line["time"] for line in lines)
    first, bounced, last = (lines[number]["parameters"] for number in (0, 4, 5))
    assert (first["selection"], first["deliveries"]) == ({"domains": ["one.test"]}, 3)
    assert first["until"]
    assert (bounced["selection"], bounced["reason"]) == ({"message_ids": [queued[2]]}, "gone")
    assert (last["selection"], last["deliveries"], last["changed"]) == ("all", 4, 4)


def test_damaged_standing_holds_are_told(site, queued):
    path = site.made.config.parent / "data" / "holds.json"
    for text in ("{", "[]", '{"last": 1, "holds": [{"number": 1}]}', '{"last": 1, "holds": [{"number": true}]}'):
        path.write_text(text)
        _, error = site.call("queue", "holds", "list", code=78)
        assert "holds.json" in error


def test_watching_a_stopped_relay(site, queued):
    (view,) = site.json("queue", "watch", "--count", "1")
    assert (view["running"], view["states"]) == (False, {"queued": 4, "held": 0, "quarantined": 0})
    assert [one["name"] for one in view["domains"]] == ["one.test", "two.test"]
    assert view["domains"][0]["reason"] == "451 \x1b[2J no"
    out, _ = site.call("queue", "watch", "--count", "2", "--interval", "0.2")
    assert len(out.splitlines()) == 2
    assert "queued 4" in out
    assert "\x1b" not in out


def test_a_deletion_that_nobody_can_confirm_says_what_to_give(site, queued, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    _, error = site.call("queue", "delete", queued[1], code=64)
    assert "there is nobody to ask: give --yes" in error
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    site.call("queue", "delete", queued[1], code=1)
    assert states(site)["c@one.test"] == "queued"
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    site.call("queue", "delete", queued[1])
    assert "c@one.test" not in states(site)


def test_actions_say_which(site, queued):
    site.call("queue", "hold", code=64)
    site.call("queue", "hold", "--all", "--domain", "one.test", code=64)
    site.call("queue", "hold", "nonsense", code=64)
    site.call("queue", "hold", queued[0].replace("-0000", "-1111", 1), code=64)
    assert set(states(site).values()) == {"queued"}


def test_locked_data_is_not_touched(site, queued):
    """A relay that is starting holds the lock before its workers answer."""
    run_dir = supervisor_start.prepare_directories(site.made.config.parent / "data", None)
    lock = supervisor_start.RunLock.take(run_dir)
    try:
        _, error = site.call("queue", "hold", "--all", code=75)
        assert "already running" in error
        site.call("reset", "--data", "--yes", code=75)
        assert set(states(site).values()) == {"queued"}
    finally:
        lock.release()


def test_trace_shows_every_attempt(site, queued):
    (found,) = site.json("trace", queued[0])
    assert (found["messageId"], found["sender"], found["subject"]) == (queued[0], "s@x.test", "hi \x1b[31m")
    first, second = found["deliveries"]
    assert first["attempts"] == [
        {
            "time": "2030-03-17T17:46:40.000Z",
            "finished": "2030-03-17T17:46:40.005Z",
            "sourceAddress": None,
            "pool": None,
            "remoteHost": "mx.x.test",
            "remoteAddress": "192.0.2.1",
            "tls": "none",
            "tlsPolicy": None,
            "stage": "rcpt",
            "outcome": "temporary",
            "reply": "451 \x1b[2J no",
            "nextAttempt": None,
            "rule": None,
            "effects": [],
            "blocklist": None,
            "advice": None,
            "dialogue": None,
        }
    ]
    assert second["attempts"] == []
    out, _ = site.call("trace", queued[0])
    assert "\x1b" not in out
    assert "a@one.test  queued" in out
    assert "mx.x.test [192.0.2.1], TLS none" in out


def test_what_is_due_is_said_to_be(site, queued):
    """A time that has passed, alone, would look like an attempt that was forgotten."""
    site.call("queue", "retry", queued[1])
    out, _ = site.call("queue", "list", "--recipient", "c@one.test")
    assert "due since " in out
    assert "c@one.test  queued, under way or due since " in site.call("trace", queued[1])[0]
    assert "a@one.test  queued, next attempt 2030-03-17" in site.call("trace", queued[0])[0]


def test_a_connection_that_said_nothing_is_not_told_twice(capsys):
    attempt = {
        "time": "2030-03-17T17:46:40.000Z", "outcome": "temporary", "stage": "greeting", "remoteHost": "mx.x.test",
        "remoteAddress": "192.0.2.1", "sourceAddress": "", "pool": "", "tls": "none", "tlsPolicy": "",
        "reply": "4.4.2 Connection lost", "rule": "", "effects": [], "advice": "",
    }  # fmt: skip
    one = {
        "host": "mx.x.test", "address": "192.0.2.1", "port": 25, "outcome": "4.4.2 Connection lost",
        "messagesBefore": 0, "tls": None, "lines": [],
    }  # fmt: skip
    found = {
        "messageId": "id", "account": "a", "sender": "", "subject": "", "accepted": None, "release": None, "size": 1,
        "scan": None, "events": [],
    }  # fmt: skip

    def told(**changes):
        dialogue = {"tries": [one | changes], "skipped": []}
        delivery = {
            "recipient": "u@x.test", "state": "queued", "nextAttempt": None, "lastReply": "",
            "attempts": [attempt | {"dialogue": dialogue}],
        }  # fmt: skip
        write_trace(found | {"deliveries": [delivery]})
        return capsys.readouterr().out

    assert told().count("Connection lost") == 1
    assert "220 hello" in told(lines=[{"ms": 1, "from": "server", "text": "220 hello"}])
    assert "another" in told(outcome="another")


def test_trace_of_nothing(site, queued):
    site.call("trace", new_message_id(1, NOW), code=64)
    site.call("trace", new_message_id(9, NOW), code=64)
    site.call("trace", "x", code=64)


@contextlib.contextmanager
def worker(site, name, answer):
    """Answer `queue.act` at a worker's socket; yield the requests it gets."""
    requests = []

    def act(request):
        requests.append({name: value for name, value in request.items() if name not in ("id", "op")})
        return answer

    ops = Ops()
    ops.add("queue.act", act)
    run_dir = supervisor_start.prepare_directories(site.made.config.parent / "data", None)
    loop = asyncio.new_event_loop()
    server = Server(run_dir / f"{name}.sock", ops, open_log("json", "error"))
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield requests
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_running_workers_are_asked(site, queued):
    done = {"changed": 1, "inFlight": 1, "also": 0}
    with worker(site, "worker-0001", done) as first, worker(site, "worker-0002", done) as second:
        (answer,) = site.json("queue", "hold", queued[0])
        assert answer == {"action": "hold", "count": 1, "inFlight": 1}
        assert second == []
        (asked,) = first
        assert (asked["action"], asked["shard"], asked["states"]) == ("hold", 1, ["queued"])
        assert len(asked["keys"]) == 2
        _, note = site.call("queue", "release", "--all", "--state", "queued", code=64)
        _, note = site.call("queue", "delete", "--domain", "One.test", "--yes")
        assert [one["shard"] for one in first[1:] + second] == [1, 2]
        assert "2 deliveries being attempted now" in note
    assert set(states(site).values()) == {"queued"}


def test_a_silent_worker_is_told(site, queued):
    with worker(site, "worker-0001", {"count": 2}) as requests:
        (site.made.config.parent / "data" / "run" / "worker-0002.sock").touch()
        _, error = site.call("queue", "hold", "--all", code=75)
        assert "worker-0002" in error
        assert requests == []
