"""Suppression lists: one for each account, compared without case (SUPP-018), of any size.

Imports and exports work in pages, so that a million addresses need little memory and other writers get their turn:
an import applies its good lines in transactions of 20,000 and reports its bad ones (SUPP-026); run again, it changes
nothing more.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path

from relay.errors import UsageError
from relay.mail.address import BadAddress, parse_mailbox
from relay.model.account import SuppressionEntry
from relay.policy.suppression import SuppressionReason, fold
from relay.store.catalog_files import load_queries, open_for_writing, transaction, translated

BATCH_SIZE = 20_000
PAGE_SIZE_MAX = 1000
LINE_MAX_CHARACTERS = 4096
FAILURES_SHOWN_MAX = 100


class Form(StrEnum):
    """The two forms of imports and exports (SUPP-024)."""

    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class SuppressionPage:
    """Some entries of a list, and the `after` of the next page, "" when this was the last."""

    entries: list[SuppressionEntry]
    after: str


@dataclass(slots=True)
class ImportReport:
    """What an import did. `failures` has the first 100 bad lines: (line number from 1, what is wrong with it)."""

    processed: int = 0
    changed: int = 0
    failed: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)


class SuppressionLists:
    """The suppression file, open for writing."""

    __slots__ = ("_connection", "_now_ms", "_path", "_queries")

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._queries = load_queries("suppression.sql")
        self._connection = open_for_writing(path, self._queries)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add(self, account: str, address: str, reason: str = SuppressionReason.BOUNCE) -> SuppressionEntry:
        """Put an address on a list, or change its reason. Raise UsageError for what is no address or reason."""
        values = _values(account, address, reason, self._now_ms())
        with transaction(self._connection, self._path, self._queries, account):
            self._connection.execute(self._queries["put"], values)
        return SuppressionEntry(account, str(values["address"]), str(values["reason"]), self._now_ms())

    def remove(self, account: str, address: str) -> None:
        """Take an address off a list; mail to it flows again at once. Raise UsageError when it is not on it."""
        values = {"account": account, "folded": fold(checked_address(address))}
        with transaction(self._connection, self._path, self._queries, account):
            if not self._connection.execute(self._queries["remove"], values).rowcount:
                raise UsageError(f"{address} is not on the suppression list of account {account}.")

    def get(self, account: str, address: str) -> SuppressionEntry | None:
        """Return an entry, None when the address is not on the list."""
        values = {"account": account, "folded": fold(checked_address(address))}
        with translated(self._path):
            row = self._connection.execute(self._queries["get"], values).fetchone()
        return SuppressionEntry(*row) if row else None

    def count(self, account: str) -> int:
        """Return the number of entries."""
        with translated(self._path):
            return int(self._connection.execute(self._queries["count"], {"account": account}).fetchone()[0])

    def page(self, account: str, *, after: str = "", limit: int = PAGE_SIZE_MAX) -> SuppressionPage:
        """Return up to `limit` entries (at most 1,000) that follow `after`, by folded address."""
        values = {"account": account, "after": after, "limit": max(1, min(limit, PAGE_SIZE_MAX))}
        with translated(self._path):
            rows = self._connection.execute(self._queries["list"], values).fetchall()
        entries = [SuppressionEntry(*row[:4]) for row in rows]
        return SuppressionPage(entries, rows[-1][4] if len(rows) == values["limit"] else "")

    def entries(self, account: str) -> Iterator[SuppressionEntry]:
        """Return the whole list, read page by page in short transactions."""
        after = ""
        while True:
            page = self.page(account, after=after)
            yield from page.entries
            if not page.after:
                return
            after = page.after

    def export(self, account: str, form: Form) -> Iterator[str]:
        """Return the whole list as lines, each with its newline, in the form an import reads (SUPP-029)."""
        for entry in self.entries(account):
            if form is Form.CSV:
                quoted = (
                    '"' + entry.address.replace('"', '""') + '"' if set(entry.address) & set(',"') else entry.address
                )
                yield f"{quoted},{entry.reason}\n"
            else:
                yield json.dumps({"emailAddress": entry.address, "reason": entry.reason}, ensure_ascii=False) + "\n"

    def import_lines(
        self,
        account: str,
        lines: Iterable[str],
        form: Form,
        *,
        delete: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> ImportReport:
        """Add the addresses of some lines, or remove them; bad lines are counted and the good ones applied.

        To add, a line needs a reason (SUPP-024). `progress` is called with the number of lines read so far.
        """
        report = ImportReport()
        numbered = enumerate(lines, 1)
        while batch := list(islice(numbered, BATCH_SIZE)):
            self._apply(account, batch, form, report, delete=delete)
            if progress is not None:
                progress(report.processed + report.failed)
        return report

    def _apply(
        self, account: str, batch: list[tuple[int, str]], form: Form, report: ImportReport, *, delete: bool
    ) -> None:
        now_ms = self._now_ms()
        rows: dict[str, dict[str, object]] = {}  # sorted below, for the file grows in this order
        good = 0
        for number, line in batch:
            if not line.strip():
                continue
            try:
                address, reason = _parse(line, form)
                values = _values(account, address, SuppressionReason.BOUNCE if delete else reason, now_ms)
            except (UsageError, ValueError) as error:
                report.failed += 1
                if len(report.failures) < FAILURES_SHOWN_MAX:
                    report.failures.append((number, str(error)[:200]))
                continue
            good += 1
            rows[str(values["folded"])] = values
        if not good:
            return
        self._write([rows[key] for key in sorted(rows)], account, report, delete=delete)
        report.processed += good

    def _write(self, rows: list[dict[str, object]], account: str, report: ImportReport, *, delete: bool) -> None:
        if delete:
            rows = [{"account": row["account"], "folded": row["folded"]} for row in rows]
        with transaction(self._connection, self._path, self._queries, account):
            cursor = self._connection.executemany(self._queries["remove" if delete else "put"], rows)
            report.changed += cursor.rowcount


def checked_address(address: str) -> str:
    """Return an address with its domain in A-label form. Raise UsageError for what is no address."""
    parsed = parse_mailbox(address.strip(), smtputf8=True)
    if isinstance(parsed, BadAddress):
        raise UsageError(f"{address[:80]!r} is not an email address: {parsed.text}.")
    return str(parsed)


def _values(account: str, address: str, reason: str, now_ms: int) -> dict[str, object]:
    kept = checked_address(address)
    try:
        known = SuppressionReason(reason.strip().upper())
    except ValueError:
        raise UsageError(f"A reason is BOUNCE or COMPLAINT, not {reason[:40]!r}.") from None
    return {
        "account": account,
        "folded": fold(kept),
        "address": kept,
        "reason": str(known),
        "updated_ms": now_ms,
    }


def _parse(line: str, form: Form) -> tuple[str, str]:
    """Return address and reason of one line, the reason "" when it has none. Raise ValueError."""
    if len(line) > LINE_MAX_CHARACTERS:
        raise ValueError(f"The line has more than {LINE_MAX_CHARACTERS} characters.")
    return _parse_json(line) if form is Form.JSON else _parse_csv(line)


def _parse_csv(line: str) -> tuple[str, str]:
    text = line.strip("\r\n\ufeff")
    cells = next(csv.reader([text]), []) if '"' in text else text.split(",")
    if len(cells) > 2:  # noqa: PLR2004 an address and a reason
        msg = "A line has an address and a reason, no more."
        raise ValueError(msg)
    return cells[0], cells[1] if len(cells) > 1 else ""


def _parse_json(line: str) -> tuple[str, str]:
    value = json.loads(line)
    if not isinstance(value, Mapping) or not isinstance(value.get("emailAddress"), str):
        msg = "A line is an object with emailAddress and reason."
        raise ValueError(msg)  # noqa: TRY004 a bad line, not a bad argument
    reason = value.get("reason", "")
    return value["emailAddress"], reason if isinstance(reason, str) else "?"
