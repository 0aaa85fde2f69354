"""The office: what may be slow and must not delay mail. Metrics and health pages, scheduled jobs.

The office reads other processes' shared memory and sockets; it owns `office/` and nothing else (into the catalog it
writes as commands do), so that its death costs nothing but a moment without pages and notices.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from relay.runtime.board import monotonic_ms
from relay.runtime.children import ChildContext, Listener
from relay.runtime.config.model import Config
from relay.runtime.office_health import Health, unready
from relay.runtime.office_jobs import Job, Schedule
from relay.runtime.office_metrics import Gathering
from relay.runtime.service import ServiceFactory

_LOOK_SECONDS = 5.0
_GATHER_SECONDS = 10.0  # what a worker counted since then is lost when it is killed
_PROBE_SECONDS = 5.0
_QUOTA_RULES_SECONDS = 3600.0


def default_services(gathering: Gathering) -> tuple[ServiceFactory, ...]:
    """Return what this release runs in the office."""
    from relay.runtime.office_accounts import AccountService  # noqa: PLC0415
    from relay.runtime.office_addresses import AddressService  # noqa: PLC0415 (tests of the pages need no storage)
    from relay.runtime.office_alarms import AlarmService  # noqa: PLC0415
    from relay.runtime.office_checks import CheckService  # noqa: PLC0415
    from relay.runtime.office_dkim import DkimService  # noqa: PLC0415
    from relay.runtime.office_linked import LinkedDomainService  # noqa: PLC0415
    from relay.runtime.office_notices import NoticeService  # noqa: PLC0415
    from relay.runtime.office_own import OwnService  # noqa: PLC0415
    from relay.runtime.office_pools import ManagedPoolService  # noqa: PLC0415
    from relay.runtime.office_reputation import ReputationService  # noqa: PLC0415
    from relay.runtime.office_snds import SndsService  # noqa: PLC0415
    from relay.runtime.office_suppression import SuppressionService  # noqa: PLC0415
    from relay.runtime.office_tls import TlsService  # noqa: PLC0415

    return (
        NoticeService,
        CheckService,
        DkimService,
        AddressService,
        lambda context: ManagedPoolService(context, gathering),
        OwnService,
        SuppressionService,
        TlsService,
        ReputationService,
        AlarmService,
        SndsService,
        LinkedDomainService,
        AccountService,
    )


class OfficeBody:
    """The child body of the office."""

    def __init__(self, context: ChildContext, services: Sequence[ServiceFactory] | None = None) -> None:
        from relay.runtime.office_http import HttpListeners, Pages  # noqa: PLC0415 (no other process pays for HTTP)

        self._context = context
        self._health = Health()
        self._gathering = Gathering(context)
        self._storage = StorageProbe(context.config.data_dir)
        self._http = HttpListeners(Pages(self._gathering.page, self.alive, self.ready))
        jobs = (
            Job("health", _LOOK_SECONDS, self._look),
            Job("metrics", _GATHER_SECONDS, self._gathering.gather),
            Job("quota rules", _QUOTA_RULES_SECONDS, self._quota_rules),
        )
        self._schedule = Schedule(jobs, context.log)
        factories = default_services(self._gathering) if services is None else services
        self._services = [make(context) for make in factories]

    async def start(self) -> None:
        """Serve pages and begin all services."""
        await self._http.serve(self._context.listeners, self._context.config)
        for service in self._services:
            await service.start()
        self._schedule.start()

    async def reload(self, config: Config, listeners: Sequence[Listener]) -> None:
        """Take on a new configuration; pages are served on without a gap on listeners that stay."""
        for service in self._services:
            await service.reload(config)
        await self._http.serve(listeners, config)

    async def drain(self, timeout_seconds: float) -> None:  # noqa: ARG002 (each part has a shorter limit of its own)
        """End services, then pages."""
        await self._schedule.close()
        for service in self._services:
            await service.close()
        await self._http.close()

    def ping(self) -> None:
        """Raise when a part has ended by itself."""
        self._http.check()
        for service in self._services:
            service.check()

    def alive(self) -> list[str]:
        """Return why the relay is not alive, one sentence each."""
        return self._health.faults(self._context.board.facts(), monotonic_ms(), int(time.time() * 1000))

    def ready(self) -> list[str]:
        """Return why the relay does not take mail now, one sentence each."""
        rows = self._context.board.facts()
        return unready(rows, monotonic_ms()) + self._storage.faults(self._context.config.limits.disk_free_min)

    async def _quota_rules(self) -> None:
        from relay.runtime.office_quotas import apply_rules  # noqa: PLC0415 (an office without rules has no storage)

        rules = self._context.config.quota_rules
        if rules.increase.enabled or rules.decrease.enabled:
            await asyncio.to_thread(apply_rules, self._context.config, self._context.log)

    async def _look(self) -> None:
        self._health.look(self._context.board.facts(), monotonic_ms())


class StorageProbe:
    """Whether the data directory can be written; the answer is good for a few seconds."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._looked = float("-inf")
        self._fault = ""

    def faults(self, free_bytes_min: int) -> list[str]:
        """Return why mail cannot be kept."""
        now = time.monotonic()
        if now - self._looked > _PROBE_SECONDS:
            self._looked = now
            self._fault = self._look(free_bytes_min)
        return [self._fault] if self._fault else []

    def _look(self, free_bytes_min: int) -> str:
        from relay.store.adoption import shard_paths, shards_on_disk  # noqa: PLC0415 (tests of the pages need none)
        from relay.store.room import room_bytes  # noqa: PLC0415

        try:
            with tempfile.NamedTemporaryFile(dir=self._data_dir / "office", prefix="probe-") as probe:
                probe.write(b"probe")
        except OSError as error:
            return f"{self._data_dir} cannot be written: {error.strerror}"
        spools = [shard_paths(self._data_dir, shard).database for shard in shards_on_disk(self._data_dir)]
        if room_bytes(self._data_dir, free_bytes_min, spools) <= 0:
            free = shutil.disk_usage(self._data_dir).free
            return f"{self._data_dir} has {free >> 20} MiB left, less than limits.disk_free_min"
        return ""
