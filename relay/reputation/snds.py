"""Reads what SNDS says of addresses day by day: the CSV of its automated data access (SNDS-001, SNDS-002). Pure.

A line has no header and these columns, of which the last three may be missing: address, begin and end of the activity
period, RCPT commands, DATA commands, message recipients, filter result, complaint rate, begin and end of the trap
messages, trap hits, a HELO name, a sender, comments. Names and senders are not kept: they may be a person's.

Times are those of the feed, which names no zone: they are kept as they are said.
"""

import csv
import io
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

COLUMNS_MIN: Final = 11
COLUMNS_MAX: Final = 14
ROWS_MAX: Final = 20_000
CELL_MAX_CHARACTERS: Final = 1000
COUNT_MAX: Final = 10**12
FAULTS_MAX: Final = 20
FRESH: Final = timedelta(days=3)  # the feed is a day or two behind
PERIOD_MAX: Final = timedelta(hours=49)  # a day, in a zone whose clock may be changed in it, and some more

SPAM_RATES: Final = {"GREEN": 0.0, "YELLOW": 0.5, "RED": 1.0}  # below 10 %, up to 90 %, from 90 % on (SNDS-002)
BAD_SPAM_RATE: Final = 1.0

_TIMES: Final = ("%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p")
_PERCENT: Final = re.compile(r"([<>]?) ?(\d{1,3}(?:\.\d{1,6})?) ?%\Z")
_COUNT: Final = re.compile(r"\d{1,13}\Z")


class BadSndsError(ValueError):
    """An answer, or a line of one, that is not what SNDS is documented to say; the text says why."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What SNDS saw of an address in a period (`begin` and `end` as `YYYY-MM-DDThh:mm:ss`, in the feed's own time).

    `spam_rate` is 0, 0.5 or 1; `complaint_rate` a share, where 0 is less than 0.1 %, None where the feed says none;
    as `trap_hits`.
    """

    address: str
    begin: str
    end: str
    rcpt_commands: int
    data_commands: int
    message_recipients: int
    spam_rate: float
    complaint_rate: float | None
    trap_hits: int | None


@dataclass(frozen=True, slots=True)
class Feed:
    """What an answer held: figures, and what is wrong with its other lines (the first 20 of `bad`)."""

    figures: tuple[Figures, ...]
    bad: int
    faults: tuple[str, ...]


def read_feed(answer: bytes) -> Feed:
    """Read an answer; an empty one has no figures. Raise BadSndsError where no line of it is a line of SNDS."""
    try:
        text = answer.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSndsError(f"it is not UTF-8 ({error.reason} at byte {error.start})") from None
    found: dict[tuple[str, str], Figures] = {}
    bad, faults = 0, []
    for number, row in _rows(text):
        try:
            figures = _figures(row)
        except BadSndsError as error:
            bad += 1
            faults += [f"line {number}: {error}"] if bad <= FAULTS_MAX else []
            continue
        found[figures.address, figures.begin] = figures
    if bad and not found:
        raise BadSndsError(f"no line of it is one of SNDS; {faults[0]}")
    return Feed(tuple(found.values()), bad, tuple(faults))


def newly_bad(before: Iterable[Figures], after: Iterable[Figures]) -> list[Figures]:
    """Return what tells that the spam rate of an address turned 1 (SNDS-003).

    `before` has what was known, `after` what came now; only a period newer than all known ones can turn anything.
    """
    last: dict[str, Figures] = {}
    for one in before:
        if one.address not in last or one.begin > last[one.address].begin:
            last[one.address] = one
    turned: dict[str, Figures] = {}
    for one in sorted(after, key=lambda figures: figures.begin):
        known = last.get(one.address)
        if known is not None and one.begin <= known.begin:
            continue
        if one.spam_rate < BAD_SPAM_RATE:
            turned.pop(one.address, None)
        elif known is None or known.spam_rate < BAD_SPAM_RATE:
            turned[one.address] = one
        last[one.address] = one
    return list(turned.values())


def newest(figures: Iterable[Figures], now_ms: int) -> list[Figures]:
    """Return the figures of the newest day: an address without figures for it has a gap, and no old ones (SNDS-003).

    A day that ended more than three days ago is no newest one: then nobody has figures.
    """
    since = datetime.fromtimestamp(now_ms / 1000, UTC) - FRESH
    kept = [one for one in figures if one.end >= since.isoformat()[:19]]
    last = max((one.begin[:10] for one in kept), default="")
    return [one for one in kept if one.begin[:10] == last]


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for number, row in enumerate(reader, 1):
            if number > ROWS_MAX:
                raise BadSndsError(f"it has more than {ROWS_MAX} lines")
            if row:
                yield number, row
    except csv.Error as error:
        raise BadSndsError(f"line {reader.line_num}: {error}") from None


def _figures(row: list[str]) -> Figures:
    if not COLUMNS_MIN <= len(row) <= COLUMNS_MAX:
        raise BadSndsError(f"{len(row)} columns instead of {COLUMNS_MAX}")
    if any(len(cell) > CELL_MAX_CHARACTERS for cell in row):
        raise BadSndsError(f"a cell of more than {CELL_MAX_CHARACTERS} characters")
    cells = [cell.strip() for cell in row]
    begin, end = _time(cells[1], "begin"), _time(cells[2], "end")
    if not timedelta(0) < end - begin <= PERIOD_MAX:
        raise BadSndsError(f"a period from {begin} to {end} is no day")
    spam_rate = SPAM_RATES.get(cells[6].upper())
    if spam_rate is None:
        raise BadSndsError(f"the filter result {cells[6][:40]!r} is none of {', '.join(SPAM_RATES)}")
    return Figures(
        _address(cells[0]),
        begin.isoformat(),
        end.isoformat(),
        _count(cells[3], "RCPT commands"),
        _count(cells[4], "DATA commands"),
        _count(cells[5], "message recipients"),
        spam_rate,
        _share(cells[7]),
        _count(cells[10], "trap hits") if cells[10] else None,
    )


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise BadSndsError(f"{text[:60]!r} is no address") from None


def _time(text: str, what: str) -> datetime:
    for form in _TIMES:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 (the feed names no zone)
        except ValueError:
            continue
    raise BadSndsError(f"the {what} {text[:40]!r} is no time such as '1/31/2026 12:00 AM'")


def _count(text: str, what: str) -> int:
    if not (text.isascii() and _COUNT.match(text)):
        raise BadSndsError(f"{what}: {text[:40]!r} is no number")
    return min(int(text), COUNT_MAX)


def _share(text: str) -> float | None:
    """Return a complaint rate; "< 0.1%" is 0 (SNDS-002)."""
    if not text:
        return None
    found = _PERCENT.match(text)
    if not found or not text.isascii():
        raise BadSndsError(f"the complaint rate {text[:40]!r} is no percentage")
    share = round(float(found.group(2)) / 100, 8)
    if share > 1:
        raise BadSndsError(f"the complaint rate {text[:40]!r} is over 100 %")
    return 0.0 if found.group(1) == "<" else share
