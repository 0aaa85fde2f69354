"""Bodies over 256 KiB: files that arrive in `incoming/` and are kept, synced, in `bodies/`.

Order of a write: file synced, named in `bodies/`, directories synced, row committed. Order of a removal: row
gone, then the file. So a crash leaves at most a file without a row, which adoption removes. Names are made here
from the message key; a name found on disk or in a row is used only after it passed `_NAME`.
"""

import contextlib
import os
import re
import shutil
import stat
import zlib
from pathlib import Path
from typing import Final

from relay.errors import CorruptionError
from relay.model.content import BodyFile
from relay.store.synced import sync_path

_NAME: Final = re.compile(r"[0-9a-f]{12}\Z")
_INCOMING_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\Z")
_CHUNK_BYTES: Final = 1024 * 1024
_CHECKED_MAX: Final = 10_000


class Bodies:
    """The body files of one shard.

    `keep` is called on its own thread; the rest on the event loop's or, before it runs, at adoption.
    """

    def __init__(self, directory: Path, incoming: Path) -> None:
        self._directory = directory
        self._incoming = incoming
        self._checked: dict[str, int] = {}

    def keep(self, message_key: int, body: BodyFile, head: bytes) -> tuple[str, int]:
        """Take a body over; return its name and the checksum of head and body. Raise OSError, CorruptionError.

        A file in `incoming/` is moved, so its old path is gone afterwards; any other is copied. What could not be
        kept whole leaves nothing behind: a disk that is full would get fuller with every try.
        """
        name = f"{message_key:012x}"
        try:
            checksum = self._keep(self._directory / name, body, head)
        except (OSError, CorruptionError):
            with contextlib.suppress(OSError):
                self.remove(name)
            raise
        self._mark_checked(name, checksum)
        return name, checksum

    def _keep(self, target: Path, body: BodyFile, head: bytes) -> int:
        source = Path(body.path)
        if source.parent == self._incoming and body.offset_bytes == 0 and source.stat().st_size == body.size_bytes:
            checksum = _checksum(source, body.size_bytes, zlib.crc32(head))
            sync_path(source)
            source.rename(target)
            sync_path(self._incoming)
        else:
            _copy(body, target)
            checksum = _checksum(target, body.size_bytes, zlib.crc32(head))
            sync_path(target)
        sync_path(self._directory)
        return checksum

    def open(self, name: str, size_bytes: int, head: bytes, checksum: int) -> BodyFile:
        """Return a kept body after checking it. Raise CorruptionError.

        The size is checked each time; the checksum once in the life of the process, because it reads the file.
        """
        path = self._directory / name
        if not _NAME.match(name):
            raise CorruptionError(f"a message names the body file {name!r}, which is no such name")
        try:
            facts = path.lstat()
            if not stat.S_ISREG(facts.st_mode) or facts.st_size != size_bytes:
                raise CorruptionError(f"body file {path} has {facts.st_size} octets instead of {size_bytes}")
            if self._checked.get(name) != checksum and _checksum(path, size_bytes, zlib.crc32(head)) != checksum:
                raise CorruptionError(f"body file {path} fails its checksum")
        except OSError as error:
            raise CorruptionError(f"body file {path} cannot be read: {error.strerror}") from error
        self._mark_checked(name, checksum)
        return BodyFile(str(path), 0, size_bytes)

    def remove(self, name: str) -> None:
        """Remove a body whose row is gone; one that is missing already is fine."""
        self._checked.pop(name, None)
        if _NAME.match(name):
            (self._directory / name).unlink(missing_ok=True)

    def sweep(self, known: set[str]) -> tuple[int, list[str]]:
        """Remove what no row names and what was still arriving; return how much, and the names left alone (F15)."""
        removed, ignored = 0, []
        for directory, pattern, keep in (
            (self._incoming, _INCOMING_NAME, set[str]()),
            (self._directory, _NAME, known),
        ):
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.name in keep:
                        continue
                    if not pattern.match(entry.name) or not entry.is_file(follow_symlinks=False):
                        ignored.append(f"{directory.name}/{entry.name!r}")
                        continue
                    Path(entry.path).unlink()
                    removed += 1
        return removed, ignored

    def _mark_checked(self, name: str, checksum: int) -> None:
        if len(self._checked) >= _CHECKED_MAX:
            self._checked.pop(next(iter(self._checked)), None)
        self._checked[name] = checksum


def _checksum(path: Path, size_bytes: int, start: int) -> int:
    checksum, left = start, size_bytes
    with path.open("rb", buffering=0) as file:
        while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
            checksum = zlib.crc32(chunk, checksum)
            left -= len(chunk)
    if left:
        raise CorruptionError(f"body file {path} ends {left} octets early")
    return checksum


def _copy(body: BodyFile, target: Path) -> None:
    with Path(body.path).open("rb") as source, target.open("xb") as copy:
        source.seek(body.offset_bytes)
        shutil.copyfileobj(source, copy, _CHUNK_BYTES)
        if copy.tell() < body.size_bytes:  # it would be filled up with zeros
            raise CorruptionError(f"body file {body.path} ends {body.size_bytes - copy.tell()} octets early")
        copy.truncate(body.size_bytes)
