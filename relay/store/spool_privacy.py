"""What a live shard keeps about an address: erased by its owner, in a few short transactions.

Events that are not pruned yet lose the address in place, so that nothing is counted differently. Finished messages
are waited for until they moved to history. Messages on their way are left whole: what receivers get is signed. At
last the file is built anew beside itself and copied over, page by page: VACUUM would change where its tables begin,
which the salvage of a damaged file relies on. Meanwhile nothing is accepted by the shard.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from relay.errors import StorageError, TemporaryError
from relay.model.erasure import Erasure
from relay.store.database import file_uri, open_writer, reading
from relay.store.jobs import Group
from relay.store.scrub import empty_log, tables_of
from relay.store.spool import ShardSpool
from relay.store.sql import queries
from relay.store.traces import traces

PAGE: Final = 500
MOVED_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1
BUILT: Final = "erasing.db"  # in incoming/, which is emptied at adoption
_PRIVACY: Final = queries("privacy.sql")
_READ: Final = queries("read.sql")
_WRITE: Final = queries("write.sql")


@dataclass(frozen=True, slots=True)
class ErasedInSpool:
    """How many events lost the address, and how many messages on their way still have it."""

    events: int
    open_messages: int


async def erase_in_spool(spool: ShardSpool, address: str, *, force: bool = False) -> ErasedInSpool:
    """Erase an address in a shard that this process owns. Raise ValueError, StorageError, TemporaryError."""
    erasure, path = Erasure(address), spool.paths.database
    number = 0
    while found := await asyncio.to_thread(_events, path, erasure):
        await _committed(spool, found)
        number += len(found)
    under_way = await _finished_moved(path, erasure)
    if number or force or await asyncio.to_thread(traces, path, erasure.address):
        await write_spool_anew(spool)
    return ErasedInSpool(number, under_way)


def queued_for(path: Path, address: str) -> list[int]:
    """Return the keys of a shard's deliveries to an address that are not over. Raise TemporaryError."""
    with reading(path, "spool") as connection:
        if connection is None:
            return []
        return [row[0] for row in connection.execute(_PRIVACY["queued_for"], (address,))]


def open_of(path: Path, account: str) -> list[int]:
    """Return the keys of an account's deliveries in a shard that are not over. Raise TemporaryError."""
    with reading(path, "spool") as connection:
        if connection is None:
            return []
        return [row[0] for row in connection.execute(_PRIVACY["open_of_account"], (account,))]


def _logged(connection: sqlite3.Connection | None) -> Any:
    return connection.execute(_PRIVACY["logged"]) if connection is not None else ()


def _events(path: Path, erasure: Erasure) -> list[tuple[bytes, bytes, int]]:
    """Return some events as they are without the address, with their numbers."""
    found = []
    with reading(path, "spool") as connection:
        for seq, payload, notes in _logged(connection):
            if erasure.mentioned(payload) or erasure.mentioned(notes):
                found.append((erasure.erased(payload), erasure.erased(notes), seq))
                if len(found) == PAGE:
                    break
    return found


def _messages(path: Path, erasure: Erasure) -> tuple[int, int]:
    plain, escaped = (_like(text) for text in (erasure.address, orjson.dumps(erasure.address)[1:-1].decode()))
    waiting = finished = 0
    with reading(path, "spool") as connection:
        if connection is None:
            return 0, 0
        keys = {row[0] for row in connection.execute(_PRIVACY["mentions"], (plain, escaped))}
        keys |= {row[0] for row in connection.execute(_PRIVACY["content_mentions"], (plain,))}
        for key in keys:
            if connection.execute(_PRIVACY["is_open"], (key,)).fetchone()[0]:
                waiting += 1
            else:
                finished += 1
    return waiting, finished


def _like(text: str) -> str:
    escaped = "".join(f"!{letter}" if letter in "!%_" else letter for letter in text)
    return f"%{escaped}%"


async def remove_events_of(spool: ShardSpool, account: str) -> None:
    """Drop the events of an account from the log of a shard, read by all or not. Raise StorageError."""

    def run(_group: Group, connection: sqlite3.Connection) -> None:
        # Noted before the rows go: a number must not be given out again when the log is empty.
        last = int(connection.execute(_READ["last_event"]).fetchone()[0])
        connection.execute(_WRITE["set_meta"], ("event_seq", last))
        connection.execute(_PRIVACY["remove_logged"], (f'"sendingAccountId":"{account}"',))

    await _in_writer(spool, run)


async def _committed(spool: ShardSpool, changes: list[tuple[bytes, bytes, int]]) -> None:
    def run(_group: Group, connection: sqlite3.Connection) -> None:
        connection.executemany(_PRIVACY["change_logged"], changes)

    await _in_writer(spool, run)


async def _in_writer(spool: ShardSpool, run: Callable[[Group, sqlite3.Connection], None]) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(_result: Any, error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    spool.submit(run, answer)
    await done


async def _finished_moved(path: Path, erasure: Erasure) -> int:
    """Wait until finished messages are in history; return how many on their way mention the address."""
    deadline = time.monotonic() + MOVED_SECONDS
    while True:
        waiting, finished = await asyncio.to_thread(_messages, path, erasure)
        if not finished:
            return waiting
        if time.monotonic() > deadline:
            raise TemporaryError("finished messages do not move to history; see the log, and erase again")
        await asyncio.sleep(LOOK_SECONDS)


async def write_spool_anew(spool: ShardSpool) -> None:
    """Build the file of a shard anew, in its writer, between two groups. Raise StorageError."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def answer(error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    def action(connection: sqlite3.Connection) -> None:
        error: Exception | None = None
        try:
            rebuild(connection, spool.paths.database, spool.paths.incoming / BUILT)
        except (OSError, sqlite3.Error) as problem:
            error = StorageError(f"{spool.paths.database} cannot be written anew: {problem}")
        except StorageError as problem:
            error = problem
        loop.call_soon_threadsafe(answer, error)

    spool.between(action)
    await done


def rebuild(connection: sqlite3.Connection, path: Path, fresh: Path) -> None:
    """Replace what the file of a shard is made of by a copy without any trace of what was deleted.

    Tables begin where they did. One transaction; needs room for the file twice more. Raise sqlite3.Error, OSError.
    """
    _remove(fresh)
    made = open_writer(fresh, "spool")
    try:
        made.execute("PRAGMA synchronous = OFF")
        made.execute("ATTACH ? AS old", (file_uri(path, "rw"),))
        made.execute("BEGIN")
        for table in tables_of(made):
            name = table.name
            made.execute(f"DELETE FROM main.{name}")  # noqa: S608 - names of the schema
            made.execute(f"INSERT INTO main.{name} SELECT * FROM old.{name}")  # noqa: S608 - names of the schema
        made.execute("COMMIT")
        made.execute("DETACH old")
        made.backup(connection)
        empty_log(connection, path)
    finally:
        made.close()
        _remove(fresh)


def _remove(path: Path) -> None:
    for companion in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + companion).unlink()
