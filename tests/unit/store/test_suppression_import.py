"""Imports: rows and their faults, order, memory, limits, and what a crash leaves."""

import io
import json
import threading
import time
import tracemalloc

import pytest

from relay.errors import NotFoundError, StorageError
from relay.model.import_job import ImportAction, JobState
from relay.store import suppression_import, suppression_jobs
from relay.store.suppression import Form, SuppressionLists
from relay.store.suppression_file import SuppressionFile
from relay.store.suppression_import import FAILED_FILE, TooManyRowsError, read_lines
from relay.store.suppression_jobs import INPUT_FILE, ImportJobs

A, B = "000000000001", "000000000002"
PUT, DELETE = ImportAction.PUT, ImportAction.DELETE


class World:
    """Lists and jobs over one file; `run` imports lines and returns the job as it ended."""

    def __init__(self, directory):
        self.directory = directory
        self.now_ms = 1000
        self.file = SuppressionFile(directory / "suppression.db", lambda: self.now_ms)
        self.lists = SuppressionLists(self.file)
        self.jobs = ImportJobs(self.file, directory / "imports", "relay.example")

    def run(self, lines, form=Form.CSV, action=PUT, account=A, **more):
        job = self.jobs.create(account, action, form, "a file", **more)
        self.read = self.jobs.run(job, [line if isinstance(line, bytes) else line.encode() for line in lines])
        return self.jobs.get(job.job_id)

    def failures(self, job):
        return [json.loads(line) for line in self.jobs.failures(job).read_text().splitlines()]

    def entries(self, account=A):
        return {entry.address: entry.reason for entry in self.lists.entries(account)}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.file.close()


@pytest.mark.req("SUPP-024", "SUPP-029")
@pytest.mark.parametrize("form", list(Form))
def test_an_export_is_what_an_import_reads(world, form):
    lists = world.lists
    lists.add(A, "a@x.example")
    lists.add(A, '"b,c"@x.example', "COMPLAINT")
    lists.add(A, '"d\\"e"@x.example')
    lists.add(A, "Ü@x.example")
    lines = list(lists.export_lines(A, form))
    assert all(line.endswith("\n") for line in lines)
    assert world.run(lines, form, account=B).processed == 4
    assert list(lists.export_lines(B, form)) == lines
    job = world.run(lines, form, DELETE, account=B)
    assert (job.processed, job.changed, lists.count(B)) == (4, 4, 0)


@pytest.mark.req("SUPP-024")
def test_forms_to_the_letter(world):
    world.run(["a@x.example,BOUNCE\r\n", "b@x.example,COMPLAINT"])
    assert list(world.lists.export_lines(A, Form.CSV)) == ["a@x.example,BOUNCE\n", "b@x.example,COMPLAINT\n"]
    assert [json.loads(line) for line in world.lists.export_lines(A, Form.JSON)] == [
        {"emailAddress": "a@x.example", "reason": "BOUNCE"},
        {"emailAddress": "b@x.example", "reason": "COMPLAINT"},
    ]
    world.run(["a@x.example\n"], action=DELETE)
    world.run(['{"emailAddress": "B@X.example"}'], Form.JSON, DELETE)
    assert world.lists.count(A) == 0


BAD = [
    "nonsense",
    "b@x.example",
    "c@x.example,SPITE",
    "d@x.example,BOUNCE,more",
    '"unclosed,BOUNCE',
    "x" * 9000,
    b"\xfc@x.example,BOUNCE",
    "bounce@simulator.relay.example,BOUNCE",
    '"f@x.example"\rg,BOUNCE',
]


def test_bad_rows_are_counted_and_kept_and_good_ones_applied(world):
    lines = ["\ufeffa@x.example,BOUNCE", "", *BAD, "e@x.example, bounce ", "A@X.example,COMPLAINT"]
    job = world.run(lines)
    assert (job.state, job.processed, job.failed, job.error) == (JobState.COMPLETED, 3, len(BAD), "")
    numbers = list(range(3, 3 + len(BAD)))
    assert [number for number, _ in world.read.failures] == numbers
    bad = world.failures(job)
    assert [one["line"] for one in bad] == numbers
    assert bad[0]["record"] == "nonsense"
    assert "not an email address" in bad[0]["error"]
    assert world.entries() == {"A@x.example": "COMPLAINT", "e@x.example": "BOUNCE"}


