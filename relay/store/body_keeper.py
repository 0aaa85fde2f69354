"""The thread that keeps large bodies: synced before the row goes to the writer, removed when that fails."""

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from queue import SimpleQueue

from relay.errors import CorruptionError, StorageError
from relay.model.message import NewMessage
from relay.ports import Done, Log
from relay.store.bodies import Bodies
from relay.store.jobs import Append
from relay.store.writer import CrashPoint


class BodyKeeper:
    """Takes messages whose body is a file, in order. `no_room` is called on the thread when the disk is full."""

    def __init__(
        self,
        shard: int,
        bodies: Bodies,
        log: Log,
        submit: Callable[[Append], None],
        *,
        no_room: Callable[[], None],
        crash_point: CrashPoint | None,
    ) -> None:
        self._shard = shard
        self._bodies = bodies
        self._log = log
        self._submit = submit
        self._no_room = no_room
        self._crash_point = crash_point
        self._queue: SimpleQueue[tuple[NewMessage, Done] | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="spool-bodies", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; faults are told on `loop`."""
        self._loop = loop
        self._thread.start()

    def put(self, message: NewMessage, done: Done) -> None:
        """Keep the body of a message, then write its row; never waits."""
        self._queue.put((message, done))

    def stop(self) -> None:
        """Keep what waits, and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def remove(self, name: str) -> None:
        """Remove a body whose row is gone."""
        try:
            self._bodies.remove(name)
        except OSError as error:
            self._log.warning("spool body left behind", name=name, error=str(error))

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            new, done = entry
            try:
                self._submit(self._kept(new, done))
            except (OSError, CorruptionError) as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    self._no_room()
                self._log.error("spool body write failed", shard=self._shard, error=str(error))
                self._answer(done, StorageError(f"a message body cannot be kept: {error}"))

    def _kept(self, new: NewMessage, done: Done) -> Append:
        body = new.content.body
        assert not isinstance(body, bytes)
        name, checksum = self._bodies.keep(new.message.key, body, new.content.head)
        if self._crash_point:
            self._crash_point("body synced")

        def finished(error: Exception | None) -> None:
            if error is not None:
                self.remove(name)
            done(error)

        return Append(new, finished, name, checksum)

    def _answer(self, done: Done, error: Exception) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(done, error)
