"""Suppression lists: one for each account, compared without case (SUPP-018), of any size (SUPP-012).

Every change is one transaction, synced, and holds for the next message in all workers (SUPP-014). Lists are read in
pages, so that a million addresses need little memory and nobody waits. Addresses of the mailbox simulator are never
listed (SUPP-006). Imports are in `suppression_import`, the list of the whole relay in `suppression_relay_list`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import orjson

from relay.errors import NotFoundError, UsageError
from relay.mail.address import BadAddress, parse_mailbox
from relay.model.account import SuppressionEntry, SuppressionReason
from relay.policy.simulator import is_simulator_address
from relay.policy.suppression import checked_reasons, fold
from relay.store.suppression_file import SuppressionFile

PAGE_SIZE_MAX = 1000
ROWS_LOOKED_AT = 50_000  # for one page: a filter that nothing fits must not read a whole list at a time
REMOVED_TOGETHER = 5000
END_MS = (1 << 63) - 1


class Form(StrEnum):
    """The two forms of imports and exports (SUPP-024)."""

    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries to list (SUPP-015): of one reason ("": any), last changed in a span of time (ms since 1970)."""

    reason: str = ""
    since_ms: int = 0
    until_ms: int = END_MS


ALL = Filter()


@dataclass(frozen=True, slots=True)
class SuppressionPage:
    """Some entries of a list, and the `after` of the next page, "" when this was the last."""

    entries: list[SuppressionEntry]
    after: str


class SuppressionLists:
    """The lists of all accounts, open for writing."""

    __slots__ = ("_file", "_hostname")

    def __init__(self, file: SuppressionFile, hostname: str = "") -> None:
        """`hostname` is that of the relay, whose mailbox simulator is never listed."""
        self._file = file
        self._hostname = hostname

    @classmethod
    def open(cls, path: Path, now_ms: Callable[[], int], hostname: str = "") -> Self:
        """Open the file of the lists."""
        return cls(SuppressionFile(path, now_ms), hostname)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, account: str, address: str, reason: str = SuppressionReason.BOUNCE) -> SuppressionEntry:
        """Put an address on a list, or change its reason. Raise UsageError for what is no address or reason."""
        kept = checked_address(address)
        if is_simulator_address(kept, self._hostname):
            raise UsageError(f"{kept} belongs to the mailbox simulator, which is never on a suppression list.")
        (known,) = checked_reasons([reason])
        values = {
            "account": account,
            "folded": fold(kept),
            "address": kept,
            "reason": known,
            "updated_ms": self._file.now_ms(),
        }
        with self._file.writing(account):
            self._file.run("put", values)
            self._file.run("remove_trigger", {"account": account, "folded": values["folded"]})
        return SuppressionEntry(account, kept, known, self._file.now_ms())

    def remove(self, account: str, address: str) -> None:
        """Take an address off a list; mail to it flows again at once. Raise NotFoundError when it is not on it."""
        values = {"account": account, "folded": fold(checked_address(address))}
        with self._file.writing(account):
            self._file.run("remove_trigger", values)
            if not self._file.run("remove", values):
                raise NotFoundError(f"{address} is not on the suppression list of account {account}.")

    def remove_all(self, account: str) -> int:
        """Empty a list, some thousand entries at a time; return how many there were (SUPP-011)."""
        removed = 0
        while True:
            row = self._file.row("nth", {"account": account, "number": REMOVED_TOGETHER - 1})
            upto = {"account": account, "folded": row[0] if row else "\U0010ffff"}
            with self._file.writing(account):
                self._file.run("remove_triggers_upto", upto)
                removed += self._file.run("remove_upto", upto)
            if row is None:
                return removed

    def get(self, account: str, address: str) -> SuppressionEntry | None:
        """Return an entry, None when the address is not on the list."""
        row = self._file.row("get", {"account": account, "folded": fold(checked_address(address))})
        return SuppressionEntry(*row) if row else None

    def trigger(self, entry: SuppressionEntry) -> dict[str, Any] | None:
        """Return the feedback that added an entry, as its event told it; None for one added by hand (SUPP-016)."""
        if not entry.feedback_id:
            return None
        row = self._file.row("get_trigger", {"account": entry.account, "folded": fold(entry.address)})
        return dict(orjson.loads(row[0])) if row else None

    def count(self, account: str) -> int:
        """Return the number of entries."""
        return int(self._file.rows("count", {"account": account})[0][0])

    def page(
        self, account: str, *, after: str = "", limit: int = PAGE_SIZE_MAX, chosen: Filter = ALL
    ) -> SuppressionPage:
        """Return up to `limit` entries (at most 1,000) that follow `after`, by folded address.

        With a filter a page may have few entries, or none, though more follow: it is at its end when `after` is "".
        """
        size = max(1, min(limit, PAGE_SIZE_MAX))
        rows_max = size if chosen == ALL else ROWS_LOOKED_AT
        place = {"account": account, "after": after, "rows_max": rows_max}
        values = {**place, "limit": size, "reason": chosen.reason}
        rows = self._file.rows("list", {**values, "since_ms": chosen.since_ms, "until_ms": chosen.until_ms})
        entries = [SuppressionEntry(*row[:6]) for row in rows]
        if len(rows) == size:
            return SuppressionPage(entries, rows[-1][6])
        end = self._file.row("list_end", place)
        return SuppressionPage(entries, end[0] if end else "")

    def entries(self, account: str, chosen: Filter = ALL, *, after: str = "") -> Iterator[SuppressionEntry]:
        """Return the whole list, read page by page in short transactions."""
        while True:
            page = self.page(account, after=after, chosen=chosen)
            yield from page.entries
            if not page.after:
                return
            after = page.after

    def export_lines(self, account: str, form: Form) -> Iterator[str]:
        """Return the whole list as lines, each with its newline, in the form an import reads (SUPP-029)."""
        as_line = _csv_line if form is Form.CSV else _json_line
        return map(as_line, self.entries(account))

    def export(self, address: str) -> list[dict[str, Any]]:
        """Return what all lists of accounts know about an address, with the feedback behind it."""
        folded = fold(checked_address(address))
        found: list[dict[str, Any]] = []
        for (account,) in self._file.rows("accounts_with", {"folded": folded}):
            entry = self.get(account, address)
            if entry is not None:
                found.append(
                    {
                        "account": account,
                        "emailAddress": entry.address,
                        "reason": entry.reason,
                        "updatedMs": entry.updated_ms,
                        "trigger": self.trigger(entry),
                    }
                )
        return found

    def erase(self, address: str) -> int:
        """Take an address off all lists of accounts, with all that is known about it; return from how many."""
        accounts = [row[0] for row in self._file.rows("accounts_with", {"folded": fold(checked_address(address))})]
        for account in accounts:
            self.remove(account, address)
        return len(accounts)


def checked_address(address: str) -> str:
    """Return an address with its domain in A-label form. Raise UsageError for what is no address."""
    parsed = parse_mailbox(address.strip(), smtputf8=True)
    if isinstance(parsed, BadAddress):
        raise UsageError(f"{address[:80]!r} is not an email address: {parsed.text}. Example: joe@example.com")
    return str(parsed)


def _csv_line(entry: SuppressionEntry) -> str:
    address = entry.address
    if '"' in address or "," in address:
        address = '"' + address.replace('"', '""') + '"'
    return f"{address},{entry.reason}\n"


def _json_line(entry: SuppressionEntry) -> str:
    return json.dumps({"emailAddress": entry.address, "reason": entry.reason}, ensure_ascii=False) + "\n"
