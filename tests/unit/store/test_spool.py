"""The spool on disk: what the contract does not say."""

import asyncio
import contextlib
import resource
import shutil
import sqlite3

import orjson
import pytest

from relay.errors import CorruptionError, NewerVersionError, StorageError, UsageError
from relay.model.content import BodyFile, Content
from relay.model.delivery import DeliveryState, Step
from relay.model.message import NewMessage, SendOptions
from relay.schedule.fair import NO_STRAND
from relay.store import operations
from relay.store.database import APPLICATION_ID, open_writer
from relay.store.inbox import ShardInbox
from relay.store.reader import QueueScan, ShardEvents, ShardReader
from relay.store.spool import SpoolOptions
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.unit.store.shard import NOW_MS, event, new_message, shard, until, verdict, written

QUEUED = frozenset({DeliveryState.QUEUED})
HELD = frozenset({DeliveryState.HELD})


def run(tmp_path, case, **parts):
    async def inside():
        async with shard(tmp_path, **parts) as spool:
            return await case(spool)

    return asyncio.run(inside())


def test_everything_survives_a_restart(tmp_path):
    async def first(spool):
        new = new_message(spool, recipients=2)
        await written(spool.append, new)
        await written(spool.settle, verdict(new.deliveries[0]))
        return new

    new = run(tmp_path, first)

    async def second(spool):
        assert spool.next_key() > new.message.key
        assert spool.due(NOW_MS, 10) == [new.deliveries[1]]
        assert spool.content(new.message.key) == new.content
        assert spool.usage_since(0) == [(new.message.account, NOW_MS // 60_000, 2)]
        assert [found.kind for _, found in ShardEvents(1, spool.paths.database).read(0, 10)] == ["Send", "Delivery"]

    run(tmp_path, second)


def test_keys_that_were_given_out_and_never_written_do_not_repeat(tmp_path):
    async def keys(spool):
        return {spool.next_key() for _ in range(1000)}

    given = [run(tmp_path, keys) for _ in range(3)]
    assert len(set.union(*given)) == 3000


@pytest.mark.req("FLOW-005")
def test_many_messages_share_commits_and_none_is_answered_before_its_own(tmp_path):
    commits = []

    async def case(spool):
        answered = []
        news = [new_message(spool, body=b"x" * 10_000) for _ in range(500)]
        for new in news:
            spool.append(new, lambda error, key=new.message.key: answered.append((key, error, len(commits))))
        await until(lambda: len(answered) == 500)
        assert [key for key, _, _ in answered] == [new.message.key for new in news]
        assert all(error is None and after > 0 for _, error, after in answered)
        assert len(spool.due(NOW_MS, 1000)) == 500

    options = SpoolOptions(crash_point=lambda name: commits.append(name) if name == "after commit" else None)
    run(tmp_path, case, options=options)
    assert len(commits) < 100


def test_one_bad_record_fails_alone(tmp_path):
    async def case(spool):
        good, twin, last = new_message(spool), new_message(spool), new_message(spool)
        twin = NewMessage(good.message, twin.content, good.deliveries)
        answers = await asyncio.gather(*(written(spool.append, new) for new in (good, twin, last)))
        assert answers[0] is None
        assert isinstance(answers[1], StorageError)
        assert answers[2] is None
        assert len(spool.due(NOW_MS, 10)) == 2

    run(tmp_path, case)


def test_an_io_error_refuses_the_group_then_the_file_is_opened_again(tmp_path):
    log, faults = MemoryLog(), []

    def point(name):
        if name == "before commit" and faults:
            raise faults.pop()

    async def case(spool):
        before = new_message(spool)
        await written(spool.append, before)
        faults.append(OSError(5, "Input/output error"))
        refused = await written(spool.append, new_message(spool))
        assert isinstance(refused, StorageError)
        assert spool.room_bytes() == 0
        after = new_message(spool)
        assert await written(spool.append, after) is None
        assert spool.due(NOW_MS, 10) == [before.deliveries[0], after.deliveries[0]]
        first, second = (seq for seq, _ in ShardEvents(1, spool.paths.database).read(0, 10))
        assert second == first + 1

    run(tmp_path, case, options=SpoolOptions(crash_point=point), log=log)
    assert "spool write failed" in log.events("error")
    assert "spool is writable again" in log.events("info")


def test_room_recovers_without_a_restart(tmp_path):
    clock, faults = ManualClock(), [OSError(28, "No space left on device")]

    async def case(spool):
        assert spool.room_bytes() > 0
        assert isinstance(await written(spool.append, new_message(spool)), StorageError)
        assert spool.room_bytes() == 0
        clock.advance(1.1)
        assert spool.room_bytes() > 0
        assert await written(spool.append, new_message(spool)) is None

    def point(name):
        if name == "before commit" and faults:
            raise faults.pop()

    run(tmp_path, case, options=SpoolOptions(crash_point=point), clock=clock)


def test_room_counts_from_the_minimum(tmp_path):
    async def case(spool):
        assert spool.room_bytes() < 0

    run(tmp_path, case, options=SpoolOptions(disk_free_min_bytes=1 << 60))


def test_room_shrinks_with_each_message_between_two_looks_at_the_disk(tmp_path):
    async def case(spool):
        before = spool.room_bytes()
        message = new_message(spool)
        assert await written(spool.append, message) is None
        assert before - spool.room_bytes() >= message.content.size_bytes

    run(tmp_path, case, clock=ManualClock())


def test_large_bodies_are_files_until_the_last_delivery_settles(tmp_path):
    async def case(spool):
        arriving = spool.paths.incoming / "7-1.body"
        arriving.write_bytes(b"y" * 400_000)
        new = new_message(spool, recipients=2, body=BodyFile(str(arriving), 0, 400_000))
        assert await written(spool.append, new) is None
        assert not arriving.exists()
        content = spool.content(new.message.key)
        assert isinstance(content.body, BodyFile)
        assert (spool.paths.bodies / content.body.path).read_bytes() == b"y" * 400_000
        await written(spool.settle, verdict(new.deliveries[0]))
        assert len(list(spool.paths.bodies.iterdir())) == 1
        await written(spool.settle, verdict(new.deliveries[1]))
        await until(lambda: not list(spool.paths.bodies.iterdir()))

    run(tmp_path, case)


def test_a_body_elsewhere_or_at_an_offset_is_copied(tmp_path):
    async def case(spool):
        elsewhere = tmp_path / "whole.eml"
        elsewhere.write_bytes(b"head" + b"z" * 300_000 + b"tail")
        new = new_message(spool, body=BodyFile(str(elsewhere), 4, 300_000))
        assert await written(spool.append, new) is None
        assert elsewhere.exists()
        body = spool.content(new.message.key).body
        assert (tmp_path / body.path).read_bytes() == b"z" * 300_000

    run(tmp_path, case)


def test_a_missing_body_is_a_storage_error_and_leaves_nothing(tmp_path):
    async def case(spool):
        new = new_message(spool, body=BodyFile(str(spool.paths.incoming / "gone"), 0, 300_000))
        assert isinstance(await written(spool.append, new), StorageError)
        assert spool.due(NOW_MS, 10) == []
        assert list(spool.paths.bodies.iterdir()) == []

    run(tmp_path, case)


def test_a_body_that_ends_early_is_a_storage_error_and_leaves_nothing(tmp_path):
    """Such as one that a full disk cut: it is not filled up with zeros."""

    async def case(spool):
        short = spool.paths.incoming / "1"
        short.write_bytes(b"y" * 299_999)
        new = new_message(spool, body=BodyFile(str(short), 0, 300_000))
        assert isinstance(await written(spool.append, new), StorageError)
        assert spool.due(NOW_MS, 10) == []
        assert list(spool.paths.bodies.iterdir()) == []

    run(tmp_path, case)


def test_a_body_that_cannot_be_copied_leaves_nothing(tmp_path):
    """A disk that is full would get fuller with every message that is refused."""

    async def case(spool):
        whole = tmp_path / "whole.eml"
        whole.write_bytes(b"z" * 300_000)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))  # as if the disk ended there
        try:
            new = new_message(spool, body=BodyFile(str(whole), 0, 300_000))
            assert isinstance(await written(spool.append, new), StorageError)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list(spool.paths.bodies.iterdir()) == []

    run(tmp_path, case)


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "link"])
def test_a_damaged_body_file_is_never_returned(tmp_path, damage):
    async def first(spool):
        arriving = spool.paths.incoming / "1"
        arriving.write_bytes(b"y" * 400_000)
        new = new_message(spool, body=BodyFile(str(arriving), 0, 400_000))
        await written(spool.append, new)
        return spool.paths.bodies / f"{new.message.key:012x}", new

    path, new = run(tmp_path, first)
    if damage == "truncate":
        path.write_bytes(b"y" * 399_999)
    elif damage == "flip":
        path.write_bytes(b"y" * 399_999 + b"z")
    elif damage == "remove":
        path.unlink()
    else:
        path.rename(tmp_path / "other")
        path.symlink_to(tmp_path / "other")
    log = MemoryLog()

    async def second(spool):
        with pytest.raises(CorruptionError):
            spool.content(new.message.key)
        if damage != "flip":
            assert spool.report.quarantined == [new.deliveries[0].key]
            assert spool.counts() == {DeliveryState.QUARANTINED: 1}

    run(tmp_path, second, log=log)
    if damage != "flip":
        assert "deliveries quarantined" in log.events("error")


