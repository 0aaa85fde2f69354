"""Screen: each message is scanned before its first delivery attempt, once for all its recipients (FLOW-006, 007).

It stands between the ready window and what delivers. Without scanners a job passes through at once. With them, the
first job of a message starts its scan and the others wait for it; what the scanners said is kept in the spool, so
that neither further recipients nor later attempts nor a restart scan it again (a crash may). A bad message is
delivered to nobody: all its open deliveries are rejected in one transaction with the Reject event.

A scanner that fails means, by its own setting: *defer*, the attempt counts as a temporary failure and the delivery
is tried again by the usual schedule, scan first; or *accept*, the message goes on with a log line and a metric, and
is scanned again should it need another attempt. Mail of the relay itself is not scanned.

Bounds: `SCANS_MAX` scans at a time; what waits for one is in the ready window, which has its own limits.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from relay.errors import CorruptionError, TemporaryError
from relay.events import payload
from relay.model.content import Content
from relay.model.delivery import DeliveryState, Step, after
from relay.model.message import Delivery, Message, NewEvent, Settlement
from relay.model.outcome import Outcome, Stage, Verdict
from relay.model.scan import Scan, ScanVerdict
from relay.pipeline.report import SETTLE_AGAIN_SECONDS, CallLater
from relay.ports import Clock, Departures, Job, Log, Metrics, Release, Scanner, Spool

SCANS_MAX = 8
CLEARED_MAX = 4096  # messages remembered, so that their other recipients need no look at the disk
DETAIL_MAX_CHARS = 200


@dataclass(frozen=True, slots=True)
class Scanning:
    """A scanner, whether a failure of it defers the message, and the spam score to reject at, None for never."""

    scanner: Scanner
    defers: bool
    reject_score: float | None = None


class Screen:
    """Holds jobs back until their message is known to be clean. `on_outcome` settles an attempt that failed here."""

    def __init__(
        self,
        *,
        scanners: Sequence[Scanning],
        onward: Departures,
        spool: Spool,
        on_outcome: Callable[[Job, Outcome, Release], None],
        finished: Callable[[int], None],
        clock: Clock,
        call_later: CallLater,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self.scanners = scanners
        self._onward = onward
        self._spool = spool
        self._on_outcome = on_outcome
        self._finished = finished
        self._clock = clock
        self._call_later = call_later
        self._log = log
        self._metrics = metrics
        self._cleared: OrderedDict[int, None] = OrderedDict()
        self._waiting: dict[int, list[Job]] = {}  # by message, while its scan runs or waits for its turn
        self._rejecting: dict[int, list[Job]] = {}
        self._room = asyncio.Semaphore(SCANS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    # --- Departures ----------------------------------------------------------------------------------------------

    def enqueue(self, job: Job) -> None:
        """Pass a job on, or hold it until its message is scanned."""
        message = job.delivery.message
        if not self.scanners or message.key in self._cleared or not message.mail_json:
            self._onward.enqueue(job)
            return
        if message.key in self._rejecting:
            self._rejecting[message.key].append(job)
            return
        waiting = self._waiting.get(message.key)
        if waiting is not None:
            waiting.append(job)
            return
        self._waiting[message.key] = [job]
        if not self._stopped:
            self._call_later(0, partial(self._begin, message))

    def withdraw(self, delivery_key: int) -> bool:
        """Take back a job that has not started."""
        for jobs in self._waiting.values():
            for job in jobs:
                if job.delivery.key == delivery_key:
                    jobs.remove(job)
                    return True
        return self._onward.withdraw(delivery_key)

    async def stop(self) -> None:
        """Break off scans: what waits for one stays queued on disk."""
        self._stopped = True
        self._waiting.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the scan ------------------------------------------------------------------------------------------------

    def _begin(self, message: Message) -> None:
        """Look up whether the message was scanned before; if not, scan it."""
        if message.key not in self._waiting:
            return
        try:
            known = self._spool.scan(message.key)
        except TemporaryError:
            known = None
        if known is None or known.verdict is ScanVerdict.FAILED:
            task = asyncio.get_running_loop().create_task(self._scan(message))
            self._tasks.add(task)
            task.add_done_callback(self._scanned)
        elif known.bad:
            self._reject(message, known)
        else:
            self._clear(message)

    def _scanned(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("a scan broke off", error=repr(error))

    async def _scan(self, message: Message) -> None:
        async with self._room:
            jobs = self._waiting.get(message.key)
            if not jobs:  # all of them were withdrawn meanwhile
                self._waiting.pop(message.key, None)
                return
            try:
                content = jobs[0].load()
            except CorruptionError as error:
                self._defer(message, f"the message cannot be read: {error}")
                return
            scan, deferring = await self._ask_all(content)
        scan = replace(scan, detail=scan.detail[:DETAIL_MAX_CHARS], scanned_ms=self._clock.now_ms())
        self._spool.keep_scan(message.key, scan)
        if scan.bad:
            self._reject(message, scan)
        elif deferring:
            self._defer(message, f"{scan.scanner}: {scan.detail}")
        elif scan.verdict is ScanVerdict.FAILED:
            self._tell_unscanned(message, scan)
            self._pass_on(message)
        else:
            self._clear(message)

    async def _ask_all(self, content: Content) -> tuple[Scan, bool]:
        """Ask the scanners in turn, up to one that finds something bad; say whether a failure defers the message."""
        result = Scan(ScanVerdict.CLEAN)
        deferring = False
        for each in self.scanners:
            scan = await self._ask(each, content)
            score = scan.spam_score if scan.spam_score is not None else result.spam_score
            if scan.bad:
                return replace(scan, spam_score=score), False
            failed = scan.verdict is ScanVerdict.FAILED
            if failed and not deferring:
                result = scan
                deferring = each.defers
            result = replace(result, spam_score=score)
        return result, deferring

    async def _ask(self, each: Scanning, content: Content) -> Scan:
        begun = self._clock.monotonic()
        try:
            scan = await each.scanner.scan(content)
        except Exception as error:  # noqa: BLE001 (a fault of ours must neither strand the message nor clear it)
            scan = Scan(ScanVerdict.FAILED, detail=repr(error))
        score, limit = scan.spam_score, each.reject_score
        if scan.verdict is ScanVerdict.CLEAN and score is not None and limit is not None and score >= limit:
            scan = replace(scan, verdict=ScanVerdict.SPAM, detail=f"spam score {score:g}, the limit is {limit:g}")
        self._metrics.observe("relay_scan_seconds", self._clock.monotonic() - begun, each.scanner.label)
        self._metrics.count("relay_scans_total", each.scanner.label, scan.verdict.value)
        return replace(scan, scanner=each.scanner.name)

    # --- what follows --------------------------------------------------------------------------------------------

    def _clear(self, message: Message) -> None:
        self._cleared[message.key] = None
        if len(self._cleared) > CLEARED_MAX:
            self._cleared.popitem(last=False)
        self._pass_on(message)

    def _pass_on(self, message: Message) -> None:
        for job in self._waiting.pop(message.key, ()):
            self._onward.enqueue(job)

    def _defer(self, message: Message, why: str) -> None:
        """Settle the jobs as an attempt that failed for now, by the usual schedule."""
        self._log.warning("not scanned, the message waits", message_id=message.message_id, error=why)
        now_ms = self._clock.now_ms()
        text = f"The message could not be scanned: {why}"[:1000]
        outcome = Outcome(
            Verdict.TEMPORARY, Stage.SCAN, 0, "4.7.1", text, local=True, started_ms=now_ms, finished_ms=now_ms
        )
        for job in self._waiting.pop(message.key, ()):
            self._on_outcome(job, outcome, _nothing)

    def _tell_unscanned(self, message: Message, scan: Scan) -> None:
        self._metrics.count("relay_messages_unscanned_total")
        self._log.warning(
            "delivered without a scan",
            message_id=message.message_id,
            scanner=scan.scanner,
            error=scan.detail,
        )

    def _reject(self, message: Message, scan: Scan) -> None:
        """Reject every open delivery of the message, those outside the window too."""
        jobs = self._rejecting[message.key] = self._waiting.pop(message.key, [])
        try:
            deliveries: Sequence[Delivery] = self._spool.deliveries_of(message)
        except TemporaryError:
            deliveries = [job.delivery for job in jobs]
        doomed = [one for one in deliveries if after(one.state, Step.BAD_CONTENT) is not None]
        event = NewEvent(
            f"{message.message_id}/Reject", "Reject", message.message_id, payload.reject(message.mail_json)
        )
        settlements = [
            Settlement(
                delivery=delivery,
                state=DeliveryState.REJECTED,
                attempts=delivery.attempts,
                next_ms=0,
                last_reply=f"Bad content: {scan.detail}",
                events=(event,) if number == 0 else (),
            )
            for number, delivery in enumerate(doomed)
        ]
        self._settle(message, scan, settlements)

    def _settle(self, message: Message, scan: Scan, settlements: Sequence[Settlement]) -> None:
        self._spool.settle_all(settlements, partial(self._settled, message, scan, settlements))

    def _settled(
        self, message: Message, scan: Scan, settlements: Sequence[Settlement], error: Exception | None
    ) -> None:
        if error is not None:
            self._log.error("rejection not written, trying again", message_id=message.message_id, error=str(error))
            self._metrics.count("relay_storage_failures_total")
            self._call_later(SETTLE_AGAIN_SECONDS, partial(self._settle, message, scan, settlements))
            return
        for job in self._rejecting.pop(message.key, ()):
            self._finished(job.delivery.key)
        if not settlements:
            return
        self._metrics.count("relay_messages_rejected_total", _CAUSES[scan.verdict])
        self._metrics.count("relay_deliveries_total", DeliveryState.REJECTED.value, amount=len(settlements))
        self._log.warning(
            "rejected, bad content", message_id=message.message_id, scanner=scan.scanner, detail=scan.detail
        )


_CAUSES = {ScanVerdict.INFECTED: "virus", ScanVerdict.SPAM: "spam"}


def _nothing() -> None:
    """Release for outcomes that no connection waits for."""
