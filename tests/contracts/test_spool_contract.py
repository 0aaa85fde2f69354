"""What every Spool promises: the one on disk and the one in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from relay.errors import CorruptionError
from relay.model.delivery import DeliveryState
from relay.model.message import SendOptions
from relay.model.scan import Scan, ScanVerdict
from relay.schedule.fair import RETRY_BIT, strand_beside, strand_of
from relay.testing.spool import MemorySpool
from tests.unit.store.shard import HEAD, NOW_MS, new_message, shard, verdict, written

Case = Callable[[Any], Awaitable[None]]


@pytest.fixture(params=["memory", "disk"])
def run(request: pytest.FixtureRequest, tmp_path: Any) -> Callable[[Case], None]:
    async def in_memory(case: Case) -> None:
        await case(MemorySpool())

    async def on_disk(case: Case) -> None:
        async with shard(tmp_path) as spool:
            await case(spool)

    way = in_memory if request.param == "memory" else on_disk
    return lambda case: asyncio.run(way(case))


def test_keys_grow(run):
    async def case(spool):
        keys = [spool.next_key() for _ in range(100)]
        assert keys == sorted(set(keys))

    run(case)


def test_an_accepted_message_is_due_and_whole(run):
    async def case(spool):
        new = new_message(spool, recipients=3)
        assert await written(spool.append, new) is None
        assert spool.due(NOW_MS, 10) == list(new.deliveries)
        assert spool.due(NOW_MS - 1, 10) == []
        assert spool.next_due_ms() == NOW_MS
        assert spool.content(new.message.key) == new.content

    run(case)


def test_answers_never_come_from_inside_the_call(run):
    async def case(spool):
        answers = []
        spool.append(new_message(spool), answers.append)
        assert answers == []
        await written(spool.append, new_message(spool))
        assert answers == [None]

    run(case)


def test_due_pages_by_time_then_key(run):
    async def case(spool):
        news = [new_message(spool, now_ms=NOW_MS - age) for age in (0, 5, 5, 9)]
        for new in news:
            await written(spool.append, new)
        expected = sorted((d.next_ms, d.key) for new in news for d in new.deliveries)
        found, after = [], (0, 0)
        while page := spool.due(NOW_MS, 2, after):
            found += [(d.next_ms, d.key) for d in page]
            after = found[-1]
        assert found == expected

    run(case)


def test_deliveries_wait_in_the_lanes_of_their_flows(run):
    async def case(spool):
        flows = [("000000000001", {}), ("000000000001", {"bulk": True}), ("000000000002", {}),
                 ("000000000002", {"configuration_set": "news", "bulk": True, "weight": 50})]  # fmt: skip
        news = [
            new_message(spool, account=account, options=SendOptions(**options), now_ms=NOW_MS - age)
            for account, options in flows
            for age in (0, 9, 5)
        ]
        for new in news:
            await written(spool.append, new)
        strands = spool.strands(-1, 100)
        assert strands == sorted({(strand_of(new.deliveries[0]), NOW_MS - 9) for new in news})
        assert spool.strands(strands[1][0], 1) == [strands[2]]
        strand = strand_of(news[3].deliveries[0])
        mine = [news[4], news[5], news[3]]  # by time
        positions = [(new.deliveries[0].next_ms, new.deliveries[0].key) for new in mine]
        assert spool.waiting(strand, NOW_MS, 10) == positions
        assert spool.waiting(strand, NOW_MS, 1, positions[0]) == positions[1:2]
        assert spool.waiting(strand, NOW_MS - 5, 10) == positions[:2]
        keys = [key for _, key in reversed(positions)]
        assert spool.queued(keys) == [new.deliveries[0] for new in reversed(mine)]
        assert spool.queued([]) == []

    run(case)


def test_a_delivery_that_failed_waits_among_the_retries_of_its_strand(run):
    async def case(spool):
        new = new_message(spool)
        await written(spool.append, new)
        strand = strand_of(new.deliveries[0])
        await written(spool.settle, verdict(new.deliveries[0], DeliveryState.QUEUED, next_ms=NOW_MS + 60_000))
        assert spool.strands(-1, 10) == [(strand | RETRY_BIT, NOW_MS + 60_000)]
        assert spool.waiting(strand | RETRY_BIT, NOW_MS + 60_000, 10) == [(NOW_MS + 60_000, new.deliveries[0].key)]

    run(case)


def test_deliveries_move_to_another_strand_and_stay_there_as_retries(run):
    async def case(spool):
        news = [new_message(spool) for _ in range(3)]
        for new in news:
            await written(spool.append, new)
        first, second, third = (new.deliveries[0] for new in news)
        beside = strand_beside(first)
        await written(spool.settle, verdict(third))
        spool.set_strand([first.key, second.key, third.key], beside)
        await written(spool.append, new_message(spool, now_ms=NOW_MS + 1))
        assert [key for _, key in spool.waiting(beside, NOW_MS, 10)] == [first.key, second.key]
        assert spool.waiting(strand_of(first), NOW_MS, 10) == []
        await written(spool.settle, verdict(first, DeliveryState.QUEUED, next_ms=NOW_MS))
        assert [key for _, key in spool.waiting(beside | RETRY_BIT, NOW_MS, 10)] == [first.key]

    run(case)


def test_a_temporary_failure_is_due_later(run):
    async def case(spool):
        new = new_message(spool)
        await written(spool.append, new)
        later = verdict(
            new.deliveries[0], DeliveryState.QUEUED, next_ms=NOW_MS + 60_000, last_reply="451 4.3.0 Later"
        )
        assert await written(spool.settle, later) is None
        assert spool.due(NOW_MS, 10) == []
        (delivery,) = spool.due(NOW_MS + 60_000, 10)
        assert (delivery.attempts, delivery.last_reply) == (1, "451 4.3.0 Later")
        assert spool.content(new.message.key).head == HEAD

    run(case)


def test_content_is_freed_with_the_last_open_delivery(run):
    async def case(spool):
        new = new_message(spool, recipients=2)
        await written(spool.append, new)
        await written(spool.settle, verdict(new.deliveries[0]))
        assert spool.content(new.message.key) == new.content
        await written(spool.settle, verdict(new.deliveries[1], DeliveryState.BOUNCED))
        with pytest.raises(CorruptionError):
            spool.content(new.message.key)
        assert spool.next_due_ms() is None

    run(case)


def test_suppressed_recipients_are_recorded_and_never_due(run):
    async def case(spool):
        new = new_message(spool, state=DeliveryState.SUPPRESSED)
        assert await written(spool.append, new) is None
        assert spool.due(NOW_MS, 10) == []
        with pytest.raises(CorruptionError):
            spool.content(new.message.key)

    run(case)


def test_a_settlement_sends_its_reports_in_the_same_transaction(run):
    async def case(spool):
        new, report = new_message(spool), new_message(spool, account="")
        await written(spool.append, new)
        await written(spool.settle, verdict(new.deliveries[0], DeliveryState.BOUNCED, messages=(report,)))
        assert spool.due(NOW_MS, 10) == list(report.deliveries)
        assert spool.content(report.message.key) == report.content

    run(case)


def test_several_verdicts_are_one_transaction(run):
    async def case(spool):
        new = new_message(spool, recipients=300)
        await written(spool.append, new)
        verdicts = [verdict(one, DeliveryState.REJECTED, attempts=0, events=()) for one in new.deliveries]
        assert await written(spool.settle_all, verdicts) is None
        assert {one.state for one in spool.deliveries_of(new.message)} == {DeliveryState.REJECTED}
        assert spool.due(NOW_MS, 1) == []
        with pytest.raises(CorruptionError):
            spool.content(new.message.key)

    run(case)


def test_deliveries_of_a_message_are_told_with_their_states(run):
    async def case(spool):
        new, other = new_message(spool, recipients=2), new_message(spool)
        await written(spool.append, new)
        await written(spool.append, other)
        await written(spool.settle, verdict(new.deliveries[1]))
        found = {one.key: one.state for one in spool.deliveries_of(new.message)}
        first, second = new.deliveries
        assert found == {first.key: DeliveryState.QUEUED, second.key: DeliveryState.DELIVERED}

    run(case)


def test_a_scan_is_kept_and_a_later_one_replaces_it(run):
    async def case(spool):
        new = new_message(spool)
        await written(spool.append, new)
        assert spool.scan(new.message.key) is None
        for scan in (Scan(ScanVerdict.FAILED, "clamav", "down"), Scan(ScanVerdict.CLEAN, "", "", 4.5, NOW_MS)):
            spool.keep_scan(new.message.key, scan)
            await written(spool.append, new_message(spool))
            assert spool.scan(new.message.key) == scan

    run(case)


def test_a_dedupe_key_counts_once(run):
    async def case(spool):
        new = new_message(spool)
        await written(spool.append, new)
        late = verdict(new.deliveries[0], DeliveryState.BOUNCED, dedupe_key="bounce:1")
        assert await written(spool.settle, late) is None
        reports = (new_message(spool),)
        again = verdict(new.deliveries[0], DeliveryState.BOUNCED, dedupe_key="bounce:1", messages=reports)
        assert await written(spool.settle, again) is None
        assert spool.due(NOW_MS, 10) == []

    run(case)


def test_a_late_verdict_on_a_finished_delivery_keeps_its_state_and_logs_its_events(run):
    async def case(spool):
        new, report = new_message(spool), new_message(spool)
        await written(spool.append, new)
        await written(spool.settle, verdict(new.deliveries[0]))
        late = verdict(new.deliveries[0], DeliveryState.BOUNCED, dedupe_key="late", messages=(report,))
        assert await written(spool.settle, late) is None
        assert spool.due(NOW_MS, 10) == list(report.deliveries)

    run(case)


def test_there_is_room(run):
    async def case(spool):
        assert spool.room_bytes() > 0
        spool.in_flight(3, 42)
        spool.in_flight(3, 0)

    run(case)