def test_finished_messages_move_to_history_and_are_found_there(tmp_path):
    async def case(spool):
        new = new_message(spool, recipients=2)
        await written(spool.append, new)
        for delivery in new.deliveries:
            await written(spool.settle, verdict(delivery, DeliveryState.QUEUED, attempt=b'{"n":1}'))
            await written(spool.settle, verdict(delivery, attempt=b'{"n":2}'))
        traced = spool.trace(new.message.message_id)
        assert traced is not None
        await until(lambda: spool.counts() == {})
        found = spool.trace(new.message.message_id)
        assert found is not None
        assert found.finished
        assert found.message == new.message
        assert found.deliveries == traced.deliveries
        assert [orjson.loads(log) for _, log in found.deliveries] == [[{"n": 1}, {"n": 2}]] * 2
        assert spool.trace(new.message.message_id[:25]) == found
        assert spool.trace(new.message.message_id[:24]) is None
        assert spool.trace("z" * 62) is None
        assert (spool.paths.history / "2026-09-21.db").exists()

    run(tmp_path, case)


def test_messages_finished_before_a_restart_still_move(tmp_path):
    def point(name):
        if name == "history copied":
            raise OSError(5, "Input/output error")

    async def first(spool):
        new = new_message(spool)
        await written(spool.append, new)
        await written(spool.settle, verdict(new.deliveries[0]))
        await until(lambda: "spool housekeeping failed" in log.events("warning"))
        return new

    log = MemoryLog()
    new = run(tmp_path, first, options=SpoolOptions(crash_point=point), log=log)

    async def second(spool):
        await until(lambda: spool.counts() == {})
        found = spool.trace(new.message.message_id)
        assert found is not None
        assert len(found.deliveries) == 1

    run(tmp_path, second)


