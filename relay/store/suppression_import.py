"""Reading a file of addresses (SUPP-024): every row checked, the good ones put in order on disk.

Rows in the order of the list make an import as fast as the disk takes pages: each page of the list is written once,
however large list and file are. So a file is read into sorted runs first, and the runs are merged. Of an address that
comes several times the last row counts. Memory is that of one run, however many rows there are.
"""

import csv
import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import orjson

from relay.errors import UsageError
from relay.mail.address import BadAddress, parse_mailbox
from relay.model.account import SuppressionReason
from relay.policy.simulator import is_simulator_address
from relay.policy.suppression import fold
from relay.store.suppression import Form

RUN_ROWS = 40_000
RUNS_MERGED = 256  # files open at a time
LINE_MAX_BYTES = 8192
ADDRESS_MAX_CHARACTERS = 320
FAILURES_SHOWN_MAX = 100
FAILURES_MAX_BYTES = 64 << 20  # of the file of bad rows; further ones are counted only
_REASONS = {str(reason) for reason in SuppressionReason}
_AT_SIMULATOR = "@simulator."

Rows = list[tuple[str, str, str]]
"""Folded address, the address ("" when it is the same), and the reason."""


class TooManyRowsError(UsageError):
    """A file has more rows than its job may take; nothing was changed (SUPP-025)."""


@dataclass(slots=True)
class Read:
    """What was read: good and bad rows; `failures` has the first 100 bad ones, (number from 1, what is wrong)."""

    good: int = 0
    failed: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)


