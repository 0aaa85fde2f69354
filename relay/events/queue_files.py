"""Local queues that subscriptions may name: a file of JSON lines each, synced, rotated by size (port `QueueFiles`).

What arrives while a file is being written is written together next, so that a slow disk costs one wait for many.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from relay.errors import TemporaryError
from relay.events.file import FileDestination
from relay.model.message import NewEvent

OPEN_MAX: Final = 64
DIRECTORY: Final = "queues"


class _Queue:
    """One file: what waits for it, and the write under way."""

    def __init__(self, file: FileDestination) -> None:
        self.file = file
        self.waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self.writing: asyncio.Task[None] | None = None
        self.turn = asyncio.Lock()  # of who writes or rewrites the file

    @property
    def idle(self) -> bool:
        """True while nobody has to do with the file."""
        return self.writing is None and not self.turn.locked()


class LocalQueues:
    """Appends to `data_dir/queues/ACCOUNT/NAME.jsonl`. Names were checked when they were subscribed."""

    def __init__(self, data_dir: Path, *, rotate_bytes: int, keep: int) -> None:
        self._directory = data_dir / DIRECTORY
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._open: dict[tuple[str, str], _Queue] = {}

    def set_limits(self, *, rotate_bytes: int, keep: int) -> None:
        """Use other limits; files are opened anew."""
        self._rotate_bytes, self._keep = rotate_bytes, keep
        for key in [key for key, queue in self._open.items() if queue.idle]:
            self._open.pop(key).file.close()

    async def append(self, account: str, name: str, line: bytes) -> None:
        """Append one line, synced on return. Raise TemporaryError."""
        queue = self._queue(account, name)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.waiting.append((line, done))
        if queue.writing is None:
            queue.writing = asyncio.create_task(self._write(queue))
        await done

    async def rewrite(self, run: Callable[[Path], int]) -> int:
        """Let something rewrite each queue's files in turn, while nothing is appended to them; return the sum."""
        number = 0
        for path in sorted(self._directory.glob("*/*.jsonl")):
            queue = self._queue(path.parent.name, path.stem)
            async with queue.turn:
                queue.file.close()
                number += await asyncio.to_thread(run, path)
        return number

    async def close(self) -> None:
        """Close all files after what is being written."""
        tasks = [queue.writing for queue in self._open.values() if queue.writing is not None]
        if tasks:
            await asyncio.wait(tasks)
        for queue in self._open.values():
            queue.file.close()
        self._open.clear()

    async def _write(self, queue: _Queue) -> None:
        while queue.waiting:
            batch, queue.waiting = queue.waiting, []
            failure: TemporaryError | None = None
            try:
                async with queue.turn:
                    await queue.file.publish([NewEvent("", "", "", line) for line, _ in batch])
            except TemporaryError as error:
                failure = error
            for _, done in batch:
                if done.done():
                    continue  # whoever asked was cancelled
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(TemporaryError(str(failure)))
        queue.writing = None

    def _queue(self, account: str, name: str) -> _Queue:
        key = (account, name)
        found = self._open.get(key)
        if found is None:
            idle = next((one for one, queue in self._open.items() if queue.idle), None)
            if len(self._open) >= OPEN_MAX and idle is not None:
                self._open.pop(idle).file.close()
            path = self._directory / account / f"{name}.jsonl"
            file = FileDestination(name, path, rotate_bytes=self._rotate_bytes, keep=self._keep)
            found = self._open[key] = _Queue(file)
        return found
