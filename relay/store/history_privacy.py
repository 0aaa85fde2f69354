"""What history and the archive of events keep about an address: given out, and erased.

Erasing reaches rows, compressed dialogues and compressed events, what they are filed under, and the free pages of
each file that was touched: what is deleted is written over, and the file is written anew (VACUUM). A message or an
event that is about the address alone goes whole; where others are concerned too, another address stands in its place.
Every file is read from one end to the other: seconds for a million messages.

The process that owns the files may go on writing them meanwhile: SQLite's lock orders both, and a block of events
that was changed is never extended.
"""

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson

from relay.errors import CorruptionError, StorageError
from relay.model.erasure import Erasure
from relay.model.event import LoggedEvent
from relay.model.message import RECIPIENT_INDEX_BITS, Delivery, Message
from relay.model.search import event_facts, mail_of, message_terms
from relay.store.database import open_writer, reading
from relay.store.dialogues import LEVEL, unpacked
from relay.store.event_blocks import INDEX_BITS, Archived, decoded, encoded
from relay.store.postings import file_keys, forget
from relay.store.records import delivery_checksum, delivery_of, message_of, message_row
from relay.store.retention import days_of
from relay.store.scrub import write_anew
from relay.store.search import facts_of
from relay.store.small_file import whole
from relay.store.sql import queries
from relay.store.traces import traces

PAGE: Final = 200
_PRIVACY: Final = queries("privacy.sql")
_SEARCH: Final = queries("search.sql")
_ARCHIVE: Final = queries("archive.sql")


def export_history(directory: Path, address: str) -> Iterator[dict[str, Any]]:
    """Yield the finished messages of a shard that mention an address. Raise ValueError, TemporaryError."""
    erasure = Erasure(address)
    for file in days_of(directory):
        with reading(file.path, "history") as connection:
            for key in _mentions(connection, erasure) if connection else ():
                assert connection is not None
                found = _loaded(connection, key)
                if found is not None:
                    yield _exported(*found)


def export_archive(directory: Path, address: str) -> Iterator[dict[str, Any]]:
    """Yield the archived events that mention an address, with their notes. Raise ValueError, TemporaryError."""
    erasure = Erasure(address)
    for file in days_of(directory):
        with reading(file.path, "archive") as connection:
            for _, events in _blocks(connection) if connection else ():
                for one in events:
                    if one is not None and _of_event(erasure, one.event):
                        yield {"eventId": one.event.event_id, "event": one.event.record, "notes": one.event.note}


def erase_in_history(directory: Path, address: str, search_key: bytes, *, force: bool = False) -> int:
    """Erase an address from the finished messages of a shard; return how many messages were changed or removed.

    `search_key` is the one that history is filed with; `force` writes files anew in any case. Raise ValueError,
    StorageError.
    """
    erasure, number = Erasure(address), 0
    for file in days_of(directory):
        with _erasing(file.path, "history", address, force=force) as connection:
            keys = set(_mentions(connection, erasure)) | set(_said(connection, erasure))
            for key in sorted(keys):
                with whole(connection):
                    number += _erase_message(connection, key, erasure, search_key)
    return number


def erase_in_archive(directory: Path, address: str, *, force: bool = False) -> int:
    """Erase an address from the archived events; return how many events were changed or removed.

    `force` writes files anew in any case. Raise ValueError, StorageError.
    """
    erasure, number = Erasure(address), 0
    for file in days_of(directory):
        with _erasing(file.path, "archive", address, force=force) as connection:
            after = 0
            while rows := connection.execute(_PRIVACY["every_block"], (after, PAGE)).fetchall():
                after = rows[-1][0]
                for block, _ in rows:
                    with whole(connection):
                        number += _erase_block(connection, block, erasure)
    return number


def remove_account_history(directory: Path, account: str, search_key: bytes) -> int:
    """Remove all finished messages of an account from a shard's history; return how many. Raise StorageError."""
    number = 0
    for file in days_of(directory):
        with _erasing(file.path, "history", account, force=False) as connection:
            for (key,) in connection.execute(_PRIVACY["of_account"], (account,)).fetchall():
                with whole(connection):
                    found = _loaded(connection, key)
                    if found is not None:
                        message, deliveries, _ = found
                        forget(connection, message_terms(facts_of(message, deliveries), search_key), key)
                    _remove_message(connection, key)
                    number += 1
    return number


