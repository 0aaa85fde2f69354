"""Streams: events as lines of JSON, in batches by size and age, to a directory or a bucket (DEST-008, DEST-009).

A batch is one file, named `<prefix>YYYY/MM/DD/HH/<stream>-<time>-<first>-<last>-<key>.jsonl[.gz]` after the time
(UTC) its first event came to the queue, so that the same batch sent again after a crash has the same name. In a
directory it appears whole, synced, under its final name; until then it is in `.incoming/`.
"""

import asyncio
import gzip
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from relay.errors import TemporaryError
from relay.events.file import sync_directory
from relay.ports.events import DONE, Gathering, Post, Sent, Verdict
from relay.signing.sealed_file import NONCE_BYTES, SUFFIX, FileSealer

INCOMING: Final = ".incoming"
COUNT_MAX: Final = 20_000  # events of a batch, however small they are
_GZIP_LEVEL: Final = 6
_DIRECTORY_MODE: Final = 0o750
_FILE_MODE: Final = 0o640
_KEY_CHARACTERS: Final = 8


class Store(Protocol):
    """Keeps whole files under names."""

    def keep(self, name: str, data: bytes) -> None:
        """Keep a file, durably on return. Runs on a thread of its own. Raise TemporaryError."""
        ...


class Sink(Protocol):
    """Takes batches of one stream."""

    async def take(self, posts: Sequence[Post]) -> Sequence[Sent]:
        """Take a batch; return what became of each post."""
        ...


@dataclass(frozen=True, slots=True)
class Stream:
    """A configured stream: when a batch is full, and what takes it."""

    gathering: Gathering
    sink: Sink


class StreamCourier:
    """GatheringCourier of targets `stream:NAME`. `streams` by name."""

    kind = "stream"

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self._streams = dict(streams)

    def gathering(self, target: str) -> Gathering:
        """Return when a batch is full; for a stream that is not configured any more, when to look again."""
        stream = self._streams.get(_name(target))
        return stream.gathering if stream is not None else Gathering(1 << 60, 0.0, 1)

    async def send_batch(self, target: str, posts: Sequence[Post]) -> Sequence[Sent]:
        """Keep a batch, all or nothing."""
        stream = self._streams.get(_name(target))
        if stream is None:
            return [Sent(Verdict.AGAIN, "there is no such stream in the configuration")] * len(posts)
        return await stream.sink.take(posts)


class FileSink:
    """Sink that makes one file of a batch and gives it to a store."""

    def __init__(
        self, name: str, store: Store, *, prefix: str = "", compressed: bool = False, sealer: FileSealer | None = None
    ) -> None:
        """`sealer` encrypts each file before it is given to the store (PRIV-001)."""
        self._sealer = sealer
        self._name = name
        self._store = store
        self._prefix = prefix
        self._compressed = compressed

    async def take(self, posts: Sequence[Post]) -> Sequence[Sent]:
        """Keep a batch; all of it is to be sent again when that fails."""
        try:
            await asyncio.to_thread(self._keep, posts)
        except TemporaryError as error:
            return [Sent(Verdict.AGAIN, str(error))] * len(posts)
        return [DONE] * len(posts)

    def _keep(self, posts: Sequence[Post]) -> None:
        data = lines_of(posts)
        name = file_name(self._name, self._prefix, posts)
        if self._compressed:
            name, data = f"{name}.gz", gzip.compress(data, _GZIP_LEVEL, mtime=0)
        if self._sealer is not None:
            name, data = name + SUFFIX, self._sealer.seal(data, os.urandom(NONCE_BYTES))
        self._store.keep(name, data)


class DirectoryStore:
    """Store in a directory of this machine."""

    def __init__(self, directory: Path, owner: str) -> None:
        """`owner` is a name that no other writer in the directory has."""
        self._directory = directory
        self._owner = owner

    def keep(self, name: str, data: bytes) -> None:
        """Write a file under its name: whole or not at all, synced with all directories above it."""
        final = self._directory / name
        partial = self._directory / INCOMING / f"{self._owner}.part"
        try:
            self._make(partial.parent)
            self._make(final.parent)
            _write(partial, data)
            partial.replace(final)
            sync_directory(final.parent)
        except OSError as error:
            raise TemporaryError(f"{final} cannot be written: {error.strerror}") from error

    def _make(self, directory: Path) -> None:
        """Make a directory and those above it; each is synced into its parent."""
        missing = []
        while not directory.is_dir():
            missing.append(directory)
            directory = directory.parent
        for one in reversed(missing):
            one.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
            sync_directory(one.parent)


def lines_of(posts: Sequence[Post]) -> bytes:
    """Return records as lines, each followed by a newline."""
    return b"".join(part for post in posts for part in (post.item.body, b"\n"))


def file_name(stream: str, prefix: str, posts: Sequence[Post]) -> str:
    """Return the name of a batch, the same for the same batch."""
    first, last = posts[0].item, posts[-1].item
    when = datetime.fromtimestamp(first.created_ms / 1000, UTC)
    key = "".join(character for character in first.key if character.isalnum())[:_KEY_CHARACTERS]
    stamp = f"{when:%Y%m%dT%H%M%S}{first.created_ms % 1000:03d}Z"
    return f"{prefix}{when:%Y/%m/%d/%H/}{stream}-{stamp}-{first.id}-{last.id}-{key}.jsonl"


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, _FILE_MODE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(target: str) -> str:
    return target.partition(":")[2]