def test_a_list_of_bad_rows_is_bounded(world, monkeypatch):
    monkeypatch.setattr(suppression_import, "FAILURES_MAX_BYTES", 500)
    job = world.run(["nonsense"] * 1000)
    assert job.failed == 1000
    assert 0 < len(world.failures(job)) < 10


@pytest.mark.parametrize(
    "line", ["[]", "1", "{", '{"emailAddress": 1}', '{"emailAddress": "a@x.example", "reason": 1}']
)
def test_bad_json(world, line):
    job = world.run([line], Form.JSON)
    assert (job.state, job.processed, job.failed) == (JobState.COMPLETED, 0, 1)


def test_a_line_without_an_end_is_one_bad_row():
    lines = list(read_lines(io.BytesIO(b"a" * 100_000 + b"\nb@x.example,BOUNCE\nc" + b"d" * 50_000)))
    assert [len(line) for line in lines] == [8193, 19, 8193]


def test_the_last_row_of_an_address_counts_over_many_runs(world, monkeypatch):
    monkeypatch.setattr(suppression_import, "RUN_ROWS", 10)
    monkeypatch.setattr(suppression_import, "RUNS_MERGED", 4)
    monkeypatch.setattr(suppression_jobs, "ROWS_TOGETHER", 7)
    rows = [f"u{n % 100:02}@x.example,{'COMPLAINT' if n >= 400 else 'BOUNCE'}" for n in range(450)]
    job = world.run(rows)
    assert (job.processed, job.changed) == (450, 100)
    assert world.entries() == {f"u{n:02}@x.example": "COMPLAINT" if n < 50 else "BOUNCE" for n in range(100)}


def test_what_is_there_already_stays_as_it_is(world):
    world.run(["a@x.example,BOUNCE", "b@x.example,BOUNCE"])
    world.now_ms = 9000
    job = world.run(["A@X.EXAMPLE,BOUNCE", "b@x.example,COMPLAINT"])
    assert (job.processed, job.changed) == (2, 1)
    found = {entry.address: entry.updated_ms for entry in world.lists.entries(A)}
    assert found == {"a@x.example": 1000, "b@x.example": 9000}


@pytest.mark.req("SUPP-025")
def test_a_file_with_too_many_rows_fails_whole(world):
    job = world.run(["a@x.example,BOUNCE", "nonsense"], rows_max=2)
    assert (job.state, job.processed) == (JobState.COMPLETED, 1)
    with pytest.raises(TooManyRowsError):
        world.run([f"u{n}@x.example,BOUNCE" for n in range(3)], rows_max=2)
    (failed,) = [one for one in world.jobs.page(A, 10) if one.job_id != job.job_id]
    assert (failed.state, failed.processed, failed.failed) == (JobState.FAILED, 0, 0)
    assert "more than 2 rows" in failed.error
    assert world.lists.count(A) == 1


def test_imports_take_little_memory(world):
    tracemalloc.start()
    lines = (f"user{n}@example{n % 100}.com,BOUNCE\n".encode() for n in range(50_000))
    made = world.jobs.create(A, PUT, Form.CSV, "a file")
    world.jobs.run(made, lines)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    job = world.jobs.get(made.job_id)
    assert (job.processed, job.changed, world.lists.count(A)) == (50_000, 50_000, 50_000)
    assert peak < 20_000_000


def test_others_write_between_the_transactions_of_an_import(world, tmp_path, monkeypatch):
    monkeypatch.setattr(suppression_jobs, "ROWS_TOGETHER", 500)
    stop, waits = threading.Event(), []

    def write():
        other = SuppressionLists.open(tmp_path / "suppression.db", lambda: 2000)
        while not stop.is_set():
            begin = time.monotonic()
            other.add(B, f"u{len(waits)}@x.example")
            waits.append(time.monotonic() - begin)
        other.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        job = world.run(f"user{n}@example{n % 100}.com,BOUNCE" for n in range(20_000))
    finally:
        stop.set()
        writer.join()
    assert job.changed == 20_000
    assert world.lists.count(B) == len(waits) > 10


# --- what a crash leaves -----------------------------------------------------------------------------------------


class DeathError(Exception):
    """Stands for the end of a process."""


