"""What an operator may do to deliveries: by the workers while the relay runs, here while it is stopped.

First the deliveries are chosen, by reading; then they are changed, some at a time, each only if it is still in a
state that was chosen. Who owns a shard is asked, so nothing is written behind a worker's back.
"""

import contextlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from relay.errors import TemporaryError
from relay.runtime.peers import owner_of
from relay.runtime.queue_work import Done, Order, done_of
from relay.runtime.rpc import Client, NotRunningError

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
        yield _Workers(workers)
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

    def __init__(self, workers: list[Client]) -> None:
        self._workers = workers

    def act(self, shard: int, order: Order, keys: list[int]) -> Done:
        return done_of(self._of(shard).call("queue.act", shard=shard, keys=keys, **order.as_json()))

    def end_hold(self, shard: int, number: int) -> int:
        return int(self._of(shard).call("queue.end_hold", shard=shard, rule=number)["count"])

    def holds_changed(self) -> None:
        for worker in self._workers:
            worker.call("queue.holds")

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
