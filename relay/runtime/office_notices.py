"""The relay's own mail, as a service of the office: notices handed to a worker, links that ended.

Twice a second the catalog's version is compared (a few microseconds); when it moved, or something was left, the
courier goes round. All writing of the catalog is done on one thread of its own, because a commit waits for the disk
and for other writers. While workers are down mails wait in the catalog, and the rounds come less often.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from relay.errors import RelayError
from relay.mail.letter import Letter
from relay.model.check import StateChange
from relay.runtime import settings
from relay.runtime.catalog_thread import CatalogThread
from relay.runtime.children import ChildContext, Role
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.courier import hand_over_all
from relay.runtime.peers import worker_socket
from relay.runtime.rpc import ask
from relay.runtime.worker_notices import OPERATION, SHARD
from relay.store.catalog import CATALOG_FILE
from relay.store.directory_file import ReadFile

POLL_SECONDS = 0.5
AGAIN_SECONDS_MAX = 5.0
EXPIRE_SECONDS = 5.0
TAKE_SECONDS = 30.0


class NoticesOfCatalog:
    """The notices of the catalog (`relay.runtime.courier.NoticeBook`)."""

    def __init__(self, catalog: CatalogThread) -> None:
        self._catalog = catalog

    async def waiting(self, limit: int, after: int) -> Sequence[int]:
        """Return numbers beyond `after`, oldest first."""
        return await self._catalog.run(lambda catalog: catalog.notices.waiting(limit, after))

    async def forget(self, notice_ids: Sequence[int]) -> None:
        """Drop what was committed."""
        await self._catalog.run(lambda catalog: catalog.notices.forget(notice_ids))


class NoticeService:
    """The service that the office runs (`relay.runtime.office.Service`)."""

    def __init__(self, context: ChildContext) -> None:
        self._context = context
        workers = sum(1 for name in context.board.rows if name.startswith(Role.WORKER))
        self._socket = worker_socket(context.run_dir, SHARD, workers)
        self._catalog = CatalogThread(context.config.data_dir)
        self._versions = ReadFile(context.config.data_dir / CATALOG_FILE, "catalog.sql", self._changed)
        self._letterhead = settings.letterhead(context.config)
        self._clock = SteadyClock()
        self._replaced = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin with what waited while the relay was stopped."""
        with contextlib.suppress(RelayError):  # the rounds say why, and try again
            await self._catalog.run(lambda _catalog: None)
            self._versions.refresh()
        self._task = asyncio.create_task(self._go_round(), name="notices")

    async def reload(self, config: Config) -> None:
        """Take on a new configuration."""
        self._letterhead = settings.letterhead(config)

    async def close(self) -> None:
        """End; what was not handed over waits for the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._catalog.close()
        self._versions.close()

    def check(self) -> None:
        """Raise when the rounds have ended by themselves."""
        if self._task is not None and self._task.done():
            self._task.result()
            raise RuntimeError("handing over notices ended")

    async def _go_round(self) -> None:
        loop = asyncio.get_running_loop()
        wait, expire_at, waits_for = POLL_SECONDS, 0.0, ""
        pending = True
        while True:
            try:
                if loop.time() >= expire_at:
                    expire_at = loop.time() + EXPIRE_SECONDS
                    await self._catalog.run(lambda catalog: catalog.verifications.expire(self._tell))
                pending = self._versions.refresh() or pending
                if pending:
                    await self._reopen_when_replaced()
                    pending = (
                        await hand_over_all(NoticesOfCatalog(self._catalog), self._hand_over, self._context.log) > 0
                    )
                wait = self._longer(wait) if pending else POLL_SECONDS
                waits_for = ""
            except RelayError as error:
                pending, wait = True, self._longer(wait)
                if str(error) != waits_for:  # once for each reason, not for each round
                    waits_for = str(error)
                    self._context.log.warning("notices wait", reason=waits_for)
            await asyncio.sleep(wait)

    def _longer(self, wait: float) -> float:
        return min(AGAIN_SECONDS_MAX, wait * 1.5)

    async def _hand_over(self, notice_id: int) -> None:
        await ask(self._socket, OPERATION, TAKE_SECONDS, notice=notice_id)

    async def _reopen_when_replaced(self) -> None:
        if self._replaced:
            self._replaced = False
            await self._catalog.reopen()

    def _changed(self, accounts: set[str] | None) -> None:
        """Note that a restore put another catalog in this one's place (or that it was just opened)."""
        self._replaced = self._replaced or accounts is None

    def _tell(self, contact: str, change: StateChange) -> Letter:
        return settings.tell_of_address(self._letterhead, self._clock.now_ms(), contact, change)
