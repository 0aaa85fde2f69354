"""What the reverse DNS of an address is worth."""

import pytest

from relay.model.pool import Reverse
from relay.policy.records import Answer
from relay.policy.reverse import BAD_MS, GOOD_MS, UNANSWERED_MS, judge, pointer


def test_pointers():
    assert pointer("192.0.2.1") == "1.2.0.192.in-addr.arpa"
    assert pointer("2001:db8::1").endswith(".8.b.d.0.1.0.0.2.ip6.arpa")


@pytest.mark.parametrize(
    ("ptr", "forward", "state", "helo", "wait_ms"),
    [
        (Answer(("mx.example",)), {"mx.example": Answer(("192.0.2.1",))}, Reverse.CONFIRMED, True, GOOD_MS),
        (Answer(("MX.Example.",)), {"mx.example": Answer(("192.0.2.1",))}, Reverse.CONFIRMED, True, GOOD_MS),
        (Answer(("a.example",)), {"a.example": Answer(("192.0.2.1",))}, Reverse.CONFIRMED, False, BAD_MS),
        (
            Answer(("a.example", "mx.example")),
            {"a.example": Answer(("192.0.2.1",)), "mx.example": Answer(("192.0.2.2",))},
            Reverse.CONFIRMED,
            False,
            BAD_MS,
        ),
        (Answer(("mx.example",)), {"mx.example": Answer(("192.0.2.2",))}, Reverse.UNCONFIRMED, False, BAD_MS),
        (Answer(("mx.example",)), {"mx.example": Answer(exists=False)}, Reverse.UNCONFIRMED, False, BAD_MS),
        (Answer(("mx.example",)), {"mx.example": Answer(failure="late")}, Reverse.UNAVAILABLE, False, UNANSWERED_MS),
        (Answer(exists=False), {}, Reverse.MISSING, False, BAD_MS),
        (Answer(), {}, Reverse.MISSING, False, BAD_MS),
        (Answer(failure="no answer"), {}, Reverse.UNAVAILABLE, False, UNANSWERED_MS),
        (Answer(("mx.example",)), {"mx.example": Answer(("not an address",))}, Reverse.UNCONFIRMED, False, BAD_MS),
    ],
)
def test_judgement(ptr, forward, state, helo, wait_ms):
    found = judge("192.0.2.1", ptr, forward, "mx.example", 1000)
    assert (found.state, found.helo, found.checked_ms, found.next_ms) == (state, helo, 1000, 1000 + wait_ms)


def test_many_names_are_not_all_followed():
    ptr = Answer(tuple(f"h{number}.example" for number in range(100)))
    assert len(judge("192.0.2.1", ptr, {}, "mx.example", 0).names) == 5
