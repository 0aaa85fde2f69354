"""The permits process as the supervisor runs it: serves leases at `run/leases.sock`."""

import asyncio
import contextlib
from collections.abc import Sequence

from relay.errors import TemporaryError
from relay.policy.leases import Usage
from relay.runtime.board import Phase
from relay.runtime.children import ChildContext, Listener, Role, child_name
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.permits.server import PermitsServer, PermitsSettings, listen, serve_permits
from relay.runtime.rpc import short_address
from relay.runtime.settings import failure_limits
from relay.store.adoption import shards_on_disk
from relay.store.usage import read_usage

LEASES_SOCKET = "leases.sock"


class PermitsBody:
    """Child body: nothing but permits, so that no other work ever delays a lease."""

    def __init__(self, context: ChildContext) -> None:
        self._context = context
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._permits: PermitsServer | None = None

    async def start(self) -> None:
        """Serve; grants to limited accounts begin when every shard's usage is known."""
        context = self._context
        workers = [int(name.rpartition("-")[2]) for name in context.board.rows if name.startswith(Role.WORKER)]
        shards = {*workers, *shards_on_disk(context.config.data_dir)}
        settings = PermitsSettings(
            shards=tuple(sorted(shards)),
            read_usage=self._read_usage,
            failures=failure_limits(context.config.limits.auth),
        )
        with short_address(context.run_dir / LEASES_SOCKET) as address:
            listener = listen(address)
        serving = serve_permits(listener, settings, SteadyClock(), self._stop, self._started)
        self._task = asyncio.create_task(serving)

    def _started(self, permits: PermitsServer) -> None:
        self._permits = permits

    def _read_usage(self, shard: int, first_minute: int) -> Usage | None:
        """Return the usage of a shard whose worker is not there to announce it."""
        row = self._context.board.rows.get(child_name(Role.WORKER, shard))
        if row is not None and row.facts().phase is not Phase.ABSENT:
            return None
        try:
            return read_usage(self._context.config.data_dir, shard, first_minute)
        except TemporaryError:
            return None

    async def reload(self, config: Config, listeners: Sequence[Listener]) -> None:
        """Limits of failed logins are known to the workers; nothing here depends on the rest."""

    async def drain(self, timeout_seconds: float) -> None:  # noqa: ARG002 (leases end with their workers)
        """Stop serving."""
        self._stop.set()
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def ping(self) -> None:
        """Raise when the server is not running."""
        if self._task is not None and self._task.done():
            self._task.result()
            raise RuntimeError("permits stopped serving")