def test_operators_hold_release_retry_and_delete(tmp_path):
    async def case(spool):
        new = new_message(spool, recipients=3)
        await written(spool.append, new)
        keys = [delivery.key for delivery in new.deliveries]
        assert await spool.act(operations.hold(keys, NOW_MS)) == keys
        assert spool.due(NOW_MS, 10) == []
        assert await spool.act(operations.hold(keys[:1], NOW_MS, QUEUED)) == []
        assert await spool.act(operations.step(keys[:1], Step.RELEASE, NOW_MS)) == keys[:1]
        await written(spool.settle, verdict(new.deliveries[0], DeliveryState.QUEUED, next_ms=NOW_MS + 9_000_000))
        assert await spool.act(operations.retry(keys, NOW_MS)) == keys[:1]
        assert [delivery.key for delivery in spool.due(NOW_MS, 10)] == keys[:1]
        assert sorted(await spool.act(operations.step(keys, Step.DELETE, NOW_MS))) == keys
        with pytest.raises(CorruptionError):
            spool.content(new.message.key)
        assert await spool.act(operations.step(keys, Step.DELETE, NOW_MS)) == []
        assert await spool.act(operations.step([987], Step.DELETE, NOW_MS)) == []

    run(tmp_path, case)


def test_a_hold_outlives_a_temporary_failure_and_yields_to_a_final_verdict(tmp_path):
    async def case(spool):
        new = new_message(spool)
        await written(spool.append, new)
        key = new.deliveries[0].key
        await spool.act(operations.hold([key], NOW_MS))
        await written(spool.settle, verdict(new.deliveries[0], DeliveryState.QUEUED, next_ms=NOW_MS))
        held = spool.delivery(key)
        assert (held.state, held.attempts) == (DeliveryState.HELD, 1)
        await written(spool.settle, verdict(new.deliveries[0]))
        assert spool.counts() in ({DeliveryState.DELIVERED: 1}, {})

    run(tmp_path, case)


