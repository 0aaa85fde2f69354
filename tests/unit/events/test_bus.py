"""The envelope of event buses, what answers mean, and what a webhook may do to its relay: nothing."""

import asyncio
import hashlib
import hmac
import json
import time

import orjson
import pytest

from relay.events.bus import DETAIL_TYPES, SIGNATURE_HEADER, Bus, BusCourier, envelope, judged, signature
from relay.events.dispatcher import Dispatcher
from relay.net.endpoints import Endpoints
from relay.net.guard import Guard
from relay.ports.events import DONE, Item, NewItem, Post, Sent, Verdict
from relay.runtime.observe.metrics import ProcessMetrics
from relay.store.event_queue import EventQueue
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.shapes import EVENTS, faults
from tests.webhook import Webhook

ACCOUNT = "000000000001"
SET = {"ses:configuration-set": ["all"]}


def item(kind="Send", name="send", body=None, tags=None):
    mail = {
        "timestamp": "2026-11-26T01:00:00.000Z",
        "messageId": "m",
        "source": "a@b.example",
        "sourceArn": "arn",
        "sendingAccountId": ACCOUNT,
        "destination": ["c@d.example"],
        "headersTruncated": False,
        "tags": SET if tags is None else tags,
    }
    record = {"eventType": kind, "mail": mail, name: body or {}}
    return Item(1, "event/id", kind, ACCOUNT, 0, "", "{}", orjson.dumps(record))


@pytest.mark.req("DEST-010")
def test_the_envelope_is_as_its_skeleton_says():
    one = item("Bounce", "bounce", {"timestamp": "2026-11-26T02:00:00.000Z"})
    text = envelope(one, "local-1")
    found = json.loads(text)
    assert faults(found, "Bus envelope") == []
    assert (found["id"], found["detail-type"]) == ("event/id", "Email Bounced")
    assert found["time"] == "2026-11-26T02:00:00.000Z"
    assert text.endswith(b',"detail":' + one.body + b"}")
    assert found["resources"] == [f"arn:aws:ses:local-1:{ACCOUNT}:configuration-set/all"]
    assert json.loads(envelope(item(), "local-1"))["time"] == "2026-11-26T01:00:00.000Z"


def test_every_kind_of_event_has_its_detail_type():
    assert set(DETAIL_TYPES) == set(EVENTS)
    assert len(set(DETAIL_TYPES.values())) == len(EVENTS)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DONE),
        (204, Verdict.DONE),
        (302, Verdict.AGAIN),
        (308, Verdict.AGAIN),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (429, Verdict.AGAIN),
        (500, Verdict.AGAIN),
        (503, Verdict.AGAIN),
        (0, Verdict.AGAIN),
    ],
)
def test_what_answers_mean(status, verdict):
    assert judged(status, "no answer").verdict is verdict


def test_a_signature_covers_time_and_body():
    value = signature("secret", 1000, b"body")
    assert value == f"t=1000,v1={hmac.new(b'secret', b'1000.body', hashlib.sha256).hexdigest()}"


class Resolver:
    """Answers with the addresses of a table."""

    def __init__(self, **table):
        self._table = {name.replace("_", "."): found for name, found in table.items()}
        self.asked = 0

    async def addresses(self, host):
        self.asked += 1
        found = self._table.get(host, ())
        return found.pop(0) if found and isinstance(found[0], list) else found


def endpoints(resolver=None, *, allow_private=True, seconds=2.0):
    return Endpoints(
        resolver or Resolver(),
        Guard(allow_private=allow_private).judge,
        ports=(80, 443),
        trusted=lambda _address: True,
        seconds_max=seconds,
    )


def send(url, poster, *, secret=""):
    async def play():
        bus = Bus(url, poster, 1, secret)
        courier = BusCourier({"default": bus}, "local-1", ManualClock(), jitter=lambda: 0.5)
        try:
            return await courier.send(Post(item(), "bus:default", 0))
        finally:
            poster.close()

    return asyncio.run(play())


