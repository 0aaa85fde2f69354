"""Hands what came back to the worker that owns its message, over that worker's socket."""

import asyncio
import base64
from pathlib import Path

from relay.errors import RelayError, TemporaryError
from relay.pipeline.returned import Taken
from relay.ports import Log
from relay.runtime.children import Role, child_name
from relay.runtime.rpc import ask

TIMEOUT_SECONDS = 30.0
CALLS_MAX = 16
OPERATION = "feedback.take"


def owner_of(shard: int, workers: int) -> int:
    """Return the worker that has a shard: its own, or its part of those that more workers left behind."""
    return (shard - 1) % workers + 1


def worker_socket(run_dir: Path, shard: int, workers: int) -> Path:
    """Return where the worker that has a shard answers."""
    return run_dir / f"{child_name(Role.WORKER, owner_of(shard, workers))}.sock"


class WorkerPeers:
    """The other workers of this machine, by shard."""

    def __init__(self, run_dir: Path, workers: int, log: Log) -> None:
        self._run_dir = run_dir
        self._workers = workers
        self._log = log
        self._room = asyncio.Semaphore(CALLS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()

    def hand_over(self, shard: int, item_id: str, item: bytes, done: Taken) -> None:  # noqa: ARG002 (the port)
        """Give an item to the owner of a shard; TemporaryError when it was not committed there."""
        task = asyncio.get_running_loop().create_task(self._give(shard, item, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give(self, shard: int, item: bytes, done: Taken) -> None:
        error: Exception | None = None
        path = worker_socket(self._run_dir, shard, self._workers)
        text = base64.b64encode(item).decode()
        try:
            async with self._room:
                await ask(path, OPERATION, TIMEOUT_SECONDS, shard=shard, item=text)
        except RelayError as failure:
            error = TemporaryError(f"the worker that has shard {shard} did not take it: {failure}")
        done(error)
