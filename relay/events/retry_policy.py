"""When a post is tried again, and when trying ends (TOPIC-132 to TOPIC-136): the only home of it.

Pure: attempts and jitter come as arguments. A policy has four phases in this order:

    no_delay      retries at once
    min_delay     retries after `min_delay_seconds`
    backoff       retries whose waits grow from `min_delay_seconds` to `max_delay_seconds` by a function
    max_delay     retries after `max_delay_seconds`; without end when `endless`

The service's documentation draws the four functions and gives no formula. Here step `k` of `n` (from 0) adds to
the least wait this share of the way to the longest: linear k/n; arithmetic k(k+1)/n(n+1), steps that grow evenly;
exponential (2^k-1)/(2^n-1), steps that double; geometric multiplies by the same factor each time.

Policies of subscriptions and topics are JSON texts of strangers; `of_subscription` and `of_topic` read them, and
`effective` says which one counts.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from relay.errors import RequestRefusedError
from relay.policy.jsontext import JsonValue, Number, read_json, shown

RETRIES_MAX: Final = 100
DELAY_MAX_SECONDS: Final = 3600
SUM_MAX_SECONDS: Final = 3600
RECEIVES_MAX: Final = 100_000  # far above what one connection can take; a limit beyond it is none
JITTER_SHARE: Final = 0.2  # a wait is from a tenth shorter to a tenth longer
TEXT_MAX_BYTES: Final = 8192
CONTENT_TYPES: Final = frozenset(
    {
        "application/json",
        "application/octet-stream",
        "application/soap+xml",
        "application/x-www-form-urlencoded",
        "application/xml",
        "text/css",
        "text/csv",
        "text/html",
        "text/plain",
        "text/plain; charset=UTF-8",
        "text/xml",
    }
)


class Backoff(StrEnum):
    """How waits grow in the third phase."""

    LINEAR = "linear"
    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits between the attempts for one post; the counts are those of the four phases.

    `endless`: the last phase goes on until the store's limit of size or age ends the post.
    """

    min_delay_seconds: float
    max_delay_seconds: float
    no_delay: int = 0
    min_delay: int = 0
    backoff: int = 0
    max_delay: int = 0
    function: Backoff = Backoff.LINEAR
    endless: bool = False

    @property
    def retries(self) -> int | None:
        """How often a post is tried after its first attempt, None without end."""
        return None if self.endless else self.no_delay + self.min_delay + self.backoff + self.max_delay

    def waits_seconds(self) -> list[float]:
        """Return every wait of a policy with an end, without jitter."""
        return [self._wait_seconds(number) for number in range(1, (self.retries or 0) + 1)]

    def wait_ms(self, attempts: int, jitter: float) -> int | None:
        """Return the wait after attempt number `attempts` (from 1), None when that was the last one.

        `jitter` is in [0, 1).
        """
        retries = self.retries
        if retries is not None and attempts > retries:
            return None
        return int(self._wait_seconds(attempts) * 1000 * (1 + JITTER_SHARE * (jitter - 0.5)))

    def _wait_seconds(self, number: int) -> float:
        """Return the wait before retry `number` (from 1)."""
        step = number - self.no_delay
        if step <= 0:
            return 0.0
        if step <= self.min_delay:
            return self.min_delay_seconds
        step -= self.min_delay
        if step <= self.backoff:
            return self._grown_seconds(step - 1)
        return self.max_delay_seconds

    def _grown_seconds(self, step: int) -> float:
        least, most, last = self.min_delay_seconds, self.max_delay_seconds, self.backoff - 1
        if last == 0:
            return least
        if self.function is Backoff.GEOMETRIC:
            return float(least * (most / least) ** (step / last))
        return least + (most - least) * _SHARES[self.function](step, last)


_SHARES: Final[Mapping[Backoff, Callable[[int, int], float]]] = {
    Backoff.LINEAR: lambda step, last: step / last,
    Backoff.ARITHMETIC: lambda step, last: step * (step + 1) / (last * (last + 1)),
    Backoff.EXPONENTIAL: lambda step, last: (2**step - 1) / (2**last - 1),
}

