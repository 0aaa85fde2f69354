"""Syncing what lies at a path, for all that write files."""

import os
from pathlib import Path


def sync_path(path: Path) -> None:
    """Sync a file, or a directory, after which its new and renamed files stay. Raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
