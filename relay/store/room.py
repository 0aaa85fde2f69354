"""How much mail may still be written before the disk's reserve is touched.

A spool keeps the pages of mail that left: its file never shrinks, and new mail takes those pages first. So a disk
that the spool itself has filled takes mail again once the queue has drained, as long as half of the reserve is really
free for the logs that writing needs.
"""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from relay.store.database import file_uri

FLOOR_DIVISOR = 2  # of the reserve: below it nothing is taken, whatever could be used again


def room_bytes(directory: Path, reserve_bytes: int, spools: Iterable[Path]) -> int:
    """Return the room in a directory's file system; 0 or less: none. `spools` are the databases that may be in it."""
    try:
        facts = os.statvfs(directory)
    except OSError:
        return 0
    no_inode_left = facts.f_files > 0 and facts.f_favail == 0
    free = 0 if no_inode_left else facts.f_bavail * facts.f_frsize
    room = free - reserve_bytes
    if room > 0 or free < reserve_bytes // FLOOR_DIVISOR:
        return room
    return room + sum(_reusable_bytes(path) for path in spools)


def _reusable_bytes(path: Path) -> int:
    """Return the size of the pages of a database that hold nothing; 0 when it cannot be read now."""
    try:
        connection = sqlite3.connect(file_uri(path, "ro"), uri=True, timeout=0.2)
    except sqlite3.Error:
        return 0
    try:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
        return int(pages) * int(size)
    except (sqlite3.Error, TypeError):
        return 0
    finally:
        connection.close()
