"""The queue through the command line: a stopped relay's spool, and a running worker's socket."""

import asyncio
import contextlib
import io
import json
import threading
import uuid

import pytest

from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.ids import new_message_id
from relay.model.message import Delivery, Message, NewMessage, Settlement
from relay.runtime import supervisor_start
from relay.runtime.clock import SteadyClock
from relay.runtime.observe.log import open_log
from relay.runtime.rpc import Ops, Server
from relay.store.spool import ShardSpool

NOW = 1_900_000_000_000


async def _fill(data_dir, shard, recipients):
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
            deliveries[0], DeliveryState.QUEUED, 1, NOW + 60_000, "451 \x1b[2J no", json.dumps(attempt).encode()
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


def test_actions_on_a_stopped_relay(site, queued):
    assert site.call("queue", "hold", queued[0])[0] == "2 deliveries held.\n"
    assert states(site)["a@one.test"] == states(site)["b@two.test"] == "held"
    assert site.json("queue", "release", "--domain", "one.test") == [{"action": "release", "count": 1}]
    assert states(site)["a@one.test"] == "queued"
    assert site.json("queue", "hold", "--all")[0]["count"] == 3
    assert site.json("queue", "release", "--state", "held")[0]["count"] == 4
    assert site.json("queue", "retry", queued[2])[0]["count"] == 1
    (shown,) = site.json("queue", "show", queued[2])
    assert shown["nextAttempt"] < "2030"
    assert site.json("queue", "delete", queued[1], "--yes")[0]["count"] == 1
    assert "c@one.test" not in states(site)


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
    site.call("queue", "hold", queued[0].replace("-0000", "-1111", 1), code=69)
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
            "stage": "rcpt",
            "outcome": "temporary",
            "reply": "451 \x1b[2J no",
            "nextAttempt": None,
            "rule": None,
            "effects": [],
            "blocklist": None,
            "advice": None,
        }
    ]
    assert second["attempts"] == []
    out, _ = site.call("trace", queued[0])
    assert "\x1b" not in out
    assert "a@one.test  queued" in out
    assert "mx.x.test [192.0.2.1], TLS none" in out


def test_trace_of_nothing(site, queued):
    site.call("trace", new_message_id(1, NOW), code=69)
    site.call("trace", new_message_id(9, NOW), code=69)
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
    with worker(site, "worker-0001", {"count": 2}) as first, worker(site, "worker-0002", {"count": 0}) as second:
        assert site.json("queue", "hold", queued[0])[0]["count"] == 2
        assert first == second == [{"action": "hold", "state": "queued", "message_id": queued[0]}]
        site.json("queue", "release", "--domain", "One.test")
        assert [one["state"] for one in first[1:]] == ["held", "quarantined"]
        assert first[1]["domain"] == "one.test"
    assert set(states(site).values()) == {"queued"}


def test_a_silent_worker_is_told(site, queued):
    with worker(site, "worker-0001", {"count": 2}) as requests:
        (site.made.config.parent / "data" / "run" / "worker-0002.sock").touch()
        _, error = site.call("queue", "hold", "--all", code=75)
        assert "worker-0002" in error
        assert requests == []