HTTP_DEFAULT: Final = RetryPolicy(20, 20, backoff=3)  # TOPIC-132
MAIL: Final = RetryPolicy(  # TOPIC-136: for six to seven hours
    10, 600, min_delay=2, backoff=10, max_delay=38, function=Backoff.EXPONENTIAL
)
LOCAL: Final = RetryPolicy(  # TOPIC-136: functions, queues, streams
    1, 20, no_delay=3, min_delay=2, backoff=10, function=Backoff.EXPONENTIAL, endless=True
)


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """What a subscription's or a topic's policy says; None or "" where it says nothing.

    `receives_per_second`: how many posts an endpoint gets in a second. `content_type`: what they are called.
    """

    retry: RetryPolicy | None = None
    receives_per_second: int | None = None
    content_type: str = ""

    def as_json(self) -> str:
        """Return the text of a subscription's policy that says the same."""
        return json.dumps(_shown(self, "healthyRetryPolicy", "throttlePolicy", "requestPolicy"))


@dataclass(frozen=True, slots=True)
class TopicDeliveryPolicy:
    """The policy of a topic: what holds where a subscription says nothing, and whether it may say anything."""

    default: DeliveryPolicy = DeliveryPolicy()
    disable_overrides: bool = False

    def as_json(self) -> str:
        """Return the text of a topic's policy that says the same, with the defaults in it."""
        full = replace(self.default, retry=self.default.retry or HTTP_DEFAULT)
        shown_parts = _shown(full, "defaultHealthyRetryPolicy", "defaultThrottlePolicy", "defaultRequestPolicy")
        return json.dumps({"http": {**shown_parts, "disableSubscriptionOverrides": self.disable_overrides}})


def _shown(policy: DeliveryPolicy, healthy: str, throttle: str, request: str) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    if policy.retry is not None:
        retry = policy.retry
        found[healthy] = {
            "minDelayTarget": retry.min_delay_seconds,
            "maxDelayTarget": retry.max_delay_seconds,
            "numRetries": retry.retries,
            "numMaxDelayRetries": retry.max_delay,
            "numNoDelayRetries": retry.no_delay,
            "numMinDelayRetries": retry.min_delay,
            "backoffFunction": str(retry.function),
        }
    if policy.receives_per_second is not None:
        found[throttle] = {"maxReceivesPerSecond": policy.receives_per_second}
    if policy.content_type:
        found[request] = {"headerContentType": policy.content_type}
    return found


def effective(topic: TopicDeliveryPolicy, subscription: DeliveryPolicy) -> DeliveryPolicy:
    """Return the policy of a subscription over HTTP, each part from it, its topic, or the default (TOPIC-135)."""
    own = DeliveryPolicy() if topic.disable_overrides else subscription
    return DeliveryPolicy(
        retry=own.retry or topic.default.retry or HTTP_DEFAULT,
        receives_per_second=own.receives_per_second or topic.default.receives_per_second,
        content_type=own.content_type or topic.default.content_type,
    )


def of_subscription(text: str, *, sum_max_seconds: float = SUM_MAX_SECONDS) -> DeliveryPolicy:
    """Read the `DeliveryPolicy` of a subscription, "" for none. Raise RequestRefusedError `InvalidParameter`."""
    if not text:
        return DeliveryPolicy()
    fields = _Fields("DeliveryPolicy", _object_of(text))
    found = _policy(fields, "healthyRetryPolicy", "throttlePolicy", "requestPolicy", sum_max_seconds)
    fields.no_more()
    return found


def of_topic(text: str, *, sum_max_seconds: float = SUM_MAX_SECONDS) -> TopicDeliveryPolicy:
    """Read the `DeliveryPolicy` of a topic, "" for none. Raise RequestRefusedError `InvalidParameter`."""
    if not text:
        return TopicDeliveryPolicy()
    outer = _Fields("DeliveryPolicy", _object_of(text))
    fields = outer.inner("http")
    outer.no_more()
    if fields is None:
        return TopicDeliveryPolicy()
    names = ("defaultHealthyRetryPolicy", "defaultThrottlePolicy", "defaultRequestPolicy")
    default = _policy(fields, *names, sum_max_seconds)
    disable = fields.flag("disableSubscriptionOverrides")
    fields.no_more()
    return TopicDeliveryPolicy(default, disable)


