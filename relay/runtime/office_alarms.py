"""Alarms go on by themselves, as a service of the office: looked at every minute, told to their topics.

A change is kept first, with what the alarm does (`relay.store.catalog_alarms`), and told afterwards, until the
process of events has taken it. Its message has an id that follows from the change, under which that process takes it
once, however often it is told: whatever dies here, nothing is lost and nothing published twice. What a topic refuses
for good is noted in the history, counted and logged.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import orjson

from relay.errors import TemporaryError
from relay.events.payload import timestamp
from relay.model.alarm import Alarm, AlarmChange, AlarmMetric, AlarmState, Told
from relay.reputation.alarms import arn, look, message, subject
from relay.runtime import audit, settings
from relay.runtime.account_mail import paused
from relay.runtime.alarm_figures import AlarmFigures
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.office_jobs import Job, Rounds
from relay.runtime.rpc import RemoteError, ask
from relay.store.catalog import CATALOG_FILE, Catalog, open_existing_catalog
from relay.store.catalog_alarms import Changed, Write
from relay.store.statistics import StatisticsReader

CALLER = "relay"
TELL_SECONDS = 5.0  # a command may have set an alarm
TELL_ANYHOW_SECONDS = 60.0
ANSWER_SECONDS = 30.0
PUBLISH = "topic.publish"
LAG = "relay_events_lag_seconds"
_TEMPORARY = frozenset({69, 75})

Result = TypeVar("Result")


class AlarmService(Rounds):
    """The service that the office runs (`relay.runtime.service.Service`)."""

    def __init__(self, context: ChildContext) -> None:
        super().__init__(context)
        self._clock = SteadyClock()
        self._reader = StatisticsReader(context.config.data_dir)
        self._figures = AlarmFigures(self._reader)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="alarms")
        self._events = context.run_dir / "events.sock"
        self._seen: object = None
        self._seen_at = float("-inf")
        self._waits_for = ""

    async def _release(self) -> None:
        await self._run(self._reader.close)
        await asyncio.to_thread(self._thread.shutdown)

    def _jobs(self, config: Config) -> Sequence[Job]:
        every = config.alarms.every
        return (
            Job("alarms", every, partial(self._look, config)),
            Job("messages of alarms", min(every, TELL_SECONDS), partial(self._tell, config)),
        )

    async def _run(self, call: Callable[..., Result], *values: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *values)

    # --- looking -------------------------------------------------------------------------------------------------

    async def _look(self, config: Config) -> None:
        """Look at all alarms, then tell how many stand where, on the thread that owns the metrics."""
        alarms = await self._run(self._all, config)
        lag = await self._lag() if any(one.metric is AlarmMetric.EVENT_LAG for one in alarms) else None
        states, done = await self._run(self._follow, config, alarms, lag)
        for state in AlarmState:
            self._context.metrics.gauge("relay_alarms", states[state], str(state))
        for action, count in done.items():
            self._context.metrics.count("relay_alarm_actions_total", action, amount=count)

    async def _lag(self) -> float | None:
        """Return the age of the oldest event that waits for anything; None when the process of events is away."""
        try:
            snapshot = await ask(self._events, "metrics.snapshot", ANSWER_SECONDS)
            return max((float(value) for name, _labels, value in snapshot["gauges"] if name == LAG), default=0.0)
        except (TemporaryError, RemoteError, KeyError, TypeError, ValueError):
            return None

    def _all(self, config: Config) -> Sequence[Alarm]:
        with _catalog(config) as catalog:
            return every_alarm(catalog)

    def _follow(
        self, config: Config, alarms: Sequence[Alarm], lag: float | None
    ) -> tuple[Counter[AlarmState], Counter[str]]:
        states: Counter[AlarmState] = Counter()
        done: Counter[str] = Counter()
        if not alarms:
            return states, done
        with _catalog(config) as catalog:
            now_ms = self._clock.now_ms()
            self._figures.begin(config, catalog, now_ms, lag)
            write = pause_letter(config, now_ms)
            for alarm in alarms:
                found = look(alarm, self._figures.of(alarm))
                states[found.state] += 1
                changed = catalog.alarms.follow(alarm, found, write)
                if changed is not None:
                    done.update(str(action) for action in changed.done)
                    self._record(config, changed)
        return states, done

    def _record(self, config: Config, changed: Changed) -> None:
        said = change_said(changed)
        audit.record(config.data_dir, "alarm.change", changed.alarm.account, said, caller=CALLER)
        alarming = changed.alarm.state is AlarmState.ALARM
        say = self._context.log.warning if alarming else self._context.log.info
        say("an alarm changed", account=changed.alarm.account, **said)

    # --- telling -------------------------------------------------------------------------------------------------

    async def _tell(self, config: Config) -> None:
        """Publish changes to their topics; ends with the first that cannot be told now."""
        now = asyncio.get_running_loop().time()
        mark = await self._run(_mark, config.data_dir)
        if mark == self._seen and now - self._seen_at < TELL_ANYHOW_SECONDS:
            return
        try:
            await self._tell_all(config)
        except TemporaryError as error:
            if str(error) != self._waits_for:  # once for each reason, not for each round
                self._waits_for = str(error)
                self._context.log.warning("messages of alarms wait", reason=self._waits_for)
            return
        self._seen, self._seen_at, self._waits_for = mark, now, ""

    async def _tell_all(self, config: Config) -> None:
        after = 0
        while changes := await self._run(self._waiting, config, after):
            for change in changes:
                told = await self._publish(config, change)
                await self._run(self._note, config, change.change_id, told)
                self._context.metrics.count("relay_alarm_messages_total", str(told))
                after = change.change_id

    async def _publish(self, config: Config, change: AlarmChange) -> Told:
        """Publish one change. Raise TemporaryError when the process of events cannot take it now."""
        alarm = change.alarm
        text = orjson.dumps(message(alarm, change.old_state, config.region, timestamp(alarm.changed_ms))).decode()
        # The number alone is not enough: a catalog that was restored gives numbers out again.
        key = uuid.uuid5(uuid.NAMESPACE_URL, f"{arn(alarm, config.region)}\n{change.change_id}\n{text}")
        try:
            await ask(
                self._events,
                PUBLISH,
                ANSWER_SECONDS,
                topic=alarm.topic,
                account=alarm.account,
                message=text,
                key=str(key),
                subject=subject(alarm, config.region),
                source_arn=arn(alarm, config.region),
            )
        except RemoteError as error:
            if error.exit_code in _TEMPORARY:
                raise TemporaryError(f"alarm {alarm.name} cannot be told now: {error}") from error
            self._context.log.warning(
                "a topic refused an alarm",
                account=alarm.account,
                alarm=alarm.name,
                topic=alarm.topic,
                error=str(error),
            )
            return Told.REFUSED
        return Told.PUBLISHED

    def _waiting(self, config: Config, after: int) -> Sequence[AlarmChange]:
        with _catalog(config) as catalog:
            return catalog.alarms.waiting(after)

    def _note(self, config: Config, change_id: int, told: Told) -> None:
        with _catalog(config) as catalog:
            catalog.alarms.note_told(change_id, told)


def every_alarm(catalog: Catalog, account: str | None = None) -> Sequence[Alarm]:
    """Return all alarms, of an account or of all accounts."""
    found: list[Alarm] = []
    after = ("", "")
    while page := catalog.alarms.list(account, after=after):
        found += page
        after = page[-1].account, page[-1].name
    return found


def pause_letter(config: Config, now_ms: int) -> Write:
    """Return the writer of the mail that an alarm paused an account."""
    letterhead = settings.letterhead(config)
    return lambda reason, account, contact: paused(letterhead, now_ms, reason)(account, contact)


def change_said(changed: Changed) -> dict[str, object]:
    """Return what the log and the audit log say about a change."""
    return {
        "alarm": changed.alarm.name,
        "state": changed.alarm.state,
        "before": changed.old_state,
        "reason": changed.alarm.reason,
        "actions": [str(action) for action in changed.done] or None,
    }


def _catalog(config: Config) -> Catalog:
    return open_existing_catalog(config.data_dir, settings.master_key(config.data_dir))


def _mark(data_dir: Path) -> object:
    """Return what is different after a write to the catalog, nearly always; who asks looks now and then anyhow."""
    path = data_dir / CATALOG_FILE
    found = []
    for name in (path, path.with_name(path.name + "-wal")):
        try:
            stat = name.stat()
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)
