"""What was found about the relay's own addresses, names and records: `office/own.db`, written by the office alone.

Commands read it. It holds nothing that could not be found out again, but for when a listing began and ended.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relay.errors import StorageError
from relay.ports import Log
from relay.reputation.blocklist import Change, Listing
from relay.reputation.own import Grade, OwnCheck
from relay.store.database import open_reader
from relay.store.small_file import SmallFile, open_or_anew
from relay.store.sql import queries

FILE_NAME: Final = "own.db"
KEPT_MS: Final = 400 * 86_400_000  # more than a year, so that last year's listing can be compared with this one's
LISTINGS_MAX: Final = 10_000

_WHAT: Final = "file of own checks"
_OWN: Final = queries("own.sql")


@dataclass(frozen=True, slots=True)
class KeptCheck:
    """A check as it is kept: since when it is so, when it was looked at last, and why that gave no answer."""

    check: OwnCheck
    since_ms: int
    checked_ms: int
    no_answer: str


class OwnChecks:
    """The file; used by one thread. Errors of the file are StorageError."""

    def __init__(self, office_dir: Path, log: Log | None = None) -> None:
        """Open the file for its writer, who says by `log` when it began anew; without one, for a reader."""
        path = office_dir / FILE_NAME
        try:
            connection = open_reader(path, "own") if log is None else open_or_anew(path, "own", log, _WHAT)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{path} cannot be opened: {error}") from error
        self._file = SmallFile(connection, str(path))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def checks(self) -> list[KeptCheck]:
        """Return the last result of every check, faults first."""
        return [_kept(row) for row in self._file.run(_OWN["checks"])]

    def lasting(self) -> list[Listing]:
        """Return the listings that last."""
        return [Listing(*row) for row in self._file.run(_OWN["lasting"])]

    def listings(self, limit: int = 1000) -> list[Listing]:
        """Return all listings that are known, those that last first."""
        return [Listing(*row) for row in self._file.run(_OWN["listings"], (min(limit, LISTINGS_MAX),))]

    def keep(self, checks: Iterable[OwnCheck], now_ms: int) -> Sequence[tuple[Grade | None, OwnCheck]]:
        """Keep the results of one round, whole; return each with the grade before it. Others are forgotten."""
        before: Mapping[tuple[str, str], Grade] = {
            (one.check.kind, one.check.subject): one.check.grade for one in self.checks()
        }
        kept: list[tuple[Grade | None, OwnCheck]] = []
        with self._file.whole():
            for one in checks:
                kept.append((before.get((one.kind, one.subject)), one))
                if one.grade is Grade.UNKNOWN:
                    self._file.run(_OWN["put_no_answer"], (one.kind, one.subject, one.detail, now_ms))
                else:
                    values = (one.kind, one.subject, one.grade.value, one.detail, one.next_step, now_ms)
                    self._file.run(_OWN["put_check"], values)
            self._file.run(_OWN["forget_checks"], (now_ms,))
        return kept

    def change(self, changes: Iterable[Change], now_ms: int) -> None:
        """Keep what changed about listings."""
        with self._file.whole():
            for one in changes:
                listing = one.listing
                if one.began:
                    values = (listing.address, listing.list_name, listing.began_ms, listing.detail)
                    self._file.run(_OWN["begin_listing"], values)
                else:
                    self._file.run(_OWN["end_listing"], (listing.address, listing.list_name, listing.ended_ms))
            self._file.run(_OWN["forget_listings"], (now_ms - KEPT_MS,))


def _kept(row: Sequence[Any]) -> KeptCheck:
    kind, subject, grade, detail, next_step, since_ms, checked_ms, no_answer = row
    return KeptCheck(OwnCheck(kind, subject, Grade(grade), detail, next_step), since_ms, checked_ms, no_answer)
