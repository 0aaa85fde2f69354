"""Large bodies while they arrive: files in the `incoming` directory, written by one thread beside the event loop.

The loop's thread only gathers pieces; a block is handed to the writer once it is worth a system call. A connection
stops reading while more than `BACKLOG_MAX_BYTES` wait, so memory per session is bounded by a few blocks. The file is
closed when `finish` answers; making it durable and moving it away is the spool's work. Aborted bodies are removed.
"""

import asyncio
import contextlib
import errno
import os
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from relay.model.content import BodyFile
from relay.model.refusal import Reason, Refusal

BLOCK_BYTES = 1 << 20
BACKLOG_MAX_BYTES = 2 * BLOCK_BYTES
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class IncomingBodies:
    """Opens bodies in one directory; owns the writer thread, which starts with the first large body."""

    def __init__(self, directory: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._directory = directory
        self._loop = loop
        self._writer: ThreadPoolExecutor | None = None

    def open(self, on_room: Callable[[], None]) -> "IncomingBody":
        """Start a body; `on_room` is called, on the loop's thread, whenever its backlog was written."""
        if self._writer is None:
            self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="incoming")
        path = self._directory / f"{uuid.uuid4().hex}.body"
        return IncomingBody(str(path), self._writer, self._loop, on_room)

    def close(self) -> None:
        """Wait for what is being written and end the writer."""
        if self._writer is not None:
            self._writer.shutdown(wait=True)
            self._writer = None


class IncomingBody:
    """One body on its way to disk; a `BodySink` of the SMTP engine."""

    def __init__(
        self, path: str, writer: ThreadPoolExecutor, loop: asyncio.AbstractEventLoop, on_room: Callable[[], None]
    ) -> None:
        self._path = path
        self._writer = writer
        self._loop = loop
        self._on_room = on_room
        self._chunks: list[bytes] = []
        self._waiting_bytes = 0
        self._size = 0
        self._descriptor = -1
        self._busy = False
        self._aborted = self._removed = False  # removed: its removal was begun
        self._error: BaseException | None = None
        self._done: Callable[[BodyFile | Refusal], None] | None = None

    @property
    def overfull(self) -> bool:
        """True while so much waits for the disk that no more should be read."""
        return self._busy and self._waiting_bytes > BACKLOG_MAX_BYTES

    def write(self, chunk: bytes) -> None:
        """Take the next piece; dropped once a write failed."""
        if self._error is not None or self._aborted:
            return
        self._chunks.append(chunk)
        self._waiting_bytes += len(chunk)
        self._size += len(chunk)
        if self._waiting_bytes >= BLOCK_BYTES and not self._busy:
            self._hand_over()

    def finish(self, done: Callable[[BodyFile | Refusal], None]) -> None:
        """Write the rest and answer with the file, or with the refusal that fits the fault."""
        self._done = done
        if not self._busy:
            self._advance()

    def abort(self) -> None:
        """Drop the body and its file, also after `finish` has answered."""
        self._aborted = True
        self._done = None
        self._chunks.clear()
        if not self._busy:
            self._advance()

    def _advance(self) -> None:
        """Take the next step while the writer does not work on this body."""
        if self._removed:
            return
        if self._aborted or self._error is not None:
            self._busy = self._removed = True
            self._submit(self._remove)
        elif self._chunks or self._descriptor < 0:
            self._hand_over()
        else:
            self._busy = True
            self._submit(self._close)

    def _hand_over(self) -> None:
        chunks, self._chunks = self._chunks, []
        self._waiting_bytes = 0
        self._busy = True
        self._submit(lambda: self._write_out(chunks))

    def _submit(self, work: Callable[[], bool]) -> None:
        try:
            self._writer.submit(work).add_done_callback(self._told)
        except RuntimeError:  # the writer ended: the process is going down, adoption removes the file
            self._aborted = True

    def _told(self, future: "Future[bool]") -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stepped, future)

    def _stepped(self, future: "Future[bool]") -> None:
        self._busy = False
        error = future.exception()
        if error is not None:  # whatever it is (no memory, too), the client is told, and the file removed
            self._error = self._error or error
            self._chunks.clear()
        ended = error is None and future.result()
        if ended and not (self._aborted and not self._removed):
            self._answer()
        elif self._aborted or self._done is not None:
            self._advance()
        elif self._waiting_bytes >= BLOCK_BYTES:
            self._hand_over()
        self._on_room()
        if error is not None and not isinstance(error, OSError):
            raise error  # to the log

    def _answer(self) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        if self._error is None:
            done(BodyFile(self._path, 0, self._size))
        else:
            full = isinstance(self._error, OSError) and self._error.errno in _DISK_FULL
            done(Refusal(Reason.DISK_FULL if full else Reason.RECEIVE_FAILED))

    # --- on the writer's thread; each step returns True when it was the last one ---------------------------------

    def _write_out(self, chunks: list[bytes]) -> bool:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        view = memoryview(b"".join(chunks))
        while view:
            view = view[os.write(self._descriptor, view) :]
        return False

    def _close(self) -> bool:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
        return True

    def _remove(self) -> bool:
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):  # what cannot be removed now is removed at adoption
            if descriptor >= 0:
                os.close(descriptor)
            Path(self._path).unlink(missing_ok=True)
        return True