def rows(count):
    return [f"u{n:04}@x.example,BOUNCE\n".encode() for n in range(count)]


def test_an_import_that_was_killed_while_it_wrote_goes_on_and_applies_no_row_twice(world, monkeypatch):
    monkeypatch.setattr(suppression_jobs, "ROWS_TOGETHER", 10)
    job = world.jobs.create(A, PUT, Form.CSV, "a file")

    def die(what, count):
        if what == "writing" and count == 30:
            raise DeathError

    with pytest.raises(DeathError):
        world.jobs.run(job, rows(100), die)
    left = world.jobs.get(job.job_id)
    assert (left.state, left.processed, left.changed) == (JobState.PROCESSING, 30, 30)
    world.lists.remove(
        A, "u0005@x.example"
    )  # by hand, after it was imported: the rest of the import leaves that alone
    (ended,) = world.jobs.run_waiting()
    assert (ended.state, ended.processed, ended.changed) == (JobState.COMPLETED, 100, 100)
    assert world.lists.count(A) == 99
    assert world.jobs.run_waiting() == []
    assert not list((world.directory / "imports").glob("*"))


def test_an_import_that_was_killed_while_it_read_changed_nothing(world, monkeypatch):
    monkeypatch.setattr(suppression_import, "RUN_ROWS", 10)
    monkeypatch.setattr(ImportJobs, "_end", lambda *_: None)  # a kill leaves no time for it
    job = world.jobs.create(A, PUT, Form.CSV, "a file")

    def die(what, count):
        raise DeathError

    with pytest.raises(DeathError):
        world.jobs.run(job, rows(100), die)
    monkeypatch.undo()
    assert world.jobs.get(job.job_id).state is JobState.PROCESSING
    (ended,) = world.jobs.run_waiting()
    assert (ended.state, world.lists.count(A)) == (JobState.FAILED, 0)
    assert "Import it again" in ended.error


def test_a_file_that_waits_is_read_again_from_its_copy(world, monkeypatch):
    monkeypatch.setattr(suppression_import, "RUN_ROWS", 10)
    job = world.jobs.create_for_later(A, PUT, Form.CSV, "a file", io.BytesIO(b"".join(rows(100))), rows_max=100)
    assert (job.state, (world.directory / "imports" / job.job_id / INPUT_FILE).exists()) == (JobState.CREATED, True)
    asked = []
    assert world.jobs.run_waiting(lambda: bool(asked) or asked.append(1) or False) == []  # told to stop in the middle
    assert world.jobs.get(job.job_id).state is JobState.PROCESSING
    (ended,) = world.jobs.run_waiting()
    assert (ended.state, ended.processed, world.lists.count(A)) == (JobState.COMPLETED, 100, 100)


def test_what_another_process_runs_is_left_alone(world):
    job = world.jobs.create(A, PUT, Form.CSV, "a file")
    seen = []
    world.jobs.run(job, rows(5), lambda *_: seen.append(world.jobs.run_waiting()))
    assert seen
    assert all(ended == [] for ended in seen)
    assert world.jobs.get(job.job_id).state is JobState.COMPLETED


def test_a_full_disk_fails_the_job_with_a_sentence(world, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(suppression_import, "_write_synced", full)
    with pytest.raises(StorageError, match="No space left"):
        world.run(rows(5))
    assert world.jobs.page(A, 1)[0].state is JobState.FAILED


@pytest.mark.req("SUPP-027")
def test_jobs_are_listed_newest_first_and_forgotten_after_a_month(world):
    made = []
    for number in range(5):
        world.now_ms = 1000 + number
        made.append(world.run(["nonsense"]).job_id)
    world.run(["a@x.example,BOUNCE"], account=B)
    first = world.jobs.page(A, 3)
    assert [job.job_id for job in first] == made[:1:-1]
    assert [job.job_id for job in world.jobs.page(A, 3, first[-1])] == made[1::-1]
    assert (world.directory / "imports" / made[0] / FAILED_FILE).exists()
    world.now_ms = 1002 + suppression_jobs.KEPT_MS
    assert world.jobs.forget_old() == 3
    assert [job.job_id for job in world.jobs.page(A, 10)] == made[:2:-1]
    assert not (world.directory / "imports" / made[0]).exists()
    with pytest.raises(NotFoundError):
        world.jobs.get(made[0])
