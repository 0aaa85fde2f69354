"""Releases what was held for a time, at the end of that time: after a restart too, because the end is on disk."""

from collections.abc import Callable
from typing import Final

from relay.errors import TemporaryError
from relay.ports import Clock, Log
from relay.store import operations
from relay.store.spool import ShardSpool

LOOK_SECONDS: Final = 30.0  # the clock may be set meanwhile
AGAIN_SECONDS: Final = 1.0

CallLater = Callable[[float, Callable[[], None]], object]


class HoldEnds:
    """The timer of one shard; `released` is called after some were released."""

    def __init__(
        self, spool: ShardSpool, clock: Clock, call_later: CallLater, released: Callable[[], None], log: Log
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._call_later = call_later
        self._released = released
        self._log = log
        self._plan = 0  # the number of the timer that counts
        self._busy = False
        self._stopped = False

    def stop(self) -> None:
        """Release nothing more; the next start does."""
        self._stopped = True

    def look(self) -> None:
        """Release what has ended, and look again when the next hold ends; call it when holds were made."""
        if self._stopped or self._busy:
            return
        try:
            end_ms = self._spool.next_end_ms()
        except TemporaryError as error:
            self._log.warning("the ends of holds cannot be read", error=str(error))
            self._again(AGAIN_SECONDS)
            return
        now_ms = self._clock.now_ms()
        if end_ms is None or end_ms > now_ms:
            self._again(LOOK_SECONDS if end_ms is None else min(LOOK_SECONDS, (end_ms - now_ms) / 1000))
            return
        self._busy = True
        self._spool.submit(operations.end_holds(now_ms, operations.KEYS_MAX), self._ended)

    def _ended(self, keys: list[int] | None, error: Exception | None) -> None:
        self._busy = False
        if error is not None or keys is None:
            self._log.error("holds that have ended could not be released", error=str(error))
            self._again(AGAIN_SECONDS)
            return
        if keys:
            self._log.info("holds have ended", shard=self._spool.shard, deliveries=len(keys))
            self._released()
        self.look()

    def _again(self, seconds: float) -> None:
        self._plan += 1
        plan = self._plan
        self._call_later(seconds, lambda: self.look() if plan == self._plan else None)
