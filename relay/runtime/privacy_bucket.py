"""What streams stored in buckets: an address is erased there, and old objects are deleted (PRIV-006).

Each object is fetched into a file of a private directory, changed there as every other file of lines, and put back
whole; so a kill leaves the old object or the new one. Versions that a bucket keeps of its own accord are the
bucket's: they are not reached.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from relay.errors import StorageError
from relay.events.bucket import BucketStore
from relay.model.erasure import Erasure
from relay.runtime import settings
from relay.runtime.buckets import bucket_store
from relay.runtime.config.publishing import Stream as StreamConfig
from relay.store.line_files import erase_lines

_STAMP: Final = r"-\d{8}T\d{9}Z-[^/]*\.jsonl(?:\.gz)?(?:\.enc)?"


class StoredObjects:
    """The objects of one stream; `scratch` is where they are worked on. Raise ConfigurationError."""

    def __init__(self, stream: StreamConfig, scratch: Path) -> None:
        self._prefix = stream.prefix
        self._own = re.compile(rf"(?:.*/)?{re.escape(stream.name)}{_STAMP}", re.DOTALL)
        self._store: BucketStore = bucket_store(stream)
        self._sealer = settings.stream_sealer(stream)
        self._scratch = scratch

    def erase(self, erasure: Erasure) -> int:
        """Erase an address; return in how many lines. Raise TemporaryError, StorageError; run it again then."""
        with tempfile.TemporaryDirectory(prefix="objects-", dir=self._scratch) as directory:
            return sum(self._erase(name, Path(directory), erasure) for name, _ in self._names())

    def delete(self, before_ms: int) -> int:
        """Delete what was written before a time; return how many objects. Raise TemporaryError."""
        old = [name for name, written_ms in self._names() if written_ms < before_ms]
        for name in old:
            self._store.delete(name)
        return len(old)

    def _names(self) -> Iterator[tuple[str, int]]:
        return ((name, written) for name, written in self._store.names(self._prefix) if self._own.fullmatch(name))

    def _erase(self, name: str, directory: Path, erasure: Erasure) -> int:
        path = directory / name.rpartition("/")[2]
        try:
            self._store.fetch(name, path)
            changed = erase_lines(path, erasure, self._sealer)
            if changed:
                self._store.keep(name, path.read_bytes())
            path.unlink()
        except OSError as error:
            raise StorageError(f"{path} cannot be used: {error.strerror or error}") from error
        return changed
