"""Turns at the name servers: bounded, first turns before further ones, zones taking turns.

Questions of one zone (the last two labels) wait behind each other; whoever asks about another zone is not behind
them. So neither thousands of names below one dead domain nor thousands of dead domains, once they have had their
first turn, keep a live one waiting.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """At most `turns_max` at a time. Lives on one event loop."""

    def __init__(self, turns_max: int) -> None:
        self._free = turns_max
        self._first: dict[str, deque[asyncio.Future[None]]] = {}
        self._further: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def full(self) -> bool:
        """True when a question would have to wait."""
        return self._free <= 0

    @asynccontextmanager
    async def turn(self, name: str, *, first: bool) -> AsyncIterator[None]:
        """Wait for a turn, and give it back at the end of the block."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(self._first if first else self._further, zone_of(name))
        try:
            yield
        finally:
            self._give_back()

    async def _wait(self, waiting: dict[str, deque[asyncio.Future[None]]], zone: str) -> None:
        mine = asyncio.get_running_loop().create_future()
        waiting.setdefault(zone, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # the turn came at the same moment
                self._give_back()
            raise

    def _give_back(self) -> None:
        for waiting in (self._first, self._further):
            while waiting:
                zone = next(iter(waiting))
                queue = waiting.pop(zone)
                mine = queue.popleft()
                if queue:
                    waiting[zone] = queue  # to the end of the line
                if not mine.done():
                    mine.set_result(None)
                    return
        self._free += 1


def zone_of(name: str) -> str:
    """Return the last two labels of a name."""
    return ".".join(name.rstrip(".").lower().rsplit(".", 2)[-2:])
