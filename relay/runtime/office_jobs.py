"""Work of the office that comes round: every job in its own task, never twice at once, its failures logged."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from relay.errors import RelayError
from relay.ports import Log
from relay.runtime.children import ChildContext
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


class Scheduled:
    """A service of the office that is nothing but jobs."""

    def __init__(self, context: ChildContext, jobs: Sequence[Job] = ()) -> None:
        self._context = context
        self._schedule = Schedule(jobs, context.log)

    async def start(self) -> None:
        """Begin, with what came due while the relay was stopped."""
        self._schedule.start()

    async def reload(self, config: Config) -> None:
        """Do nothing: every round reads the configuration as it is then."""

    async def close(self) -> None:
        """End; what runs is cut off, and what was not done is due at the next start."""
        await self._schedule.close()
        await self._release()

    async def _release(self) -> None:
        """Close what the jobs used."""

    def check(self) -> None:
        """Do nothing: a round that fails is logged and tried again."""


class Rounds(Scheduled, ABC):
    """One whose jobs are by its settings: made anew whenever those change."""

    @abstractmethod
    def _jobs(self, config: Config) -> Sequence[Job]:
        """Return what the settings want."""

    async def start(self) -> None:
        """Begin."""
        self._begin(self._context.config)

    async def reload(self, config: Config) -> None:
        """Go by new settings, at once; what runs is cut off."""
        await self._schedule.close()
        self._begin(config)

    def _begin(self, config: Config) -> None:
        self._schedule = Schedule(self._jobs(config), self._context.log)
        self._schedule.start()


async def end_tasks(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended; raise what one of them failed with."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
