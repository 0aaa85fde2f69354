"""What waits for destinations of events: `events/queue.db`, written by the process `events` alone.

An item is kept once, with a post for each target it is to go to. What is routed and the place in the shard's log
are one transaction, so that a crash routes nothing twice and forgets nothing. Posts are read by the time they are
due, a few at a time: memory does not grow with what waits.

Bounds: `bytes_max` of the file's pages in use, and `age_seconds_max` of an item. At the bound of bytes dead letters
go first, oldest first, then the oldest posts of the target for which most waits; nobody else loses anything for it.

All calls may come from any thread; one runs at a time. They raise StorageError when the disk refuses.
"""

import contextlib
import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from relay.errors import StorageError
from relay.model.erasure import Erasure
from relay.ports import Log
from relay.ports.events import DeadLetter, Item, NewItem, Post, Settled, TargetState
from relay.store.places import Places
from relay.store.small_file import OwnedFile
from relay.store.sql import queries

FILE: Final = Path("events", "queue.db")
CHECKPOINT_PAGES: Final = 1000
DROP_AT_ONCE: Final = 500
ROUNDS_MAX: Final = 20  # of that in one call, so that sending waits for a moment only
ROOM: Final = 0.98  # of the bound is what trimming leaves, so that it is not done at every write
ERROR_MAX_CHARACTERS: Final = 300
DUE_BYTES_MAX: Final = 8 * 1024 * 1024

_QUERIES: Final = queries("event_queue.sql")


class _Changes:
    """How the counts of targets change in one transaction."""

    def __init__(self) -> None:
        self.by_target: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])

    def add(self, target: int, waiting: int, size: int, dead: int = 0) -> None:
        counts = self.by_target[target]
        counts[0] += waiting
        counts[1] += size
        counts[2] += dead


