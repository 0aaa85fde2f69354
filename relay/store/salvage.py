"""What happens to a spool file that fails its checks: what can be read moves to a new file, the old one is kept.

Each table is copied row by row; where a page cannot be read, the scan goes on at growing distances behind it. Then
the damaged file and its log go to `quarantine/`. A damaged first page is replaced by the first page of a
fresh file of the same format, because the order of the schema decides where its tables begin.
"""

import shutil
import sqlite3
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relay.errors import CorruptionError
from relay.store.database import PAGE_BYTES, file_uri, open_writer, raw_text, version_of
from relay.store.records import STATES, delivery_checksum, message_of
from relay.store.sql import migrations, queries
from relay.store.synced import sync_path

COMPANIONS: Final = ("", "-wal", "-shm")
_GAPS_MAX: Final = 2000
_SALVAGE: Final = queries("salvage.sql")
_NUMBERED_TABLES: Final = ("message", "content", "delivery", "event", "inbox", "scan", "hold", "dialogue")
_KEYED_TABLES: Final = ("meta", "usage", "dedupe")
_PATCHED: Final = "patched.db"
_FAR: Final = 1 << 62
_WISHES_COLUMN: Final = 10


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What a salvage saved: rows by table, and how many places could not be read."""

    rows: dict[str, int]
    gaps: int


def salvage(path: Path, kept: Path) -> Salvaged:
    """Put what is readable of a damaged spool into a new file at `path`, and the old one into `kept`.

    The new file is complete and synced before the old one moves; a crash in between is ended by `finish`.
    Raise OSError or sqlite3.Error when the new file cannot be written.
    """
    kept.mkdir(mode=0o700, parents=True)
    fresh = path.with_name(path.name + ".new")
    _remove(fresh)
    target = open_writer(fresh, "spool")
    try:
        target.execute("PRAGMA synchronous = OFF")  # nothing reads the new file before it is complete and synced
        found = _copy_tables(_source(path, kept), target)
        target.execute("PRAGMA synchronous = FULL")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        target.close()
    _remove(kept / _PATCHED)
    sync_path(fresh)
    fresh.rename(salvaged_name(path))
    sync_path(path.parent)
    finish(path, kept)
    return found


def finish(path: Path, kept: Path) -> None:
    """Put the salvaged file in the place of the damaged one."""
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    for companion in COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(kept / source.name)
    salvaged_name(path).rename(path)
    sync_path(path.parent)


def salvaged_name(path: Path) -> Path:
    """Return the name of a complete new file that has not taken its place yet."""
    return path.with_name(path.name + ".salvaged")


def _source(damaged: Path, kept: Path) -> sqlite3.Connection | None:
    for attempt in (_open_plain, _open_patched):
        connection = attempt(damaged, kept)
        if connection is not None:
            return connection
    return None


def _open_plain(damaged: Path, _kept: Path) -> sqlite3.Connection | None:
    # Read and write, because a log without its index must be recovered first; nothing is written on purpose.
    return _checked(sqlite3.connect(file_uri(damaged, "rw"), uri=True, isolation_level=None))


def _open_patched(damaged: Path, kept: Path) -> sqlite3.Connection | None:
    """Open a copy with a sound first page; the log does not fit such a copy and is left out."""
    model, patched = kept / "model.db", kept / _PATCHED
    connection = open_writer(model, "spool")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    first = bytearray(model.read_bytes()[:PAGE_BYTES])
    model.unlink()
    shutil.copyfile(damaged, patched)
    pages = patched.stat().st_size // PAGE_BYTES
    change_counter = first[24:28]
    first[28:32] = struct.pack(">I", pages)  # size in pages, valid while the two counters agree
    first[32:40] = bytes(8)  # no free pages
    first[92:96] = change_counter
    with patched.open("r+b") as file:
        file.write(first)
    return _checked(sqlite3.connect(file_uri(patched, "rw"), uri=True, isolation_level=None))


def _remove(path: Path) -> None:
    for companion in COMPANIONS:
        path.with_name(path.name + companion).unlink(missing_ok=True)


def _checked(connection: sqlite3.Connection) -> sqlite3.Connection | None:
    connection.text_factory = raw_text
    try:
        known = 0 < version_of(connection) <= len(migrations("spool"))
        if known and all(
            connection.execute(_SALVAGE[f"columns_{table}"]).fetchall()
            for table in (*_NUMBERED_TABLES, *_KEYED_TABLES)
        ):
            return connection
    except (sqlite3.Error, UnicodeError):
        pass
    connection.close()
    return None


def _copy_tables(source: sqlite3.Connection | None, target: sqlite3.Connection) -> Salvaged:
    rows: dict[str, int] = {}
    if source is None:
        return Salvaged(rows, 1)
    gaps = 0
    target.execute("BEGIN")
    for table in _NUMBERED_TABLES:
        rows[table], missed = _copy_numbered(source, target, table)
        gaps += missed
    for table in _KEYED_TABLES:
        rows[table], missed = _copy_keyed(source, target, table)
        gaps += missed
    target.execute("COMMIT")
    source.close()
    return Salvaged(rows, gaps)


def _copy_numbered(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> tuple[int, int]:
    copied, gaps, after, step = 0, 0, -1, 1
    while gaps < _GAPS_MAX:
        try:
            for row in source.execute(_SALVAGE[f"read_{table}"], (after,)):
                after, step = row[0], 1
                copied += _insert(target, table, row[1:])
            return copied, gaps
        except (sqlite3.Error, UnicodeError):
            gaps += 1
            after += step
            step = min(step * 2, _FAR)
            if after >= _FAR:
                break
    return copied, gaps


def _copy_keyed(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> tuple[int, int]:
    copied = 0
    try:
        for row in source.execute(_SALVAGE[f"read_{table}"]):
            copied += _insert(target, table, row)
    except (sqlite3.Error, UnicodeError):
        return copied, 1
    return copied, 0


def _insert(target: sqlite3.Connection, table: str, row: Sequence[Any]) -> int:
    if (table == "delivery" and not _plausible(row)) or (table == "message" and not _intact(row)):
        return 0
    try:
        return target.execute(_SALVAGE[f"insert_{table}"], row).rowcount
    except (sqlite3.Error, UnicodeError):
        return 0


def _intact(row: Sequence[Any]) -> bool:
    try:
        message_of(row)
    except CorruptionError:
        return False
    return True


def _plausible(row: Sequence[Any]) -> bool:
    key, state, attempts, next_ms, crashes, checksum, strand, recipient = row[:8]
    wishes = row[_WISHES_COLUMN]
    numbers = (key, state, attempts, next_ms, crashes, checksum, strand)
    if not all(isinstance(number, int) for number in numbers) or not isinstance(recipient, str):
        return False
    if not isinstance(wishes, str):
        return False
    if state not in STATES:
        return False
    return bool(checksum == delivery_checksum(key, recipient, wishes))
