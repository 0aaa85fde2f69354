"""Keeping a relay from starting while a command works on its files."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from relay.errors import TemporaryError
from relay.runtime.cli.shards import shard_numbers

if TYPE_CHECKING:
    from pathlib import Path

    from relay.runtime.cli.site import Site


@contextlib.contextmanager
def alone(site: "Site") -> Iterator[None]:
    """Hold the lock of every shard for the block. TemporaryError when one is held: the relay is running."""
    with contextlib.ExitStack() as stack:
        for number in shard_numbers(site):
            stack.enter_context(_locked(site.data_dir / "spool" / f"{number:04d}" / "lock"))
        yield


@contextlib.contextmanager
def _locked(path: "Path") -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise TemporaryError(f"{path} is held: the relay is running, or stopping. Try again.") from error
    finally:
        os.close(descriptor)
