"""`relay analyse`: SQL over events, of the archive or of streams; once, or continuously over what is new."""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError
from relay.runtime.cli.history_options import SinceOption, UntilOption, times
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import note, working, write_json, write_table

if TYPE_CHECKING:
    from relay.runtime.analysis_sources import SavedStream, Source
    from relay.store.analysis import Analysis

MEMORY_MIN_BYTES = 64 << 20
QUERY_MAX_BYTES = 1 << 20
ROWS_DEFAULT = 10_000


def analyse(
    query: Annotated[str, typer.Argument(metavar="[SQL]", help="The query; without one the tables are shown.")] = "",
    *,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Read the query from a file.")] = None,
    stream: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="A stream: its directory or file; instead of the relay's own archive."),
    ] = None,
    since: SinceOption = "",
    until: UntilOption = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Run it over what is new, again and again.")] = False,
    every: Annotated[str, typer.Option(metavar="TIME", help="How often, with --follow.")] = "1s",
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="How long, with --follow.")] = "",
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the rows as JSON lines to another stream.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000_000, help="At most so many rows.")] = ROWS_DEFAULT,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory of the query.")] = "512MB",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the query.")] = 2,
    seconds: Annotated[float, typer.Option(min=0.1, max=86400, help="Longest time of the query.")] = 300.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Query events with SQL: tables ses, events, send, delivery, bounce, complaint and others.

    Reads only. --since and --until choose what is taken from the archive; times are in UTC.
    """
    from relay.runtime.analysis_sources import SavedStream, Stream  # noqa: PLC0415

    sql = _query(query, file)
    sources: list[Source] = [Stream(path) for path in stream or ()]
    if not sources:
        sources = [_archive(config, since, until)]
    elif since or until:
        raise UsageError("--since and --until are for the archive; with --stream say it in SQL.")
    saved = SavedStream(save, stream or ()) if save else None
    limits = _Limits(_bytes(memory), threads, seconds)
    write = _Writer(limit, saved, as_json=as_json)
    if follow:
        if not sql:
            raise UsageError("Say which query is to be run over what is new.")
        end = time.monotonic() + _seconds("--for", lasting) if lasting else float("inf")
        for _ in _turns(_seconds("--every", every), end, sources):
            _look(sources, sql, limits, write)
        return
    with (
        tempfile.TemporaryDirectory(prefix="relay-analysis-") as scratch,
        working("reading"),
        limits.open([path for source in sources for path in source.all(_below(scratch, "new"))], scratch) as found,
    ):
        if sql:
            write(*found.query(sql))
        else:
            _write_tables(found, as_json=as_json)


class _Limits:
    def __init__(self, memory_bytes: int, threads: int, seconds: float) -> None:
        self._limits: dict[str, Any] = {
            "memory_bytes": memory_bytes,
            "threads": threads,
            "seconds_max": seconds,
        }

    def open(self, files: Sequence[Path], scratch: str) -> "Analysis":
        from relay.store.analysis import Analysis  # noqa: PLC0415

        return Analysis(files, _below(scratch, "spill"), **self._limits)


class _Writer:
    """Writes rows: as a table, as JSON lines, or to another stream."""

    def __init__(self, limit: int, saved: "SavedStream | None", *, as_json: bool) -> None:
        self._limit = limit
        self._saved = saved
        self._as_json = as_json

    def __call__(self, names: Sequence[str], rows: Iterator[Sequence[Any]], *, quiet: bool = False) -> None:
        if self._saved is not None:
            number = self._saved.write(dict(zip(names, row, strict=True)) for row in self._limited(rows))
            if number or not quiet:
                note(f"{number} rows saved.")
        elif self._as_json:
            for row in self._limited(rows):
                write_json(dict(zip(names, row, strict=True)))
        else:
            listed = [["" if value is None else value for value in row] for row in self._limited(rows)]
            if listed or not quiet:
                write_table(names, listed, empty="No rows.")

    def _limited(self, rows: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        for number, row in enumerate(rows):
            if number == self._limit:
                note(f"There are more than {self._limit} rows: add --limit, or say less in SQL.")
                return
            yield row


def _turns(every_seconds: float, end: float, sources: "Sequence[Source]") -> Iterator[None]:
    """Begin all sources, then give a turn now and then until an end; the last one is at the end."""
    for source in sources:
        source.begin()
    while True:
        last = time.monotonic() >= end
        yield
        if last:
            return
        time.sleep(min(every_seconds, max(0.0, end - time.monotonic())))


def _look(sources: "Sequence[Source]", sql: str, limits: _Limits, write: _Writer) -> None:
    """Run a query over what is new."""
    with tempfile.TemporaryDirectory(prefix="relay-analysis-") as scratch:
        files = [path for number, source in enumerate(sources) for path in source.new(_below(scratch, str(number)))]
        if files:
            with limits.open(files, scratch) as found:
                write(*found.query(sql), quiet=True)
            sys.stdout.flush()


def _archive(config: Path | None, since: str, until: str) -> "Source":
    from relay.model.search import EventQuery  # noqa: PLC0415
    from relay.runtime.analysis_sources import Archive  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.store.retention import archive_directory  # noqa: PLC0415

    return Archive(archive_directory(open_site(config).data_dir), EventQuery(**times(since, until)))


def _query(text: str, file: Path | None) -> str:
    if text and file:
        raise UsageError("Give a query or --file, not both.")
    if file is None:
        return text
    with file.open("rb") as stream:
        found = stream.read(QUERY_MAX_BYTES)
    return found.decode("utf-8", "replace")


def _write_tables(analysis: "Analysis", *, as_json: bool) -> None:
    from relay.store.analysis import SHOWN  # noqa: PLC0415

    for name in SHOWN:
        _, rows = analysis.query(f"DESCRIBE {name}")
        columns = [(str(row[0]), str(row[1])) for row in rows]
        if as_json:
            write_json({"table": name, "columns": dict(columns)})
        else:
            typer.echo(f"{name}: {', '.join(f'{column} {kind}' for column, kind in columns)}")


def _bytes(text: str) -> int:
    from relay.runtime.config.values import parse_size  # noqa: PLC0415

    try:
        found = parse_size(text)
    except ValueError as error:
        raise UsageError(f"--memory {error}.") from None
    if found < MEMORY_MIN_BYTES:
        raise UsageError("--memory must be at least 64MB.")
    return int(found)


def _seconds(option: str, text: str) -> float:
    from relay.runtime.cli.queue_choice import milliseconds  # noqa: PLC0415

    return milliseconds(option, text) / 1000


def _below(directory: str, name: str) -> Path:
    found = Path(directory) / name
    found.mkdir(exist_ok=True)
    return found
