"""Which deliveries are in flight, kept where a crash of the process leaves it: a small shared memory map.

One 8-byte slot a connection; the number in it is the key of the delivery the connection works on, 0 for none.
A store costs under a microsecond and no system call. A crash of the whole machine may lose the map: then nothing
is counted, and the deliveries are attempted again all the same.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Final

SLOT_BYTES: Final = 8
SLOTS_MAX: Final = 16384
_SLOT: Final = struct.Struct("<Q")


class InFlight:
    """The map of one shard; used by the event loop's thread alone."""

    def __init__(self, path: Path) -> None:
        """Map the file, made when missing. Raise OSError when that is impossible or `path` is a symbolic link."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != SLOT_BYTES * SLOTS_MAX:
                os.ftruncate(descriptor, SLOT_BYTES * SLOTS_MAX)
            self._map = mmap.mmap(descriptor, SLOT_BYTES * SLOTS_MAX)
        finally:
            os.close(descriptor)

    def note(self, slot: int, delivery_key: int) -> None:
        """Note what connection `slot` works on; slots beyond the map are not noted."""
        if 0 <= slot < SLOTS_MAX:
            _SLOT.pack_into(self._map, slot * SLOT_BYTES, delivery_key)

    def keys(self) -> list[int]:
        """Return the keys that are noted, each once, in order."""
        return _noted(self._map[:])

    def clear(self) -> None:
        """Forget everything."""
        self._map[:] = bytes(len(self._map))

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()


def read_in_flight(path: Path) -> list[int]:
    """Return the keys of deliveries that are being attempted, as a process beside the owner sees them."""
    try:
        with path.open("rb") as file:
            data = file.read(SLOT_BYTES * SLOTS_MAX)
    except FileNotFoundError:
        return []
    return _noted(data[: len(data) // SLOT_BYTES * SLOT_BYTES])


def _noted(data: bytes) -> list[int]:
    return sorted({key for (key,) in _SLOT.iter_unpack(data) if 0 < key < 1 << 63})
