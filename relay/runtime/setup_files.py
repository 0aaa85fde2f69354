"""Files and directories made one after the other, synced, and removed again when a later step fails."""

import contextlib
import os
import shutil
from pathlib import Path

from relay.runtime.privileges import RunAs
from relay.store.synced import sync_path


class Created:
    """What was made so far. `owner` gets what is private to the relay, when root makes it."""

    def __init__(self, owner: RunAs | None) -> None:
        self._owner = owner if os.geteuid() == 0 else None
        self._trees: list[Path] = []
        self._files: list[Path] = []
        self._owned: list[Path] = []

    def directory(self, path: Path, mode: int) -> None:
        """Make a directory, with its parents; one that exists is used as it is."""
        missing = [parent for parent in (path, *path.parents) if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(mode=0o755)
            self._trees.append(parent)
        if path in missing:
            path.chmod(mode)
            if mode & 0o077 == 0:
                self._owned.append(path)
            sync_path(path.parent)

    def file(self, path: Path, content: bytes, mode: int) -> None:
        """Write a file that must not exist yet, and sync it and its directory."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        self._files.append(path)
        with open(descriptor, "wb") as stream:  # noqa: PTH123  the descriptor was opened with O_EXCL and O_NOFOLLOW
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        sync_path(path.parent)
        if mode & 0o077 == 0:
            self._owned.append(path)

    def expect(self, directory: Path, name: str) -> None:
        """Note an SQLite file that another part is about to make, with its log beside it."""
        paths = [directory / f"{name}{suffix}" for suffix in ("", "-wal", "-shm")]
        self._files += paths
        self._owned.append(paths[0])

    def give_away(self) -> None:
        """Give what is private to the owner. Links are not followed."""
        if self._owner is None:
            return
        for path in self._owned:
            os.chown(path, self._owner.uid, self._owner.gid, follow_symlinks=False)

    def share(self, path: Path) -> None:
        """Let the owner's group read a file that stays root's."""
        if self._owner is not None:
            os.chown(path, -1, self._owner.gid, follow_symlinks=False)

    def undo(self) -> None:
        """Remove everything, newest first; what cannot be removed stays."""
        for path in reversed(self._files):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        for tree in reversed(self._trees):
            shutil.rmtree(tree, ignore_errors=True)
