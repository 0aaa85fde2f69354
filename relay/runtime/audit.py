"""The audit log: what administrators and the relay itself changed, in the queue too (AUDIT-001).

`audit.jsonl` in the data directory, one JSON object a line, written and synced after the change it tells about.
Several commands may write at a time. Secrets never come here. Full files are renamed and the oldest are dropped.
"""

import contextlib
import json
import os
import pwd
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from relay.errors import StorageError
from relay.runtime.directories import locked
from relay.store.line_files import rewrite, with_rotated

FILE_NAME = "audit.jsonl"
SIZE_MAX_BYTES = 16 << 20
KEPT = 10
LOGIN_FILE = Path("/proc/self/loginuid")
_NO_UID = 0xFFFFFFFF
_STARTED_AS = os.getuid()  # commands import this before they become the user of the relay


def record(
    data_dir: Path, operation: str, account: str, parameters: Mapping[str, object], *, caller: str = ""
) -> None:
    """Write one line, without parameters that are None. Raise StorageError.

    `caller` is what did it, by default the user who started this process.
    """
    line = json.dumps(
        {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "operation": operation,
            "account": account,
            "caller": caller or current_caller(),
            **({} if caller else {"uid": _uid()}),
            "parameters": {name: value for name, value in parameters.items() if value is not None},
        },
        default=str,
    )
    path = data_dir / FILE_NAME
    try:
        with locked(data_dir):
            _rotate(path)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.write(descriptor, line.encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise StorageError(f"The change is made, but {path} cannot be written: {error.strerror}.") from error


def forget_before(data_dir: Path, moment: datetime) -> int:
    """Drop the lines that are older than a moment; return how many (PRIV-009). Raise StorageError."""
    limit = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    number = 0
    with locked(data_dir):
        for path in with_rotated(data_dir / FILE_NAME):
            with path.open("rb") as stream:
                if not any(_older(line, limit) for line in stream):
                    continue
            number += rewrite(path, lambda line: b"" if _older(line, limit) else line)
            if not path.stat().st_size and path.name != FILE_NAME:
                path.unlink()
    return number


def _older(line: bytes, limit: str) -> bool:
    """Say whether a line was written before a time; what is no record stays."""
    try:
        return str(json.loads(line)["time"]) < limit
    except (ValueError, KeyError, TypeError):
        return False


def _rotate(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size < SIZE_MAX_BYTES:
            return
        for number in range(KEPT - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(f"{path.name}.{number}").replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))


def current_caller() -> str:
    """Return the name of who runs this: of the user that logged in, whatever user was become since."""
    number = _uid()
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def _uid() -> int:
    """Return the user that sudo names, else the one that logged in (the kernel knows), else that of the process."""
    uid = os.environ.get("SUDO_UID", "")
    if uid.isdigit() and int(uid) < _NO_UID:
        return int(uid)
    with contextlib.suppress(OSError, ValueError):
        login = int(LOGIN_FILE.read_text(encoding="ascii"))
        if login < _NO_UID:
            return login
    return _STARTED_AS
