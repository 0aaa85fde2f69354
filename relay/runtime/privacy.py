"""Everything that a relay keeps about an address: found, and erased (PRIV-004, PRIV-006, PRIV-007).

The sweep knows the data directory by kind of file and not by a list of records: every SQLite file table by table,
every file of lines line by line, history and archive block by block, and at last every other file octet by octet. So
a file that is added later is searched too, and what cannot be erased is named instead of forgotten.

It begins anew until a pass finds nothing, because the relay may go on meanwhile. An empty file `erasing` says that a
run has not come to its end: the next one then writes all files anew, whether or not they still mention the address.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from relay.errors import NotFoundError, TemporaryError, UsageError
from relay.model.delivery import OPEN_STATES
from relay.model.erasure import Erasure
from relay.runtime import audit
from relay.runtime.directories import locked
from relay.runtime.privacy_places import CONFIGURED, EVENT_FILES, FATES, LOCAL_QUEUES, NOTING
from relay.runtime.queue_work import Order
from relay.runtime.settings import stream_sealer
from relay.runtime.standing_file import FILE_NAME as HOLDS
from relay.signing.sealed_file import SUFFIX, FileSealer
from relay.store import spool_privacy
from relay.store.adoption import shard_paths, shards_on_disk
from relay.store.history_privacy import erase_in_archive, erase_in_history, export_archive, export_history
from relay.store.line_files import erase_in_rotated, erase_lines, lines_mentioning, with_rotated
from relay.store.scrub import Fate, erase_in, found_in
from relay.store.suppression import SuppressionLists, checked_address
from relay.store.suppression_import import FAILED_FILE
from relay.store.suppression_jobs import INPUT_FILE
from relay.store.synced import sync_path
from relay.store.traces import traces

if TYPE_CHECKING:
    from relay.runtime.cli.queue_actions import Owner
    from relay.runtime.cli.site import Site
    from relay.runtime.config.publishing import Stream as StreamConfig
    from relay.store.catalog import Catalog

PASSES: Final = 3
UNFINISHED: Final = "erasing"
SMALL_FILES: Final = ("*.db", "events/*.db", "office/*.db", "permits/*.db")
DATABASE_ENDS: Final = (".db", ".db-wal", ".db-shm", ".db-journal")
STREAM_ENDS: Final = frozenset({".jsonl", ".gz", SUFFIX})
UNSEARCHED: Final = frozenset({"keys", "run"})  # secrets and sockets
QUEUED_ACTIONS: Final = ("refuse", "delete", "bounce")
STREAM_FILES: Final = "stream files"
AUDIT_LOG: Final = "audit log"
IMPORT_FILES: Final = "import files"


@dataclass(frozen=True, slots=True)
class Left:
    """What mentions the address still, how often, and what to do about it."""

    place: str
    count: int
    advice: str


@dataclass
class Erased:
    """What one erasure did: records removed or changed by place, and what is left."""

    removed: Counter[str] = field(default_factory=Counter)
    left: list[Left] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wish:
    """What to do about mail that waits for the address, and about configuration that names it."""

    queued: str = "refuse"
    configuration: bool = False

    def __post_init__(self) -> None:
        if self.queued not in QUEUED_ACTIONS:
            raise UsageError(f"--queued is one of {', '.join(QUEUED_ACTIONS)}, not {self.queued}.")


class Places:
    """Where one relay keeps things."""

    def __init__(self, site: "Site", address: str) -> None:
        """Raise UsageError for what is no address."""
        self.site = site
        self.data_dir = site.data_dir
        self.address = checked_address(address)
        self.erasure = Erasure(self.address)
        self._sealers: dict[Path, FileSealer] = {}  # of files that are encrypted

    # --- what there is -------------------------------------------------------------------------------------------

    def found(self) -> Iterator[tuple[str, Any]]:
        """Yield place and record of everything that mentions the address. Raise TemporaryError, StorageError."""
        for path in self._databases():
            yield from self._rows(path)
        for number in shards_on_disk(self.data_dir):
            paths = shard_paths(self.data_dir, number)
            yield from self._rows(paths.database)
            for message in export_history(paths.history, self.address):
                yield f"history/{number:04d}", message
        for event in export_archive(self.data_dir / "events" / "archive", self.address):
            yield "events/archive", event
        for place, path in self._line_files():
            for line in lines_mentioning(path, self.erasure, self._sealers.get(path)):
                yield place, line.decode("utf-8", "replace")
        for path in self.others():
            yield self._relative(path), None

    def others(self) -> Iterator[Path]:
        """Yield files of no known kind that mention the address."""
        known = {path for _, path in self._line_files()}
        for path in sorted(self.data_dir.rglob("*")):
            first = path.relative_to(self.data_dir).parts[0]
            if path.is_symlink() or not path.is_file() or first in UNSEARCHED or path in known:
                continue
            if path.name.endswith(DATABASE_ENDS) and not self._set_aside(path):
                continue
            if _mentions(path, self.erasure):
                yield path

    def _set_aside(self, path: Path) -> bool:
        return "quarantine" in path.relative_to(self.data_dir).parts

    def _databases(self) -> list[Path]:
        return sorted(path for pattern in SMALL_FILES for path in self.data_dir.glob(pattern))

    def _rows(self, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        for table, rows in found_in(path, self.erasure).items():
            for row in rows:
                yield f"{self._relative(path)} {table}", {name: _shown(value) for name, value in row.items()}

    def _line_files(self) -> Iterator[tuple[str, Path]]:
        config = self.site.config
        for destination in config.events:
            yield from ((EVENT_FILES, path) for path in with_rotated(config.event_file(destination)))
        for path in sorted((self.data_dir / "queues").glob("*/*.jsonl")):
            yield from ((LOCAL_QUEUES, one) for one in with_rotated(path))
        yield from ((STREAM_FILES, path) for path in self.stream_files())
        yield from ((AUDIT_LOG, path) for path in with_rotated(self.data_dir / audit.FILE_NAME))
        yield from ((IMPORT_FILES, path) for path in self._import_files())

    def stream_files(self, *names: str) -> Iterator[Path]:
        """Yield the files of streams to directories, of all or of those that are named."""
        for stream in self.site.config.streams:
            if stream.type == "directory" and (not names or stream.name in names):
                sealer = stream_sealer(stream)
                found = self.site.config.stream_directory(stream).rglob(f"{stream.name}-*.jsonl*")
                for path in sorted(path for path in found if path.suffix in STREAM_ENDS and path.is_file()):
                    if sealer is not None:
                        self._sealers[path] = sealer
                    yield path

    def erase_stream_file(self, path: Path) -> int:
        """Erase the address in a file of `stream_files`; return in how many lines. Raise StorageError."""
        return erase_lines(path, self.erasure, self._sealers.get(path))

    def _import_files(self) -> list[Path]:
        found = (self.data_dir / "imports").glob("*/*")
        return sorted(path for path in found if path.name in {INPUT_FILE, FAILED_FILE})

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.data_dir))

    # --- erasing -------------------------------------------------------------------------------------------------

    def erase(self, owner: "Owner", wish: Wish) -> Erased:
        """Erase the address everywhere. Raise StorageError, and TemporaryError while mail waits that is to stay."""
        done = Erased()
        self._take_from_queue(owner, wish.queued, done)
        mark = self.data_dir / UNFINISHED
        force = mark.exists()
        mark.touch(mode=0o600)
        sync_path(self.data_dir)
        with self.site.catalog() as catalog:
            for _ in range(PASSES):
                before = done.removed.total()
                self._pass(owner, catalog, wish, done, force=force)
                if done.removed.total() == before:
                    break
                force = False
        done.left = list(self._left(wish))
        mark.unlink()
        sync_path(self.data_dir)
        return done

    def _take_from_queue(self, owner: "Owner", action: str, done: Erased) -> None:
        waiting = {}
        for number in shards_on_disk(self.data_dir):
            keys = spool_privacy.queued_for(shard_paths(self.data_dir, number).database, self.address)
            if keys:
                waiting[number] = keys
        count = sum(map(len, waiting.values()))
        if count and action == "refuse":
            raise TemporaryError(
                f"{count} deliveries to {self.address} wait in the queue, and nothing was erased: let them go, or "
                "give --queued delete or --queued bounce."
            )
        order = Order(action, OPEN_STATES) if count else None
        for shard, keys in waiting.items():
            assert order is not None
            for start in range(0, len(keys), order.batch):
                result = owner.act(shard, order, keys[start : start + order.batch])
                done.removed["queue"] += result.changed
                if result.in_flight:
                    raise TemporaryError(f"A delivery to {self.address} is under way just now: erase again.")

    def _pass(self, owner: "Owner", catalog: "Catalog", wish: Wish, done: Erased, *, force: bool) -> None:
        numbers = shards_on_disk(self.data_dir)
        for number in numbers:  # first where events come from
            erased = owner.erase_in_shard(number, self.address, force=force)
            done.removed[f"spool/{number:04d}/spool.db event"] += erased.events
        done.removed.update(owner.erase_in_events(self.address))
        archive = erase_in_archive(self.data_dir / "events" / "archive", self.address, force=force)
        done.removed["events/archive"] += archive
        key = _search_key(self.site)
        for number in numbers:
            history = shard_paths(self.data_dir, number).history
            done.removed[f"history/{number:04d}"] += erase_in_history(history, self.address, key, force=force)
        self._erase_entries(catalog, wish, done)
        self._erase_lines(done)
        for path in self._databases():
            fates = dict(FATES.get(path.name, {}))
            if wish.configuration:
                fates = {table: Fate.REDACT if fate is Fate.KEEP else fate for table, fate in fates.items()}
            counts = erase_in(path, self.erasure, fates, noting=NOTING.get(path.name, ()), force=force)
            done.removed.update({f"{self._relative(path)} {table}": count for table, count in counts.items()})

    def _erase_entries(self, catalog: "Catalog", wish: Wish, done: Erased) -> None:
        """Remove what is more than a row: by those who know what else follows."""
        done.removed["catalog.db topic_subscription"] += catalog.subscriptions.erase(self.address)
        lists = SuppressionLists.open(self.data_dir / "suppression.db", audit_now_ms)
        try:
            done.removed["suppression.db suppression"] += lists.erase(self.address)
        finally:
            lists.close()
        if wish.configuration:
            self._erase_configuration(catalog, done)

    def _erase_configuration(self, catalog: "Catalog", done: Erased) -> None:
        for account in catalog.accounts.list():
            with suppress(NotFoundError):
                catalog.identities.delete(account.account_id, self.address)
                done.removed["catalog.db identity"] += 1
            if self.erasure.is_it(account.contact):
                catalog.accounts.set_contact(account.account_id, "")
                done.removed["catalog.db account"] += 1
            details = catalog.reviews.details(account.account_id)
            if details is not None and any(map(self.erasure.is_it, details.contacts)):
                others = tuple(one for one in details.contacts if not self.erasure.is_it(one))
                if others:
                    catalog.reviews.put_details(account.account_id, replace(details, contacts=others))
                    done.removed["catalog.db account_details"] += 1

    def _erase_lines(self, done: Erased) -> None:
        for path in self.stream_files():
            done.removed[STREAM_FILES] += self.erase_stream_file(path)
        for path in self._import_files():
            done.removed[IMPORT_FILES] += _erase_unlocked(path, self.erasure)
        with locked(self.data_dir):
            done.removed[AUDIT_LOG] += erase_in_rotated(self.erasure, self.data_dir / audit.FILE_NAME)

    def _left(self, wish: Wish) -> Iterator[Left]:
        left: Counter[str] = Counter(place for place, _ in self.found())
        for place, count in sorted(left.items()):
            yield Left(place, count, _advice(place, wish))
        for stream in self.site.config.streams:
            if stream.type != "directory":
                yield Left(f"stream {stream.name}", 0, f"not searched: {_elsewhere(stream, self.address)}")


def erase_stream_files(places: Places, name: str) -> int:
    """Erase the address in the files of one stream; return in how many lines (PRIV-006). Raise StorageError."""
    return sum(map(places.erase_stream_file, places.stream_files(name)))


def audit_now_ms() -> int:
    """Return the time now, in ms since 1970."""
    import time  # noqa: PLC0415

    return time.time_ns() // 1_000_000


def _advice(place: str, wish: Wish) -> str:
    file, _, table = place.partition(" ")
    if file == "catalog.db" and table in CONFIGURED:
        more = "" if wish.configuration else ", or erase with --configuration"
        return f"configuration: `{CONFIGURED[table]}`{more}"
    if file.endswith("spool.db") or "/bodies/" in file or "/incoming/" in file:
        return "mail to others that is on its way: erase again once it is delivered"
    if file == HOLDS:
        return "a standing hold: `relay queue holds remove`"
    if "quarantine" in file or file.endswith(".damaged"):
        return "kept after damage for the operator: remove it by hand"
    return "erase again"


def _elsewhere(stream: "StreamConfig", address: str) -> str:
    """Return how to erase an address in what a stream stored outside this machine."""
    if stream.type == "bucket":
        return f"`relay privacy delete-files --stream {stream.name} --recipient {address}` does it"
    return f"erase it in the {stream.type} topic {stream.topic} yourself"


def _search_key(site: "Site") -> bytes:
    from relay.runtime.settings import SEARCH_PURPOSE  # noqa: PLC0415
    from relay.signing.secrets import derive  # noqa: PLC0415

    return derive(site.master_key(), SEARCH_PURPOSE)


def _erase_unlocked(path: Path, erasure: Erasure) -> int:
    """Erase in a file of an import, unless that runs just now."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return erase_lines(path, erasure)
        return 0
    finally:
        os.close(descriptor)


def _mentions(path: Path, erasure: Erasure) -> bool:
    if ".db" in path.name:  # set aside; between the values of a row nothing separates
        return traces(path, erasure.address)
    with suppress(FileNotFoundError):
        return next(lines_mentioning(path, erasure), None) is not None
    return False


def _shown(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
