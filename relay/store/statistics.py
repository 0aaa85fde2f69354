"""What was counted of events: `events/statistics.db`, written by the process that carries events, read by others.

Every event is counted once (STAT-001): its place in its shard's log moves in the transaction that counts it, so a
crash leaves both or neither. Numbers in a log are never used twice, also not after a shard was salvaged, so an event
at or below the place is one that was counted.

Points are of 15 minutes for 14 days, then of an hour, then of a day. Cells are what rates are made of
(`relay.reputation.rates`). No address is kept. Bounded: of one account and dimension `SERIES_MAX` series, the rest
are added to the series `other`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from relay.model.event import LoggedEvent
from relay.ports import Log
from relay.reputation.counting import COUNTS, Count, Counted, Dimension, IsOwn, Rules, counted
from relay.reputation.rates import DAY_MS, Cell, begins_anew
from relay.store.places import Places
from relay.store.small_file import KeptReader, OwnedFile
from relay.store.sql import queries

FILE: Final = Path("events", "statistics.db")
SERIES_MAX: Final = 10_000
OTHER: Final = "other"
QUARTER: Final = 900
HOUR: Final = 3600
DAY: Final = 86_400
GRAINS: Final = (QUARTER, HOUR, DAY)
QUARTER_KEPT_MS: Final = 14 * DAY_MS  # STAT-001
CELLS_LONG_MS: Final = 400 * DAY_MS
CELLS_SHORT_MS: Final = 60 * DAY_MS
CELLS_ENOUGH: Final = 2000
HOUSEKEEPING_MS: Final = 3600_000
NAME_MAX_CHARACTERS: Final = 500
SECOND_MS: Final = 1000

_QUERIES: Final = queries("statistics.sql")
_MOMENT: Final = attrgetter("start_ms")

_Series = tuple[str, Dimension, str, int]
"""Account, dimension, name, and the start of the point."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long points of an hour and of a day are kept; those of 15 minutes always for 14 days."""

    hours_ms: int = 90 * DAY_MS
    days_ms: int = 730 * DAY_MS


