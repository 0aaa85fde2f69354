"""The simulator's stage: everything of a message at once, all or nothing, and each delivery once."""

import asyncio

import orjson
import pytest

from relay.model.delivery import DeliveryState
from relay.pipeline.simulator import Simulator, reply_address
from tests.unit.pipeline.stages import HOST, Stage, idle

OWN = f"simulator.{HOST}"


def simulator(stage):
    return Simulator(mail=stage.mail(), accepted=stage.accepted.append, **stage.common)


def run(case):
    asyncio.run(case(Stage()))


def test_others_are_passed_on_at_once():
    async def case(stage):
        jobs = await stage.accept("a@x.example", f"a@{HOST}", "a@simulator.other.example")
        for job in jobs:
            simulator(stage).enqueue(job)
        assert stage.onward.jobs == jobs

    run(case)


@pytest.mark.req("SIM-008")
def test_deliveries_outside_the_window_are_played_with_the_others():
    async def case(stage):
        jobs = await stage.accept(*(f"bounce+{number}@{OWN}" for number in range(500)))
        play = simulator(stage)
        play.enqueue(jobs[3])
        await idle()
        assert stage.states() == [DeliveryState.BOUNCED] * 500 + [DeliveryState.QUEUED]  # the last one is the report
        assert [event.kind for event in stage.spool.events] == ["Bounce"]
        assert len(stage.accepted) == 1
        assert sorted(stage.finished) == [job.delivery.key for job in jobs]

    run(case)


def test_a_write_that_fails_is_done_again_and_nothing_is_played_twice():
    async def case(stage):
        jobs = await stage.accept(f"bounce@{OWN}", f"ooto@{OWN}", f"complaint@{OWN}", f"success@{OWN}")
        play = simulator(stage)
        stage.spool.fail_next = 2
        play.enqueue(jobs[0])
        await asyncio.sleep(0)
        play.enqueue(jobs[1])  # comes from the index while the settlement is being written
        await idle()
        kinds = sorted(event.kind for event in stage.spool.events)
        assert kinds == ["Bounce", "Complaint", "Delivery", "Delivery", "Delivery"]
        assert len({event.event_id for event in stage.spool.events}) == 5
        assert len(stage.accepted) == 3
        assert stage.waits.count(1.0) == 2
        assert sorted(stage.finished) == [job.delivery.key for job in jobs]

    run(case)


def test_held_deliveries_stay_and_are_played_after_their_release():
    async def case(stage):
        (job,) = await stage.accept(f"success@{OWN}", state=DeliveryState.HELD)
        play = simulator(stage)
        play.enqueue(job)
        assert play.withdraw(job.delivery.key)
        await idle()
        assert stage.states() == [DeliveryState.HELD]
        assert stage.spool.events == []

    run(case)


@pytest.mark.req("SIM-010")
def test_mail_of_the_relay_itself_gets_no_response():
    async def case(stage):
        jobs = await stage.accept(f"ooto@{OWN}", f"complaint@{OWN}", mail_json=b"")
        play = simulator(stage)
        for job in jobs:
            play.enqueue(job)
        await idle()
        assert stage.states() == [DeliveryState.BOUNCED] * 2
        assert stage.spool.events == []
        assert stage.accepted == []

    run(case)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "app@example.com"),
        ("<back@example.com>", "back@example.com"),
        ("back@example.com", "back@example.com"),
        ("Bounces <back@EXAMPLE.com>", "back@example.com"),
        ("<>", ""),
        ("", "app@example.com"),
        ("not an address", "app@example.com"),
    ],
)
@pytest.mark.req("SIM-004")
def test_where_an_automatic_reply_goes(value, expected):
    async def case(stage):
        header = b'{"name":"Return-Path","value":"%b"}' % value.encode() if value is not None else b""
        (job,) = await stage.accept("a@x.example", mail_json=b'{"headers":[%b]}' % header)
        assert reply_address(job.delivery.message) == expected

    run(case)


@pytest.mark.req("SIM-005")
def test_complaints_about_a_message_are_told_together():
    async def case(stage):
        jobs = await stage.accept(*(f"complaint+{number}@{OWN}" for number in range(150)))
        simulator(stage).enqueue(jobs[0])
        await idle()
        complaints = [orjson.loads(one.payload) for one in stage.spool.events if one.kind == "Complaint"]
        told = [each["emailAddress"] for one in complaints for each in one["complaint"]["complainedRecipients"]]
        assert told == [job.delivery.recipient for job in jobs]
        assert [len(one["complaint"]["complainedRecipients"]) for one in complaints] == [100, 50]
        assert [one.kind for one in stage.spool.events[:100]] == ["Delivery"] * 100
        assert len(stage.accepted) == 2

    run(case)
