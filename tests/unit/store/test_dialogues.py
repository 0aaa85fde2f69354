"""Dialogues in the spool: bounded in size and number, gone with their message, whole in history."""

import asyncio
import zlib

import pytest

from relay.model.delivery import DeliveryState
from relay.model.dialogue import Dialogue, Line, Skipped, Try
from relay.store.dialogues import SKIPPED_MAX, TRIES_MAX, packed, unpacked
from relay.store.jobs import DIALOGUES_KEPT
from tests.unit.store.shard import new_message, shard, until, verdict, written


def talk(number=1, tries=1, lines=3):
    said = tuple(Line(n, "S", f"{number}/{n}") for n in range(lines))
    return Dialogue(tuple(Try(f"mx{n}", "192.0.2.1", 25, "451 no", None, said) for n in range(tries)))


def test_what_is_packed_is_unpacked():
    found = unpacked(packed(Dialogue(talk().tries, (Skipped("mx", "", "private"),))))
    assert found["tries"][0]["lines"][2] == {"at_ms": 2, "who": "S", "text": "1/2"}
    assert found["skipped"] == [{"host": "mx", "address": "", "why": "private"}]
    assert unpacked(packed(Dialogue())) == {"tries": [], "skipped": []}


def test_many_tries_are_bounded_and_the_one_that_decided_is_whole():
    long = talk(tries=30, lines=200)
    found = unpacked(packed(Dialogue(long.tries, (Skipped("mx", "", "x"),) * 1000)))
    assert len(found["tries"]) == TRIES_MAX
    assert len(found["tries"][-1]["lines"]) == 200
    assert all(len(one["lines"]) == 40 for one in found["tries"][:-1])
    assert len(found["skipped"]) == SKIPPED_MAX


@pytest.mark.parametrize(
    "record", [b"", b"x", zlib.compress(b"["), zlib.compress(b"[]"), zlib.compress(b"0" * 9_000_000)]
)
def test_a_damaged_record_is_none(record):
    assert unpacked(record) is None


def test_the_first_and_the_newest_are_kept_and_move_to_history(tmp_path):
    async def case():
        async with shard(tmp_path) as spool:
            new = new_message(spool)
            (delivery,) = new.deliveries
            await written(spool.append, new)
            for number in range(1, 9):
                later = verdict(delivery, DeliveryState.QUEUED, attempts=number, dialogue=talk(number))
                await written(spool.settle, later)
            kept = [attempt for _, attempt, _ in spool.trace(new.message.message_id).dialogues]
            assert kept == [1, *range(9 - DIALOGUES_KEPT, 9)]
            await written(spool.settle, verdict(delivery, attempts=9))
            await until(lambda: spool.counts() == {})
            found = spool.trace(new.message.message_id)
            assert found.finished
            assert [attempt for _, attempt, _ in found.dialogues] == kept
            assert spool._reader.dialogues_of(new.message.key) == []

    asyncio.run(case())
