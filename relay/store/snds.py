"""What SNDS said about the relay's own addresses: `office/snds.db`, written by the office alone, read by commands.

Figures are kept for 400 days. It holds nothing about persons. A damaged file is set aside and begun anew.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, Self

from relay.errors import StorageError
from relay.ports import Log
from relay.reputation.snds import Figures
from relay.store.database import open_reader
from relay.store.small_file import SmallFile, open_or_anew
from relay.store.sql import queries

FILE: Final = Path("office", "snds.db")
KEPT_MS: Final = 400 * 86_400_000
ROWS_MAX: Final = 100_000

_SNDS: Final = queries("snds.sql")


@dataclass(frozen=True, slots=True)
class Reading:
    """How the last try to read the feed went: when, when it was read last (0: never), why it was not ("": it was)."""

    tried_ms: int = 0
    read_ms: int = 0
    failure: str = ""
    bad_lines: int = 0


class SndsFile:
    """The file, open for its writer (`log` given) or for a reader; used by one thread. Raises StorageError."""

    def __init__(self, data_dir: Path, log: Log | None = None) -> None:
        path = data_dir / FILE
        try:
            connection = open_reader(path, "snds") if log is None else open_or_anew(path, "snds", log, "file of SNDS")
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{path} cannot be opened: {error}") from error
        self._file = SmallFile(connection, str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def figures(self, address: str | None = None, since_ms: int = 0, limit: int = ROWS_MAX) -> list[Figures]:
        """Return figures that came since a time, by address, newest first."""
        return [Figures(*row) for row in self._file.run(_SNDS["figures"], (address, since_ms, limit))]

    def last(self) -> list[Figures]:
        """Return the newest figures of each address."""
        return [Figures(*row) for row in self._file.run(_SNDS["last"])]

    def reading(self) -> Reading:
        """Return how the last try went."""
        rows = self._file.run(_SNDS["reading"])
        return Reading(*rows[0]) if rows else Reading()

    def keep(self, figures: Iterable[Figures], bad_lines: int, now_ms: int) -> None:
        """Keep what was read, and drop what is too old, in one transaction."""
        with self._file.whole():
            for one in figures:
                self._file.run(_SNDS["put"], (*astuple(one), now_ms))
            self._file.run(_SNDS["note_read"], (now_ms, bad_lines))
            self._file.run(_SNDS["forget"], (now_ms - KEPT_MS,))

    def note_failure(self, failure: str, now_ms: int) -> None:
        """Keep why the feed could not be read."""
        with self._file.whole():
            self._file.run(_SNDS["note_failure"], (now_ms, failure))


def read_snds(data_dir: Path) -> SndsFile | None:
    """Open the file for reading; None when nothing was ever read."""
    return SndsFile(data_dir) if (data_dir / FILE).exists() else None
