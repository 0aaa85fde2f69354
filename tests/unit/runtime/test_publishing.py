"""The events process publishes the log of a real shard to files, and has the owner prune it."""

import asyncio
import json

import pytest
import yaml

from relay.errors import ConfigurationError
from relay.runtime.board import Board
from relay.runtime.children import ChildContext, Role, new_epoch
from relay.runtime.config.model import Config
from relay.runtime.config.values import BASE
from relay.runtime.events.publishing import EventService
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.rpc import Ops, Server
from relay.testing.log import MemoryLog
from tests.unit.store.shard import new_message, shard, verdict, written

NAMES = ["events", "worker-0001"]


def _config(directory, events):
    text = yaml.safe_dump({"hostname": "relay.example", "data_dir": str(directory), "events": events})
    return Config.model_validate(yaml.safe_load(text), context={BASE: directory})


def _file(name, types="all"):
    return {"name": name, "type": "file", "path": f"{name}.jsonl", "types": types}


def _service(directory, config):
    board = Board(NAMES)
    context = ChildContext(
        role=Role.EVENTS,
        index=0,
        name="events",
        config=config,
        listeners=(),
        board=board,
        row=board.rows["events"],
        log=MemoryLog(),
        metrics=ProcessMetrics(new_epoch()),
        ops=Ops(),
        run_dir=directory / "run",
    )
    return context, EventService(context, appliers=())


def _kinds(path):
    return [json.loads(line)["eventType"] for line in path.read_bytes().splitlines()] if path.exists() else []


async def _until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (a file has no event)
            await asyncio.sleep(0.01)


async def _deliver(spool):
    new = new_message(spool)
    assert await written(spool.append, new) is None
    assert await written(spool.settle, verdict(new.deliveries[0])) is None


def test_events_reach_every_destination_and_are_counted(tmp_path):
    async def play():
        context, service = _service(tmp_path, _config(tmp_path, [_file("all"), _file("some", ["Delivery"])]))
        await service.start()  # before the worker made the shard
        async with shard(tmp_path) as spool:
            await _deliver(spool)
            await _until(lambda: len(_kinds(tmp_path / "all.jsonl")) == 2)
            await _until(lambda: len(_kinds(tmp_path / "some.jsonl")) == 1)
            service.check()
            await service.close()
        assert _kinds(tmp_path / "all.jsonl") == ["Send", "Delivery"]
        assert _kinds(tmp_path / "some.jsonl") == ["Delivery"]
        assert context.metrics.value("relay_events_published_total", "all") == 2

    asyncio.run(play())


def test_closing_publishes_what_is_there_and_the_next_start_goes_on(tmp_path):
    async def play():
        config = _config(tmp_path, [_file("all")])
        async with shard(tmp_path) as spool:
            for round_ in range(1, 4):
                _, service = _service(tmp_path, config)
                await service.start()
                await _deliver(spool)
                await service.close()
                assert _kinds(tmp_path / "all.jsonl") == ["Send", "Delivery"] * round_

    asyncio.run(play())


def test_a_reload_changes_destinations_or_keeps_the_old_ones(tmp_path):
    async def play():
        old = _config(tmp_path, [_file("all")])
        context, service = _service(tmp_path, old)
        async with shard(tmp_path) as spool:
            await service.start()
            (tmp_path / "taken.jsonl").mkdir()
            with pytest.raises(ConfigurationError, match="taken"):
                await service.reload(_config(tmp_path, [_file("all"), _file("taken")]))
            await _deliver(spool)
            await _until(lambda: len(_kinds(tmp_path / "all.jsonl")) == 2)
            new = _config(tmp_path, [_file("other")])
            await service.reload(new)
            context.config = new
            await _deliver(spool)
            await _until(lambda: len(_kinds(tmp_path / "other.jsonl")) == 4)  # a new destination begins at the start
            assert len(_kinds(tmp_path / "all.jsonl")) == 2
            await service.close()

    asyncio.run(play())


def test_the_owner_is_asked_to_prune(tmp_path, monkeypatch):
    monkeypatch.setattr("relay.events.outbox.PRUNE_SECONDS", 0.05)

    async def play():
        _, service = _service(tmp_path, _config(tmp_path, [_file("all")]))
        (tmp_path / "run").mkdir()
        asked = []
        ops = Ops()
        ops.add("events.prune", lambda request: asked.append((request["shard"], request["seq"])))
        async with shard(tmp_path) as spool:
            await service.start()
            await _deliver(spool)
            await asyncio.sleep(0.2)  # nobody answers yet; that is no fault
            worker = Server(tmp_path / "run" / "worker-0001.sock", ops, MemoryLog())
            await worker.start()
            await _until(lambda: asked)
            service.check()
            await service.close()
            await worker.close()
        assert asked[-1][0] == 1
        assert asked[-1][1] >= 1

    asyncio.run(play())
