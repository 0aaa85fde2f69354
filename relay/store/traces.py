"""Whether a file still has a text in its octets: in rows, in free pages, in the write-ahead log beside it."""

import contextlib
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 4 << 20
COMPANIONS: Final = ("", "-wal", "-journal")


def traces(path: Path, text: str) -> bool:
    """Say whether a file, or the log of a database beside it, has a text in any letter case. Raise OSError.

    Octets are compared, so that a longer address which ends with the text counts as one.
    """
    wanted = text.encode("utf-8", "surrogateescape").lower()
    return any(_has(path.with_name(path.name + companion), wanted) for companion in COMPANIONS)


def _has(path: Path, wanted: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
        tail = b""
        while chunk := stream.read(CHUNK_BYTES):
            data = tail + chunk.lower()
            if wanted in data:
                return True
            tail = data[-len(wanted) :]
    return False
