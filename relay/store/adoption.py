"""A worker takes a shard over: after a start, a crash, or with fewer workers than shards. Always the same code.

Steps: make the directory, lock it for life, check the file (salvage what fails), remove leftovers, count what
was in flight, set aside what cannot be sent. Whatever is wrong with stored data is reported and kept; it never
keeps the relay from starting. What cannot be used at all is a ConfigurationError with a sentence.
"""

import contextlib
import fcntl
import os
import secrets
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from relay.errors import ConfigurationError, TemporaryError
from relay.ports import Clock, Log
from relay.schedule.retry import LATE_REPLY, too_late_ms
from relay.store.bodies import Bodies
from relay.store.database import is_damage, open_writer
from relay.store.inflight import InFlight
from relay.store.reader import ShardReader
from relay.store.salvage import COMPANIONS, Salvaged, finish, salvage, salvaged_name
from relay.store.sql import queries
from relay.store.synced import sync_path
from relay.store.writer import KEY_BLOCK

CHECK_SECONDS_MAX: Final = 5.0
REPORTED_MAX: Final = 1000
_WRITE: Final = queries("write.sql")
_READ: Final = queries("read.sql")
_NUMBERS_A_MS: Final = 32  # no shard uses numbers as fast as this for years
_LOGS_MAX: Final = 1 << 62
_KEY_BOUND: Final = 1 << 46  # sound keys stay far below; delivery keys must fit 63 bits
_QUARANTINED: Final = 2


@dataclass(frozen=True, slots=True)
class ShardPaths:
    """Where the parts of one shard are."""

    directory: Path
    history: Path

    @property
    def database(self) -> Path:
        """The spool file."""
        return self.directory / "spool.db"

    @property
    def incoming(self) -> Path:
        """Where large bodies arrive; doors write here."""
        return self.directory / "incoming"

    @property
    def bodies(self) -> Path:
        """Where large bodies are kept."""
        return self.directory / "bodies"

    @property
    def quarantine(self) -> Path:
        """Where damaged files are kept."""
        return self.directory / "quarantine"

    @property
    def log_number(self) -> Path:
        """A file with the number of the event log, for a salvage that finds none in the spool file."""
        return self.directory / "log"

    @property
    def damage_mark(self) -> Path:
        """A file that says: the last owner found damage while it ran."""
        return self.directory / "damaged"


@dataclass(slots=True)
class AdoptionReport:
    """What adoption found; lists hold at most 1,000 entries, counts are complete."""

    salvaged: Salvaged | None = None
    leftovers_removed: int = 0
    names_ignored: list[str] = field(default_factory=list)
    in_flight: int = 0
    quarantined: list[int] = field(default_factory=list)  # delivery keys
    quarantined_count: int = 0
    held_late: int = 0


@dataclass(slots=True)
class Adopted:
    """A shard that this process owns until `lock` is closed."""

    paths: ShardPaths
    lock: int
    in_flight: InFlight
    bodies: Bodies
    next_key: int
    next_seq: int
    report: AdoptionReport


def shard_paths(data_dir: Path, shard: int) -> ShardPaths:
    """Return where a shard is."""
    name = f"{shard:04d}"
    return ShardPaths(data_dir / "spool" / name, data_dir / "history" / name)


def shards_on_disk(data_dir: Path) -> list[int]:
    """Return the numbers of the shards that exist, in order; other names are left alone."""
    spool = data_dir / "spool"
    if not spool.is_dir():
        return []
    return sorted(
        int(entry.name)
        for entry in os.scandir(spool)
        if entry.is_dir(follow_symlinks=False)
        and entry.name.isascii()
        and entry.name.isdigit()
        and int(entry.name) > 0
    )


def adopt(data_dir: Path, shard: int, clock: Clock, log: Log) -> Adopted:
    """Take a shard over, made when missing. Raise ConfigurationError, NewerVersionError."""
    paths = shard_paths(data_dir, shard)
    with _explained(paths):
        _make_directories(paths)
        lock = _lock(paths)
        try:
            return _take(paths, lock, clock, log)
        except BaseException:
            os.close(lock)
            raise


def _take(paths: ShardPaths, lock: int, clock: Clock, log: Log) -> Adopted:
    try:
        return _recover(paths, lock, clock, log)
    except sqlite3.DatabaseError as error:
        # The check has a time limit and does not see all there is to see. Once salvaged, the file is sound.
        if paths.damage_mark.exists() or not is_damage(error):
            raise
        paths.damage_mark.touch(mode=0o600)
        return _recover(paths, lock, clock, log)


