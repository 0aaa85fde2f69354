"""`notice.take`: the worker's side of handing the relay's own mail over.

The request names a notice, not its text: a custom verification mail may be larger than a line of the socket. It is
read from the catalog, and its body looked over, on a thread, because a large one takes longer than the event loop may
wait; the office hands over one at a time, so that at most one such mail is in memory.
"""

import asyncio
from functools import partial
from pathlib import Path

from relay.mail.scan import BodyScanner
from relay.model.content import BodyFacts
from relay.model.notice import Notice
from relay.pipeline.notices import TakeNotices
from relay.ports import Json
from relay.runtime.commits import committed
from relay.runtime.rpc import Ops, number
from relay.store.catalog import CATALOG_FILE
from relay.store.catalog_notices import read_notice

OPERATION = "notice.take"
SHARD = 1  # takes every notice: with a shard that depends on the number of workers, a repeat could go elsewhere
_SCAN_BYTES = 256 * 1024


class WorkerNotices:
    """Answers `notice.take` for the worker of shard 1."""

    def __init__(self, data_dir: Path, take: TakeNotices) -> None:
        self._catalog_file = data_dir / CATALOG_FILE
        self._take = take
        self._turn = asyncio.Lock()

    def register(self, ops: Ops) -> None:
        """Make the operation known."""
        ops.add(OPERATION, self.take)

    async def take(self, request: Json) -> None:
        """Commit a notice to this worker's shard; answered after the commit. One that is gone needs nothing."""
        notice_id = number(request, "notice", least=1)
        async with self._turn:
            found = await asyncio.to_thread(_read, self._catalog_file, notice_id)
            if found is None:
                return
            await committed(partial(self._take.take, *found))


def _read(catalog_file: Path, notice_id: int) -> tuple[Notice, BodyFacts] | None:
    notice = read_notice(catalog_file, notice_id)
    if notice is None:
        return None
    body, scanner = notice.content.body, BodyScanner()
    assert isinstance(body, bytes)
    for start in range(0, len(body), _SCAN_BYTES):
        scanner.feed(body[start : start + _SCAN_BYTES])
    return notice, scanner.finish()