def _policy(fields: "_Fields", healthy: str, throttle: str, request: str, sum_max_seconds: float) -> DeliveryPolicy:
    retry = fields.inner(healthy)
    limits = fields.inner(throttle)
    content = fields.inner(request)
    receives = limits.whole("maxReceivesPerSecond", 1, RECEIVES_MAX) if limits else None
    content_type = content.word("headerContentType", CONTENT_TYPES) if content else ""
    found = DeliveryPolicy(_retry(retry, sum_max_seconds) if retry else None, receives, content_type)
    for one in (retry, limits, content):
        if one is not None:
            one.no_more()
    return found


def _retry(fields: "_Fields", sum_max_seconds: float) -> RetryPolicy:
    """Read the four phases; what is not given is as in the default policy (TOPIC-132, TOPIC-134)."""
    least = fields.whole("minDelayTarget", 1, DELAY_MAX_SECONDS)
    most = fields.whole("maxDelayTarget", 1, DELAY_MAX_SECONDS)
    retries = fields.whole("numRetries", 0, RETRIES_MAX)
    retries = HTTP_DEFAULT.backoff if retries is None else retries
    counts = [
        fields.whole(name, 0, RETRIES_MAX) or 0
        for name in ("numNoDelayRetries", "numMinDelayRetries", "numMaxDelayRetries")
    ]
    function = Backoff(fields.word("backoffFunction", frozenset(Backoff)) or Backoff.LINEAR)
    least_seconds = least or min(HTTP_DEFAULT.min_delay_seconds, most or DELAY_MAX_SECONDS)
    most_seconds = most or max(HTTP_DEFAULT.max_delay_seconds, least_seconds)
    if least_seconds > most_seconds:
        raise fields.refused("minDelayTarget", "is more than maxDelayTarget")
    if sum(counts) > retries:
        raise fields.refused("numRetries", "is less than the retries of its phases together")
    policy = RetryPolicy(
        least_seconds,
        most_seconds,
        no_delay=counts[0],
        min_delay=counts[1],
        backoff=retries - sum(counts),
        max_delay=counts[2],
        function=function,
    )
    if sum(policy.waits_seconds()) > sum_max_seconds:
        raise fields.refused("numRetries", f"and its delays last longer than {sum_max_seconds:g} seconds together")
    return policy


def _refused(path: str, text: str) -> RequestRefusedError:
    return RequestRefusedError("InvalidParameter", f"Invalid parameter: {path} {text}")


def _object_of(text: str) -> dict[str, JsonValue]:
    value = read_json(text, TEXT_MAX_BYTES)
    if isinstance(value, str):
        raise _refused("DeliveryPolicy", f"cannot be read: {value}")
    return value


class _Fields:
    """One object of a policy text, whose fields are taken one by one; what is left over is unknown."""

    __slots__ = ("_left", "_path")

    def __init__(self, path: str, value: Mapping[str, JsonValue]) -> None:
        self._path = path
        self._left = dict(value)

    def refused(self, name: str, text: str) -> RequestRefusedError:
        return _refused(f"{self._path}.{name}", text)

    def inner(self, name: str) -> "_Fields | None":
        value = self._left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.refused(name, "is not an object")
        return _Fields(f"{self._path}.{name}", value)

    def whole(self, name: str, least: int, most: int) -> int | None:
        value = self._left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, Number) or not value.isdecimal() or len(value) > len(str(most)):
            raise self.refused(name, f"is not a whole number from {least} to {most}")
        if not least <= int(value) <= most:
            raise self.refused(name, f"is not from {least} to {most}")
        return int(value)

    def word(self, name: str, words: frozenset[str]) -> str:
        value = self._left.pop(name, None)
        if value is None:
            return ""
        if not isinstance(value, str) or value not in words:
            raise self.refused(name, f"is not one of {', '.join(sorted(words))}")
        return str(value)

    def flag(self, name: str) -> bool:
        value = self._left.pop(name, False)
        if not isinstance(value, bool):
            raise self.refused(name, "is neither true nor false")
        return value

    def no_more(self) -> None:
        if self._left:
            raise self.refused(shown(min(self._left)), "is not known")
