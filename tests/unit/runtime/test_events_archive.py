"""The archive in the events process keeps its files within the configured bounds, and tells how much there is."""

import yaml

from relay.runtime.board import Board
from relay.runtime.children import ChildContext, Role, new_epoch
from relay.runtime.config.model import Config
from relay.runtime.config.values import BASE
from relay.runtime.events.archive import KeptArchive, NoArchive, archive_applier
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.rpc import Ops
from relay.store.retention import DAY_MS, archive_directory, day_path, days_of
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.unit.store.test_event_archive import event

DAY_SECONDS = 86_400


def context_of(directory, **history):
    text = yaml.safe_dump({"hostname": "relay.example", "data_dir": str(directory), "history": history})
    board = Board(["events"])
    return ChildContext(
        role=Role.EVENTS,
        index=0,
        name="events",
        config=Config.model_validate(yaml.safe_load(text), context={BASE: directory}),
        listeners=(),
        board=board,
        row=board.rows["events"],
        log=MemoryLog(),
        metrics=ProcessMetrics(new_epoch()),
        ops=Ops(),
        run_dir=directory / "run",
    )


def test_old_days_go_and_the_rest_is_told(tmp_path):
    context, clock = context_of(tmp_path, events_retention="2d"), ManualClock()
    history = tmp_path / "history" / "0001"
    history.mkdir(parents=True)
    day_path(history, clock.now_ms() - 3 * DAY_MS).write_bytes(bytes(5000))
    archive = KeptArchive(context, clock)
    for day in range(5):
        archive.apply(1, [event(1, day + 1)])
        clock.advance(DAY_SECONDS)
    archive.keep_within_bounds()
    kept = days_of(archive_directory(tmp_path))
    assert [(clock.now_ms() - file.day_ms) // DAY_MS for file in kept] == [0, 1, 2]
    assert archive.place(1) == 5
    metrics = context.metrics
    assert metrics.value("relay_history_bytes", "events") == sum(file.size_bytes for file in kept)
    assert metrics.value("relay_history_bytes", "messages") == 5000
    age_seconds = metrics.value("relay_history_oldest_seconds", "events")
    assert 2 * DAY_SECONDS <= age_seconds < 3 * DAY_SECONDS
    assert 8 * DAY_SECONDS <= metrics.value("relay_history_oldest_seconds", "messages") < 9 * DAY_SECONDS
    archive.close()


def test_upkeep_ends_with_the_archive(tmp_path):
    archive = KeptArchive(context_of(tmp_path), ManualClock())
    archive.open()
    archive.apply(1, [event(1, 1)])
    archive.close()
    assert not archive._upkeep.is_alive()


def test_without_archive_nothing_is_held_back(tmp_path):
    applier = archive_applier(context_of(tmp_path, events=False))
    assert isinstance(applier, NoArchive)
    applier.open()
    applier.apply(1, [event(1, 1)])
    applier.skip(1, 2)
    assert applier.place(1) > 1 << 60
    applier.close()
    assert not archive_directory(tmp_path).exists()