def test_holds_end_when_they_should_and_only_those_that_still_stand(tmp_path):
    async def case(spool):
        new = new_message(spool, recipients=4)
        await written(spool.append, new)
        one, two, three, four = (delivery.key for delivery in new.deliveries)
        await spool.act(operations.hold([one, two, three], NOW_MS, until_ms=NOW_MS + 1000))
        await spool.act(operations.hold([four], NOW_MS))
        await spool.act(operations.step([two], Step.RELEASE, NOW_MS))
        await spool.act(operations.hold([two], NOW_MS))  # now without an end
        await spool.act(operations.hold([three], NOW_MS, HELD, until_ms=NOW_MS + 2000))
        assert spool.next_end_ms() == NOW_MS + 1000
        assert await spool.act(operations.end_holds(NOW_MS + 999, 10)) == []
        assert await spool.act(operations.end_holds(NOW_MS + 1000, 10)) == [one]
        assert [delivery.key for delivery in spool.due(NOW_MS + 1000, 10)] == [one]
        entries, end = spool.entries(QueueScan(HELD))
        assert [(entry.key, entry.held_until_ms) for entry in entries] == [
            (two, 0),
            (three, NOW_MS + 2000),
            (four, 0),
        ]
        assert end is None
        assert await spool.act(operations.end_holds(NOW_MS + 2000, 10)) == [three]
        assert spool.next_end_ms() is None

    run(tmp_path, case)


def test_what_an_operator_let_go_of_a_standing_hold_is_not_held_by_it_again(tmp_path):
    async def case(spool):
        new = new_message(spool, recipients=2)
        await written(spool.append, new)
        one, two = (delivery.key for delivery in new.deliveries)
        assert await spool.act(operations.hold([one, two], NOW_MS, rule=7)) == [one, two]
        assert spool._reader.held_by_rule() == [(7, 2)]
        await spool.act(operations.step([one], Step.RELEASE, NOW_MS))
        assert await spool.act(operations.hold([one], NOW_MS, rule=7)) == []
        assert await spool.act(operations.hold([one], NOW_MS, rule=8)) == [one]
        assert await spool.act(operations.end_rule(7, NOW_MS, 10)) == [two]
        assert await spool.act(operations.end_rule(7, NOW_MS, 10)) == []

    run(tmp_path, case)


def test_moving_takes_all_open_deliveries_of_a_message_along_and_forgets_their_addresses(tmp_path):
    async def case(spool):
        new = new_message(spool, recipients=3)
        await written(spool.append, new)
        keys = [delivery.key for delivery in new.deliveries]
        later = verdict(new.deliveries[1], DeliveryState.QUEUED, next_ms=NOW_MS, source="192.0.2.9")
        await written(spool.settle, later)
        await written(spool.settle, verdict(new.deliveries[2]))
        assert spool.delivery(keys[1]).source == "192.0.2.9"
        assert await spool.act(operations.move(keys[:1], "marketing")) == keys[:2]
        for key in keys[:2]:
            moved = spool.delivery(key)
            assert (moved.message.options.pool, moved.source) == ("marketing", "")
        assert await spool.act(operations.move(keys[2:], "other", QUEUED)) == []
        assert await spool.act(operations.move(keys[1:], "")) == keys[:2]
        assert spool.delivery(keys[0]).message.options == SendOptions()

    run(tmp_path, case)


def test_only_operator_steps_can_be_asked_for():
    with pytest.raises(UsageError):
        operations.step([1], Step.ACCEPTED_BY_REMOTE, NOW_MS)


