"""Event buses: each event in an envelope of EventBridge's form, posted to a webhook (DEST-010).

What is retried is what topics retry (TOPIC-131): no answer, 5xx, 429, and redirects, which are never followed; any
other status refuses the event, which is a dead letter then. Waits are those of local subscribers (TOPIC-136): until
the queue's bounds. With a secret each post is signed, so that a receiver can tell it from others and from repeats:
`X-Relay-Signature: t=<seconds>,v1=<hex HMAC-SHA256 of "<seconds>." and the body>`.
"""

import hashlib
import hmac
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from relay.events.retry_policy import LOCAL
from relay.ports import Clock
from relay.ports.events import DONE, Item, Post, Sent, Verdict

SIGNATURE_HEADER: Final = "X-Relay-Signature"
EVENT_HEADER: Final = "X-Relay-Event-Id"
TOO_MANY: Final = 429
DETAIL_TYPES: Final = {
    "Send": "Email Sent",
    "Reject": "Email Rejected",
    "Bounce": "Email Bounced",
    "Complaint": "Email Complaint Received",
    "Delivery": "Email Delivered",
    "Open": "Email Opened",
    "Click": "Email Clicked",
    "Rendering Failure": "Email Rendering Failed",
    "DeliveryDelay": "Email Delivery Delayed",
    "Subscription": "Email Subscribed",
}


class Answer(Protocol):
    """What an endpoint answered: its status, 0 and a fault when it gave none."""

    @property
    def status(self) -> int:
        """The status, 0 for none."""
        ...

    @property
    def fault(self) -> str:
        """Why there was none."""
        ...


class Poster(Protocol):
    """Posts to endpoints, each within an absolute time; never raises for what they do."""

    async def post(self, endpoint: str, login: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post a body once."""
        ...


@dataclass(frozen=True, slots=True)
class Bus:
    """A configured bus; `secret` "" signs nothing."""

    url: str
    poster: Poster
    parallel: int
    secret: str = field(default="", repr=False)


class BusCourier:
    """Courier of targets `bus:NAME`. `buses` by name."""

    kind = "bus"

    def __init__(
        self, buses: Mapping[str, Bus], region: str, clock: Clock, *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._buses = dict(buses)
        self._region = region
        self._clock = clock
        self._jitter = jitter

    def parallel(self, target: str) -> int:
        """Return how many posts of a bus may be on their way at a time."""
        bus = self._bus(target)
        return bus.parallel if bus is not None else 1

    def patient(self, target: str) -> bool:  # noqa: ARG002 (of the port)
        """Return True: events wait for a bus until the queue's bounds."""
        return True

    async def send(self, post: Post) -> Sent:
        """Post an event once."""
        bus = self._bus(post.target)
        if bus is None:
            return Sent(Verdict.AGAIN, "there is no such bus in the configuration")
        body = envelope(post.item, self._region)
        headers = {"Content-Type": "application/json", "User-Agent": "Relay", EVENT_HEADER: post.item.key}
        if bus.secret:
            headers[SIGNATURE_HEADER] = signature(bus.secret, self._clock.now_ms() // 1000, body)
        answer = await bus.poster.post(bus.url, "", headers, body)
        return judged(answer.status, answer.fault)

    def retry_seconds(self, post: Post) -> float | None:
        """Return how long to wait after a failed try."""
        wait_ms = LOCAL.wait_ms(post.attempts + 1, self._jitter())
        return None if wait_ms is None else wait_ms / 1000

    def _bus(self, target: str) -> Bus | None:
        return self._buses.get(target.partition(":")[2])


def judged(status: int, fault: str) -> Sent:
    """Return what a status means for a post (TOPIC-131)."""
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110 section 15.3
        return DONE
    detail = f"status {status}" if status else fault
    final = 400 <= status < 500 and status != TOO_MANY  # noqa: PLR2004 - RFC 9110 section 15.5
    return Sent(Verdict.REFUSED if final else Verdict.AGAIN, detail)


def envelope(item: Item, region: str) -> bytes:
    """Return the envelope of an event; its `detail` is the record, octet for octet."""
    record: dict[str, Any] = orjson.loads(item.body)
    mail = record["mail"]
    sets = mail["tags"].get("ses:configuration-set", ())
    head = {
        "version": "0",
        "id": item.key,
        "detail-type": DETAIL_TYPES[item.kind],
        "source": "aws.ses",
        "account": item.account,
        "time": _time_of(record),
        "region": region,
        "resources": [f"arn:aws:ses:{region}:{item.account}:configuration-set/{name}" for name in sets],
    }
    return orjson.dumps(head)[:-1] + b',"detail":' + item.body + b"}"


def signature(secret: str, at_seconds: int, body: bytes) -> str:
    """Return the value of the signature header."""
    digest = hmac.new(secret.encode(), b"%d." % at_seconds + body, hashlib.sha256).hexdigest()
    return f"t={at_seconds},v1={digest}"


def _time_of(record: Mapping[str, Any]) -> str:
    """Return when the event happened; where its body does not say, when the message was accepted."""
    for body in record.values():
        if isinstance(body, dict) and "messageId" not in body and "timestamp" in body:
            return str(body["timestamp"])
    return str(record["mail"]["timestamp"])
