"""Closed accounts and old audit records, as a service of the office: both end in time (PRIV-008, PRIV-009).

90 days after an account was closed all its data is deleted. The steps can be repeated, and the account itself goes
last: what a kill interrupts, the next round ends. Mail that is held still is deleted first, and becomes history; then
the round waits for the next.
"""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from relay.errors import TemporaryError
from relay.model.delivery import OPEN_STATES
from relay.ports import Clock
from relay.runtime import settings
from relay.runtime.audit import forget_before, record
from relay.runtime.children import ChildContext, Role
from relay.runtime.clock import SteadyClock
from relay.runtime.office_jobs import Job, Scheduled
from relay.runtime.peers import worker_socket
from relay.runtime.privacy_places import FORGET_ACCOUNT, REMOVE_ITEMS
from relay.runtime.queue_work import Order
from relay.runtime.rpc import ask
from relay.signing.secrets import derive
from relay.store.account_removal import remove_rows
from relay.store.adoption import shard_paths, shards_on_disk
from relay.store.catalog import Catalog, open_existing_catalog
from relay.store.history_privacy import remove_account_archive, remove_account_history
from relay.store.spool_privacy import open_of

KEPT_MS: Final = 90 * 86_400_000
EVERY_SECONDS: Final = 15.0  # also how soon a round that failed, because others were not up yet, is made again
AUDIT_SECONDS: Final = 3600.0
ASK_SECONDS: Final = 600.0
DAY_SECONDS: Final = 86_400.0
FILES: Final = ("events/*.db", "office/*.db", "permits/*.db", "suppression.db")


class AccountService(Scheduled):
    """The service that the office runs (`relay.runtime.service.Service`). Tests may give the clock."""

    def __init__(self, context: ChildContext, *, clock: Clock | None = None) -> None:
        self._data_dir = context.config.data_dir
        self._clock = clock or SteadyClock()
        jobs = (
            Job("closed accounts", EVERY_SECONDS, self.look, timeout_seconds=DAY_SECONDS),
            Job("audit retention", AUDIT_SECONDS, self._forget_records),
        )
        super().__init__(context, jobs)

    async def look(self) -> None:
        """Delete what was closed 90 days ago."""
        for account in await asyncio.to_thread(self._due):
            if await self._mail_deleted(account):
                continue  # it is history in a moment: next round
            await self._delete(account)

    async def _forget_records(self) -> None:
        moment = datetime.fromtimestamp(self._clock.now_ms() / 1000 - self._context.config.audit.retention, UTC)
        await asyncio.to_thread(forget_before, self._data_dir, moment)

    def _due(self) -> list[str]:
        with self._catalog() as catalog:
            return list(catalog.accounts.closed_before(self._clock.now_ms() - KEPT_MS))

    async def _mail_deleted(self, account: str) -> bool:
        """Delete mail that is still held or queued; say whether there was any."""
        order = Order("delete", OPEN_STATES)
        found = False
        for shard in shards_on_disk(self._data_dir):
            keys = await asyncio.to_thread(open_of, shard_paths(self._data_dir, shard).database, account)
            found = found or bool(keys)
            for start in range(0, len(keys), order.batch):
                some = keys[start : start + order.batch]
                await ask(self._worker(shard), "queue.act", ASK_SECONDS, shard=shard, keys=some, **order.as_json())
        return found

    async def _delete(self, account: str) -> None:
        socket = self._context.run_dir / "events.sock"
        items = int((await ask(socket, REMOVE_ITEMS, ASK_SECONDS, account=account))["count"])
        for shard in shards_on_disk(self._data_dir):
            await ask(self._worker(shard), FORGET_ACCOUNT, ASK_SECONDS, shard=shard, account=account)
        removed = {"waiting": items, **await asyncio.to_thread(self._delete_files, account)}
        record(self._data_dir, "account.delete", account, removed, caller="office")
        self._context.log.info("closed account deleted", account=account, **removed)

    def _worker(self, shard: int) -> Path:
        workers = sum(row.name.startswith(Role.WORKER) for row in self._context.board.facts())
        return worker_socket(self._context.run_dir, shard, workers)

    def _delete_files(self, account: str) -> dict[str, int]:
        key = derive(settings.master_key(self._data_dir), settings.SEARCH_PURPOSE)
        histories = [shard_paths(self._data_dir, shard).history for shard in shards_on_disk(self._data_dir)]
        removed = {
            "messages": sum(remove_account_history(history, account, key) for history in histories),
            "events": remove_account_archive(self._data_dir / "events" / "archive", account),
        }
        shutil.rmtree(self._data_dir / "queues" / account, ignore_errors=True)
        with self._catalog() as catalog:
            for job in catalog.import_jobs.page(account, 1 << 20):
                shutil.rmtree(self._data_dir / "imports" / job.job_id, ignore_errors=True)
            removed["suppressed"] = catalog.suppression.remove_all(account)
        files = sorted(path for pattern in FILES for path in self._data_dir.glob(pattern))
        removed["rows"] = sum(remove_rows(path, account) for path in files)
        removed["rows"] += self._delete_account(self._data_dir / "catalog.db", account)
        return removed

    def _delete_account(self, catalog_file: Path, account: str) -> int:
        """Delete the account itself, unless it was opened again meanwhile."""
        if account not in self._due():
            raise TemporaryError(f"account {account} was opened again while it was deleted")
        return remove_rows(catalog_file, account)

    def _catalog(self) -> Catalog:
        config = self._context.config
        key = settings.master_key(self._data_dir)
        return open_existing_catalog(self._data_dir, key, now_ms=self._clock.now_ms, hostname=config.hostname)