def _recover(paths: ShardPaths, lock: int, clock: Clock, log: Log) -> Adopted:
    report = AdoptionReport()
    report.salvaged = _ensure_sound(paths, clock, log)
    connection = open_writer(paths.database, "spool")
    try:
        bodies = Bodies(paths.bodies, paths.incoming)
        in_flight = InFlight(paths.directory / "inflight")
        _recover_in_flight(connection, in_flight, report)
        _recover_bodies(connection, paths, bodies, report)
        if report.salvaged:
            _quarantine_incomplete(connection, report)
            _skip_numbers(connection, clock, "key_ceiling")
        _skip_numbers(connection, clock, "event_seq")
        _name_log(connection, paths, log, salvaged=report.salvaged is not None)
        now_ms = clock.now_ms()
        report.held_late = connection.execute(_WRITE["hold_late"], (too_late_ms(now_ms), LATE_REPLY)).rowcount
        next_key = _reserve_keys(connection)
        next_seq = int(connection.execute(_READ["last_event"]).fetchone()[0]) + 1
    finally:
        connection.close()
    _report(report, paths, log, now_ms)
    return Adopted(paths, lock, in_flight, bodies, next_key, next_seq, report)


@contextlib.contextmanager
def _explained(paths: ShardPaths) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"the spool directory {paths.directory} cannot be used: {error.strerror or error} "
            f"({error.filename or paths.directory}); make it writable for the relay's user"
        ) from error
    except sqlite3.Error as error:
        raise ConfigurationError(f"the spool {paths.database} cannot be opened: {error}") from error


def _make_directories(paths: ShardPaths) -> None:
    for directory in (paths.directory, paths.incoming, paths.bodies, paths.quarantine, paths.history):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.is_symlink():
            raise ConfigurationError(f"{directory} is a symbolic link; the spool must be a plain directory")


