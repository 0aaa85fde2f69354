"""The permits process as the supervisor runs it: serves leases and lanes at `run/leases.sock`."""

import asyncio
import contextlib
from collections.abc import Sequence

from relay.errors import TemporaryError
from relay.policy.leases import Usage
from relay.runtime.board import Phase
from relay.runtime.children import ChildContext, Listener, Role, child_name
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.permits.keeper import Keeper
from relay.runtime.permits.lanes import LaneDesk
from relay.runtime.permits.server import PermitsServer, PermitsSettings, listen, serve_permits
from relay.runtime.permits.warmup import WarmUpDesk
from relay.runtime.rpc import short_address
from relay.runtime.settings import failure_limits, warmup_rules
from relay.store.adoption import shards_on_disk
from relay.store.permits_file import PermitsFile
from relay.store.usage import read_usage

LEASES_SOCKET = "leases.sock"
FILE = "permits/permits.db"
METRICS_SECONDS = 2.0
STARTING_SECONDS = 3.0  # a worker that still starts may have connections already: it connects to us within a second


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
        clock = SteadyClock()
        self._grace_until = clock.monotonic() + STARTING_SECONDS
        settings = PermitsSettings(
            shards=tuple(sorted(shards)),
            read_usage=self._read_usage,
            failures=failure_limits(context.config.limits.auth),
            serving=lambda shard: self._serving(shard, clock.monotonic()),
        )
        file = PermitsFile(context.config.data_dir / FILE, context.log)
        known = file.read("standings")
        warmups = [file.read(name) for name in ("volumes", "holds", "levels")]
        self._keeper = Keeper(file, context.log)
        self._desk = LaneDesk(clock, self._keeper)
        self._desk.restore(known)
        rules = warmup_rules(context.config)
        self._warmup = WarmUpDesk(rules, clock, self._keeper, context.log, context.metrics)
        self._warmup.book.restore(*warmups)
        context.ops.add("warmup.today", self._warmup.listing)
        context.ops.add("warmup.release", self._warmup.release)
        context.ops.add("lanes.list", self._desk.listing)
        context.ops.add("lanes.effects", self._desk.effects)
        context.ops.add("lanes.lift", self._desk.lift)
        with short_address(context.run_dir / LEASES_SOCKET) as address:
            listener = listen(address)
        serving = serve_permits(
            listener, settings, clock, self._stop, self._started, desk=self._desk, warmup=self._warmup
        )
        self._task = asyncio.create_task(serving)
        self._measure()

    def _started(self, permits: PermitsServer) -> None:
        self._permits = permits

    def _serving(self, shard: int, now: float) -> bool:
        """Say whether the worker of a shard may have connections to receivers."""
        row = self._context.board.rows.get(child_name(Role.WORKER, shard))
        phase = Phase.ABSENT if row is None else row.facts().phase
        return phase in {Phase.READY, Phase.DRAINING} or (phase is Phase.STARTING and now < self._grace_until)

    def _measure(self) -> None:
        """Tell how lanes are."""
        metrics = self._context.metrics
        self._warmup.tick()
        for what, number in self._desk.totals().items():
            metrics.gauge(f"relay_lanes_{what}", number)
        for kind, number in self._desk.standing_totals().items():
            metrics.gauge("relay_lane_effects", number, kind.value)
        self._timer = asyncio.get_running_loop().call_later(METRICS_SECONDS, self._measure)

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
        """Go by other schedules of warm-up; limits of lanes and of failed logins are known to the workers."""
        del listeners
        self._warmup.use(warmup_rules(config))

    async def drain(self, timeout_seconds: float) -> None:  # noqa: ARG002 (leases end with their workers)
        """Stop serving."""
        self._stop.set()
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._timer.cancel()
            self._warmup.close()
            self._keeper.close()

    def ping(self) -> None:
        """Raise when the server is not running."""
        if self._task is not None and self._task.done():
            self._task.result()
            raise RuntimeError("permits stopped serving")
