"""Who the relay runs as: from root to an ordinary user, for good, and what the kernel does for every process.

Ports are bound as root, everything after that is done as `run_as`. While still root, files below the data
directory are touched only inside `acting_as`, so that a link planted there by the run user gains nothing.
"""

import contextlib
import ctypes
import grp
import os
import pwd
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from relay.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38
_NAME_MAX_BYTES = 15
_UMASK = 0o077

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class RunAs:
    """A user and a group, by number and name; `home` is what HOME is set to."""

    uid: int
    gid: int
    user: str
    home: str


def find_user(user: str, group: str | None) -> RunAs:
    """Return the numbers of a user and a group (default: the user's own). ConfigurationError when unknown."""
    try:
        account = pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigurationError(
            f"run_as names the user {user!r}, which does not exist; create it with 'useradd --system {user}' "
            "or name another one"
        ) from error
    try:
        gid = grp.getgrnam(group).gr_gid if group else account.pw_gid
    except KeyError as error:
        raise ConfigurationError(f"run_as names the group {group!r}, which does not exist; create it") from error
    return RunAs(account.pw_uid, gid, account.pw_name, account.pw_dir)


@contextlib.contextmanager
def acting_as(target: RunAs | None) -> Iterator[None]:
    """Do the block with the effective rights of `target`; nothing changes when it is None or we are not root."""
    if target is None or os.geteuid() != 0:
        yield
        return
    gid = os.getegid()
    groups = os.getgroups()
    os.setgroups([target.gid])
    os.setegid(target.gid)
    os.seteuid(target.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def drop(target: RunAs | None) -> None:
    """Become `target` for good, with its supplementary groups, and make sure that there is no way back."""
    if target is not None and os.geteuid() == 0:
        os.initgroups(target.user, target.gid)
        os.setresgid(target.gid, target.gid, target.gid)
        os.setresuid(target.uid, target.uid, target.uid)
        os.environ.update(HOME=target.home, USER=target.user, LOGNAME=target.user)
        if target.uid != 0:
            _check_no_way_back()
    os.umask(_UMASK)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def raise_open_files(wanted: int) -> int:
    """Raise the limit on open files to `wanted` or as far as allowed; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if os.geteuid() == 0 and hard < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
    limit = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(limit, soft)


def die_with_parent(parent_pid: int) -> None:
    """Be killed when the parent dies, however it dies; leave at once when it is already gone."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent_pid:
        os._exit(1)


def name_process(name: str) -> None:
    """Set the name that ps and top show for this process."""
    _prctl(_PR_SET_NAME, name.encode()[:_NAME_MAX_BYTES])


def _check_no_way_back() -> None:
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise ConfigurationError("could not give up root: the process can still become root again")


def _prctl(option: int, argument: int | bytes) -> None:
    """Call prctl(2); a kernel or sandbox that refuses leaves things as they are."""
    second = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    _libc.prctl(ctypes.c_int(option), second, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
