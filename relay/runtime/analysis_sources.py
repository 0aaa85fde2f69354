"""Where analysis with SQL takes events from: streams of JSON lines in directories and files, and the archive.

A stream is what an event destination writes: files of JSON lines, plain or gzip, in directories of hours, or one
file that grows. The archive is written out into a directory of ours first. For a continuous query each of them gives
what is new since it was asked last.
"""

import gzip
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from relay.errors import NotFoundError, UsageError
from relay.model.search import EventQuery
from relay.store.event_blocks import Archived
from relay.store.event_search import EventSearch, Follower

SUFFIXES: Final = (".jsonl", ".json", ".ndjson", ".gz")
FILES_MAX: Final = 1_000_000
_ROTATED: Final = ".jsonl."  # an older file of a file destination: events.jsonl.3
_COPY_BYTES: Final = 1 << 20


class Source(Protocol):
    """Gives files of events; `scratch` is a directory of ours that lives as long as the files are needed."""

    def all(self, scratch: Path) -> list[Path]:
        """Return files with all events."""
        ...

    def begin(self) -> None:
        """Take note of what there is: only what comes later is new."""
        ...

    def new(self, scratch: Path) -> list[Path]:
        """Return files with the events that came since `begin` or the last call."""
        ...


class Stream:
    """A directory, or a file that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: dict[Path, int] = {}
        if not path.exists():
            raise NotFoundError(f"There is no stream at {path}.")

    def all(self, scratch: Path) -> list[Path]:  # noqa: ARG002 (it needs no copy)
        """Return the files of the stream, in the order of their names."""
        if self.path.is_file():
            return [self.path]
        found = [path for path in sorted(self.path.rglob("*")) if _of_stream(path, self.path)]
        if len(found) > FILES_MAX:
            raise UsageError(f"{self.path} has more than {FILES_MAX} files: name a directory below it.")
        return found

    def begin(self) -> None:
        """Take note of the files and their sizes."""
        self._seen = {path: path.stat().st_size for path in self.all(self.path)}

    def new(self, scratch: Path) -> list[Path]:
        """Return new files, and copies of what was added to plain ones, in whole lines."""
        found = []
        for path in self.all(scratch):
            size, before = path.stat().st_size, self._seen.get(path, 0)
            before = before if size >= before else 0  # it was rotated
            if size == before:
                continue
            if path.suffix == ".gz" or (before == 0 and self.path.is_dir()):
                found.append(path)
                self._seen[path] = size
            else:
                copy, end = _whole_lines(path, before, size, scratch / f"{len(found)}-{path.name}.jsonl")
                found += [copy] if end > before else []
                self._seen[path] = end
        return found


class Archive:
    """The archive of events of a relay, with the events of a query."""

    def __init__(self, directory: Path, query: EventQuery) -> None:
        self._directory = directory
        self._query = query
        self._follower: Follower | None = None

    def all(self, scratch: Path) -> list[Path]:
        """Write the events to a file and return it."""
        path = scratch / "archive.jsonl.gz"
        with gzip.open(path, "wb", compresslevel=1) as stream:
            for one in EventSearch(self._directory, {}, self._query).oldest_first():
                stream.write(one.event.payload + b"\n")
        return [path]

    def begin(self) -> None:
        """Take note of the last event."""
        self._follower = Follower(self._directory, self._query)

    def new(self, scratch: Path) -> list[Path]:
        """Write the events that came since to a file and return it."""
        assert self._follower is not None
        found: Sequence[Archived] = self._follower.more()
        path = scratch / "archive-new.jsonl"
        path.write_bytes(b"".join(one.event.payload + b"\n" for one in found))
        return [path] if found else []


class SavedStream:
    """Where results go: files of JSON lines in directories of hours, as a stream."""

    def __init__(self, directory: Path, sources: Iterable[Path]) -> None:
        """Raise UsageError when it is one of the streams that are read, or in one, or one is in it (ANALYT-008)."""
        self._directory = directory.resolve()
        self._number = 0
        for source in sources:
            read = source.resolve()
            if read == self._directory or read in self._directory.parents or self._directory in read.parents:
                raise UsageError(f"{directory} is, or has in it, the stream that is read: save to another one.")

    def write(self, rows: Iterable[dict[str, Any]], now: datetime | None = None) -> int:
        """Write rows, if there are any, to a new file; return how many."""
        lines = [orjson.dumps(row, default=str) + b"\n" for row in rows]
        if not lines:
            return 0
        moment = now or datetime.now(UTC)
        hour = self._directory / moment.strftime("%Y/%m/%d/%H")
        hour.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._number += 1
        name = f"analysis-{moment:%Y-%m-%d-%H-%M-%S}-{moment.microsecond:06d}-{self._number}.jsonl"
        part = hour / f".{name}.part"
        part.write_bytes(b"".join(lines))
        part.rename(hour / name)
        return len(lines)


def _of_stream(path: Path, stream: Path) -> bool:
    """Say whether a file is one of a stream; hidden ones, and those in hidden directories, are not finished yet."""
    hidden = any(part.startswith(".") for part in path.relative_to(stream).parts)
    named = path.name.endswith(SUFFIXES) or _ROTATED in path.name
    return named and not hidden and path.is_file()


def _whole_lines(path: Path, begin: int, end: int, copy: Path) -> tuple[Path, int]:
    """Copy what a file has between two places, up to its last newline; return the copy and where it ends."""
    with path.open("rb") as source, copy.open("wb") as target:
        source.seek(begin)
        rest, at = b"", begin
        while at + len(rest) < end and (chunk := source.read(min(_COPY_BYTES, end - at - len(rest)))):
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            target.write(lines + newline)
            at += len(lines + newline)
    return copy, at
