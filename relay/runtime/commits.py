"""Waiting for a commit: what calls back when it is on disk, as something to await."""

import asyncio
from collections.abc import Callable

from relay.ports import Done


async def committed(begin: Callable[[Done], None]) -> None:
    """Begin a write and return when it is on disk; raise what it failed with. `begin` is given who to tell."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    begin(answer)
    await done