def remove_account_archive(directory: Path, account: str) -> int:
    """Remove all archived events of an account; return how many. Raise StorageError."""

    def gone(event: LoggedEvent) -> LoggedEvent | None:
        return None if event_facts(event).account == account else event

    number = 0
    for file in days_of(directory):
        with _erasing(file.path, "archive", account, force=False) as connection:
            for block in [row[0] for row in connection.execute(_PRIVACY["blocks"])]:
                with whole(connection):
                    number += _change_block(connection, block, gone)
    return number


# --- messages -------------------------------------------------------------------------------------------------------


def _mentions(connection: sqlite3.Connection, erasure: Erasure) -> Iterator[int]:
    """Yield the messages that mention an address outside of dialogues."""
    plain, escaped = (_like(text) for text in (erasure.address, orjson.dumps(erasure.address)[1:-1].decode()))
    for (key,) in connection.execute(_PRIVACY["mentions"], (plain, escaped)).fetchall():
        found = _loaded(connection, key)
        if found is not None and erasure.mentioned(_all_text(*found)):
            yield key


def _said(connection: sqlite3.Connection, erasure: Erasure) -> Iterator[int]:
    """Yield the messages in whose dialogues an address was said."""
    after = 0
    while rows := connection.execute(_PRIVACY["dialogues"], (after, PAGE)).fetchall():
        after = rows[-1][0]
        for _, key, record in rows:
            said = unpacked(record)
            if said is not None and erasure.mentioned(orjson.dumps(said)):
                yield key >> RECIPIENT_INDEX_BITS


def _loaded(connection: sqlite3.Connection, key: int) -> tuple[Message, list[Delivery], dict[int, str]] | None:
    """Return a message, its deliveries, and the log of each, by its key; None for a damaged one."""
    row = connection.execute(_SEARCH["message"], (key,)).fetchone()
    try:
        message = message_of(row) if row else None
        if message is None:
            return None
        deliveries = [delivery_of(each, message) for each in connection.execute(_SEARCH["deliveries"], (key,))]
    except CorruptionError:
        return None
    return message, deliveries, dict(connection.execute(_PRIVACY["logs"], (key,)).fetchall())


def _all_text(message: Message, deliveries: list[Delivery], logs: dict[int, str]) -> bytes:
    parts = [message.sender, *logs.values()]
    for delivery in deliveries:
        parts += [delivery.recipient, delivery.last_reply, delivery.wishes]
    return b"\n".join([message.mail_json, *(part.encode("utf-8", "surrogateescape") for part in parts)])


def _exported(message: Message, deliveries: list[Delivery], logs: dict[int, str]) -> dict[str, Any]:
    return {
        "messageId": message.message_id,
        "account": message.account,
        "sender": message.sender,
        "acceptedMs": message.accepted_ms,
        "mail": mail_of(message.mail_json),
        "deliveries": [
            {
                "recipient": delivery.recipient,
                "state": str(delivery.state),
                "lastReply": delivery.last_reply,
                "attempts": orjson.loads(f"[{logs.get(delivery.key, '').removeprefix(',')}]"),
            }
            for delivery in deliveries
        ],
    }


def _erase_message(connection: sqlite3.Connection, key: int, erasure: Erasure, search_key: bytes) -> int:
    """Erase an address from one message; return 1, or 0 for one that cannot be read."""
    found = _loaded(connection, key)
    if found is None:
        return 0
    message, deliveries, logs = found
    forget(connection, message_terms(facts_of(message, deliveries), search_key), key)
    others = [delivery for delivery in deliveries if not erasure.is_it(delivery.recipient)]
    for delivery in deliveries:
        if erasure.is_it(delivery.recipient):
            _remove(connection, delivery.key, delivery.key + 1)
    if not others:
        _remove_message(connection, key)
        return 1
    sender = _without(erasure, message.sender)
    changed = replace(message, sender=sender, mail_json=erasure.erased(message.mail_json))
    connection.execute(_PRIVACY["replace_message"], message_row(changed))
    for delivery in others:
        _change(connection, delivery, logs.get(delivery.key, ""), erasure)
    terms = message_terms(facts_of(changed, others), search_key)
    file_keys(connection, [(term, key) for term in terms])
    return 1


