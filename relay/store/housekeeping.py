"""The housekeeper thread: what a shard needs now and then, kept away from commits.

Finished messages go to history, the write-ahead log is copied into the file, old usage, dedupe keys and days of
history are dropped. It reads the spool with a connection of its own; every write to the spool it leaves to the
writer, as one job among others.

Checkpoints: this thread copies most of the log while commits go on; the writer then copies the small rest
between two groups, after which SQLite starts the log anew.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from relay.errors import RelayError
from relay.ports import Clock, Log
from relay.store.history import NO_KEY, HistoryCopy
from relay.store.jobs import MINUTE_MS, Call, Group
from relay.store.reader import QueueDepth, ShardReader
from relay.store.retention import Keep, to_drop_of
from relay.store.sql import queries
from relay.store.writer import CrashPoint, Writer

WAL_PAGES_MAX: Final = 2000
HISTORY_BATCH: Final = 1000
FINISHED_HELD_MAX: Final = 100_000
_IDLE_SECONDS: Final = 1.0
_UPKEEP_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5.0
_DEPTH_SECONDS: Final = 5.0
_DEPTH_SHARE: Final = 100  # counting takes at most this part of a core
_SWEEP_ROWS: Final = 2000
_USAGE_MINUTES: Final = 25 * 60
_WRITE: Final = queries("write.sql")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept."""

    keep: Keep = field(default_factory=Keep)
    dedupe_days: int = 35  # longer than a return path is honoured


class Housekeeper:
    """The housekeeper of one shard."""

    def __init__(
        self,
        spool_path: Path,
        history_directory: Path,
        *,
        writer: Writer,
        clock: Clock,
        log: Log,
        retention: Retention,
        crash_point: CrashPoint | None,
        search_key: bytes = NO_KEY,
    ) -> None:
        self._spool_path = spool_path
        self._search_key = search_key
        self._history_directory = history_directory
        self._writer = writer
        self._clock = clock
        self._log = log
        self.retention = retention
        self._crash_point = crash_point
        self._finished: deque[int] = deque(maxlen=FINISHED_HELD_MAX)
        self._missed = True  # finished messages of an earlier life are found by a sweep
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._copy: HistoryCopy | None = None
        self._upkeep_at = 0.0
        self._depth_at = 0.0
        self.depth: QueueDepth | None = None  # replaced as a whole; read by the event loop's thread

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="spool-housekeeper", daemon=True)
        self._thread.start()

    def add_finished(self, keys: Sequence[int]) -> None:
        """Take note of a commit and the messages it finished; from the writer's thread."""
        if len(self._finished) + len(keys) > FINISHED_HELD_MAX:
            self._missed = True
        else:
            self._finished.extend(keys)
        if len(self._finished) >= HISTORY_BATCH or self._writer.wal_pages >= WAL_PAGES_MAX:
            self._wake.set()

    def stop(self) -> None:
        """End the thread; what is left is found by the next owner."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_IDLE_SECONDS)
            self._wake.clear()
            if self._stopping:
                break
            try:
                self._work()
            except (sqlite3.Error, OSError, RelayError) as error:
                self._log.warning("spool housekeeping failed", path=str(self._spool_path), error=str(error))
                self._close_copy()
                self._wake.wait(_RETRY_SECONDS)
        self._close_copy()

    def _work(self) -> None:
        if self._missed:
            self._sweep()
        while self._finished and not self._stopping:
            self._move_batch()
        if self._writer.wal_pages:
            self._checkpoint()
        if time.monotonic() >= self._depth_at:
            self._look_at_depth()
        if time.monotonic() >= self._upkeep_at:
            self._upkeep_at = time.monotonic() + _UPKEEP_SECONDS
            self._upkeep()

    def _move_batch(self) -> None:
        keys = [self._finished.popleft() for _ in range(min(HISTORY_BATCH, len(self._finished)))]
        try:
            self._history().copy(keys)
        except (sqlite3.Error, OSError):
            self._finished.extendleft(reversed(keys))
            raise
        if self._crash_point:
            self._crash_point("history copied")
        wanted = orjson.dumps(keys).decode()

        def forget(_group: Group, connection: sqlite3.Connection) -> None:
            for name in ("remove_deliveries", "remove_dialogues", "remove_holds"):
                connection.execute(_WRITE[name], (wanted,))
            connection.execute(_WRITE["remove_scans"], (wanted,))
            connection.execute(_WRITE["remove_messages"], (wanted,))

        if self._ask(forget) is not None:
            self._missed = True  # still there: the next sweep finds them

    def _checkpoint(self) -> None:
        self._writer.wal_pages = 0
        self._history().checkpoint()

        def finish(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

        self._writer.between(finish)

    def _look_at_depth(self) -> None:
        """Count the queue; a long one takes long to count, so it is counted less often."""
        started = time.monotonic()
        reader = ShardReader(self._spool_path)
        try:
            self.depth = reader.depth(self._clock.now_ms())
        finally:
            reader.close()
        now = time.monotonic()
        self._depth_at = now + max(_DEPTH_SECONDS, (now - started) * _DEPTH_SHARE)

    def _sweep(self) -> None:
        self._missed = False
        reader = ShardReader(self._spool_path)
        try:
            after = 0
            while not self._stopping and (rows := reader.finished(after, _SWEEP_ROWS)):
                after = rows[-1][0]
                self._finished.extend(key for key, done in rows if done)
                while len(self._finished) >= HISTORY_BATCH and not self._stopping:
                    self._move_batch()
        finally:
            reader.close()

    def _upkeep(self) -> None:
        now_ms = self._clock.now_ms()
        self._ask(_prune("prune_usage", now_ms // MINUTE_MS - _USAGE_MINUTES))
        self._ask(_prune("prune_dedupe", now_ms - self.retention.dedupe_days * 86_400_000))
        if self._copy is not None:
            self._copy.detach()
        own = self._history_directory
        dropped = to_drop_of(own.parent.parent, own, self.retention.keep, now_ms)
        for file in dropped:
            file.remove()
        if dropped:
            self._log.info("history dropped", days=[file.day for file in dropped])

    def _ask(self, run: Callable[[Group, sqlite3.Connection], Any]) -> Exception | None:
        """Have the writer do something and wait for it; return its error."""
        finished = threading.Event()
        errors: list[Exception] = []

        def answer(_result: Any, error: Exception | None) -> None:
            errors.extend([error] if error else [])
            finished.set()

        self._writer.submit(Call(run, answer, on_loop=False))
        while not finished.wait(_IDLE_SECONDS):
            if self._stopping:
                return None
        return errors[0] if errors else None

    def _history(self) -> HistoryCopy:
        if self._copy is None:
            self._copy = HistoryCopy(self._spool_path, self._history_directory, self._search_key)
        return self._copy

    def _close_copy(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None


def _prune(name: str, before: int) -> Callable[[Group, sqlite3.Connection], None]:
    def run(_group: Group, connection: sqlite3.Connection) -> None:
        connection.execute(_WRITE[name], (before,))

    return run
