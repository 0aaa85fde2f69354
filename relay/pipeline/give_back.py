"""Bounce deliveries because an operator says so: event and report as for any failure, with the operator's words.

It says nothing about the address, so the event's bounce is Transient/General: nobody should stop sending to it.
A delivery is given back at most once, whatever is repeated.
"""

from collections.abc import Callable
from functools import partial

from relay.errors import UsageError
from relay.mail.feedback import Cause
from relay.mail.replies import GIVEN_BACK
from relay.model.delivery import Step, after
from relay.model.message import Delivery, Settlement
from relay.model.outcome import Outcome, Stage, Verdict
from relay.pipeline.report import MakeReport, attempt_record, bounce_event
from relay.policy.notification import failure_told
from relay.ports import Clock, Job, Spool
from relay.schedule.retry import Decision

ENHANCED = "5.3.0"  # RFC 3463 section 3.4: other or undefined mail system status
REASON_MAX_CHARACTERS = 500
REASON = "Returned to the sender by the operator of the relay"


class GiveBack:
    """Makes the settlements; `hostname` is read anew each time, because a reload may change it."""

    def __init__(self, *, spool: Spool, reports: MakeReport, hostname: Callable[[], str], clock: Clock) -> None:
        self._spool = spool
        self._reports = reports
        self._hostname = hostname
        self._clock = clock

    def settlement(self, delivery: Delivery, reason: str) -> Settlement | None:
        """Return what bounces an open delivery, None when its state has no such step."""
        state = after(delivery.state, Step.BOUNCE)
        if state is None:
            return None
        now_ms = self._clock.now_ms()
        outcome = Outcome(
            Verdict.PERMANENT,
            Stage.OPERATOR,
            0,
            ENHANCED,
            reason or REASON,
            local=True,
            started_ms=now_ms,
            finished_ms=now_ms,
        )
        job = Job(delivery, "", partial(self._spool.content, delivery.message.key))
        return Settlement(
            delivery=delivery,
            state=state,
            attempts=delivery.attempts,
            next_ms=0,
            last_reply=outcome.reply,
            attempt=attempt_record(delivery, outcome, Decision(Step.BOUNCE, 0, outcome.reply)),
            events=bounce_event(delivery, outcome, GIVEN_BACK, self._hostname()),
            messages=self._reports(Cause.FAILED, job, outcome) if failure_told(delivery) else (),
            dedupe_key=f"returned/{delivery.message.message_id}/{delivery.index}",
        )


def require_reason(text: str) -> str:
    """Return the operator's words as one line for replies and reports. Raise UsageError."""
    reason = " ".join(text.split())
    if len(reason) > REASON_MAX_CHARACTERS or not reason.isprintable():
        raise UsageError(f"A reason is one line of at most {REASON_MAX_CHARACTERS} printable characters.")
    return reason