def test_the_queue_is_looked_at_in_steps(tmp_path):
    async def case(spool):
        news = [new_message(spool, recipients=2, domain=name) for name in ("a.example", "b.example", "a.example")]
        for new in news:
            await written(spool.append, new)
        await spool.act(operations.hold([delivery.key for delivery in news[2].deliveries], NOW_MS))
        found, after, looks = [], 0, 0
        while after is not None:
            entries, after = spool.entries(QueueScan(rows_max=4), after)
            found += entries
            looks += 1
        assert [entry.key for entry in found] == [d.key for new in news for d in new.deliveries]
        assert looks == 2
        assert {entry.message_id for entry in spool.entries(QueueScan(HELD))[0]} == {news[2].message.message_id}
        assert spool.entries(QueueScan(account="000000000002"))[0] == []
        mine = QueueScan(message_id=news[1].message.message_id, rows_max=1)
        first, after = spool.entries(mine)
        second, after = spool.entries(mine, after)
        assert [entry.recipient for entry in first + second] == ["r0@b.example", "r1@b.example"]
        assert spool.entries(QueueScan(message_id="no such message")) == ([], None)
        assert spool.oldest_accepted_ms() == NOW_MS

    run(tmp_path, case)


def test_the_depth_of_the_queue_is_counted_in_the_background(tmp_path):
    async def case(spool):
        assert spool.depth().oldest_accepted_ms is None
        new = new_message(spool, recipients=3)
        await written(spool.append, new)
        await spool.act(operations.hold([new.deliveries[0].key], NOW_MS))
        states = (DeliveryState.QUEUED, DeliveryState.HELD, DeliveryState.QUARANTINED)
        await until(lambda: spool.depth().oldest_accepted_ms == NOW_MS)
        assert [spool.depth().counts[state] for state in states] == [2, 1, 0]

    run(tmp_path, case)


def test_events_are_pruned_and_their_numbers_never_come_back(tmp_path):
    known = []

    async def first(spool):
        for _ in range(5):
            await written(spool.append, new_message(spool))
        events = ShardEvents(1, spool.paths.database)
        known.extend(seq for seq, _ in events.read(0, 10))
        assert known == list(range(known[0], known[0] + 5))
        assert [seq for seq, _ in events.read(known[1], 2)] == known[2:4]
        assert (events.backlog(known[0]), events.last()) == (4, known[4])
        await spool.prune_events(known[2])
        assert [seq for seq, _ in events.read(0, 10)] == known[3:]
        await spool.prune_events(known[4] + 1_000_000)
        assert events.read(0, 10) == []
        assert events.last() == known[4]

    run(tmp_path, first)

    async def second(spool):
        await written(spool.append, new_message(spool))
        ((seq, _),) = ShardEvents(1, spool.paths.database).read(0, 10)
        assert seq > known[-1]

    run(tmp_path, second)


def test_a_log_keeps_its_number_and_a_new_one_has_another(tmp_path):
    numbers, seqs, clock = [], [], ManualClock()

    async def look(spool):
        await written(spool.append, new_message(spool))
        events = ShardEvents(1, spool.paths.database)
        numbers.append(events.log())
        seqs.append(events.last())
        clock.advance(60)

    run(tmp_path, look, clock=clock)
    shutil.copytree(tmp_path / "spool", tmp_path / "copy")
    run(tmp_path, look, clock=clock)
    shutil.rmtree(tmp_path / "spool")
    run(tmp_path, look, clock=clock)
    shutil.rmtree(tmp_path / "spool")
    shutil.copytree(tmp_path / "copy", tmp_path / "spool")  # an old copy: the same log, and no number twice
    run(tmp_path, look, clock=clock)
    assert numbers[0] == numbers[1] == numbers[3] > 0
    assert numbers[2] not in {0, numbers[0]}
    assert seqs == sorted(set(seqs))


