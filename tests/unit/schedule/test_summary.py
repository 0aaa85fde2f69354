"""The queue in groups."""

import pytest

from relay.model.delivery import DeliveryState
from relay.model.message import SendOptions
from relay.model.queue_entry import QueueEntry
from relay.schedule import summary
from relay.schedule.summary import BY, Summary, reason_of


def entry(recipient="a@one.test", state=DeliveryState.QUEUED, *, next_ms=50, accepted_ms=10, reply=""):
    return QueueEntry(
        1, state, 0, next_ms, recipient, reply, "id", "000000000001", "s@x.test", accepted_ms, 99, 1, SendOptions()
    )


def test_counts_oldest_and_next_due():
    found = Summary(BY["domain"])
    found.add(entry())
    found.add(entry("b@ONE.test", next_ms=40, accepted_ms=5))
    found.add(entry("c@one.test", DeliveryState.HELD, next_ms=1, accepted_ms=20))
    found.add(entry("d@two.test", DeliveryState.QUARANTINED))
    one, two = found.largest()
    assert (one.name, one.deliveries, one.queued, one.held, one.quarantined) == ("one.test", 3, 2, 1, 0)
    assert (one.oldest_ms, one.next_ms) == (5, 40)
    assert (two.name, two.quarantined, two.next_ms) == ("two.test", 1, 0)
    merged = found.renamed({"one.test": "mx.test", "two.test": "mx.test"})
    (group,) = merged.largest()
    assert (group.name, group.deliveries, group.queued, group.held) == ("mx.test", 4, 2, 1)
    assert (group.oldest_ms, group.next_ms) == (5, 40)
    assert [group.name for group in found.renamed({})] == ["-"]


def test_too_many_groups_are_counted_together(monkeypatch):
    monkeypatch.setattr(summary, "GROUPS_MAX", 2)
    found = Summary(BY["domain"])
    for number in range(5):
        found.add(entry(f"a@d{number}.test"))
    assert {group.name: group.deliveries for group in found} == {"d0.test": 1, "d1.test": 1, "(others)": 3}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", ""),
        ("451 4.7.1 greylisted", "451 4.7.1 greylisted"),
        ("550 5.1.1 <bob@x.test>: no such user", "550 5.1.1 *: no such user"),
        ("550 5.1.1 bob@x.test unknown", "550 5.1.1 * unknown"),
        ("421 4.7.28 [192.0.2.1] unusual rate - gsmtp a12-20020a05", "421 4.7.28 [*] unusual rate - gsmtp *"),
        ("452 queue id 4Z9xQ12345 is full", "452 queue id * is full"),
        ("554 see https://x.test/why?id=1&x=2 for more", "554 see * for more"),
        ("4.4.1 Cannot connect", "4.4.1 Cannot connect"),
    ],
)
def test_what_differs_between_replies_of_one_reason_is_left_out(reply, reason):
    assert reason_of(reply) == reason


@pytest.mark.parametrize("piece", ["a@", "<a", "1234567890-", "https://", "@@@@", "1.1."])
def test_a_reply_of_an_enemy_takes_no_time(piece):
    assert len(reason_of(f"550 {piece * 300}")) <= summary.REASON_MAX_CHARACTERS
