"""Files of days: which there are, and which of them are dropped, by age, by size and for want of disk.

History and archived events are kept in one file a day, and dropped whole. They hold nothing that waits for delivery:
undelivered mail is in the spools, which nothing here touches. Today's files always stay.

Each file has one process that writes and removes it; all of them look at all files and come to the same result, so
that a limit holds for all shards together.
"""

import contextlib
import datetime as dt
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DAY_MS: Final = 86_400_000
_FILE: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.db\Z")
_COMPANIONS: Final = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class DayFile:
    """A file of one day. `size_bytes` includes its write-ahead log; `day_ms` is the beginning of the day."""

    path: Path
    day_ms: int
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> "DayFile":
        """Return the file at a path. Raise ValueError when its name is no day."""
        match = _FILE.match(path.name)
        if match is None:
            raise ValueError(f"{path.name} is no file of a day")
        day = dt.datetime.strptime(match.group(1), "%Y-%m-%d").replace(tzinfo=dt.UTC)
        return cls(path, int(day.timestamp()) * 1000, sum(_size(one) for one in _parts(path)))

    @property
    def day(self) -> str:
        """The day, as 2026-11-26."""
        return self.path.stem

    def remove(self) -> None:
        """Remove the file and what belongs to it. Raise OSError."""
        for part in _parts(self.path):
            part.unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Rename the file and what belongs to it to `*.damaged`. Raise OSError."""
        for part in _parts(self.path):
            with contextlib.suppress(FileNotFoundError):
                part.rename(part.with_name(part.name + ".damaged"))


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long files of one kind are kept, and how large all of them may be."""

    days_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Keep:
    """How long history and archived events are kept, and how much of the disk stays free of them."""

    messages: Bounds = field(default_factory=lambda: Bounds(30, 10 * 1024**3))
    events: Bounds = field(default_factory=lambda: Bounds(30, 10 * 1024**3))
    disk_free_bytes: int = 0


def history_files(data_dir: Path) -> list[DayFile]:
    """Return the files of history of all shards."""
    root = data_dir / "history"
    directories = sorted(root.iterdir()) if root.is_dir() else []
    return [file for directory in directories for file in days_of(directory)]


def archive_files(data_dir: Path) -> list[DayFile]:
    """Return the files of archived events."""
    return days_of(archive_directory(data_dir))


def archive_directory(data_dir: Path) -> Path:
    """Return where archived events are."""
    return data_dir / "events" / "archive"


def to_drop_of(data_dir: Path, own: Path, keep: Keep, now_ms: int) -> list[DayFile]:
    """Return which files in the directory `own` are to be dropped, with regard to all others."""
    kinds = ((keep.messages, history_files(data_dir)), (keep.events, archive_files(data_dir)))
    wanted_bytes = max(0, keep.disk_free_bytes - _free_bytes(data_dir)) if keep.disk_free_bytes else 0
    return [file for file in to_drop(kinds, now_ms, wanted_bytes) if file.path.parent == own]


def day_path(directory: Path, moment_ms: int) -> Path:
    """Return the file of the day (UTC) of a moment."""
    day = dt.datetime.fromtimestamp(moment_ms / 1000, tz=dt.UTC).date()
    return directory / f"{day.isoformat()}.db"


def days_of(directory: Path) -> list[DayFile]:
    """Return the files of days in a directory, newest first; none when it is not there."""
    found = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in directory.iterdir():
            with contextlib.suppress(ValueError):
                if path.is_file() and not path.is_symlink():
                    found.append(DayFile.of(path))
    return sorted(found, key=lambda file: file.day_ms, reverse=True)


def to_drop(kinds: Iterable[tuple[Bounds, Sequence[DayFile]]], now_ms: int, wanted_bytes: int = 0) -> list[DayFile]:
    """Return what is to be dropped, oldest first.

    That is what is too old or too much of its kind, then the oldest of all kinds, until `wanted_bytes` more are free.
    """
    today_ms = now_ms // DAY_MS * DAY_MS
    dropped: list[DayFile] = []
    kept: list[DayFile] = []
    for bounds, files in kinds:
        total = sum(file.size_bytes for file in files)
        for file in sorted(files, key=lambda file: file.day_ms):
            old = file.day_ms < today_ms - bounds.days_max * DAY_MS
            if file.day_ms < today_ms and (old or total > bounds.bytes_max):
                total -= file.size_bytes
                dropped.append(file)
            else:
                kept.append(file)
    freed = sum(file.size_bytes for file in dropped)
    for file in sorted(kept, key=lambda file: file.day_ms):
        if freed >= wanted_bytes or file.day_ms >= today_ms:
            break
        freed += file.size_bytes
        dropped.append(file)
    return sorted(dropped, key=lambda file: file.day_ms)


def _parts(path: Path) -> list[Path]:
    return [path.with_name(path.name + companion) for companion in _COMPANIONS]


def _free_bytes(directory: Path) -> int:
    facts = os.statvfs(directory)
    return facts.f_bavail * facts.f_frsize


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
