"""A disk that a test can fill."""

import contextlib
import os
import subprocess

import pytest

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class SmallDisk:
    """A tmpfs that a test can fill."""

    def __init__(self, path):
        self.path = path
        self.filler = path / "filler"

    def free(self):
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, leave_bytes):
        with self.filler.open("ab") as file:
            while (more := min(self.free() - leave_bytes, 1 << 20)) > 0:
                try:
                    file.write(b"\1" * more)
                    file.flush()
                except OSError:
                    break

    def empty(self):
        self.filler.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(path, size_bytes):
    """Mount a tmpfs of a size at a path, which is made."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path)], check=True)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
