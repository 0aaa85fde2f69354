"""What a worker remembers of its lanes, and how little."""

from relay.model.lane import Lane
from relay.model.outcome import Outcome, Stage, Verdict
from relay.pipeline.lane_notes import LANES_MAX, REPLIES_MAX, LaneNotes

NOW = 1_700_000_000_000
MINUTE = 60_000


def outcome(verdict, minutes_ago=0, text="no"):
    at = NOW - minutes_ago * MINUTE
    return Outcome(verdict, Stage.RCPT, 451, "4.7.0", text, finished_ms=at)


def test_counts_of_the_last_hour_and_minute():
    notes = LaneNotes()
    for ago, verdict in [
        (90, Verdict.DELIVERED),
        (30, Verdict.DELIVERED),
        (30, Verdict.PERMANENT),
        (0, Verdict.UNKNOWN),
    ]:
        notes.note(Lane("192.0.2.1", "big"), outcome(verdict, ago))
    (found,) = notes.of("big", NOW)
    assert found["source"] == "192.0.2.1"
    assert found["hour"] == [1, 1, 1]
    assert found["minute"] == [0, 1, 0]
    assert [one["reply"] for one in found["replies"]] == ["451 4.7.0 no"] * 2
    assert notes.of("other", NOW) == []


def test_replies_and_lanes_are_bounded():
    notes = LaneNotes()
    for number in range(REPLIES_MAX + 10):
        notes.note(Lane("", "big"), outcome(Verdict.TEMPORARY, text=f"{number} " + "x" * 900))
    replies = notes.of("big", NOW)[0]["replies"]
    assert len(replies) == REPLIES_MAX
    assert replies[-1]["reply"].startswith(f"451 4.7.0 {REPLIES_MAX + 9}")
    assert max(len(one["reply"]) for one in replies) <= 300
    for number in range(LANES_MAX):
        notes.note(Lane("", f"site{number}"), outcome(Verdict.DELIVERED, -1))
    assert notes.of("big", NOW) == []  # the one that was idle longest went
    assert notes.of(f"site{LANES_MAX - 1}", NOW + MINUTE)