class Statistics:
    """The applier (`relay.ports.Applier`) that counts."""

    name = "statistics"

    def __init__(
        self,
        data_dir: Path,
        rules: Rules,
        is_own: IsOwn,
        now_ms: Callable[[], int],
        log: Log,
        *,
        retention: Retention = Retention(),
        fresh_start_ms: Callable[[str, str], int] = lambda _account, _set: 0,
    ) -> None:
        self._fresh_start_ms = fresh_start_ms
        self.rules = rules
        self.retention = retention
        self._file = OwnedFile(data_dir / FILE, "statistics", log, "file of statistics", checkpoint_pages=1000)
        self._is_own = is_own
        self._now_ms = now_ms
        self._known: set[tuple[str, Dimension, str]] = set()
        self._tidied_ms = 0
        self._places = Places(lambda: self._file.connection, self._file.failed)

    # --- the applier ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open or create the file; a damaged one is set aside, and what is still in the logs is counted anew."""
        self._file.open()

    def follow(self, shard: int, log: int, last: int) -> None:
        """Count the events of a log from now on. Raise StorageError."""
        self._places.follow(shard, log, last)

    def place(self, shard: int) -> int:
        """Return the number of the last event of a shard that is counted."""
        return self._places.get(shard)

    def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        """Count events and move the place, in one synced transaction. Raise StorageError."""
        with self._file.whole():
            place = self.place(shard)
            found = [counted(event, self.rules, self._is_own) for event in events if event.seq > place]
            changes = [one for one in found if one is not None]
            self._add_points(changes)
            self._add_cells(changes)
            self._places.move(shard, events[-1].seq)
        self._tidy()

    def skip(self, shard: int, seq: int) -> None:
        """Move the place past an event that cannot be counted."""
        with self._file.whole():
            self._places.move(shard, seq)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # --- counting ------------------------------------------------------------------------------------------------

    def _add_points(self, changes: Iterable[Counted]) -> None:
        alike = Counter([one.shape(QUARTER * SECOND_MS) for one in changes])
        sums: dict[_Series, dict[Count, int]] = defaultdict(lambda: defaultdict(int))
        for shape, times in alike.items():
            for dimension, name, added in shape.series():
                series = sums[shape.account, dimension, name[:NAME_MAX_CHARACTERS], shape.start_ms]
                for count, amount in added:
                    series[count] += times * amount
        for (account, dimension, name, start_ms), amounts in sums.items():
            row = (QUARTER, start_ms, account, dimension.value, self._admit(account, dimension, name))
            self._run("add_point", (*row, *(amounts.get(count, 0) for count in COUNTS)))

    def _admit(self, account: str, dimension: Dimension, name: str) -> str:
        """Return the name of a series, or of the one for all that are too many."""
        key = (account, dimension, name)
        if key in self._known or dimension is Dimension.ACCOUNT:
            return name
        if not self._run("has_series", (account, dimension.value, name))[0][0]:
            number = self._run("count_series", (account, dimension.value, SERIES_MAX))[0][0]
            if number >= SERIES_MAX:
                return OTHER
        if len(self._known) >= SERIES_MAX:
            self._known.clear()
        self._known.add(key)
        return name

    def _add_cells(self, changes: Iterable[Counted]) -> None:
        sums: dict[tuple[str, str], list[Cell]] = defaultdict(list)
        for one in changes:
            for name in ("", one.configuration_set) if one.configuration_set else ("",):
                found = sums[one.account, name]
                if one.cell is not None:
                    found.append(one.cell)
            if one.trap_hits:
                second_ms = one.moment_ms - one.moment_ms % SECOND_MS
                self._run("add_trap", (one.account, second_ms, one.trap_hits))
        for (account, name), cells in sums.items():
            self._add_cells_of(account, name, sorted(cells, key=_MOMENT))
            self._run("touch", (account, name, self._now_ms()))

    def _add_cells_of(self, account: str, name: str, cells: Iterable[Cell]) -> None:
        """Add amounts, each at the time of its message, in order of time, to the cells of a subject."""
        fresh_ms = self._fresh_start_ms(account, name)
        last: _OpenCell | None = None
        for cell in cells:
            moment_ms = cell.start_ms
            if last is None or last.followed:  # else the newest cell of all, which is known
                self._keep_cell(account, name, last)
                last = self._cell_at(account, name, moment_ms)
            if last.divided(moment_ms, fresh_ms):
                self._keep_cell(account, name, last)
                last = _OpenCell(moment_ms, followed=last.followed)
            last.add(cell)
        self._keep_cell(account, name, last)

    def _cell_at(self, account: str, name: str, moment_ms: int) -> "_OpenCell":
        """Return the cell on disk that begins at or before a time, one that begins then where there is none."""
        rows = self._run("cell_of", (account, name, moment_ms))
        if not rows:
            return _OpenCell(moment_ms, followed=True)  # perhaps: it is looked at again
        start_ms, sent, reporting, followed = rows[0]
        return _OpenCell(start_ms, sent, reporting, followed=bool(followed))

    def _keep_cell(self, account: str, name: str, cell: "_OpenCell | None") -> None:
        if cell is not None and cell.changed:
            self._run("add_cell", (account, name, cell.start_ms, *cell.added))

    # --- housekeeping --------------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Roll up and drop what is old, once an hour; a transaction of its own, which may be repeated."""
        now_ms = self._now_ms()
        if abs(now_ms - self._tidied_ms) < HOUSEKEEPING_MS:
            return
        self._tidied_ms = now_ms
        with self._file.whole():
            self._roll_up(QUARTER, HOUR, now_ms - QUARTER_KEPT_MS)
            self._roll_up(HOUR, DAY, now_ms - self.retention.hours_ms)
            self._run("drop_points", (DAY, now_ms - self.retention.days_ms))
            ages = {"long_ms": now_ms - CELLS_LONG_MS, "short_ms": now_ms - CELLS_SHORT_MS, "enough": CELLS_ENOUGH}
            self._run("drop_cells", ages)
            self._run("drop_traps", (now_ms - CELLS_LONG_MS,))

    def _roll_up(self, fine: int, coarse: int, before_ms: int) -> None:
        """Turn points older than a time into coarser ones; only whole coarse ones, and each fine one once."""
        whole_ms = before_ms - before_ms % (coarse * 1000)
        self._run("roll_up", {"fine": fine, "coarse": coarse, "before_ms": whole_ms})
        self._run("drop_points", (fine, whole_ms))

    def _run(self, name: str, values: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
        return self._file.run(_QUERIES[name], values)


class _OpenCell:
    """A cell that is being added to: what is on disk of it, and what is not yet.

    `followed`: a later one exists.
    """

    __slots__ = ("_reporting", "_sent", "added", "changed", "followed", "start_ms")

    def __init__(self, start_ms: int, sent: int = 0, reporting: int = 0, *, followed: bool) -> None:
        self.start_ms = start_ms
        self.followed = followed
        self.changed = False
        self.added = [0, 0, 0, 0]  # sent, hard bounces, reporting, complaints
        self._sent = sent
        self._reporting = reporting

    def divided(self, moment_ms: int, fresh_ms: int) -> bool:
        """Say whether a message of a time, or of none earlier, belongs to another cell, which it begins."""
        if self.start_ms < fresh_ms <= moment_ms:
            return True  # a fresh start divides cells (REP-013)
        # Once a later cell exists the size of this one is settled: shards that lag behind, and bounces, add to it.
        messages = 0 if self.followed else max(self._sent + self.added[0], self._reporting + self.added[2])
        return begins_anew(self.start_ms, messages, moment_ms)

    def add(self, cell: Cell) -> None:
        """Add amounts."""
        self.changed = True
        added = self.added
        added[0] += cell.sent
        added[1] += cell.hard_bounces
        added[2] += cell.reporting
        added[3] += cell.complaints


@dataclass(frozen=True, slots=True)
class Point:
    """Counts of the time from `start_ms` on."""

    start_ms: int
    counts: dict[Count, int]


@dataclass(frozen=True, slots=True)
class Total:
    """The sums of one series."""

    account: str
    name: str
    counts: dict[Count, int]


class StatisticsReader:
    """What commands and the office read; nothing at all before the file was made. Raises StorageError."""

    def __init__(self, data_dir: Path) -> None:
        self._file = KeptReader(data_dir / FILE, "statistics", "file of statistics")

    def points(
        self,
        dimension: Dimension,
        since_ms: int,
        until_ms: int,
        grain: int = QUARTER,
        *,
        account: str | None = None,
        name: str | None = None,
    ) -> list[Point]:
        """Return the points of a series, oldest first; of all accounts and names together where none is given."""
        values = {
            "grain": grain,
            "since_ms": since_ms,
            "until_ms": until_ms,
            "dimension": dimension.value,
            "account": account,
            "name": name,
        }
        return [Point(row[0], _counts(row[1:])) for row in self._run("points", values)]

    def totals(
        self, dimension: Dimension, since_ms: int, until_ms: int, *, account: str | None = None, limit: int = 1000
    ) -> list[Total]:
        """Return the sums of the series of a dimension, those that sent most first."""
        values = {
            "since_ms": since_ms,
            "until_ms": until_ms,
            "dimension": dimension.value,
            "account": account,
            "limit": limit,
        }
        return [Total(row[0], row[1], _counts(row[2:])) for row in self._run("totals", values)]

    def cells(self, account: str, configuration_set: str = "", since_ms: int = 0) -> list[Cell]:
        """Return the cells of an account or of one of its sets, newest first."""
        return [Cell(*row) for row in self._run("cells", (account, configuration_set, since_ms))]

    def subjects(self, since_ms: int = 0) -> list[tuple[str, str, int]]:
        """Return accounts, and their sets, whose cells changed at a time or later, with when."""
        return [(row[0], row[1], row[2]) for row in self._run("subjects", (since_ms,))]

    def trap_hits(self, account: str, since_ms: int) -> int:
        """Return how many messages went to spamtraps since a time, in whole seconds."""
        rows = self._run("trap_hits", (account, since_ms))
        return int(rows[0][0]) if rows else 0

    def trapped(self, since_ms: int) -> list[str]:
        """Return the accounts with messages to spamtraps since a time."""
        return [row[0] for row in self._run("trapped", (since_ms,))]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _run(self, name: str, values: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
        return self._file.run(_QUERIES[name], values)


def _counts(row: Sequence[int]) -> dict[Count, int]:
    return dict(zip(COUNTS, row, strict=True))
