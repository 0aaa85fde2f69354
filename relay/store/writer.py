"""The one thread that writes a shard: group commit.

It takes everything that waits, writes it in one transaction, commits (one sync), and wakes the event loop once
with all answers. Groups grow by themselves while a sync runs; a lone message never waits for company (`company`).

States of the connection: *open*; *down* after a failed write. In *down* the next group first reopens the file and
commits an incident count, whose sync also replaces whatever the failed one left in the log: a failed sync is
never retried as if it had worked, and what was refused cannot come back.
"""

import contextlib
import sqlite3
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from relay.errors import NewerVersionError, StorageError
from relay.ports import Log, Metrics
from relay.store.company import Company
from relay.store.database import DAMAGE_CODES, PAGE_BYTES, PRIMARY_CODE, open_writer
from relay.store.jobs import Append, Group, Job
from relay.store.sql import queries

GROUP_JOBS_MAX: Final = 256
GROUP_BYTES_MAX: Final = 8 * 1024 * 1024
KEY_BLOCK: Final = 1 << 20
_PAGES_A_JOB: Final = 4
_WRITE: Final = queries("write.sql")

# Results that put the file or the disk in doubt. Everything else is the fault of one member of the group.
_STORAGE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)

CrashPoint = Callable[[str], None]


class Writer:
    """The writer thread of one shard.

    `on_commit(finished keys, body files to remove)` and `on_failure(damaged)` are called on this thread.
    `crash_point(name)` is called at "before commit" and "after commit", for tests that stop, slow or break the
    process there.
    """

    def __init__(
        self,
        path: Path,
        *,
        next_seq: int,
        key_ceiling: int,
        log: Log,
        on_commit: Callable[[list[int], list[str]], None],
        on_failure: Callable[[bool], None],
        crash_point: CrashPoint | None,
        metrics: Metrics | None = None,
    ) -> None:
        self.wal_pages = 0  # about how many pages the write-ahead log has; read by the housekeeper
        self._path = path
        self._next_seq = next_seq
        self._key_ceiling = key_ceiling
        self._log = log
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._crash_point = crash_point
        self._metrics = metrics
        self._sync_seconds = 0.0
        self._company = Company()
        self._queue: SimpleQueue[list[Job] | Callable[[sqlite3.Connection], None] | None] = SimpleQueue()
        self._turn: list[Job] = []
        self._connection: sqlite3.Connection | None = None
        self._loop: AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, loop: AbstractEventLoop) -> None:
        """Open the file and start the thread. Raise sqlite3.Error."""
        self._loop = loop
        self._connection = open_writer(self._path, "spool")
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Add a job; from any thread, never waits."""
        self._queue.put([job])

    def submit_soon(self, job: Job) -> None:
        """Add a job from the loop's thread; those of one turn of the loop wake the writer once."""
        self._turn.append(job)
        if len(self._turn) == 1:
            assert self._loop is not None
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        if self._turn:
            jobs, self._turn = self._turn, []
            self._queue.put(jobs)

    def between(self, action: Callable[[sqlite3.Connection], None]) -> None:
        """Run something outside a transaction, between two groups."""
        self._queue.put(action)

    def stop(self) -> None:
        """Commit what waits, end the thread, close the file."""
        if self._thread is None:
            return
        self._end_turn()
        self._queue.put(None)
        self._thread.join()
        self._thread = None

    def _run(self) -> None:
        while True:
            jobs, then = self._gather()
            if jobs:
                self._commit(jobs)
            if callable(then):
                self._run_between(then)
            elif then is _STOP:
                break
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()
            self._connection = None

    def _gather(self) -> tuple[list[Job], "Callable[[sqlite3.Connection], None] | _Stop | None"]:
        """Wait for a job, then take everything that waits, up to the bounds of a group."""
        jobs: list[Job] = []
        size_bytes = 0
        entry = self._queue.get()
        wait_seconds = self._company.wait_seconds(time.monotonic())
        if wait_seconds:
            time.sleep(wait_seconds)
        while True:
            if entry is None:
                return jobs, _STOP
            if not isinstance(entry, list):
                return jobs, entry
            jobs += entry
            size_bytes += sum([job.size_bytes for job in entry])
            if len(jobs) >= GROUP_JOBS_MAX or size_bytes >= GROUP_BYTES_MAX:
                return jobs, None
            try:
                entry = self._queue.get_nowait()
            except Empty:
                return jobs, None

    def _commit(self, jobs: Sequence[Job]) -> None:
        begun = time.monotonic()
        try:
            group = self._write(jobs)
        except Exception as error:  # noqa: BLE001 - whatever a member raises is its own answer
            self._fail(jobs, error)
            return
        ended = time.monotonic()
        self._answer(jobs, None, ended - begun)
        self._company.committed(sum([type(job) is Append for job in jobs]), self._sync_seconds, ended)
        size_bytes = sum(job.size_bytes for job in jobs)
        self.wal_pages += size_bytes // PAGE_BYTES + _PAGES_A_JOB * len(jobs)
        self._on_commit(group.finished, group.files)

    def _write(self, jobs: Sequence[Job]) -> Group:
        connection = self._connection or self._reopen()
        group = Group(connection, self._next_seq)
        ceiling = self._key_ceiling
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            job.add_to(group, connection)
        group.write()
        if group.last_key > ceiling - KEY_BLOCK // 2:
            ceiling = group.last_key + KEY_BLOCK
            connection.execute(_WRITE["set_meta"], ("key_ceiling", ceiling))
        if self._crash_point:
            self._crash_point("before commit")
        syncing = time.monotonic()
        connection.execute("COMMIT")
        self._sync_seconds = time.monotonic() - syncing
        if self._crash_point:
            self._crash_point("after commit")
        self._next_seq = group.next_seq
        self._key_ceiling = ceiling
        return group

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        if isinstance(error, sqlite3.Error | OSError | StorageError | NewerVersionError) and _in_doubt(error):
            self._drop_connection()
            damaged = _code(error) in DAMAGE_CODES
            self._log.error("spool write failed", path=str(self._path), error=str(error), refused=len(jobs))
            self._on_failure(damaged)
            self._answer(jobs, StorageError(f"the spool {self._path} cannot be written: {error}"))
            return
        self._rollback()
        if len(jobs) > 1:
            for job in jobs:
                self._commit([job])
            return
        self._log.error("spool refused a record", path=str(self._path), error=repr(error))
        self._answer(jobs, StorageError(f"the spool {self._path} cannot keep this record: {error!r}"))

    def _answer(self, jobs: Sequence[Job], error: Exception | None, seconds: float = 0.0) -> None:
        """Answer all jobs, those of the loop in one call of it, where a commit of so many seconds is counted too."""
        for job in jobs:
            if not job.on_loop:
                job.done(error)
        if self._loop is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._call_back, jobs, error, seconds, self._sync_seconds)

    def _call_back(self, jobs: Sequence[Job], error: Exception | None, seconds: float, sync_seconds: float) -> None:
        for job in jobs:
            try:
                if job.on_loop:
                    job.done(error)
            except Exception as problem:  # noqa: BLE001 - one caller's fault must not keep the others waiting
                self._log.error("spool callback failed", error=repr(problem))
        if error is None and self._metrics is not None:
            _observe(self._metrics, len(jobs), seconds, sync_seconds)

    def _run_between(self, action: Callable[[sqlite3.Connection], None]) -> None:
        if self._connection is None:
            return
        try:
            action(self._connection)
        except sqlite3.Error as error:
            self._log.warning("spool upkeep failed", path=str(self._path), error=str(error))

    def _rollback(self) -> None:
        if self._connection is None or not self._connection.in_transaction:
            return
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._drop_connection()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        for release in (connection.rollback, connection.close):
            with contextlib.suppress(sqlite3.Error):
                release()

    def _reopen(self) -> sqlite3.Connection:
        connection = open_writer(self._path, "spool")
        try:
            connection.execute(_WRITE["count_incident"])
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        self._log.info("spool is writable again", path=str(self._path))
        return connection


class _Stop:
    """Marks the end of the queue."""


_STOP: Final = _Stop()


def _code(error: Exception) -> int:
    # Errors raised by the binding itself carry no code; those of SQLite do.
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & PRIMARY_CODE


def _in_doubt(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return _code(error) in _STORAGE_CODES
    return True


def _observe(metrics: Metrics, jobs: int, seconds: float, sync_seconds: float) -> None:
    metrics.observe("relay_commit_group_messages", jobs)
    metrics.observe("relay_commit_seconds", seconds)
    metrics.observe("relay_sync_seconds", sync_seconds)
