"""Where standing holds are kept: `holds.json` in the data directory, written whole, synced, then renamed.

Commands write it, one at a time; workers read it when they start and when they are told that it changed. A file that
cannot be read stops a start: what somebody asked to be held must not leave because of it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson

from relay.errors import ConfigurationError, LimitExceededError, NotFoundError, StorageError, UsageError
from relay.runtime.directories import locked
from relay.schedule.standing import STANDING_MAX, StandingHold, standing_hold_of
from relay.store.synced import sync_path

FILE_NAME: Final = "holds.json"
SIZE_MAX_BYTES: Final = 64 << 20


def read_holds(data_dir: Path, now_ms: int) -> list[StandingHold]:
    """Return the standing holds that have not ended. Raise ConfigurationError."""
    return [hold for hold in _read(data_dir)[1] if not hold.over(now_ms)]


def add_hold(data_dir: Path, hold: StandingHold, now_ms: int) -> StandingHold:
    """Keep a standing hold; return it with its number. Raise LimitExceededError, StorageError."""

    def change(holds: list[StandingHold]) -> list[StandingHold]:
        if len(holds) >= STANDING_MAX:
            raise LimitExceededError(f"There are {STANDING_MAX} standing holds; remove some first.")
        return [*holds, hold]

    return _change(data_dir, now_ms, change)[-1]


def remove_hold(data_dir: Path, number: int, now_ms: int) -> StandingHold:
    """Forget a standing hold and return it. Raise NotFoundError, StorageError."""
    found: list[StandingHold] = []

    def change(holds: list[StandingHold]) -> list[StandingHold]:
        found.extend(hold for hold in holds if hold.number == number)
        if not found:
            raise NotFoundError(f"There is no standing hold {number}; `relay queue holds list` shows them.")
        return [hold for hold in holds if hold.number != number]

    _change(data_dir, now_ms, change)
    return found[0]


def _change(
    data_dir: Path, now_ms: int, change: Callable[[list[StandingHold]], list[StandingHold]]
) -> list[StandingHold]:
    with locked(data_dir):
        last, holds = _read(data_dir)
        changed = []
        for hold in change([hold for hold in holds if not hold.over(now_ms)]):
            last = last if hold.number else last + 1
            changed.append(hold if hold.number else replace(hold, number=last))
        _write(data_dir / FILE_NAME, last, changed)
        return changed


def _read(data_dir: Path) -> tuple[int, list[StandingHold]]:
    path = data_dir / FILE_NAME
    try:
        with path.open("rb") as stream:
            values = orjson.loads(stream.read(SIZE_MAX_BYTES))
        return int(values["last"]), [standing_hold_of(one) for one in values["holds"]]
    except FileNotFoundError:
        return 0, []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise ConfigurationError(
            f"{path}, the standing holds of the queue, cannot be read ({error}). Mend it, or move it away: then mail "
            "that it held back goes out."
        ) from error


def _write(path: Path, last: int, holds: Sequence[StandingHold]) -> None:
    data = orjson.dumps({"last": last, "holds": [hold.as_json() for hold in holds]}, option=orjson.OPT_INDENT_2)
    fresh = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as stream:  # noqa: PTH123 (a descriptor)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.rename(path)
        sync_path(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}. Nothing was changed.") from error
