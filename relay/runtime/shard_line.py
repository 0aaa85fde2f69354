"""One spool shard at work: the queue, its ready window, its deliveries, its feedback.

A worker has its own line, which takes new mail, and one more for each shard that an earlier run with more workers
left behind: those take nothing new, but what they hold is delivered and what comes back for them is matched.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from relay.mail.returnpath import make as make_return_path
from relay.model.dialogue import Trace
from relay.model.message import Delivery, NewMessage
from relay.model.outcome import Outcome
from relay.pipeline.attempt import OutboundDelivery
from relay.pipeline.dispatch import CallLater, Dispatch
from relay.pipeline.forwarding import Forwarding
from relay.pipeline.give_back import GiveBack
from relay.pipeline.internal import InternalMail, Origin
from relay.pipeline.receive import Peers, Receive, ReceiveRules
from relay.pipeline.report import Report, Window
from relay.pipeline.returned import Returned
from relay.pipeline.screen import Scanning, Screen
from relay.pipeline.simulator import Simulator
from relay.pipeline.withhold import Held, Withhold
from relay.ports import Clock, Job, Log, Metrics, Release
from relay.runtime.hold_ends import HoldEnds
from relay.runtime.queue_work import QueueWork
from relay.schedule.retry import RetryPolicy
from relay.schedule.standing import StandingHold
from relay.store import operations
from relay.store.inbox import ShardInbox
from relay.store.spool import ShardSpool

FAULT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LineRules:
    """What configuration says about a line; replaced whole at reload."""

    receive: ReceiveRules
    retry: RetryPolicy
    origin: Origin
    late_after_ms: int
    scanners: Sequence[Scanning] = ()
    trace: Trace = Trace.FAILURES


@dataclass(frozen=True, slots=True)
class LineTools:
    """What lines of one worker share.

    `progress` is told of every finished attempt; `is_mail_from` says whether a domain is somebody's MAIL FROM domain,
    `forwards` whether feedback about a message is mailed to its sender.
    """

    clock: Clock
    call_later: CallLater
    log: Log
    metrics: Metrics
    peers: Peers
    progress: Callable[[], None]
    is_mail_from: Callable[[str], bool]
    forwards: Forwarding
    came_back: Callable[
        [str, str, str], None
    ]  # the address of ours that mail left from, for whom, and what came back


class ShardLine:
    """A shard with everything that works on it. `outbound` serves this line alone."""

    def __init__(self, spool: ShardSpool, outbound: OutboundDelivery, rules: LineRules, tools: LineTools) -> None:
        self.spool = spool
        self.outbound = outbound
        self._rules = rules
        self._tools = tools
        self.mail = InternalMail(
            origin=rules.origin,
            spool=spool,
            clock=tools.clock,
            log=tools.log,
            metrics=tools.metrics,
            forwards=tools.forwards,
        )
        self._simulator = Simulator(
            onward=outbound,
            spool=spool,
            mail=self.mail,
            finished=self._finished,
            accepted=self.accepted,
            clock=tools.clock,
            call_later=tools.call_later,
            log=tools.log,
            metrics=tools.metrics,
        )
        self._screen = Screen(
            scanners=rules.scanners,
            onward=self._simulator,
            spool=spool,
            on_outcome=self._on_outcome,
            finished=self._finished,
            clock=tools.clock,
            call_later=tools.call_later,
            log=tools.log,
            metrics=tools.metrics,
        )
        self.withhold = Withhold(
            onward=self._screen,
            write=self._write_hold,
            finished=self._finished,
            again=self._look_again,
            ends=self._hold_ends,
            clock=tools.clock,
            call_later=tools.call_later,
            log=tools.log,
        )
        self.dispatch = Dispatch(
            spool=spool,
            outbound=self.withhold,
            return_path=self._return_path,
            clock=tools.clock,
            call_later=tools.call_later,
            log=tools.log,
        )
        give_back = GiveBack(
            spool=spool,
            reports=self.mail.report,
            hostname=lambda: self._rules.origin.hostname,
            clock=tools.clock,
        )
        self.work = QueueWork(spool, self.dispatch, give_back, tools.clock)
        self.ends = HoldEnds(spool, tools.clock, tools.call_later, self.dispatch.requeued, tools.log)
        self._report = self._make_report(rules)
        outbound.on_outcome = self._on_outcome
        self.inbox = ShardInbox(spool, tools.clock)
        self.returned = Returned(
            inbox=self.inbox,
            mail=self.mail,
            accepted=self.accepted,
            came_back=tools.came_back,
            log=tools.log,
            metrics=tools.metrics,
        )
        self.receive = Receive(
            rules=rules.receive,
            inbox=self.inbox,
            spool=spool,
            peers=tools.peers,
            returned=self.returned,
            mail=self.mail,
            is_mail_from=tools.is_mail_from,
            accepted=self.accepted,
            call_later=tools.call_later,
            clock=tools.clock,
            log=tools.log,
            metrics=tools.metrics,
        )

    def _make_report(self, rules: LineRules) -> Report:
        tools, dispatch = self._tools, self.dispatch
        return Report(
            spool=self.spool,
            window=Window(dispatch.finished, dispatch.later, dispatch.accepted, dispatch.is_corrupt),
            retry=rules.retry,
            late_after_ms=rules.late_after_ms,
            trace=rules.trace,
            reports=self.mail.report,
            hostname=rules.origin.hostname,
            clock=tools.clock,
            random=random.random,
            call_later=tools.call_later,
            log=tools.log,
            metrics=tools.metrics,
        )

    def start(self) -> None:
        """Begin with what the shard holds."""
        self.dispatch.start()
        self.receive.start()
        self.ends.look()

    def apply(self, rules: LineRules) -> None:
        """Take on new rules."""
        self._rules = rules
        self.receive.rules = rules.receive
        self.mail.origin = rules.origin
        self._report.retry = rules.retry
        self._report.late_after_ms = rules.late_after_ms
        self._report.trace = rules.trace
        self._screen.scanners = rules.scanners

    def accepted(self, new: NewMessage) -> None:
        """Take a message that was just committed to this shard."""
        self.dispatch.accepted(new)

    async def drain(self, timeout_seconds: float) -> None:
        """Start nothing new and settle what is in flight."""
        self.dispatch.stop()
        self.ends.stop()
        await self._screen.stop()
        await self.outbound.drain(timeout_seconds)

    def _on_outcome(self, job: Job, outcome: Outcome, release: Release) -> None:
        self._tools.progress()
        try:
            self._report.on_outcome(job, outcome, release)
        except Exception as error:  # noqa: BLE001 (our own fault must not strand the delivery, nor its connection)
            self._tools.log.error(  # noqa: TRY400 (our own log port)
                "outcome not settled, trying the delivery again later",
                message_id=job.delivery.message.message_id,
                error=error,
            )
            self._tools.call_later(FAULT_SECONDS, partial(self._again, job.delivery.key))
            release()

    def _finished(self, key: int) -> None:
        self.dispatch.finished(key)

    def _look_again(self) -> None:
        self.dispatch.requeued()

    def _hold_ends(self) -> None:
        self.ends.look()

    def _write_hold(self, keys: Sequence[int], hold: StandingHold, held: Held) -> None:
        now_ms = self._tools.clock.now_ms()
        self.spool.submit(operations.hold(keys, now_ms, until_ms=hold.until_ms, rule=hold.number), held)

    def _again(self, key: int) -> None:
        """Let go of a delivery that nothing was written about: it is still queued on disk."""
        self.dispatch.finished(key)
        self.dispatch.requeued()

    def _return_path(self, delivery: Delivery) -> str:
        message = delivery.message
        if not message.sender:
            return ""
        rules = self._rules.receive
        local = make_return_path(message.message_id, delivery.index, rules.token_key)
        return f"{local}@{message.options.mail_from_domain or rules.bounce_domain}"
