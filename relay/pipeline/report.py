"""Settle attempts: what an outcome means for its delivery, written with all its effects in one transaction.

A settlement that cannot be written (disk full) is kept and tried again; its connection waits with its next final
dot meanwhile, so an outage of the disk repeats at most the messages that were in flight. Internal messages (reports
made by the relay) have an empty `mail_json` and emit no events.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import orjson

from relay.events import payload
from relay.events.notes import joined, notes_of
from relay.mail.feedback import Cause
from relay.mail.replies import Judgement, delay_type_of, judge_outcome
from relay.model.delivery import DeliveryState, Step, after
from relay.model.dialogue import Dialogue, Trace
from relay.model.message import Delivery, NewEvent, NewMessage, Settlement
from relay.model.outcome import Outcome, Stage, Verdict
from relay.policy.notification import delay_due_ms, failure_told, success_told
from relay.ports import Clock, Job, Log, Metrics, Release, Spool
from relay.schedule.retry import Decision, RetryPolicy, as_told, decide

SETTLE_AGAIN_SECONDS = 1.0

CallLater = Callable[[float, Callable[[], None]], object]
MakeReport = Callable[[Cause, Job, Outcome], Sequence[NewMessage]]


@dataclass(frozen=True, slots=True)
class Window:
    """What settling tells the ready window; `relay.pipeline.dispatch.Dispatch` has these methods."""

    finished: Callable[[int], None]
    later: Callable[[int], None]
    accepted: Callable[[NewMessage], None]
    is_corrupt: Callable[[int], bool]


class Report:
    """Receives outcomes from `Outbound` and settles them."""

    def __init__(
        self,
        *,
        spool: Spool,
        window: Window,
        retry: RetryPolicy,
        late_after_ms: int,
        trace: Trace = Trace.FAILURES,
        reports: MakeReport,
        hostname: str,
        clock: Clock,
        random: Callable[[], float],
        call_later: CallLater,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self.retry = retry
        self.late_after_ms = late_after_ms  # from then on mail is late, for those who want to know
        self.trace = trace
        self._spool = spool
        self._window = window
        self._reports = reports
        self._hostname = hostname
        self._clock = clock
        self._random = random
        self._call_later = call_later
        self._log = log
        self._metrics = metrics

    def on_outcome(self, job: Job, outcome: Outcome, release: Release) -> None:
        """Settle one attempt; `release` is called when it is on disk."""
        delivery = job.delivery
        decision = self._decide(delivery, outcome)
        outcome = as_told(outcome, decision)
        state = after(delivery.state, decision.step) or delivery.state
        events: tuple[NewEvent, ...] = ()
        messages: Sequence[NewMessage] = ()
        late = False
        if state is DeliveryState.DELIVERED:
            events = self._delivered(delivery, outcome)
            messages = self._tell_success(job, outcome)
        elif state is DeliveryState.BOUNCED:
            expired = decision.step is Step.EXPIRED
            events = bounce_event(delivery, outcome, judge_outcome(outcome, expired=expired), self._hostname)
            if failure_told(delivery):
                messages = self._reports(Cause.EXPIRED if expired else Cause.FAILED, job, outcome)
        elif state is DeliveryState.QUEUED:
            if decision.counts or decision.reply != delivery.last_reply:
                events = self._delayed(delivery, outcome)
            due_ms = delay_due_ms(delivery, self.late_after_ms)
            late = 0 < due_ms <= self._clock.now_ms()
            messages = self._reports(Cause.DELAYED, job, outcome) if late else ()
            decision = _in_time(decision, due_ms, late=late)
        settlement = Settlement(
            delivery=delivery,
            state=state,
            attempts=delivery.attempts + decision.counts,
            next_ms=decision.next_ms,
            last_reply=decision.reply,
            attempt=attempt_record(delivery, outcome, decision) if decision.counts else None,
            events=events,
            messages=messages,
            source=outcome.source_address,
            delay_told=late,
            dialogue=self._dialogue(outcome) if decision.counts else None,
        )
        self._tell(delivery, outcome, decision, state)
        self._settle(settlement, release)

    def _tell_success(self, job: Job, outcome: Outcome) -> Sequence[NewMessage]:
        cause = success_told(job.delivery, outcome)
        return self._reports(cause, job, outcome) if cause else ()

    def _dialogue(self, outcome: Outcome) -> Dialogue | None:
        """Return what was said, where it is to be kept; asked for while the connection still knows it."""
        if outcome.dialogue is None or self.trace is Trace.NONE:
            return None
        if outcome.verdict is Verdict.DELIVERED and self.trace is Trace.FAILURES:
            return None
        return outcome.dialogue()

    def _decide(self, delivery: Delivery, outcome: Outcome) -> Decision:
        if self._window.is_corrupt(delivery.key):
            return Decision(Step.QUARANTINE, 0, outcome.reply)
        return decide(delivery, outcome, self._clock.now_ms(), self.retry, self._random())

    # --- on disk -------------------------------------------------------------------------------------------------

    def _settle(self, settlement: Settlement, release: Release) -> None:
        self._spool.settle(settlement, partial(self._settled, settlement, release))

    def _settled(self, settlement: Settlement, release: Release, error: Exception | None) -> None:
        if error is not None:
            message_id = settlement.delivery.message.message_id
            self._log.error("settlement not written, trying again", message_id=message_id, error=str(error))
            self._metrics.count("relay_storage_failures_total")
            self._call_later(SETTLE_AGAIN_SECONDS, partial(self._settle, settlement, release))
            return
        self._window.finished(settlement.delivery.key)
        if settlement.state is DeliveryState.QUEUED:
            self._window.later(settlement.next_ms)
        for message in settlement.messages:
            self._window.accepted(message)
        release()

    # --- events --------------------------------------------------------------------------------------------------

    def _delivered(self, delivery: Delivery, outcome: Outcome) -> tuple[NewEvent, ...]:
        return delivered_event(delivery, outcome, self._hostname) if delivery.message.mail_json else ()

    def _delayed(self, delivery: Delivery, outcome: Outcome) -> tuple[NewEvent, ...]:
        message = delivery.message
        if not message.mail_json:
            return ()
        body = payload.delivery_delay(
            message.mail_json,
            timestamp_ms=outcome.finished_ms,
            delay_type=delay_type_of(outcome),
            expiration_ms=message.expires_ms,
            recipients=(recipient_status(delivery, outcome),),
            reporting_mta=outcome.remote_address,
            outgoing_ip=outcome.source_address,
        )
        again = outcome.finished_ms if outcome.stage is Stage.SHAPING else 0
        return _event(delivery, "DeliveryDelay", body, notes_of(outcome), again=again)

    # --- log and metrics -----------------------------------------------------------------------------------------

    def _tell(self, delivery: Delivery, outcome: Outcome, decision: Decision, state: DeliveryState) -> None:
        metrics = self._metrics
        metrics.count("relay_attempts_total", outcome.verdict.value, outcome.stage.value)
        metrics.observe("relay_attempt_seconds", max(0.0, (outcome.finished_ms - outcome.started_ms) / 1000))
        seconds = (outcome.finished_ms - delivery.message.accepted_ms) / 1000
        if state is DeliveryState.DELIVERED:
            metrics.observe("relay_delivery_seconds", max(0.0, seconds))
        if state is DeliveryState.QUARANTINED:
            metrics.count("relay_quarantined_total", "corrupt")
        if state is not DeliveryState.QUEUED:
            metrics.count("relay_deliveries_total", state.value)
        say = self._log.info if state is not DeliveryState.QUARANTINED else self._log.error
        say(
            state.value if state is not DeliveryState.QUEUED else "deferred",
            message_id=delivery.message.message_id,
            recipient=delivery.recipient,
            attempt=delivery.attempts + 1,
            remote=outcome.remote_host,
            tls=outcome.tls,
            reply=decision.reply,
            seconds=round(seconds, 3),
            **({"rule": outcome.rule} if outcome.rule else {}),
            **({"blocklist": outcome.blocklist} if outcome.blocklist else {}),
        )


def _in_time(decision: Decision, due_ms: int, *, late: bool) -> Decision:
    """Let the next attempt fall on the time when a delay is to be told, if that comes first (RFC 2852 section 4)."""
    return replace(decision, next_ms=due_ms) if not late and 0 < due_ms < decision.next_ms else decision


def delivered_event(delivery: Delivery, outcome: Outcome, hostname: str) -> tuple[NewEvent, ...]:
    """Return the Delivery event of a recipient (EVT-015)."""
    message = delivery.message
    body = payload.delivery(
        message.mail_json,
        timestamp_ms=outcome.finished_ms,
        processing_ms=max(0, outcome.finished_ms - message.accepted_ms),
        recipients=(delivery.recipient,),
        smtp_response=outcome.reply,
        reporting_mta=hostname,
        outgoing_ip=outcome.source_address,
    )
    return _event(delivery, "Delivery", body, notes_of(outcome))


def bounce_event(delivery: Delivery, outcome: Outcome, judged: Judgement, hostname: str) -> tuple[NewEvent, ...]:
    """Return the Bounce event of a recipient, nothing for mail of our own (EVT-017)."""
    message = delivery.message
    if not message.mail_json:
        return ()
    event = _event(delivery, "Bounce", b"")[0]
    body = payload.bounce(
        message.mail_json,
        timestamp_ms=outcome.finished_ms,
        bounce_type=judged.bounce.bounce_type,
        bounce_sub_type=judged.bounce.bounce_sub_type,
        recipients=(recipient_status(delivery, outcome),),
        feedback_id=event.event_id,
        reporting_mta=hostname,
        outgoing_ip=outcome.source_address,
    )
    notes = joined(notes_of(outcome), judged.as_note())
    return (NewEvent(event.event_id, event.kind, event.message_id, body, notes),)


def _event(delivery: Delivery, kind: str, body: bytes, notes: bytes = b"", *, again: int = 0) -> tuple[NewEvent, ...]:
    """Return an event; `again` tells those apart that come without an attempt between them."""
    message_id = delivery.message.message_id
    event_id = f"{message_id}/{delivery.index}/{kind}/{delivery.attempts}"
    return (NewEvent(f"{event_id}/{again}" if again else event_id, kind, message_id, body, notes),)


def recipient_status(delivery: Delivery, outcome: Outcome) -> payload.RecipientStatus:
    """Return the fields of RFC 3464 for a recipient that was not delivered."""
    status = outcome.enhanced or (f"{outcome.code // 100}.0.0" if outcome.code >= 400 else "4.0.0")  # noqa: PLR2004
    return payload.RecipientStatus(
        email_address=delivery.recipient,
        action="",
        status=status,
        diagnostic_code=f"smtp; {outcome.reply}",
        blocklist=outcome.blocklist,
    )


def attempt_record(delivery: Delivery, outcome: Outcome, decision: Decision) -> bytes:
    """Return the JSON record of an attempt, as `relay trace` shows it."""
    return orjson.dumps(
        {
            "attempt": delivery.attempts + 1,
            "startedMs": outcome.started_ms,
            "finishedMs": outcome.finished_ms,
            "outcome": outcome.verdict,
            "stage": outcome.stage,
            "sourceAddress": outcome.source_address,
            "pool": outcome.pool or None,
            **({"provider": outcome.provider} if outcome.provider else {}),
            "remoteHost": outcome.remote_host,
            "remoteAddress": outcome.remote_address,
            "tls": outcome.tls or None,
            "tlsPolicy": outcome.tls_policy or None,
            "reply": outcome.reply,
            "nextMs": decision.next_ms or None,
            **({"rule": outcome.rule, "effects": outcome.effects} if outcome.rule else {}),
            **({"blocklist": outcome.blocklist} if outcome.blocklist else {}),
        }
    )