class EventQueue:
    """The file. Targets are told by name; those with nothing left are forgotten."""

    def __init__(self, path: Path, log: Log, *, bytes_max: int, age_seconds_max: float) -> None:
        """Open or create the file; a damaged one is set aside. ConfigurationError when the place cannot be used."""
        self.bound(bytes_max=bytes_max, age_seconds_max=age_seconds_max)
        self._lock = threading.RLock()
        self._ids: dict[str, int] = {}
        self._file = OwnedFile(path, "event_queue", log, "event queue", checkpoint_pages=CHECKPOINT_PAGES)
        self._file.open()
        self._places = Places(lambda: self._connection, self._failed)

    def bound(self, *, bytes_max: int, age_seconds_max: float) -> None:
        """Take on other bounds; they hold from the next trimming on."""
        self._bytes_max = bytes_max
        self._age_ms_max = int(age_seconds_max * 1000)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    # --- what comes ----------------------------------------------------------------------------------------------

    def follow(self, shard: int, log: int, last: int) -> None:
        """Route the events of a log from now on."""
        with self._lock:
            self._places.follow(shard, log, last)

    def place(self, shard: int) -> int:
        """Return up to where a shard's log was routed, 0 when it was not."""
        with self._lock:
            return self._places.get(shard)

    def accept(self, shard: int, seq: int, items: Sequence[NewItem], now_ms: int) -> None:
        """Keep what a shard's events up to `seq` gave, and move the place: all or nothing, synced on return.

        A place that moved alone is not synced: after a loss of power those events are routed again, to nobody.
        """
        with self._writing(synced=bool(items)):
            self._put(items, now_ms)
            self._places.move(shard, seq)

    def put(self, items: Sequence[NewItem], now_ms: int, once: str = "") -> None:
        """Keep items that come from no log; synced on return. What was put under the name `once` is not put again."""
        with self._writing(synced=True):
            if once:
                self._run("forget_published", (now_ms - self._age_ms_max,))
                if not self._run("note_published", (once, now_ms)):
                    return
            self._put(items, now_ms)

    def _put(self, items: Sequence[NewItem], now_ms: int) -> None:
        changes = _Changes()
        for item in items:
            targets = dict.fromkeys(item.targets)
            if not targets:
                continue
            values = (
                len(targets), item.key, item.kind, item.account, now_ms, item.subject, item.attributes, item.body,
            )  # fmt: skip
            number = self._connection.execute(_QUERIES["add_item"], values).lastrowid
            for name in targets:
                target = self._target(name)
                self._run("add_post", (target, number, now_ms, len(item.body)))
                changes.add(target, 1, len(item.body))
        self._count(changes)

    # --- what goes -----------------------------------------------------------------------------------------------

    def due(
        self,
        target: str,
        now_ms: int,
        limit: int,
        bytes_max: int = DUE_BYTES_MAX,
        *,
        tried_max: int | None = None,
        fresh: bool = True,
        besides: Collection[int] = (),
    ) -> list[Post]:
        """Return posts of a target that are due, those tried before first; at least one if any is.

        At most `limit`, and about `bytes_max`. Those tried before are at most `tried_max`, half of the room where
        that is not said, so that no number of them stops others; without `fresh` there are no others. `besides`: none
        of these items.
        """
        posts: list[Post] = []
        size = 0
        others = orjson.dumps(list(besides)).decode()
        with self._reading():
            number = self._known(target)
            if number is None:
                return []
            tried = max(1, limit // 2) if tried_max is None else max(0, min(tried_max, limit))
            for kind, room in ((1, tried), (0, limit)) if fresh else ((1, limit),):
                values = (number, kind, now_ms, others, room - len(posts))
                for row in self._connection.execute(_QUERIES["due"], values):
                    posts.append(_post_of(target, row))
                    size += len(row[-1])
                    if size >= bytes_max:
                        return posts
        return posts

    def settle(self, results: Sequence[Settled], now_ms: int) -> None:
        """Note what became of posts, all in one transaction; what is gone meanwhile is left alone.

        Not synced: after a loss of power the last tries may be made again.
        """
        changes = _Changes()
        with self._writing(synced=False):
            for result in results:
                target = self._known(result.target)
                if target is not None:
                    self._settle(target, result, changes, now_ms)
            self._count(changes)

    def _settle(self, target: int, result: Settled, changes: _Changes, now_ms: int) -> None:
        error = result.error[:ERROR_MAX_CHARACTERS]
        if result.due_ms is not None:
            self._run("later", (result.due_ms, error, target, result.item))
            return
        taken = self._run("take_post", (target, result.item))
        if not taken:
            return
        size, attempts = taken[0]
        changes.add(target, -1, -size, int(result.dead))
        if result.dead:
            self._run("add_dead", (target, result.item, attempts + 1, now_ms, error))
        else:
            self._release(result.item)

    def targets(self) -> list[TargetState]:
        """Return all targets for which something waits or has died."""
        return [TargetState(*row) for row in self._run("targets", ())]

    def target(self, name: str) -> TargetState | None:
        """Return one target, None when nothing waits for it."""
        rows = self._run("target", (name,))
        return TargetState(*rows[0]) if rows else None

    # --- dead letters --------------------------------------------------------------------------------------------

    def dead_letters(self, target: str, after: int, limit: int) -> list[DeadLetter]:
        """Return dead letters above a number, of one target or, with "", of all."""
        rows = self._run("dead_letters", (after, target, limit))
        return [DeadLetter(row[0], Post(Item(*row[5:]), row[1], 0, row[2], row[4]), died_ms=row[3]) for row in rows]

    def dead_ids(self, target: str, limit: int) -> list[int]:
        """Return the numbers of the oldest dead letters of one target or, with "", of all."""
        return [row[0] for row in self._run("dead_ids", (target, limit))]

    def dead_among(self, ids: Sequence[int]) -> list[int]:
        """Return those numbers that dead letters have."""
        return [number for number in ids if self._run("is_dead", (number,))]

    def replay(self, ids: Sequence[int], now_ms: int) -> list[str]:
        """Let dead letters wait again, due now and as if never tried; return the targets of those that were there."""
        changes = _Changes()
        with self._writing(synced=True):
            for number in ids:
                for target, item in self._run("take_dead", (number,)):
                    size = self._run("body_size", (item,))[0][0]
                    self._run("add_post", (target, item, now_ms, size))
                    changes.add(target, 1, size, -1)
            self._count(changes)
            return [name for name, target in self._names() if target in changes.by_target]

    def delete_dead(self, ids: Sequence[int]) -> int:
        """Delete dead letters; return how many there were."""
        with self._writing(synced=True):
            return self._drop_dead(ids)

    def _drop_dead(self, ids: Sequence[int]) -> int:
        changes = _Changes()
        dropped = 0
        for number in ids:
            for target, item in self._run("take_dead", (number,)):
                changes.add(target, 0, 0, -1)
                self._release(item)
                dropped += 1
        self._count(changes)
        return dropped

    # --- bounds --------------------------------------------------------------------------------------------------

    def used_bytes(self) -> int:
        """Return how much of the file is in use."""
        with self._reading():
            pages, free, size = (
                self._connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * size)

    def trim(self, now_ms: int) -> dict[str, int]:
        """Drop what is too old, and what is over the bound; return how many posts each target lost.

        Works in short transactions, and a bounded number of them: what is left is for the next call. What it did is
        done also when a later one fails.
        """
        lost: Counter[str] = Counter()
        for _ in range(ROUNDS_MAX):
            if not self._trim_old(now_ms - self._age_ms_max, lost):
                break
        if self.used_bytes() > self._bytes_max:
            for _ in range(ROUNDS_MAX):
                if self.used_bytes() <= self._bytes_max * ROOM or not self._trim_more(lost):
                    break
        return dict(lost)

    def drop_target(self, name: str) -> int:
        """Drop all that waits for a target that is no more, dead letters too; return how many there were."""
        dropped = 0
        while True:
            with self._writing(synced=False):
                target = self._known(name)
                if target is None:
                    return dropped
                some = self._drop_posts(target, self._oldest(target))
                some += self._drop_dead([row[0] for row in self._run("dead_ids", (name, DROP_AT_ONCE))])
                self._run("forget_target", (target,))
                self._ids.pop(name, None)
            dropped += some
            if not some:
                return dropped

    def _trim_old(self, before_ms: int, lost: Counter[str]) -> bool:
        """Drop the first items when they are too old; say whether there may be more."""
        with self._writing(synced=False):
            old = [number for number, created in self._run("first_items", (DROP_AT_ONCE,)) if created < before_ms]
            for number in old:
                self._drop_item(number, lost)
        return len(old) == DROP_AT_ONCE

    def _drop_item(self, number: int, lost: Counter[str]) -> None:
        for target, name in self._run("posts_of", (number,)):
            self._drop_posts(target, [number])
            lost[name] += 1
        dead = self._run("dead_of", (number,))
        self._drop_dead([row[0] for row in dead])
        lost.update(row[1] for row in dead)
        self._run("delete_item", (number,))

    def _trim_more(self, lost: Counter[str]) -> bool:
        with self._writing(synced=False):
            dead = self._run("dead_letters", (0, "", DROP_AT_ONCE))
            if dead:
                lost.update(row[1] for row in dead)
                return self._drop_dead([row[0] for row in dead]) > 0
            fullest = self._run("fullest", ())
            if not fullest:
                return False
            target, name = fullest[0]
            dropped = self._drop_posts(target, self._oldest(target))
            lost[name] += dropped
            return dropped > 0

    def _oldest(self, target: int) -> list[int]:
        return [row[0] for row in self._run("oldest_posts", (target, DROP_AT_ONCE))]

    def _drop_posts(self, target: int, items: Sequence[int]) -> int:
        changes = _Changes()
        for item in items:
            for size, _ in self._run("take_post", (target, item)):
                changes.add(target, -1, -size)
                self._release(item)
        self._count(changes)
        return len(items)

    # --- personal data -------------------------------------------------------------------------------------------

    def export(self, text: str, after: int = 0, limit: int = 100) -> list[tuple[int, bytes]]:
        """Return number and body of items above a number that mention a text, such as an address."""
        return [(row[0], row[1]) for row in self._run("mentioning", (after, text, limit))]

    def erase(self, address: str) -> int:
        """Drop all items that mention an address; return how many there were. Reads the whole file."""
        erasure, erased, after = Erasure(address), 0, 0
        while found := self.export(address, after):
            after = found[-1][0]
            mentioned = [number for number, body in found if erasure.mentioned(body)]
            with self._writing(synced=True):
                for number in mentioned:
                    self._drop_item(number, Counter())
            erased += len(mentioned)
        return erased

    def remove_account(self, account: str) -> int:
        """Drop all items of an account; return how many there were."""
        removed = 0
        while found := self._run("items_of_account", (account, DROP_AT_ONCE)):
            with self._writing(synced=True):
                for (number,) in found:
                    self._drop_item(number, Counter())
            removed += len(found)
        return removed

    # --- the file ------------------------------------------------------------------------------------------------

    def _release(self, item: int) -> None:
        """Forget one reference to an item, and the item with the last."""
        if not self._connection.execute(_QUERIES["drop_last"], (item,)).rowcount:
            self._run("drop_one", (item,))

    def _known(self, name: str) -> int | None:
        """Return the number of a target, None when there is none."""
        number = self._ids.get(name)
        if number is None:
            for (found,) in self._run("target_id", (name,)):
                number = self._ids[name] = int(found)
        return number

    def _target(self, name: str) -> int:
        """Return the number of a target, a new one if need be."""
        number = self._known(name)
        if number is None:
            self._run("add_target", (name,))
            number = self._known(name)
        assert number is not None
        return number

    def _names(self) -> list[tuple[str, int]]:
        return [(state.name, self._target(state.name)) for state in self.targets()]

    def _count(self, changes: _Changes) -> None:
        for target, (waiting, size, dead) in changes.by_target.items():
            self._run("count_target", (waiting, size, dead, target))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise self._failed(error) from error

    @contextlib.contextmanager
    def _writing(self, *, synced: bool) -> Iterator[None]:
        with self._lock:
            self._file.run("PRAGMA synchronous = FULL" if synced else "PRAGMA synchronous = NORMAL")
            try:
                with self._file.whole():
                    yield
            except BaseException:
                self._ids.clear()  # a number given in the transaction is not in the file
                raise

    def _run(self, name: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(_QUERIES[name], values).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._file.connection

    def _failed(self, error: sqlite3.Error) -> StorageError:
        self._ids.clear()  # of a damaged file no number is in the next one
        return self._file.failed(error)


def _post_of(target: str, row: Sequence[Any]) -> Post:
    item, due_ms, attempts, error, *rest = row
    return Post(Item(item, *rest), target, due_ms, attempts, error)