def _lock(paths: ShardPaths) -> int:
    path = paths.directory / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConfigurationError(
            f"the spool directory {paths.directory} is in use by another relay (process {owner or 'unknown'}); "
            "two relays cannot share a data directory: stop the other one, or give this one its own data_dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
    return descriptor


def _ensure_sound(paths: ShardPaths, clock: Clock, log: Log) -> Salvaged | None:
    _set_aside_symlinks(paths, log)
    kept = paths.quarantine / f"spool-{clock.now_ms()}-{os.getpid()}"
    if salvaged_name(paths.database).exists():
        finish(paths.database, kept)
        log.error("spool salvage finished", path=str(paths.database), kept=str(kept))
        return Salvaged({}, 0)
    problem = "the last owner found damage" if paths.damage_mark.exists() else _check(paths.database, log)
    if not problem:
        return None
    log.error("spool damaged, salvaging", path=str(paths.database), problem=problem, kept=str(kept))
    saved = salvage(paths.database, kept)
    paths.damage_mark.unlink(missing_ok=True)
    log.error("spool salvaged", path=str(paths.database), rows=saved.rows, gaps=saved.gaps, kept=str(kept))
    return saved


def _set_aside_symlinks(paths: ShardPaths, log: Log) -> None:
    for companion in COMPANIONS:
        path = paths.database.with_name(paths.database.name + companion)
        if path.is_symlink() or (path.exists() and not stat.S_ISREG(path.lstat().st_mode)):
            raise ConfigurationError(f"{path} is not a plain file; remove it and start again")
    if paths.damage_mark.is_symlink():
        log.warning("spool name ignored", name=str(paths.damage_mark))
        paths.damage_mark.unlink()


def _check(path: Path, log: Log) -> str:
    """Return what is wrong with the file, "" when nothing was found within the time for it."""
    started = time.monotonic()
    try:
        connection = open_writer(path, "spool")
        connection.execute("BEGIN IMMEDIATE")  # a damaged header can make a file read-only
        connection.execute(_WRITE["touch"])
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        # No permission, no space: not the file's fault. Damage to its structure is a DatabaseError proper,
        # except for a schema that cannot be parsed or lacks a table.
        if not _readable(path):
            raise
        return "the file cannot be opened"
    except sqlite3.DatabaseError as error:
        return str(error)
    timer = threading.Timer(CHECK_SECONDS_MAX, connection.interrupt)
    timer.start()
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(10)")]
        return "" if found == ["ok"] else "; ".join(found)[:500]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            return str(error)
        log.warning("spool check stopped", path=str(path), seconds=round(time.monotonic() - started, 1))
        return ""
    finally:
        timer.cancel()
        timer.join()
        connection.close()


def _readable(path: Path) -> bool:
    """Say whether our process may use the file, so that what SQLite cannot open is its content."""
    if not path.exists() or not os.access(path.parent, os.W_OK) or not os.access(path, os.R_OK | os.W_OK):
        return False
    facts = os.statvfs(path.parent)
    return facts.f_bavail > 0 and not facts.f_flag & os.ST_RDONLY


def _recover_in_flight(connection: sqlite3.Connection, in_flight: InFlight, report: AdoptionReport) -> None:
    keys = in_flight.keys()
    report.in_flight = len(keys)
    connection.execute("BEGIN IMMEDIATE")
    for key in keys:
        for found, state in connection.execute(_WRITE["count_crash"], (key,)).fetchall():
            if state == _QUARANTINED:
                _note_quarantined(report, found)
    connection.execute("COMMIT")
    in_flight.clear()


def _recover_bodies(
    connection: sqlite3.Connection, paths: ShardPaths, bodies: Bodies, report: AdoptionReport
) -> None:
    reader = ShardReader(paths.database)
    try:
        rows = reader.body_files()
    except TemporaryError as error:
        raise ConfigurationError(str(error)) from error
    finally:
        reader.close()
    removed, report.names_ignored = bodies.sweep({name for _, name, _ in rows})
    report.leftovers_removed = removed
    for key, name, size_bytes in rows:
        try:
            facts = (paths.bodies / name).lstat()
            if stat.S_ISREG(facts.st_mode) and facts.st_size == size_bytes:
                continue
            problem = f"its body file has {facts.st_size} octets instead of {size_bytes}"
        except (OSError, ValueError):
            problem = "its body file is missing"
        for delivery_key, _ in connection.execute(_WRITE["delivery_keys"], (key,)).fetchall():
            _quarantine(connection, delivery_key, problem, report)


def _quarantine_incomplete(connection: sqlite3.Connection, report: AdoptionReport) -> None:
    for (key,) in connection.execute(_READ["without_content"]).fetchall():
        _quarantine(connection, key, "its content was lost with a damaged spool file", report)


def _quarantine(connection: sqlite3.Connection, key: int, problem: str, report: AdoptionReport) -> None:
    if connection.execute(_WRITE["quarantine"], (key, problem)).rowcount:
        _note_quarantined(report, key)


def _note_quarantined(report: AdoptionReport, key: int) -> None:
    report.quarantined_count += 1
    if len(report.quarantined) < REPORTED_MAX:
        report.quarantined.append(key)


def _skip_numbers(connection: sqlite3.Connection, clock: Clock, name: str) -> None:
    """Go on with numbers that nobody has seen: rows may be lost, and a file may be an old copy of itself.

    Events begin there at every start: one with a low number would be behind the place of all who read the log.
    """
    floor = clock.now_ms() * _NUMBERS_A_MS
    stored = connection.execute(_READ["meta"], (name,)).fetchone()
    connection.execute(
        _WRITE["set_meta"],
        (name, max(floor, int(stored[0]) if stored and stored[0] < _KEY_BOUND else 0)),
    )


def _name_log(connection: sqlite3.Connection, paths: ShardPaths, log: Log, *, salvaged: bool) -> None:
    """Give the event log its number, by which everybody keeps a place in it; one that lost it gets it back."""
    kept = _kept_number(paths.log_number)
    fresh = secrets.randbelow(_LOGS_MAX) + 1
    connection.execute(_WRITE["name_log"], (kept or fresh if salvaged else fresh,))
    number = int(connection.execute(_READ["meta"], ("event_log",)).fetchone()[0])
    if number == kept:
        return
    try:
        _keep_number(paths.log_number, number)
    except OSError as error:  # it is for a salvage alone
        log.warning("the number of the event log is not kept beside it", path=str(paths.log_number), error=str(error))


def _kept_number(path: Path) -> int:
    """Return what a file says, 0 when there is none or it is damaged."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, so that no link is followed
            number = int(file.read(20))
    except (OSError, ValueError):
        return 0
    return number if 0 < number <= _LOGS_MAX else 0


def _keep_number(path: Path, number: int) -> None:
    """Replace the file whole, synced."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - as above
        file.write(b"%d" % number)
        file.flush()
        os.fsync(descriptor)
    fresh.rename(path)
    sync_path(path.parent)


def _reserve_keys(connection: sqlite3.Connection) -> int:
    """Return the first key that was never given out, after reserving a block of keys on disk."""
    stored = connection.execute(_READ["meta"], ("key_ceiling",)).fetchone()
    first = max(
        int(stored[0]) if stored and 0 < stored[0] < _KEY_BOUND else 1,
        int(connection.execute(_READ["last_key"], (_KEY_BOUND,)).fetchone()[0]) + 1,
        int(connection.execute(_READ["last_delivery_key"], (_KEY_BOUND,)).fetchone()[0]) + 1,
    )
    connection.execute(_WRITE["set_meta"], ("key_ceiling", first + KEY_BLOCK))
    return first


def _report(report: AdoptionReport, paths: ShardPaths, log: Log, now_ms: int) -> None:
    for name in report.names_ignored[:REPORTED_MAX]:
        log.warning("spool name ignored", directory=str(paths.directory), name=name)
    if report.quarantined_count:
        log.error(
            "deliveries quarantined",
            directory=str(paths.directory),
            count=report.quarantined_count,
            deliveries=report.quarantined[:20],
        )
    if report.held_late:
        log.error(
            "deliveries held: they should have been given up more than a day ago",
            directory=str(paths.directory),
            count=report.held_late,
            clock=datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="seconds"),
            next_step="an old copy of the queue, a long stop, or a wrong clock: see `relay queue list --state held`, "
            "then release or delete",
        )
    log.info(
        "shard adopted",
        directory=str(paths.directory),
        in_flight=report.in_flight,
        leftovers_removed=report.leftovers_removed,
    )
