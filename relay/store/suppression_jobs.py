"""Imports into suppression lists as jobs that outlive their process (SUPP-023 to SUPP-027).

A job is a row of `suppression.db` and a directory below `imports/` that is locked by who runs it. It goes in two
steps. First the file is read into sorted runs (`suppression_import`), and nothing is changed yet: a file that has too
many rows fails as a whole. Then the runs are merged into the list, some thousand rows in a transaction that also
notes how far it came; so a job that was killed goes on from there, and no row is applied or counted twice.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from relay.errors import NotFoundError, RelayError, StorageError, TemporaryError
from relay.model.import_job import SUPPRESSION_LIST, ImportAction, ImportJob, JobState
from relay.store.suppression import Form
from relay.store.suppression_file import LOOK_SECONDS, Row, SuppressionFile
from relay.store.suppression_import import (
    FAILED_FILE,
    Intake,
    Read,
    TooManyRowsError,
    merged,
    read_lines,
    remove_runs,
)
from relay.store.synced import sync_path

ROWS_TOGETHER = 5000  # in a transaction: some 20 ms, for which other writers wait
PAUSE_SECONDS = 3 * LOOK_SECONDS  # between two, so that every writer who waits gets his turn
INPUT_FILE = "input"
OPEN_MAX = 100
KEPT_MS = 30 * 86_400_000  # a job that ended, and its bad rows
INTERRUPTED = "The import was interrupted while its file was read; nothing was changed. Import it again."

Progress = Callable[[str, int], object]
"""Told what is done ("reading", "writing") and how many rows are."""


def _quiet(_what: str, _rows: int) -> None:
    pass


def _never() -> bool:
    return False


class ImportJobs:
    """The jobs of a relay; `directory` is where their files lie."""

    __slots__ = ("_directory", "_file", "_hostname")

    def __init__(self, file: SuppressionFile, directory: Path, hostname: str = "") -> None:
        self._file = file
        self._directory = directory
        self._hostname = hostname

    # --- records -------------------------------------------------------------------------------------------------

    def create(self, account: str, action: ImportAction, form: Form, source: str, *, rows_max: int = 0) -> ImportJob:
        """Note a job whose rows are given to `run` by this process."""
        return self._create(secrets.token_hex(16), account, action, form, source, rows_max)

    def create_for_later(
        self,
        account: str,
        action: ImportAction,
        form: Form,
        source: str,
        stream: BinaryIO,
        *,
        rows_max: int = 0,
    ) -> ImportJob:
        """Keep a copy of a file, and note a job that the office runs. Raise StorageError."""
        job_id = secrets.token_hex(16)
        with self._files(job_id) as directory, (directory / INPUT_FILE).open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        return self._create(job_id, account, action, form, source, rows_max)

    def get(self, job_id: str) -> ImportJob:
        """Return a job. Raise NotFoundError."""
        row = self._file.row("get_job", {"id": job_id})
        if row is None:
            raise NotFoundError(f"There is no import job {job_id[:80]}.")
        return _job(row)

    def page(self, account: str, limit: int, after: ImportJob | None = None) -> list[ImportJob]:
        """Return jobs of an account, newest first, beyond one (SUPP-027)."""
        before = (after.created_ms, after.job_id) if after else ((1 << 63) - 1, "")
        values = {"account": account, "before_ms": before[0], "before": before[1], "limit": limit}
        return [_job(row) for row in self._file.rows("list_jobs", values)]

    def failures(self, job: ImportJob) -> Path | None:
        """Return the file with the bad rows of a job, None when it has none."""
        path = self._directory / job.job_id / FAILED_FILE
        return path if job.failed and path.exists() else None

    # --- running -------------------------------------------------------------------------------------------------

    def run(self, job: ImportJob, lines: Iterable[bytes], progress: Progress = _quiet) -> Read:
        """Run a job to its end with the rows of its file. Return what was read.

        Raise TooManyRowsError, after which the job has FAILED; StorageError and TemporaryError, after which it stays
        open when its rows are in order, and the office goes on with it.
        """
        with self._locked(job.job_id) as directory:
            try:
                read = self._sort(job, directory, lines, progress)
            except BaseException as error:
                with contextlib.suppress(TemporaryError):  # the office ends it then
                    why = str(error) if isinstance(error, RelayError) else INTERRUPTED
                    self._end(job, directory, JobState.FAILED, why)
                raise
            self._merge(self.get(job.job_id), directory, progress)
            return read

    def run_waiting(self, stop: Callable[[], bool] = _never) -> list[ImportJob]:
        """Run what waits, and what another process began and did not end; return the jobs that ended.

        A job that another process runs is left alone. Raise StorageError, TemporaryError: try again later.
        """
        ended = []
        for row in self._file.rows("open_jobs", {"limit": OPEN_MAX}):
            if stop():
                break
            job = _job(row)
            with contextlib.suppress(BlockingIOError), self._locked(job.job_id) as directory:
                self._resume(self.get(job.job_id), directory, stop)
            job = self.get(job.job_id)
            ended += [job] if job.state in (JobState.COMPLETED, JobState.FAILED) else []
        return ended

    def forget_old(self) -> int:
        """Forget jobs that ended a month ago, with their bad rows; return how many."""
        values = {"before_ms": self._file.now_ms() - KEPT_MS, "limit": OPEN_MAX}
        forgotten = [row[0] for row in self._file.rows("old_jobs", values)]
        for job_id in forgotten:
            shutil.rmtree(self._directory / job_id, ignore_errors=True)
            with self._file.writing():
                self._file.run("forget_job", {"id": job_id})
        return len(forgotten)

    def _resume(self, job: ImportJob, directory: Path, stop: Callable[[], bool]) -> None:
        if job.state not in (JobState.CREATED, JobState.PROCESSING):
            return  # it ended meanwhile
        if not job.sorted:
            if not (directory / INPUT_FILE).exists():
                self._end(job, directory, JobState.FAILED, INTERRUPTED)
                return
            with (directory / INPUT_FILE).open("rb") as stream:
                try:
                    self._sort(job, directory, read_lines(stream), stop=stop)
                except TooManyRowsError as error:
                    self._end(job, directory, JobState.FAILED, str(error))
                    return
        if stop():
            return
        self._merge(self.get(job.job_id), directory, stop=stop)

    def _sort(
        self,
        job: ImportJob,
        directory: Path,
        lines: Iterable[bytes],
        progress: Progress = _quiet,
        stop: Callable[[], bool] = _never,
    ) -> Read:
        """Read a file whole; when it is told to stop, nothing is noted, and the next run begins again."""
        remove_runs(directory)
        with self._file.writing():
            self._file.run("begin_job", {"id": job.job_id})
        intake = Intake(directory, Form(job.form), delete=job.deletes, rows_max=job.rows_max, hostname=self._hostname)
        with _stored(directory):
            for rows in intake.take(lines):
                progress("reading", rows)
                if stop():
                    return intake.read
            sync_path(directory)
        read = intake.read
        with self._file.writing():
            self._file.run("sort_job", {"id": job.job_id, "good": read.good, "failed": read.failed})
        return read

    def _merge(
        self, job: ImportJob, directory: Path, progress: Progress = _quiet, stop: Callable[[], bool] = _never
    ) -> None:
        done = job.processed
        statement = self._file.queries["remove_import" if job.deletes else "put_import"]
        with _stored(directory):
            for rows in merged(directory, job.place, ROWS_TOGETHER):
                if stop():
                    return
                self._apply(job, statement, rows)
                done += len(rows)
                progress("writing", done)
                time.sleep(PAUSE_SECONDS)
        self._end(job, directory, JobState.COMPLETED, "")

    def _apply(self, job: ImportJob, statement: str, rows: list[tuple[str, str, str]]) -> None:
        """Apply some rows and note how far that is, in one transaction."""
        account, now_ms = job.account, self._file.now_ms()
        values: Iterable[tuple[object, ...]]
        if job.deletes:
            values = [(account, folded) for folded, _, _ in rows]
        else:
            values = [(account, folded, address, reason, now_ms) for folded, address, reason in rows]
        first, last = rows[0][0], rows[-1][0]
        with self._file.writing(account):
            changed = self._file.connection.executemany(statement, values).rowcount
            self._file.run("drop_triggers", {"account": account, "first": first, "last": last})
            self._file.run("move_job", {"id": job.job_id, "processed": len(rows), "changed": changed, "place": last})

    def _end(self, job: ImportJob, directory: Path, state: JobState, error: str) -> None:
        found = self.get(job.job_id)
        values = {"id": job.job_id, "state": str(state), "error": error, "now_ms": self._file.now_ms()}
        with self._file.writing():
            self._file.run("end_job", values)
        remove_runs(directory)
        (directory / INPUT_FILE).unlink(missing_ok=True)
        if state is JobState.FAILED or not found.failed:
            shutil.rmtree(directory, ignore_errors=True)

    # --- files ---------------------------------------------------------------------------------------------------

    def _create(  # noqa: PLR0917 - the columns of a row
        self, job_id: str, account: str, action: ImportAction, form: Form, source: str, rows_max: int
    ) -> ImportJob:
        values = {"id": job_id, "account": account, "destination": SUPPRESSION_LIST, "rows_max": rows_max}
        values |= {"action": str(action), "form": str(form), "source": source, "created_ms": self._file.now_ms()}
        with self._file.writing():
            self._file.run("create_job", values)
        return self.get(job_id)

    @contextlib.contextmanager
    def _files(self, job_id: str) -> Iterator[Path]:
        directory = self._directory / job_id
        with _stored(directory):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.mkdir(mode=0o700, exist_ok=True)
            yield directory
            sync_path(directory)
            sync_path(self._directory)

    @contextlib.contextmanager
    def _locked(self, job_id: str) -> Iterator[Path]:
        """Hold the directory of a job. Raise BlockingIOError when another process does."""
        with self._files(job_id) as directory:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield directory
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _stored(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{directory} cannot be written: {error.strerror}.") from error


def _job(row: Row) -> ImportJob:
    job_id, account, destination, action, form, source, rows_max, state, *rest = row
    return ImportJob(
        job_id, account, destination, ImportAction(action), form, source, rows_max, JobState(state), *rest
    )
