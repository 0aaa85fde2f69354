"""The archive of events as the events process runs it: the applier, and what keeps files of days within their bounds.

Once a minute, on a thread of its own, old files of archived events are dropped, and it is told how large and how old
history and archive are.
"""

import threading
from collections.abc import Sequence

from relay.errors import RelayError
from relay.model.event import LoggedEvent
from relay.ports import Applier, Clock
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.settings import kept
from relay.store.event_archive import EventArchive
from relay.store.retention import (
    DayFile,
    archive_directory,
    archive_files,
    history_files,
    to_drop_of,
)

UPKEEP_SECONDS = 60.0
_BEYOND = 1 << 62


class KeptArchive(EventArchive):
    """The applier `archive`, with its upkeep."""

    def __init__(self, context: ChildContext, clock: Clock) -> None:
        super().__init__(archive_directory(context.config.data_dir), clock, context.log)
        self._context = context
        self._stop = threading.Event()
        self._upkeep = threading.Thread(target=self._keep, name="events-archive-upkeep", daemon=True)
        for kind in ("messages", "events"):  # made here: a series must not appear while the loop reads them
            self._tell(kind, (), 0)

    def open(self) -> None:
        """Read the places and begin the upkeep. Raise ConfigurationError when the directory cannot be used."""
        super().open()
        self._upkeep.start()

    def close(self) -> None:
        """End the upkeep and close the file."""
        self._stop.set()
        if self._upkeep.is_alive():
            self._upkeep.join()
        super().close()

    def keep_within_bounds(self) -> None:
        """Drop what is too old or too much, and tell what is left. Raise StorageError, OSError."""
        config, now_ms = self._context.config, self._clock.now_ms()
        dropped = to_drop_of(config.data_dir, self.directory, kept(config), now_ms)
        if dropped:
            self.drop(dropped)
            self._log.info("archived events dropped", days=[file.day for file in dropped])
        self._tell("messages", history_files(config.data_dir), now_ms)
        self._tell("events", archive_files(config.data_dir), now_ms)

    def _tell(self, kind: str, files: Sequence[DayFile], now_ms: int) -> None:
        metrics = self._context.metrics
        metrics.gauge("relay_history_bytes", sum(file.size_bytes for file in files), kind)
        oldest_ms = min((file.day_ms for file in files), default=now_ms)
        metrics.gauge("relay_history_oldest_seconds", max(0, now_ms - oldest_ms) / 1000, kind)

    def _keep(self) -> None:
        while True:
            try:
                self.keep_within_bounds()
            except (OSError, RelayError) as error:
                self._log.warning("archived events could not be tidied up", error=str(error))
            if self._stop.wait(UPKEEP_SECONDS):
                return


class NoArchive:
    """In the place of the archive where events are not kept: it is ahead of every log, and holds back nothing."""

    name = "archive"

    def open(self) -> None:
        """Open nothing."""

    def follow(self, shard: int, log: int, last: int) -> None:
        """Follow nothing."""

    def place(self, shard: int) -> int:  # noqa: ARG002 (the protocol)
        """Return a number beyond every event."""
        return _BEYOND

    def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        """Keep nothing."""

    def skip(self, shard: int, seq: int) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Close nothing."""


def archive_applier(context: ChildContext) -> Applier:
    """Return the applier that the configuration asks for."""
    return KeptArchive(context, SteadyClock()) if context.config.history.events else NoArchive()