def test_a_post_is_signed_and_named():
    """N06."""
    with Webhook() as hook:
        assert send(hook.url, endpoints(), secret="s") == DONE
    ((_, headers, body),) = hook.requests
    assert headers["X-Relay-Event-Id"] == "event/id"
    assert headers[SIGNATURE_HEADER] == signature("s", ManualClock().now_ms() // 1000, body)


def test_a_bus_that_is_not_configured_keeps_its_events():
    courier = BusCourier({}, "local-1", ManualClock())
    sent = asyncio.run(courier.send(Post(item(), "bus:gone", 0)))
    assert sent == Sent(Verdict.AGAIN, "there is no such bus in the configuration")
    assert courier.parallel("bus:gone") == 1


def test_waits_grow_and_never_end():
    courier = BusCourier({}, "local-1", ManualClock(), jitter=lambda: 0.5)
    waits = [courier.retry_seconds(Post(item(), "bus:a", 0, attempts)) for attempts in (0, 2, 3, 5, 14, 15, 100_000)]
    assert waits == [0.0, 0.0, 1.0, 1.0, 20.0, 20.0, 20.0]


def test_one_that_refuses_connections_is_tried_again():
    with Webhook() as hook:
        url = hook.url
    sent = send(url, endpoints())
    assert sent.verdict is Verdict.AGAIN
    assert sent.detail


def test_one_that_hangs_is_cut_off():
    with Webhook(lambda _request: time.sleep(5) or 200) as hook:
        begun = time.monotonic()
        sent = send(hook.url, endpoints(seconds=0.3))
        assert time.monotonic() - begun < 4
    assert (sent.verdict, sent.detail) == (Verdict.AGAIN, "took longer than 0.3 s")


def test_one_that_redirects_to_a_private_address_is_not_followed():
    with Webhook() as inside:
        with Webhook(lambda _request: (302, {"Location": inside.url}, b"")) as hook:
            assert send(hook.url, endpoints()).verdict is Verdict.AGAIN
            assert len(hook.requests) == 1
        assert inside.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://localhost/x",
    ],
)
def test_private_targets_are_for_those_that_are_configured_so(url):
    sent = send(url, endpoints(allow_private=False))
    assert sent.verdict is Verdict.AGAIN
    assert "must not be connected to" in sent.detail


def test_a_name_that_turns_to_a_private_address_is_not_connected_to():
    with Webhook() as inside:
        resolver = Resolver(hook_example=["127.0.0.1"])
        sent = send(f"http://hook.example:{inside.port}/", endpoints(resolver, allow_private=False))
        assert sent.verdict is Verdict.AGAIN
        assert resolver.asked == 1
        assert inside.requests == []


def test_an_answer_that_drips_is_cut_off():
    def drip(_request):
        return 200, {"Content-Length": "1000000"}, b"x"  # and no more ever comes

    with Webhook(drip) as hook:
        begun = time.monotonic()
        sent = send(hook.url, endpoints(seconds=0.5))
        assert time.monotonic() - begun < 4
    assert sent.verdict in {Verdict.DONE, Verdict.AGAIN}  # the status was said; nobody waits for the rest


def test_a_huge_answer_is_not_read():
    with Webhook(lambda _request: (200, {}, bytes(50_000_000))) as hook:
        begun = time.monotonic()
        assert send(hook.url, endpoints(seconds=5)).verdict is Verdict.DONE
        assert time.monotonic() - begun < 5


def test_what_an_endpoint_says_is_not_kept():
    """N07."""
    with Webhook(lambda _request: (500, {}, b"a secret of the inside")) as hook:
        assert send(hook.url, endpoints()) == Sent(Verdict.AGAIN, "status 500")


@pytest.mark.req("DEST-011")
def test_one_that_answers_500_for_hours_gets_everything_in_the_end(tmp_path):
    clock, log = ManualClock(), MemoryLog()
    queue = EventQueue(tmp_path / "queue.db", log, bytes_max=1 << 40, age_seconds_max=14 * 86400.0)
    keys = [f"event/{number}" for number in range(200)]
    queue.put([NewItem(key, "Send", item().body, ("bus:default",), ACCOUNT) for key in keys], clock.now_ms())

    async def play(hook):
        poster = endpoints()
        courier = BusCourier({"default": Bus(hook.url, poster, 4)}, "local-1", clock, jitter=lambda: 0.5)
        dispatcher = Dispatcher(queue, {"bus": courier}, clock, log, ProcessMetrics("test"), jitter=lambda: 0.5)
        for _ in range(30):  # five hours
            await dispatcher.run_once()
            clock.advance(600)
        failed = len(hook.requests)
        hook.answer = lambda _request: 200
        hook.requests.clear()
        for _ in range(3):
            await dispatcher.run_once()
            clock.advance(60)
        await dispatcher.end(1)
        poster.close()
        return failed

    with Webhook(lambda _request: 500) as hook:
        failed = asyncio.run(play(hook))
        assert {headers["X-Relay-Event-Id"] for _, headers, _ in hook.requests} == set(keys)
    assert failed < 30 * 60  # a few posts each time, not all two hundred
    assert queue.dead_ids("", 1) == []
    queue.close()