def test_the_inbox_keeps_what_belongs_to_another_shard(tmp_path):
    async def case(spool):
        inbox = ShardInbox(spool, ManualClock())
        for item in (("b", 2, b"second"), ("a", 3, b"first"), ("b", 2, b"repeated")):
            assert await written(inbox.keep, *item) is None
        assert inbox.waiting(10) == [("b", 2, b"second"), ("a", 3, b"first")]
        assert inbox.waiting(1) == [("b", 2, b"second")]
        assert await written(inbox.forget, "b") is None
        assert inbox.waiting(10) == [("a", 3, b"first")]

    run(tmp_path, case)


def test_usage_adds_up_by_account_and_minute(tmp_path):
    async def case(spool):
        for account, now_ms in (("1", NOW_MS), ("1", NOW_MS), ("2", NOW_MS), ("1", NOW_MS + 60_000)):
            await written(spool.append, new_message(spool, recipients=2, account=account, now_ms=now_ms))
        minute = NOW_MS // 60_000
        assert spool.usage_since(minute) == [("1", minute, 4), ("1", minute + 1, 2), ("2", minute, 2)]
        assert spool.usage_since(minute + 1) == [("1", minute + 1, 2)]

    run(tmp_path, case)


def test_two_verdicts_on_one_delivery_in_one_group_both_count(tmp_path):
    async def case(spool):
        new = new_message(spool)
        await written(spool.append, new)
        (delivery,) = new.deliveries
        first = verdict(delivery, DeliveryState.QUEUED, attempt=b'{"n":1}')
        await asyncio.gather(
            written(spool.settle, first), written(spool.settle, verdict(delivery, attempt=b'{"n":2}'))
        )
        ((found, log),) = spool.trace(new.message.message_id).deliveries
        assert found.state is DeliveryState.DELIVERED
        assert orjson.loads(log) == [{"n": 1}, {"n": 2}]

    run(tmp_path, case)


def test_a_damaged_record_is_quarantined_when_it_comes_due(tmp_path):
    log = MemoryLog()

    async def case(spool):
        good, bad = new_message(spool), new_message(spool)
        await written(spool.append, good)
        await written(spool.append, bad)
        with sqlite3.connect(spool.paths.database, isolation_level=None) as connection:
            connection.execute(
                "UPDATE delivery SET recipient = 'r0@example.orh' WHERE key = ?", (bad.deliveries[0].key,)
            )
        connection.close()
        assert spool.due(NOW_MS, 10) == list(good.deliveries)
        await until(lambda: spool.counts().get(DeliveryState.QUARANTINED) == 1)
        assert spool.due(NOW_MS, 10) == list(good.deliveries)

    run(tmp_path, case, log=log)
    assert "delivery quarantined" in log.events("error")


def test_a_delay_is_noted_with_its_report_and_stays_noted(tmp_path):
    """What was asked for a recipient and what was told of it outlive settlements, and go to history."""

    async def case(spool):
        new = new_message(spool, recipients=2)
        await written(spool.append, new)
        wishes = [delivery.wishes for delivery in new.deliveries]
        assert wishes == ["", "NOTIFY=DELAY ORCPT=rfc822;r1"]
        await written(spool.settle, verdict(new.deliveries[1], DeliveryState.QUEUED, delay_told=True))
        await written(spool.settle, verdict(new.deliveries[1], DeliveryState.QUEUED))
        found = spool.deliveries_of(new.message)
        assert [(each.wishes, each.delay_told) for each in found] == [("", False), (wishes[1], True)]
        for delivery in new.deliveries:
            await written(spool.settle, verdict(delivery))
        await until(lambda: spool.counts() == {})
        traced = spool.trace(new.message.message_id)
        assert [(each.wishes, each.delay_told) for each, _ in traced.deliveries] == [("", False), (wishes[1], True)]

    run(tmp_path, case)


def test_wishes_that_changed_on_disk_are_never_sent(tmp_path):
    async def case(spool):
        new = new_message(spool, recipients=2)
        await written(spool.append, new)
        with sqlite3.connect(spool.paths.database, isolation_level=None) as connection:
            connection.execute("UPDATE delivery SET wishes = 'NOTIFY=NEVER'")
        connection.close()
        assert spool.due(NOW_MS, 10) == []
        await until(lambda: spool.counts().get(DeliveryState.QUARANTINED) == 2)

    run(tmp_path, case, log=MemoryLog())


