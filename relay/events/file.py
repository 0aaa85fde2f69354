"""File destination: one JSON object a line, synced before the cursor moves, rotated by size.

`events.jsonl` is the newest; `events.jsonl.1` the one before, up to `.keep`. Rotation happens between two
batches and only renames, oldest first, so that a crash in the middle leaves every kept line under one name.
A partial last line (a crash while it was written) is cut off at open; its events are published again.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from relay.errors import ConfigurationError, TemporaryError
from relay.model.message import NewEvent

DEFAULT_ROTATE_BYTES: Final = 100 * 1024 * 1024
DEFAULT_KEEP: Final = 10
_TAIL_CHUNK_BYTES: Final = 64 * 1024


class FileDestination:
    """EventDestination that appends to a file. `publish` runs in a thread: a slow disk delays no other work."""

    def __init__(
        self, name: str, path: Path, *, rotate_bytes: int = DEFAULT_ROTATE_BYTES, keep: int = DEFAULT_KEEP
    ) -> None:
        """Prepare; the file is opened at the first event. `rotate_bytes` 0 never rotates (another program does)."""
        self.name = name
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._descriptor: int | None = None
        self._whole_bytes = 0  # where the last complete batch ends

    @property
    def path(self) -> Path:
        """Where the newest events are."""
        return self._path

    def check(self) -> None:
        """Open the file now. Raise ConfigurationError when that is impossible."""
        try:
            self._open()
        except OSError as error:
            raise ConfigurationError(f"event destination {self.name}: {self._path}: {error.strerror}") from error

    async def publish(self, events: Iterable[NewEvent]) -> None:
        """Append events in order; they are synced on return. Raise TemporaryError."""
        lines = b"".join(event.payload + b"\n" for event in events)
        if lines:
            await asyncio.to_thread(self._publish, lines)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _publish(self, lines: bytes) -> None:
        try:
            self._open()
            if self._rotate_bytes and self._whole_bytes and self._whole_bytes + len(lines) > self._rotate_bytes:
                self._rotate()
                self._open()
            self._append(lines)
        except OSError as error:
            self._give_up()
            raise TemporaryError(f"event file {self._path} cannot be written: {error.strerror}") from error

    def _append(self, lines: bytes) -> None:
        assert self._descriptor is not None
        view = memoryview(lines)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fdatasync(self._descriptor)
        self._whole_bytes += len(lines)

    def _give_up(self) -> None:
        """Close after a failure; what was half written is cut off, at once or at the next open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            os.ftruncate(descriptor, self._whole_bytes)
        except OSError:
            pass
        finally:
            os.close(descriptor)

    def _open(self) -> None:
        """Open the file, or again when its name now leads elsewhere (removed or rotated by another program)."""
        if self._descriptor is not None and self._still_ours():
            return
        self.close()
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o640)
        try:
            _require_plain(descriptor)
            self._whole_bytes = _cut_partial_line(descriptor)
            sync_directory(self._path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _still_ours(self) -> bool:
        assert self._descriptor is not None
        try:
            named = self._path.lstat()
        except FileNotFoundError:
            return False
        opened = os.fstat(self._descriptor)
        return (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev)

    def _rotate(self) -> None:
        self.close()
        if self._keep == 0:
            self._path.unlink()
        for number in range(self._keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        if self._keep:
            self._path.replace(self._numbered(1))
        sync_directory(self._path.parent)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _require_plain(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "is not a plain file")


def _cut_partial_line(descriptor: int) -> int:
    """Cut the file after its last complete line; return its size."""
    size = end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _TAIL_CHUNK_BYTES)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    return end


def sync_directory(path: Path) -> None:
    """Sync the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
