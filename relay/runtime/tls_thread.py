"""`office/tls.db` written from the office's event loop: on one thread, so that the loop waits for no disk."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from relay.errors import StorageError
from relay.ports import Log
from relay.store.tls_book import TlsBook

Result = TypeVar("Result")


class TlsThread:
    """The file, opened with its first use, and again after a fault."""

    def __init__(self, data_dir: Path, log: Log) -> None:
        self._data_dir = data_dir
        self._log = log
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tls")
        self._book: TlsBook | None = None

    async def run(self, work: Callable[[TlsBook], Result]) -> Result:
        """Do something to the file. Raise what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, work)

    async def close(self) -> None:
        """Close the file after what runs."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._close)
        self._pool.shutdown(wait=False)

    def _run(self, work: Callable[[TlsBook], Result]) -> Result:
        if self._book is None:
            self._book = TlsBook(self._data_dir, self._log)
        try:
            return work(self._book)
        except StorageError:
            self._close()
            raise

    def _close(self) -> None:
        if self._book is not None:
            self._book.close()
            self._book = None
