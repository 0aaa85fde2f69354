"""What happens to a spool file that fails its checks: what can be read moves to a new file, the old one is kept.

The damaged file and its log go to `quarantine/`. Each table is then copied row by row; where a page cannot be
read, the scan goes on at growing distances behind it. A damaged first page is replaced by the first page of a
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

COMPANIONS: Final = ("", "-wal", "-shm")
_GAPS_MAX: Final = 2000
_SALVAGE: Final = queries("salvage.sql")
_NUMBERED_TABLES: Final = ("message", "content", "delivery", "event", "inbox")
_KEYED_TABLES: Final = ("meta", "usage", "dedupe")
_FAR: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What a salvage saved: rows by table, and how many places could not be read."""

    rows: dict[str, int]
    gaps: int


def salvage(path: Path, kept: Path) -> Salvaged:
    """Move a damaged spool to `kept` (a new directory) and put what is readable into a new file at `path`.

    Raise OSError or sqlite3.Error when the new file cannot be written.
    """
    kept.mkdir(mode=0o700, parents=True)
    for companion in COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(kept / source.name)
    fresh = path.with_name(path.name + ".new")
    for companion in COMPANIONS:
        fresh.with_name(fresh.name + companion).unlink(missing_ok=True)
    target = open_writer(fresh, "spool")
    try:
        target.execute("PRAGMA synchronous = OFF")  # nothing reads the new file before it is complete and renamed
        found = _copy_tables(_source(kept / path.name, path), target)
        target.execute("PRAGMA synchronous = FULL")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        target.close()
    fresh.rename(path)
    return found


def _source(damaged: Path, path: Path) -> sqlite3.Connection | None:
    for attempt in (_open_plain, _open_patched):
        connection = attempt(damaged, path)
        if connection is not None:
            return connection
    return None


def _open_plain(damaged: Path, _path: Path) -> sqlite3.Connection | None:
    # Read and write, because a log without its index must be recovered first; nothing is written on purpose.
    return _checked(sqlite3.connect(file_uri(damaged, "rw"), uri=True, isolation_level=None))


def _open_patched(damaged: Path, path: Path) -> sqlite3.Connection | None:
    """Open a copy with a sound first page; the log does not fit such a copy and is left out."""
    model = path.with_name("model.db")
    patched = damaged.with_name("patched.db")
    for name in (model, patched):
        for companion in COMPANIONS:
            name.with_name(name.name + companion).unlink(missing_ok=True)
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
    key, state, attempts, next_ms, crashes, checksum, recipient = row[:7]
    numbers = (key, state, attempts, next_ms, crashes, checksum)
    if not all(isinstance(number, int) for number in numbers) or not isinstance(recipient, str):
        return False
    if state not in STATES:
        return False
    return bool(checksum == delivery_checksum(key, recipient))
