"""Writes for the permits process without making it wait: one thread, one commit for all that gathered meanwhile."""

import asyncio
import threading
from collections.abc import Callable, Sequence

from relay.errors import StorageError
from relay.ports import Log
from relay.store.permits_file import PermitsFile, Write

WAITING_MAX = 50_000

Kept = Callable[[bool], None]


class Keeper:
    """Takes writes on the event loop; `done` is called there after the sync: True, or False when it failed."""

    def __init__(self, file: PermitsFile, log: Log) -> None:
        self._file = file
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._waiting: list[tuple[Sequence[Write], Kept | None]] = []
        self._closed = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def write(self, writes: Sequence[Write], done: Kept | None = None) -> None:
        """Write soon. A file that takes nothing for long refuses further writes at once."""
        with self._changed:
            if len(self._waiting) < WAITING_MAX and not self._closed:
                self._waiting.append((writes, done))
                self._changed.notify()
                return
        if done is not None:
            self._loop.call_soon(done, False)

    def close(self) -> None:
        """Write what waits, then close the file."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._file.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                batch, self._waiting = self._waiting, []
                if not batch:
                    return
            kept = self._write([write for writes, _ in batch for write in writes])
            answers = [done for _, done in batch if done is not None]
            if answers and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_answer, answers, kept)

    def _write(self, writes: Sequence[Write]) -> bool:
        try:
            self._file.write(writes)
        except StorageError as error:
            if not self._failing:
                self._log.error("permits cannot keep what it knows", error=str(error))
            self._failing = True
            return False
        self._failing = False
        return True


def _answer(answers: Sequence[Kept], kept: bool) -> None:  # noqa: FBT001 called from the loop
    for done in answers:
        done(kept)
