"""Reads what a selection means from the shards, without keeping anybody: in short looks, in this process alone."""

import contextlib
import signal
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.errors import UsageError
from relay.model.message import RECIPIENTS_HARD_MAX
from relay.runtime.cli.output import note
from relay.store.reader import QueueScan

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.model.queue_entry import QueueEntry
    from relay.runtime.cli.shards import Shard
    from relay.runtime.cli.site import Site
    from relay.schedule.selection import Selection

PATTERN_SECONDS: Final = 5.0  # for one look; a pattern that takes longer would never end


class Reading:
    """The deliveries that a selection means.

    `further` is where a list that was cut goes on, "" at its end; `accounts` are those whose keys were read.
    """

    def __init__(self, site: "Site", shards: "Sequence[Shard]", selection: "Selection") -> None:
        self._shards = shards
        self._selection = selection
        served: Collection[str] = ()
        now_ms = int(time.time() * 1000)
        if selection.sites:
            served = self._served(site, now_ms)
        self._test = selection.matcher(now_ms, served)
        self.further = ""
        self.accounts: set[str] = set()

    def entries(self, limit: int | None = None, cursor: tuple[int, int] = (0, 0)) -> "Iterator[QueueEntry]":
        """Yield deliveries in the order of shard and acceptance, at most `limit`."""
        for shard, entry in self._each(limit, cursor):
            del shard
            yield entry

    def keys(self) -> "dict[int, array[int]]":
        """Return the keys of all deliveries, by shard."""
        found: dict[int, array[int]] = {}
        for shard, entry in self._each(None, (0, 0)):
            found.setdefault(shard, array("q")).append(entry.key)
            self.accounts.add(entry.account)
        return found

    def _each(self, limit: int | None, cursor: tuple[int, int]) -> "Iterator[tuple[int, QueueEntry]]":
        left = limit
        for shard in self._shards:
            if shard.number < cursor[0]:
                continue
            after = cursor[1] if shard.number == cursor[0] else 0
            for scan in self._scans(shard.number):
                for found, _ in shard.entries(scan, after):
                    for entry in self._matching(found):
                        if left == 0:
                            self.further = f"{shard.number}.{after}"
                            return
                        left = None if left is None else left - 1
                        after = entry.key
                        yield shard.number, entry

    def _scans(self, shard: int) -> Iterator[QueueScan]:
        """Yield looks at the messages that were named, else one at everything."""
        from relay.model.ids import shard_of  # noqa: PLC0415

        selection = self._selection
        account = selection.accounts[0] if len(selection.accounts) == 1 else ""
        if not selection.message_ids:
            yield QueueScan(selection.states, account)
            return
        for message_id in sorted(set(selection.message_ids)):
            if shard_of(message_id) == shard:
                yield QueueScan(selection.states, account, message_id, RECIPIENTS_HARD_MAX + 1)

    def _matching(self, found: "list[QueueEntry]") -> "list[QueueEntry]":
        with _bounded() if self._selection.reply_pattern else contextlib.nullcontext():
            return [entry for entry in found if self._test(entry)]

    def _served(self, site: "Site", now_ms: int) -> "Collection[str]":
        """Return the domains of what else is selected that the sites serve."""
        from relay.runtime.cli.queue_sites import DOMAINS_MAX, domains_of  # noqa: PLC0415

        self._test = replace(self._selection, sites=()).matcher(now_ms)
        domains: set[str] = set()
        for _, entry in self._each(None, (0, 0)):
            domains.add(entry.domain)
            if len(domains) > DOMAINS_MAX:
                raise UsageError(f"There are more than {DOMAINS_MAX} domains to look up: choose by --domain as well.")
        served = domains_of(site, self._selection.sites, domains)
        if served.unknown:
            note(
                f"DNS gave no answer for {served.unknown} of {len(domains)} domains: they are not among those chosen."
            )
        return served.domains


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """End a regular expression that takes too long: the engine looks for signals while it searches."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_long(*_: object) -> None:
        raise UsageError("--reply-regex takes too long: write a simpler expression.")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, PATTERN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