def _change(connection: sqlite3.Connection, delivery: Delivery, log: str, erasure: Erasure) -> None:
    """Erase an address from what the delivery to somebody else tells."""
    wishes = _without(erasure, delivery.wishes)
    checksum = delivery_checksum(delivery.key, delivery.recipient, wishes)
    values = (delivery.key, checksum, _without(erasure, delivery.last_reply), wishes, _without(erasure, log))
    connection.execute(_PRIVACY["change_delivery"], values)
    rows = connection.execute(_PRIVACY["dialogues_of"], (delivery.key,)).fetchall()
    for row, record in rows:
        said = orjson.dumps(unpacked(record))
        if erasure.mentioned(said):
            connection.execute(_PRIVACY["change_dialogue"], (row, zlib.compress(erasure.erased(said), LEVEL)))


def _remove_message(connection: sqlite3.Connection, key: int) -> None:
    connection.execute(_PRIVACY["remove_message"], (key,))
    connection.execute(_PRIVACY["remove_scan"], (key,))
    _remove(connection, key << RECIPIENT_INDEX_BITS, key + 1 << RECIPIENT_INDEX_BITS)


def _remove(connection: sqlite3.Connection, first: int, below: int) -> None:
    for name in ("remove_deliveries", "remove_dialogues"):
        connection.execute(_PRIVACY[name], (first, below))


def _without(erasure: Erasure, text: str) -> str:
    return erasure.erased(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _like(text: str) -> str:
    escaped = "".join(f"!{letter}" if letter in "!%_" else letter for letter in text)
    return f"%{escaped}%"


# --- events ---------------------------------------------------------------------------------------------------------


def _blocks(connection: sqlite3.Connection) -> Iterator[tuple[int, list[Archived | None]]]:
    after = 0
    while rows := connection.execute(_PRIVACY["every_block"], (after, PAGE)).fetchall():
        after = rows[-1][0]
        for block, data in rows:
            yield block, _read(data)


def _read(data: bytes) -> list[Archived | None]:
    """Return the events of a block; of a damaged one what can be read."""
    found: list[Archived | None] = []
    with contextlib.suppress(CorruptionError):
        found.extend(decoded(data))
    return found


def _of_event(erasure: Erasure, event: LoggedEvent) -> bool:
    return erasure.mentioned(event.payload) or erasure.mentioned(event.event.notes)


def _erase_block(connection: sqlite3.Connection, block: int, erasure: Erasure) -> int:
    """Erase an address from the events of one block; return from how many."""

    def without(event: LoggedEvent) -> LoggedEvent | None:
        if not _of_event(erasure, event):
            return event
        if all(map(erasure.is_it, event_facts(event).recipients)):
            return None
        given = event.event
        changed = replace(given, payload=erasure.erased(given.payload), notes=erasure.erased(given.notes))
        return LoggedEvent(event.shard, event.seq, changed)

    return _change_block(connection, block, without)


def _change_block(
    connection: sqlite3.Connection, block: int, change: Callable[[LoggedEvent], LoggedEvent | None]
) -> int:
    """Change or, with None, remove events of one block; return how many."""
    (data,) = connection.execute(_ARCHIVE["block"], (block,)).fetchone()
    events, number = _read(data), 0
    for index, one in enumerate(events):
        changed = change(one.event) if one is not None else None
        if one is None or changed is one.event:
            continue
        number += 1
        key = block << INDEX_BITS | index
        forget(connection, event_facts(one.event).terms(), key)
        events[index] = Archived(one.time_ms, changed) if changed is not None else None
        if changed is not None:
            file_keys(connection, [(term, key) for term in set(event_facts(changed).terms())])
    if number:
        connection.execute(_ARCHIVE["replace_block"], (block, encoded(events)))
    return number


@contextlib.contextmanager
def _erasing(path: Path, schema: str, address: str, *, force: bool) -> Iterator[sqlite3.Connection]:
    """Open a file for erasing; what was touched leaves no trace in it. Raise StorageError."""
    try:
        with contextlib.closing(open_writer(path, schema)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            before = connection.total_changes
            yield connection
            if force or connection.total_changes != before or traces(path, address):
                write_anew(connection, path)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"nothing more can be erased in {path}: {error}") from error
