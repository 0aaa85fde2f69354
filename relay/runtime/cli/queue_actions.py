"""What an operator may do to deliveries: by the workers while the relay runs, here while it is stopped.

First the deliveries are chosen, by reading; then they are changed, some at a time, each only if it is still in a
state that was chosen. Who owns a shard is asked, so nothing is written behind a worker's back.
"""

import contextlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from relay.errors import TemporaryError
from relay.runtime.peers import owner_of
from relay.runtime.privacy_places import (
    ERASE_IN_FILES,
    ERASE_IN_ITEMS,
    ERASE_IN_QUEUES,
    ERASE_IN_SHARD,
    EVENT_FILES,
    EVENT_ITEMS,
    LOCAL_QUEUES,
)
from relay.runtime.queue_work import Done, Order, done_of
from relay.runtime.rpc import Client, NotRunningError
from relay.store.spool_privacy import ErasedInSpool

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site

ACTION_SECONDS = 600.0
Keys = Mapping[int, "array[int]"]  # of each shard


class Owner(Protocol):
    """Whoever may change the shards."""

    def act(self, shard: int, order: Order, keys: list[int]) -> Done:
        """Do something to some deliveries."""
        ...

    def end_hold(self, shard: int, number: int) -> int:
        """Release some of what a standing hold holds; 0 when there is no more."""
        ...

    def holds_changed(self) -> None:
        """The standing holds on disk are others."""
        ...

    def erase_in_shard(self, shard: int, address: str, *, force: bool) -> ErasedInSpool:
        """Erase an address in a shard."""
        ...

    def erase_in_events(self, address: str) -> dict[str, int]:
        """Erase an address in what the events process writes; return how many records, by place."""
        ...


@contextlib.contextmanager
def owner(site: "Site") -> Iterator[Owner]:
    """Give whoever owns the shards. TemporaryError when a part of a running relay does not answer."""
    workers = _workers(site)
    if not workers:
        from relay.runtime.cli.queue_offline import stopped  # noqa: PLC0415

        with stopped(site) as shards:
            yield shards
        return
    try:
        yield _Workers(workers, site.data_dir)
    finally:
        for worker in workers:
            worker.close()


def act(who: Owner, order: Order, keys: Keys, progress: Callable[[int], None]) -> Done:
    """Do it to all chosen deliveries; `progress` is told how many were asked for."""
    done = Done()
    for shard, chosen in keys.items():
        for start in range(0, len(chosen), order.batch):
            some = chosen[start : start + order.batch].tolist()
            done += who.act(shard, order, some)
            progress(len(some))
    return done


class _Workers:
    """The workers of a running relay."""

    def __init__(self, workers: list[Client], data_dir: Path) -> None:
        self._workers = workers
        self._data_dir = data_dir

    def act(self, shard: int, order: Order, keys: list[int]) -> Done:
        return done_of(self._of(shard).call("queue.act", shard=shard, keys=keys, **order.as_json()))

    def end_hold(self, shard: int, number: int) -> int:
        return int(self._of(shard).call("queue.end_hold", shard=shard, rule=number)["count"])

    def holds_changed(self) -> None:
        for worker in self._workers:
            worker.call("queue.holds")

    def erase_in_shard(self, shard: int, address: str, *, force: bool) -> ErasedInSpool:
        found = self._of(shard).call(ERASE_IN_SHARD, shard=shard, address=address, force=force)
        return ErasedInSpool(int(found["events"]), int(found["open"]))

    def erase_in_events(self, address: str) -> dict[str, int]:
        with Client(self._data_dir / "run" / "events.sock", ACTION_SECONDS) as events:
            return {
                EVENT_FILES: int(events.call(ERASE_IN_FILES, address=address)["count"]),
                LOCAL_QUEUES: int(events.call(ERASE_IN_QUEUES, address=address)["count"]),
                EVENT_ITEMS: int(events.call(ERASE_IN_ITEMS, address=address)["count"]),
            }

    def _of(self, shard: int) -> Client:
        return self._workers[owner_of(shard, len(self._workers)) - 1]


def _workers(site: "Site") -> list[Client]:
    """Return a connection to every worker in order, none when the relay is stopped."""
    found: list[Client] = []
    silent = ""
    for path in sorted((site.data_dir / "run").glob("worker-*.sock")):
        try:
            found.append(Client(path, ACTION_SECONDS))
        except NotRunningError:
            silent = path.stem
    if found and silent:
        raise TemporaryError(f"{silent} gives no answer, though the relay runs; try again in a moment.")
    return found
