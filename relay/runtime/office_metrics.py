"""The metrics of the whole relay, gathered by the office from every process and from the board."""

import asyncio
import time
from pathlib import Path

from cryptography import x509

from relay import __version__
from relay.errors import StorageError
from relay.ports import Json
from relay.runtime.board import Phase, RowFacts, monotonic_ms
from relay.runtime.children import ChildContext
from relay.runtime.observe.aggregate import Aggregate, Sample
from relay.runtime.observe.exposition import KeptSeries, render
from relay.runtime.observe.metrics import ProcessMetrics, Series
from relay.runtime.observe.sampling import sample
from relay.runtime.office_health import BEAT_MS_MAX

_FRESH_SECONDS = 1.0


class Gathering:
    """Asks every process for its snapshot; several scrapes at once share one round."""

    def __init__(self, context: ChildContext) -> None:
        self._context = context
        self._aggregate = Aggregate()
        self._lock = asyncio.Lock()
        self._gathered = float("-inf")

    async def page(self) -> bytes:
        """Return the metrics page."""
        await self.gather()
        return render(self._aggregate, await self._kept())

    async def _kept(self) -> KeptSeries:
        """Return counters that are kept in files; none while they cannot be read."""
        from relay.runtime.observe.event_counts import kept_series  # noqa: PLC0415 (tests of the pages need no storage)

        try:
            return await asyncio.to_thread(kept_series, self._context.config.data_dir)
        except StorageError as error:
            self._context.log.warning("the counts of events cannot be told", error=str(error))
            return {}

    async def totals(self) -> dict[Series, float]:
        """Return the counters of all processes together."""
        await self.gather()
        return self._aggregate.totals()[0]

    async def gather(self) -> None:
        """Take a new sample of everybody, unless the last one is a second old at most."""
        async with self._lock:
            if time.monotonic() - self._gathered < _FRESH_SECONDS:
                return
            context = self._context
            others = [name for name in context.board.rows if name != context.name]
            await asyncio.gather(*(sample(context.run_dir, name, self._aggregate) for name in others))
            self._aggregate.take(context.name, Sample(context.metrics.snapshot()))
            self._aggregate.take("board", Sample(self._board()))
            self._gathered = time.monotonic()

    def _board(self) -> Json:
        """Return what the board says, as the snapshot of a process that never restarts."""
        rows = self._context.board.facts()
        config = self._context.config
        metrics = ProcessMetrics("board")
        for row in rows:
            _add_row(metrics, row)
        metrics.gauge("relay_connections_limit", config.limits.connections_max)
        metrics.gauge("relay_draining", float(any(row.phase is Phase.DRAINING for row in rows)))
        metrics.gauge("relay_build_info", 1, __version__)
        if any(listener.tls != "none" for listener in config.listeners):
            metrics.gauge("relay_certificate_expires_seconds", certificate_end(config.tls.certificate))
        return metrics.snapshot()


def certificate_end(path: Path) -> float:
    """Return when a certificate ends, in seconds since 1970; 0 when it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return 0.0


def _add_row(metrics: ProcessMetrics, row: RowFacts) -> None:
    silent_ms = max(0, monotonic_ms() - row.heartbeat_ms) if row.heartbeat_ms else 0
    up = float(row.phase is Phase.READY and silent_ms <= BEAT_MS_MAX)
    metrics.gauge("relay_process_up", up, row.name)
    metrics.gauge("relay_process_heartbeat_seconds", silent_ms / 1000, row.name)
    metrics.gauge("relay_process_sessions", row.sessions, row.name)
    metrics.count("relay_process_restarts_total", row.name, amount=max(0, row.starts - 1))
    if row.name == "permits":
        metrics.gauge("relay_permits_up", up)
