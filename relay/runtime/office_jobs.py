"""Work of the office that comes round: every job in its own task, never twice at once, its failures logged."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from relay.errors import RelayError
from relay.ports import Log
from relay.runtime.config.model import Config


@dataclass(frozen=True, slots=True)
class Job:
    """What to do how often; a run that takes longer than `timeout_seconds` is cut off and counts as failed."""

    name: str
    every_seconds: float
    run: Callable[[], Awaitable[None]]
    timeout_seconds: float = 300.0


class Schedule:
    """Runs jobs until closed."""

    def __init__(self, jobs: Sequence[Job], log: Log) -> None:
        self._jobs = jobs
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Run every job now, and then as often as it wants."""
        self._tasks = [asyncio.create_task(self._repeat(job), name=job.name) for job in self._jobs]

    async def close(self) -> None:
        """Stop; what runs is cut off."""
        await end_tasks(self._tasks)
        self._tasks = []

    async def _repeat(self, job: Job) -> None:
        while True:
            try:
                async with asyncio.timeout(job.timeout_seconds):
                    await job.run()
            except RelayError as error:
                self._log.warning("job failed and is tried again", job=job.name, reason=str(error))
            except Exception as error:  # noqa: BLE001 (a broken job must not end the office)
                self._log.error("job failed and is tried again", job=job.name, error=error)
            await asyncio.sleep(job.every_seconds)


class Rounds:
    """Jobs that follow the settings: made anew, and begun at once, whenever those change."""

    def __init__(self, jobs: Callable[[Config], Sequence[Job]], log: Log) -> None:
        self._jobs = jobs
        self._log = log
        self._schedule: Schedule | None = None

    def begin(self, config: Config) -> None:
        """Run what the settings want."""
        self._schedule = Schedule(self._jobs(config), self._log)
        self._schedule.start()

    async def begin_anew(self, config: Config) -> None:
        """End what runs, and run what other settings want."""
        await self.close()
        self.begin(config)

    async def close(self) -> None:
        """End; what runs is cut off."""
        if self._schedule is not None:
            await self._schedule.close()


async def end_tasks(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended; raise what one of them failed with."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
