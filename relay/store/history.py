"""History: finished messages, one file a shard and day of acceptance, beside the spool.

The housekeeper copies (commit, sync), and only then the spool forgets; a crash in between copies again, which
changes nothing (`INSERT OR IGNORE` by key). The copy is SQL from file to file and never becomes Python values.
Old days are dropped whole, by age and by total size.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from relay.model.message import Delivery, Message
from relay.model.scan import Scan
from relay.model.search import MessageFacts, message_terms
from relay.store.database import file_uri, open_reader, open_writer, raw_text
from relay.store.postings import file_keys
from relay.store.reader import deliveries_with_attempts, pages_of_attempts
from relay.store.records import STATES, message_of, scan_of, set_of
from relay.store.retention import DAY_MS, day_path
from relay.store.sql import queries

_AUTO_CHECKPOINT_PAGES: Final = 1000
NO_KEY: Final = b""  # of subject hashes: a shard that is read without its relay's keys
_HISTORY: Final = queries("history.sql")
_READ: Final = queries("read.sql")


@dataclass(frozen=True, slots=True)
class Trace:
    """A message and its deliveries; each with its attempts, a JSON list in the order they were made.

    `scan` is what scanners said of it, None when none was asked; `dialogues` what was said in attempts, each with the
    key of the delivery and the number of the attempt (`relay.store.dialogues`).
    """

    message: Message
    deliveries: tuple[tuple[Delivery, str], ...]
    finished: bool
    scan: Scan | None = None
    dialogues: tuple[tuple[int, int, bytes], ...] = ()


class HistoryCopy:
    """Copies finished messages out of a spool; used by the housekeeper's thread."""

    def __init__(self, spool_path: Path, directory: Path, search_key: bytes = NO_KEY) -> None:
        self._directory = directory
        self._search_key = search_key
        self._attached: Path | None = None
        self._connection = sqlite3.connect(
            file_uri(spool_path, "rw"), uri=True, isolation_level=None, check_same_thread=False
        )
        self._connection.text_factory = raw_text
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {_AUTO_CHECKPOINT_PAGES}")

    def copy(self, keys: list[int]) -> None:
        """Copy messages to the files of their days; synced on return. Raise sqlite3.Error or OSError."""
        wanted = orjson.dumps(keys).decode()
        for (day,) in self._connection.execute(_HISTORY["days"], (wanted,)).fetchall():
            self._attach(day)
            self._connection.execute("BEGIN")
            try:
                self._file(wanted, day)
                self._connection.execute(_HISTORY["copy_messages"], (wanted, day))
                self._connection.execute(_HISTORY["copy_deliveries"], (wanted, day))
                self._connection.execute(_HISTORY["copy_scans"], (wanted, day))
                self._connection.execute(_HISTORY["copy_dialogues"], (wanted, day))
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _file(self, wanted: str, day: int) -> None:
        """File messages of a day under what they are searched by."""
        rows = self._connection.execute(_HISTORY["to_file"], (wanted, day)).fetchall()
        terms = []
        for key, account, sender, options, accepted_ms, mail_json, found in rows:
            # Not orjson: a damaged recipient may have octets that are no text (`raw_text`).
            deliveries = [(recipient, STATES[state]) for recipient, state in json.loads(found) if state in STATES]
            facts = MessageFacts(account, sender, set_of(options), accepted_ms, mail_json, deliveries)
            terms += [(term, key) for term in message_terms(facts, self._search_key)]
        file_keys(self._connection, terms)

    def checkpoint(self) -> tuple[int, int]:
        """Copy the spool's log into its file, without waiting for anybody; return pages in the log and copied."""
        _, logged, copied = self._connection.execute("PRAGMA main.wal_checkpoint(PASSIVE)").fetchone()
        return logged, copied

    def detach(self) -> None:
        """Let go of the day's file."""
        if self._attached is not None:
            self._connection.execute(_HISTORY["detach"])
            self._attached = None

    def close(self) -> None:
        """Close everything."""
        self._connection.close()

    def _attach(self, day: int) -> None:
        path = day_path(self._directory, day * DAY_MS)
        if path == self._attached:
            return
        self.detach()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        open_writer(path, "history").close()
        self._connection.execute(_HISTORY["attach"], (file_uri(path, "rw"),))
        self._attached = path
        self._connection.execute(_HISTORY["sync"])


def find_in_history(directory: Path, message_id: str, accepted_ms: int) -> Trace | None:
    """Return a finished message whose id is or begins with a text; the file is opened for this call alone.

    Raise sqlite3.Error or CorruptionError when the file is damaged.
    """
    path = day_path(directory, accepted_ms)
    if not path.is_file():
        return None
    connection = open_reader(path, "history")
    try:
        rows = connection.execute(_READ["message_by_id"], (message_id, message_id + "\U0010ffff")).fetchall()
        if not rows:
            return None
        message = message_of(rows[0])
        deliveries = connection.execute(_READ["deliveries_of"], (message.key,)).fetchall()
        scan = scan_of(connection.execute(_READ["scan"], (message.key,)).fetchall())
        said = tuple(connection.execute(_READ["dialogues_of"], (message.key,)).fetchall())
        found = tuple(deliveries_with_attempts(deliveries, message))
        return Trace(message, found, finished=True, scan=scan, dialogues=said)
    finally:
        connection.close()


def attempts_in_history(directory: Path, accepted_ms: int) -> Iterator[tuple[str, str]]:
    """Yield recipient and attempts (a JSON list) of all deliveries accepted on a day, a page at a time.

    Raise sqlite3.Error when the file is damaged.
    """
    path = day_path(directory, accepted_ms)
    if not path.is_file():
        return
    connection = open_reader(path, "history")
    try:
        yield from pages_of_attempts(
            lambda after, limit: [
                (key, recipient, f"[{log.removeprefix(',')}]")
                for key, recipient, log in connection.execute(_READ["attempts"], (after, limit)).fetchall()
            ]
        )
    finally:
        connection.close()
