"""The catalog, written from an event loop: one thread has the file open, so that the loop waits for no commit."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from relay.errors import StorageError
from relay.runtime import settings
from relay.store.catalog import Catalog, open_existing_catalog

Result = TypeVar("Result")


class CatalogThread:
    """The catalog open for writing on one thread, made when it is first needed, and anew after a fault."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="catalog")
        self._catalog: Catalog | None = None

    async def run(self, work: Callable[[Catalog], Result]) -> Result:
        """Do something to the catalog. Raise what it raises, a TemporaryError when the file is busy."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, work)

    async def close(self) -> None:
        """Close the file after what runs."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._close)
        self._pool.shutdown(wait=False)

    async def reopen(self) -> None:
        """Look at the file's name again at the next use: it may be another file."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._close)

    def _run(self, work: Callable[[Catalog], Result]) -> Result:
        if self._catalog is None:
            self._catalog = open_existing_catalog(self._data_dir, settings.master_key(self._data_dir))
        try:
            return work(self._catalog)
        except StorageError:
            self._close()
            raise

    def _close(self) -> None:
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None
