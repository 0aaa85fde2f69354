"""What happens before the supervisor's loop: directories, the one lock of a data directory, rights, and preloading.

`run/supervisor.pid` is locked for the life of the supervisor, so that a data directory has one relay. Children hold
`run/children.lock` together; a new supervisor waits until those of a killed one are gone, which takes an instant.
"""

import contextlib
import fcntl
import gc
import json
import os
import time
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path

from relay.errors import ConfigurationError, CorruptionError, TemporaryError
from relay.net import presence
from relay.runtime import privileges, settings
from relay.runtime.config.model import Config
from relay.runtime.privileges import RunAs
from relay.runtime.sockets import Place
from relay.store.catalog import CATALOG_FILE, open_catalog

_ORPHANS_WAIT_SECONDS = 10.0
_ORPHANS_POLL_SECONDS = 0.02
_OPEN_FILES_BASE = 4096
_OPEN_FILES_PER_CONNECTION = 4
_OPEN_FILES_MAX = 1 << 20
_GC_THRESHOLDS = (10_000, 10, 10)  # by default 700 new objects; a record of an event has 25
_PRELOAD = ("uvloop", "orjson", "ssl", "sqlite3", "structlog", "email", "encodings.idna")


def run_as_of(config: Config) -> RunAs | None:
    """Return whom to become: `run_as` when started by root, else nobody else."""
    if config.run_as is None or os.geteuid() != 0:
        return None
    return privileges.find_user(config.run_as.user, config.run_as.group)


def prepare_directories(data_dir: Path, target: RunAs | None) -> Path:
    """Make the data directory and `run/` in it, private; return `run/`. A sentence when that cannot be done."""
    run_dir = data_dir / "run"
    try:
        if not data_dir.exists():
            data_dir.mkdir(mode=0o700, parents=True)
            if target is not None:
                os.chown(data_dir, target.uid, target.gid, follow_symlinks=False)
        with privileges.acting_as(target):
            run_dir.mkdir(mode=0o700, exist_ok=True)
            for name in ("office", "events"):
                (data_dir / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(data_dir, target, error) from error
    return run_dir


def prepare_catalog(config: Config) -> None:
    """Bring the catalog up to date before anybody reads it; as the relay's user, and closed before the first fork.

    It takes on the source addresses that the configuration names, and which of all of them this host has.

    ConfigurationError when it is missing, damaged, of a newer release, or sealed with another master key: no client
    could log in, so the relay says so instead of starting.
    """
    data_dir = config.data_dir
    master = settings.master_key(data_dir)
    path = data_dir / CATALOG_FILE
    if not path.exists():
        raise ConfigurationError(
            f"{path} is missing; restore it from your backup, or begin with an empty one: relay reset --data --yes"
        )
    try:
        with open_catalog(data_dir, master) as catalog:
            catalog.addresses.declare(settings.declared_addresses(config))
            known = catalog.addresses.presence()
            now = {address: presence.has_address(address) for address in known}
            catalog.addresses.set_presence({one: has for one, has in now.items() if has is not known[one]})
    except CorruptionError as error:
        raise ConfigurationError(str(error)) from error


class RunLock:
    """The lock of the data directory; `leave` closes it in a child, the kernel releases it when the owner dies."""

    def __init__(self, descriptor: int, children: int) -> None:
        self._descriptor = descriptor
        self._children = children

    @classmethod
    def take(cls, run_dir: Path) -> "RunLock":
        """Take the lock. TemporaryError naming the process that has it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(run_dir / "supervisor.pid", flags, 0o600)
            children = os.open(run_dir / "children.lock", flags, 0o600)
        except OSError as error:
            raise _unusable(run_dir, None, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            os.close(children)
            raise TemporaryError(
                f"a relay is already running with {run_dir.parent} (process {pid}); stop it first, or give this one "
                "another data_dir"
            ) from error
        _wait_for_orphans(children, run_dir)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            raise _unusable(run_dir, None, error) from error
        return cls(descriptor, children)

    def leave(self, run_dir: Path) -> None:
        """In a child: let go of the supervisor's lock and hold the children's, through a description of its own."""
        os.close(self._descriptor)
        os.close(self._children)
        mine = os.open(run_dir / "children.lock", os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(mine, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def release(self) -> None:
        """Empty the pid file and let go; a file that was removed could be locked twice."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        os.close(self._children)


def write_listeners(run_dir: Path, bound: Mapping[Place, int]) -> str:
    """Write down which ports are open, for programs that let the kernel choose them (`run/listeners.json`).

    Return why that cannot be done, "" when it is: the relay itself goes on without the file, also on a full disk.
    """
    rows = [{"address": place.address, "configured_port": place.port, "port": port} for place, port in bound.items()]
    new = run_dir / "listeners.json.new"
    try:
        new.write_text(json.dumps(rows) + "\n")
        new.replace(run_dir / "listeners.json")
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        return f"{run_dir / 'listeners.json'}: {error.strerror}"
    return ""


def open_files_wanted(config: Config) -> int:
    """Return how many descriptors a process may need."""
    return min(_OPEN_FILES_MAX, _OPEN_FILES_BASE + _OPEN_FILES_PER_CONNECTION * config.limits.connections_max)


def preload(modules: Iterable[str] = ()) -> None:
    """Import what all children need, once, and keep the garbage collector from touching those pages.

    Almost nothing here is in a cycle, and records come by hundreds: the collector looks less often than by default.
    """
    for module in (*_PRELOAD, *modules):
        import_module(module)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _wait_for_orphans(children: int, run_dir: Path) -> None:
    """Wait until no child of an earlier supervisor lives."""
    deadline = time.monotonic() + _ORPHANS_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(children, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > deadline:
                raise TemporaryError(
                    f"processes of an earlier relay still use {run_dir.parent}; find them with 'ps -e | grep relay-' "
                    "and end them"
                ) from error
            time.sleep(_ORPHANS_POLL_SECONDS)
            continue
        fcntl.flock(children, fcntl.LOCK_UN)
        return


def _unusable(directory: Path, target: RunAs | None, error: OSError) -> ConfigurationError | TemporaryError:
    user = target.user if target is not None else f"the user with the number {os.geteuid()}"
    if isinstance(error, (PermissionError, NotADirectoryError, FileExistsError)):
        return ConfigurationError(
            f"{directory} cannot be used ({error.strerror}); make it a directory that {user} may write"
        )
    return TemporaryError(f"{directory} cannot be written: {error.strerror}; free space or repair the disk")