def test_damaged_content_is_never_returned(tmp_path):
    async def case(spool):
        new = new_message(spool)
        await written(spool.append, new)
        for column, value in (
            ("body", b"bodX\r\n"),
            ("body", b"body"),
            ("head", b""),
            ("head", None),
            ("body", "text"),
        ):
            with sqlite3.connect(spool.paths.database, isolation_level=None) as connection:
                if value is None:
                    connection.execute("DELETE FROM content")
                else:
                    connection.execute(f"UPDATE content SET {column} = ?", (value,))
            connection.close()
            with pytest.raises(CorruptionError):
                spool.content(new.message.key)

    run(tmp_path, case)


@pytest.mark.parametrize("schema", ["spool", "history", "outbox"])
def test_a_newer_file_is_refused_untouched(tmp_path, schema):
    path = tmp_path / "some.db"
    connection = open_writer(path, schema)
    connection.execute("PRAGMA user_version = 99")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID + 99}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerVersionError, match="newer release"):
        open_writer(path, schema)
    assert path.read_bytes() == before


def test_a_callback_that_fails_does_not_keep_the_others_waiting(tmp_path):
    log = MemoryLog()

    async def case(spool):
        def broken(_error):
            raise RuntimeError("mine")

        spool.append(new_message(spool), broken)
        assert await written(spool.append, new_message(spool)) is None

    run(tmp_path, case, log=log)
    assert "spool callback failed" in log.events("error")


def test_a_settlement_event_is_logged_even_for_a_message_gone_to_history(tmp_path):
    async def case(spool):
        new = new_message(spool)
        await written(spool.append, new)
        await written(spool.settle, verdict(new.deliveries[0]))
        await until(lambda: spool.counts() == {})
        late = verdict(new.deliveries[0], DeliveryState.BOUNCED, events=(event(new.message.message_id, "Bounce"),))
        assert await written(spool.settle, late) is None
        kinds = [found.kind for _, found in ShardEvents(1, spool.paths.database).read(0, 10)]
        assert kinds == ["Send", "Delivery", "Bounce"]

    run(tmp_path, case)


def test_content_and_head_limits_are_the_callers(tmp_path):
    async def case(spool):
        new = new_message(spool, body=b"")
        new = NewMessage(new.message, Content(b"\r\n", b""), new.deliveries)
        assert await written(spool.append, new) is None
        assert spool.content(new.message.key) == Content(b"\r\n", b"")

    run(tmp_path, case)


@pytest.mark.parametrize("strand", [-(1 << 63) + 1, -1, 0, (1 << 63) - 1])
def test_a_delivery_with_a_damaged_strand_is_found_all_the_same(tmp_path, strand):
    async def run():
        async with shard(tmp_path) as spool:
            new = new_message(spool)
            await written(spool.append, new)
        with contextlib.closing(sqlite3.connect(tmp_path / "spool" / "0001" / "spool.db")) as connection:
            connection.execute("UPDATE delivery SET strand = ?", (strand,))
            connection.commit()
        async with shard(tmp_path) as spool:
            assert spool.strands(NO_STRAND, 10) == [(strand, NOW_MS)]
            ((_, key),) = spool.waiting(strand, NOW_MS, 10)
            assert spool.queued([key]) == list(new.deliveries)
            later = verdict(new.deliveries[0], DeliveryState.QUEUED, next_ms=NOW_MS + 1)
            assert await written(spool.settle, later) is None
            assert len(spool.strands(NO_STRAND, 10)) == 1

    asyncio.run(run())


def test_the_queue_tells_classes_and_who_waits_longest(tmp_path):
    async def run():
        async with shard(tmp_path) as spool:
            for number in range(12):
                account = f"{number:012d}"
                late = new_message(spool, account=account, now_ms=NOW_MS - 1000 * number)
                await written(spool.append, late)
                bulk = new_message(spool, account=account, options=SendOptions(bulk=True))
                await written(spool.append, bulk)
            depth = ShardReader(spool.paths.database).depth(NOW_MS)
            assert (depth.transactional, depth.bulk) == (12, 12)
            assert depth.overdue_ms == tuple((f"{number:012d}", 1000 * number) for number in range(11, 1, -1))

    asyncio.run(run())