def read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines, with their ends; of one that is too long the beginning, which is too long for a row."""
    while line := stream.readline(LINE_MAX_BYTES + 1):
        if len(line) > LINE_MAX_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(1 << 16)) and not rest.endswith(b"\n"):
                pass
        yield line


class Intake:
    """Takes the rows of one file into a directory: runs, and the bad rows in `failed.jsonl`."""

    def __init__(self, directory: Path, form: Form, *, delete: bool, rows_max: int = 0, hostname: str = "") -> None:
        self.read = Read()
        self._directory = directory
        self._form = form
        self._delete = delete
        self._rows_max = rows_max
        self._hostname = hostname
        self._runs = 0
        self._rows: dict[str, str] = {}
        self._failures_bytes = 0

    def take(self, lines: Iterable[bytes]) -> Iterator[int]:
        """Read all lines; yields the number of rows so far after each run. Raise TooManyRowsError, OSError."""
        read, parse = self.read, _parse_json if self._form is Form.JSON else _parse_csv
        with (self._directory / FAILED_FILE).open("wb") as failed:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    self._keep(*parse(_text(line)))
                    read.good += 1
                except ValueError as error:
                    self._fail(failed, number, line, str(error))
                if self._rows_max and read.good + read.failed > self._rows_max:
                    raise TooManyRowsError(f"The file has more than {self._rows_max} rows; nothing was changed.")
                if len(self._rows) >= RUN_ROWS:
                    self._write_run()
                    yield read.good + read.failed
            self._write_run()
            failed.flush()
            os.fsync(failed.fileno())
        yield read.good + read.failed

    def _keep(self, address: str, reason: str) -> None:
        parsed = parse_mailbox(address, smtputf8=True)
        if isinstance(parsed, BadAddress):
            msg = f"{address[:ADDRESS_MAX_CHARACTERS]!r} is not an email address: {parsed.text}."
            raise ValueError(msg)  # noqa: TRY004 a bad row, not a bad argument
        if not self._delete and reason not in _REASONS:
            reason = reason.strip().upper()
            if reason not in _REASONS:
                msg = f"A suppression reason is BOUNCE or COMPLAINT, not {reason[:40]!r}."
                raise ValueError(msg)
        kept = f"{parsed.local}@{parsed.domain}"
        if _AT_SIMULATOR in kept and is_simulator_address(kept, self._hostname) and not self._delete:
            raise ValueError("Addresses of the mailbox simulator are never on a list.")
        folded = fold(kept)
        self._rows[folded] = f"{'' if kept == folded else kept}\0{reason}"

    def _fail(self, file: BinaryIO, number: int, line: bytes, error: str) -> None:
        self.read.failed += 1
        if len(self.read.failures) < FAILURES_SHOWN_MAX:
            self.read.failures.append((number, error[:200]))
        if self._failures_bytes < FAILURES_MAX_BYTES:
            record = line[:LINE_MAX_BYTES].decode("utf-8", "replace").rstrip("\r\n")
            bad = orjson.dumps({"line": number, "record": record, "error": error[:200]})
            self._failures_bytes += file.write(bad + b"\n")

    def _write_run(self) -> None:
        """Write what was gathered, in order; a later run stands behind an earlier one for the same address."""
        rows, number = self._rows, self._runs
        if not rows:
            return
        text = "".join([f"{folded}\0{number:08d}\0{rows[folded]}\n" for folded in sorted(rows)])
        _write_synced(self._directory / f"{number:08d}{RUN_SUFFIX}", [text.encode()])
        self._runs += 1
        rows.clear()


FAILED_FILE = "failed.jsonl"
RUN_SUFFIX = ".run"


def merged(directory: Path, after: str, size: int) -> Iterator[Rows]:
    """Yield the rows of all runs behind a folded address, in order, each once, `size` at a time. Raise OSError."""
    paths = _few_runs(directory)
    with ExitStack() as files:
        streams = [files.enter_context(path.open("rb")) for path in paths]
        batch: dict[str, tuple[str, str, str]] = {}
        for line in heapq.merge(*streams):
            folded, _, address, reason = line[:-1].decode().split("\0")
            if folded <= after:
                continue
            if len(batch) >= size and folded not in batch:
                yield list(batch.values())
                batch = {}
            batch[folded] = (folded, address, reason)
        if batch:
            yield list(batch.values())


def remove_runs(directory: Path) -> None:
    """Remove all runs."""
    for path in directory.glob(f"*{RUN_SUFFIX}*"):
        path.unlink(missing_ok=True)


def _few_runs(directory: Path) -> Sequence[Path]:
    """Merge runs into larger ones until all can be open at a time. A crash leaves the old ones or the new one."""
    for left in directory.glob("*.part"):
        left.unlink()
    paths = sorted(directory.glob(f"*{RUN_SUFFIX}"))
    while len(paths) > RUNS_MERGED:
        some = paths[:RUNS_MERGED]
        with ExitStack() as files:
            streams = [files.enter_context(path.open("rb")) for path in some]
            # The rows carry the number of their run, so that the name of the file does not matter, nor a row twice.
            target = directory / f"{some[0].stem}m{RUN_SUFFIX}"
            _write_synced(target, heapq.merge(*streams))
        for path in some:
            path.unlink()
        paths = sorted(directory.glob(f"*{RUN_SUFFIX}"), key=lambda path: (path.stat().st_size, path.name))
    return paths


def _write_synced(path: Path, parts: Iterable[bytes]) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def _text(line: bytes) -> str:
    """Return a line as text without its end. Raise ValueError."""
    if len(line) > LINE_MAX_BYTES:
        raise ValueError(f"The row has more than {LINE_MAX_BYTES} bytes.")
    try:
        return line.decode().strip("\r\n\ufeff")
    except UnicodeDecodeError:
        raise ValueError("The row is not in UTF-8.") from None


def _parse_csv(text: str) -> tuple[str, str]:
    """Return address and reason, the reason "" when there is none. Raise ValueError."""
    try:
        cells = next(csv.reader([text]), []) if '"' in text else text.split(",")
    except csv.Error as error:
        raise ValueError(f"The row cannot be read: {str(error).partition(' - ')[0]}.") from None
    if len(cells) > 2:  # noqa: PLR2004 an address and a reason
        raise ValueError("A row has an address and a reason, no more.")
    return cells[0].strip(), cells[1] if len(cells) > 1 else ""


def _parse_json(text: str) -> tuple[str, str]:
    """Return address and reason, the reason "" when there is none. Raise ValueError."""
    value = orjson.loads(text)
    address = value.get("emailAddress") if isinstance(value, dict) else None
    reason = value.get("reason", "") if isinstance(value, dict) else None
    if not isinstance(address, str) or not isinstance(reason, str):
        raise ValueError('A row is an object such as {"emailAddress": "a@x.example", "reason": "BOUNCE"}.')  # noqa: TRY004 a bad row, not a bad argument
    return address.strip(), reason
