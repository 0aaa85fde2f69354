"""Hands what came back to the worker that owns its message, over that worker's socket."""

import asyncio
import base64
from pathlib import Path

import orjson

from relay.errors import TemporaryError
from relay.pipeline.receive import Taken
from relay.ports import Log
from relay.runtime.rpc import short_address

TIMEOUT_SECONDS = 30.0
CALLS_MAX = 16
LINE_MAX_BYTES = 1024 * 1024
OPERATION = "feedback.take"


def owner_of(shard: int, workers: int) -> int:
    """Return the worker that has a shard: its own, or its part of those that more workers left behind."""
    return (shard - 1) % workers + 1


class WorkerPeers:
    """The other workers of this machine, by shard."""

    def __init__(self, run_dir: Path, workers: int, log: Log) -> None:
        self._run_dir = run_dir
        self._workers = workers
        self._log = log
        self._room = asyncio.Semaphore(CALLS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()

    def hand_over(self, shard: int, item_id: str, item: bytes, done: Taken) -> None:
        """Give an item to the owner of a shard; TemporaryError when it was not committed there."""
        task = asyncio.get_running_loop().create_task(self._give(shard, item_id, item, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give(self, shard: int, item_id: str, item: bytes, done: Taken) -> None:
        error: Exception | None = None
        try:
            async with self._room, asyncio.timeout(TIMEOUT_SECONDS):
                path = self._run_dir / f"worker-{owner_of(shard, self._workers):04d}.sock"
                await self._call(path, shard, item_id, item)
        except (OSError, TimeoutError, ValueError, TemporaryError) as failure:
            error = TemporaryError(
                f"the worker that has shard {shard} did not take it: {failure or type(failure).__name__}"
            )
        done(error)

    async def _call(self, path: Path, shard: int, item_id: str, item: bytes) -> None:
        with short_address(path) as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=LINE_MAX_BYTES)
        try:
            request = {"id": item_id, "op": OPERATION, "shard": shard, "item": base64.b64encode(item).decode()}
            writer.write(orjson.dumps(request) + b"\n")
            await writer.drain()
            answer = orjson.loads(await reader.readline())
        finally:
            writer.close()
        if not answer.get("ok"):
            raise TemporaryError(str(answer.get("error")))
