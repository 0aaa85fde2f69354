"""How many events there were, for metrics: `events/metrics.db`, written by the process `events`, read by the office.

Counts and the place in the shard's log are one transaction, synced: each event is counted once, whatever dies, and
counters survive a restart. A destination has at most `series_max` series; what would be more is counted as dropped.
"""

import sqlite3
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from relay.errors import StorageError
from relay.ports import Log
from relay.ports.events import CountedSeries, DestinationKey
from relay.store.database import open_reader
from relay.store.places import Places
from relay.store.small_file import OwnedFile
from relay.store.sql import queries

FILE: Final = Path("events", "metrics.db")
_QUERIES: Final = queries("event_counts.sql")


class EventCounts:
    """The file; used by one thread."""

    def __init__(self, path: Path, log: Log, *, series_max: int) -> None:
        """Open or create the file; a damaged one is set aside. ConfigurationError when the place cannot be used."""
        self._series_max = series_max
        self._file = OwnedFile(path, "event_counts", log, "counts of events")
        self._file.open()
        self._places = Places(lambda: self._file.connection, self._file.failed)

    def follow(self, shard: int, log: int, last: int) -> None:
        """Count the events of a log from now on. Raise StorageError."""
        self._places.follow(shard, log, last)

    def place(self, shard: int) -> int:
        """Return up to where a shard's log was counted, 0 when it was not. Raise StorageError."""
        return self._places.get(shard)

    def add(self, shard: int, seq: int, counts: Mapping[CountedSeries, int]) -> None:
        """Count the events of a shard up to `seq`, all or nothing, synced on return. Raise StorageError."""
        with self._file.whole():
            for series, amount in counts.items():
                self._add(series, amount)
            self._places.move(shard, seq)

    def keep_only(self, live: Collection[DestinationKey]) -> None:
        """Forget the series of destinations that are no more. Raise StorageError."""
        for key in self._run("destinations", ()):
            if key not in live:
                self._run("forget", key)
                self._run("forget_dropped", key)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, series: CountedSeries, amount: int) -> None:
        values = (amount, *series.destination, series.kind, series.dimensions)
        if self._file.connection.execute(_QUERIES["add"], values).rowcount:
            return
        if series.destination[2] and self._run("series_of", series.destination)[0][0] >= self._series_max:
            self._run("drop_counts", (amount, *series.destination))
        else:
            self._run("begin", values)

    def _run(self, name: str, values: tuple[Any, ...]) -> list[Any]:
        return self._file.run(_QUERIES[name], values)


def read_counts(data_dir: Path) -> tuple[dict[CountedSeries, int], dict[DestinationKey, int]]:
    """Return all counts, and what destinations left out; nothing where there is no file. Raise StorageError."""
    path = data_dir / FILE
    if not path.exists():
        return {}, {}
    try:
        connection = open_reader(path, "event_counts")
        try:
            rows = connection.execute(_QUERIES["all"]).fetchall()
            dropped = connection.execute(_QUERIES["all_dropped"]).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StorageError(f"the counts of events {path} cannot be read: {error}") from error
    counts = {CountedSeries(tuple(row[:3]), row[3], row[4]): int(row[5]) for row in rows}
    return counts, {tuple(row[:3]): int(row[3]) for row in dropped}
