"""Takes an address out of files of lines, compressed or encrypted too: each is written anew, synced, renamed.

Lines stay, with another address in the place of the erased one. Nobody may append to a file meanwhile: that is up to
who owns it. After a crash there is the old file or the new one, and perhaps a `.NAME.erasing` for the next run to
remove.
"""

import contextlib
import gzip
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from relay.errors import CorruptionError, StorageError
from relay.model.erasure import Erasure
from relay.signing.sealed_file import NONCE_BYTES, FileSealer
from relay.signing.sealed_file import SUFFIX as ENCRYPTED
from relay.store.synced import sync_path

GZIP_LEVEL: Final = 6
SUFFIX: Final = ".erasing"


def lines_mentioning(path: Path, erasure: Erasure, sealer: FileSealer | None = None) -> Iterator[bytes]:
    """Yield the lines of a file that mention an address; none for a file that is not there. Raise StorageError."""
    try:
        with contextlib.suppress(FileNotFoundError), reading_lines(path, sealer) as stream:
            for line in stream:
                if erasure.mentioned(line):
                    yield line.rstrip(b"\r\n")
    except (OSError, EOFError, CorruptionError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from error


def erase_lines(path: Path, erasure: Erasure, sealer: FileSealer | None = None) -> int:
    """Erase an address in a file; return in how many lines. Raise StorageError, after which the file is as it was."""
    if next(lines_mentioning(path, erasure, sealer), None) is None:
        path.with_name(f".{path.name}{SUFFIX}").unlink(missing_ok=True)  # of a run that was killed
        return 0
    return rewrite(path, lambda line: erasure.erased(line) if erasure.mentioned(line) else line, sealer)


def rewrite(path: Path, change: Callable[[bytes], bytes], sealer: FileSealer | None = None) -> int:
    """Write a file anew with each line as `change` returns it, b"" drops it; return how many lines are others.

    Raise StorageError, after which the file is as it was.
    """
    fresh = path.with_name(f".{path.name}{SUFFIX}")
    try:
        fresh.unlink(missing_ok=True)
        number = _rewritten(path, fresh, change, sealer)
        fresh.rename(path)
        sync_path(path.parent)
    except (OSError, EOFError, CorruptionError) as error:
        raise StorageError(f"{path} cannot be written anew: {error}") from error
    return number


def erase_in_rotated(erasure: Erasure, path: Path) -> int:
    """Erase an address in a file and those it was rotated to; return in how many lines. Raise StorageError."""
    return sum(erase_lines(one, erasure) for one in with_rotated(path))


def with_rotated(path: Path) -> list[Path]:
    """Return a file and those that it was rotated to (`NAME.1` ...), as far as they exist."""
    older = [one for one in path.parent.glob(f"{path.name}.*") if one.name.removeprefix(f"{path.name}.").isdigit()]
    return [one for one in (path, *sorted(older)) if one.is_file() and not one.is_symlink()]


def _rewritten(path: Path, fresh: Path, change: Callable[[bytes], bytes], sealer: FileSealer | None) -> int:
    number = 0
    mode = path.stat().st_mode & 0o777
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file, reading_lines(path, sealer) as source:  # noqa: PTH123 (a descriptor)
        sealed = io.BytesIO() if _is_sealed(path) else None
        plain: IO[bytes] = sealed or file
        compressed = gzip.GzipFile("", "wb", GZIP_LEVEL, plain, mtime=0) if _is_gzip(path) else None
        target: IO[bytes] | gzip.GzipFile = compressed or plain
        for line in source:
            changed = change(line)
            number += changed != line
            target.write(changed)
        if compressed is not None:
            compressed.close()
        if sealed is not None and sealer is not None:
            file.write(sealer.seal(sealed.getvalue(), os.urandom(NONCE_BYTES)))
        file.flush()
        os.fsync(file.fileno())
    return number


def reading_lines(path: Path, sealer: FileSealer | None = None) -> IO[bytes] | gzip.GzipFile:
    """Open a file for reading what is in it: decrypted where its name ends in `.enc`, and decompressed.

    Raise OSError, CorruptionError when it does not open with the key, or when there is none.
    """
    if not _is_sealed(path):
        return gzip.open(path, "rb") if _is_gzip(path) else path.open("rb")
    if sealer is None:
        raise CorruptionError("it is encrypted, and there is no key for it")
    opened = io.BytesIO(sealer.open(path.read_bytes()))
    return gzip.GzipFile(fileobj=opened) if _is_gzip(path) else opened


def _is_sealed(path: Path) -> bool:
    return path.suffix == ENCRYPTED


def _is_gzip(path: Path) -> bool:
    return path.name.removesuffix(ENCRYPTED).endswith(".gz")
