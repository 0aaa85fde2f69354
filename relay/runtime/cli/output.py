"""What commands write: tables for people, JSON lines for programs, one sentence for an error.

Standard output carries the result only; notes, progress and errors go to standard error, so that a pipe gets
clean data. Text that came from outside (replies, addresses, subjects) is written with control characters shown
as escapes: a remote server must not move the cursor of an operator's terminal.
"""

import contextlib
import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 1_000_000
PROGRESS_LEAST = 100  # what takes a moment needs no bar
_SHOWN_FORMATS = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: object) -> str:
    """Return `text` on one line, with control, bidirectional and private characters shown as escapes."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _SHOWN_FORMATS else char
        for char in plain
    )


def write_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object on one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def write_json_lines(values: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    for value in values:
        write_json(value)


def console(*, stderr: bool = False) -> "Console":
    """Return a console: as wide as the terminal, or without any limit (and colour) when the output is piped."""
    from rich.console import Console  # noqa: PLC0415

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Write a table; the note `empty` goes to standard error when there are no rows."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    folds = sys.stdout.isatty()
    for name in columns:
        table.add_column(name, no_wrap=not folds, overflow="fold")
    count = 0
    for row in rows:
        count += 1
        table.add_row(*(Text(printable(cell)) for cell in row))
    if count == 0:
        note(empty)
        return
    screen = console()
    with screen.capture() as captured:
        screen.print(table)
    sys.stdout.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())


def write_fields(fields: Mapping[str, object]) -> None:
    """Write names and values, aligned, one a line; values are never wrapped."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        sys.stdout.write(f"{name:<{width}}  {printable(value)}\n")


def note(sentence: str) -> None:
    """Tell a person something that is not part of the result."""
    sys.stderr.write(printable(sentence) + "\n")


def complain(sentence: str) -> None:
    """Tell why a command failed, on standard error; several lines stay several lines."""
    lines = [printable(line) for line in sentence.splitlines()] or [""]
    prefix = "\x1b[31mrelay:\x1b[0m " if sys.stderr.isatty() else "relay: "
    sys.stderr.write(prefix + "\n".join(lines) + "\n")


def paint(text: str, style: str) -> str:
    """Return text in a colour (`green`, `red`, `yellow`, `bold`, `dim`, `cyan`) when a terminal reads it."""
    codes = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "dim": "2", "cyan": "36"}
    return f"\x1b[{codes[style]}m{text}\x1b[0m" if sys.stdout.isatty() else text


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner while something takes its time; nothing at all when standard error is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(what):
        yield


def when(ms: int | None) -> str:
    """Return a time in milliseconds since 1970 as local time to the second, "-" for none."""
    if not ms:
        return "-"
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def iso(ms: int | None) -> str | None:
    """Return a time in milliseconds since 1970 as ISO 8601 in UTC, None for none."""
    if not ms:
        return None
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size(size_bytes: int) -> str:
    """Return a size for people: "10.2 KB"."""
    value = float(size_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1024:  # noqa: PLR2004
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show how many of `total` are done, on a terminal only; the block calls what it is given once for each."""
    if total == 1 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


@contextlib.contextmanager
def progressing(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a long work is, on a terminal only; the block tells how many more are done."""
    if total <= PROGRESS_LEAST or not sys.stderr.isatty():
        yield lambda _more: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda more: progress.advance(task, more)
