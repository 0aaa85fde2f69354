"""Looks for the EICAR test file in large bodies, beside the event loop (`relay.mail.eicar`).

A thread is enough: each block costs it about 0.1 ms of the interpreter, which it gives up with every read.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from relay.mail.eicar import blocks_contain_eicar
from relay.model.content import BodyFile
from relay.model.refusal import Reason, Refusal
from relay.ports import Log

BLOCK_BYTES = 64 * 1024
THREADS = 1

Answer = Callable[[bool | Refusal], None]


class Examiner:
    """Reads body files of one worker; they wait in line."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._threads = ThreadPoolExecutor(THREADS, "examine")
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, body: BodyFile, answer: Answer) -> None:
        """Say whether a body has the test file in it; a body that cannot be read is refused for now."""
        task = asyncio.get_running_loop().create_task(self._run(body, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, body: BodyFile, answer: Answer) -> None:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, _examine, body)
        except (OSError, RuntimeError) as error:
            self._log.error("body not examined", error=str(error))
            answer(Refusal(Reason.TEMPORARY))
            return
        answer(found)


def _examine(body: BodyFile) -> bool:
    descriptor = os.open(body.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return blocks_contain_eicar(_blocks(descriptor, body))
    finally:
        os.close(descriptor)


def _blocks(descriptor: int, body: BodyFile) -> Iterator[bytes]:
    position, end = body.offset_bytes, body.offset_bytes + body.size_bytes
    while position < end:
        block = os.pread(descriptor, min(BLOCK_BYTES, end - position), position)
        if not block:
            raise OSError("the body is shorter than it was")
        position += len(block)
        yield block
