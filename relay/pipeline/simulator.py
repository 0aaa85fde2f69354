"""The mailbox simulator: plays the receiving side for its addresses, on the way to `Outbound` (SIM-001 to SIM-008).

Mail for it never leaves the relay and asks no name server, whatever the routes say. All recipients of a message at
the simulator are settled in one transaction, so that several bounces become one notification, and a crash plays
either everything or nothing. What it plays is not counted among attempts and deliveries (SIM-009); it has a metric
of its own. Mail that no account submitted, the relay's own reports among it, gets no simulated response (SIM-010).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from relay.errors import TemporaryError
from relay.events import payload
from relay.events.notes import SIMULATED, simulated
from relay.mail.address import BadAddress
from relay.mail.addresslist import parse_from
from relay.mail.arf import ComplaintReport, date_ms
from relay.mail.classify import classify
from relay.mail.feedback import Cause, status_of
from relay.mail.replies import GENERAL
from relay.mail.submitted import submitted_value
from relay.model.delivery import DeliveryState, Step
from relay.model.message import Delivery, Message, NewEvent, NewMessage, Settlement
from relay.model.outcome import Outcome, Stage, Verdict
from relay.pipeline.internal import InternalMail, head_of, original_of
from relay.pipeline.report import SETTLE_AGAIN_SECONDS, CallLater, attempt_record, delivered_event, recipient_status
from relay.policy.notification import failure_told, success_told
from relay.policy.simulator import Scenario, is_simulator_domain, scenario_of
from relay.ports import Clock, Departures, Job, Log, Metrics, Spool
from relay.schedule.retry import Decision

_TAKEN = Outcome(Verdict.DELIVERED, Stage.FINAL_DOT, 250, "2.6.0", "Message received")
_UNKNOWN = Outcome(Verdict.PERMANENT, Stage.RCPT, 550, "5.1.1", "user unknown")
COMPLAINT_TYPE = "abuse"
COMPLAINTS_MAX = 100  # recipients in one report and event


class Simulator:
    """Settles jobs for simulator addresses; passes the others on. `finished` and `accepted` are the window's."""

    def __init__(
        self,
        *,
        onward: Departures,
        spool: Spool,
        mail: InternalMail,
        finished: Callable[[int], None],
        accepted: Callable[[NewMessage], None],
        clock: Clock,
        call_later: CallLater,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._onward = onward
        self._spool = spool
        self._mail = mail
        self._finished = finished
        self._accepted = accepted
        self._clock = clock
        self._call_later = call_later
        self._log = log
        self._metrics = metrics
        self._waiting: dict[int, list[Job]] = {}  # by message
        self._playing: dict[int, frozenset[int]] = {}  # keys of deliveries whose settlement is being written

    def enqueue(self, job: Job) -> None:
        """Play a delivery to the simulator, together with the others of its message; pass any other on."""
        delivery = job.delivery
        if not is_simulator_domain(delivery.domain, self._mail.origin.hostname):
            self._onward.enqueue(job)
            return
        key = delivery.message.key
        if delivery.key in self._playing.get(key, ()):
            return  # settled with the others, and leaves the window then
        jobs = self._waiting.setdefault(key, [])
        jobs.append(job)
        if len(jobs) == 1 and key not in self._playing:
            self._call_later(0, partial(self._play, key))

    def withdraw(self, delivery_key: int) -> bool:
        """Take back a job that has not started."""
        for jobs in self._waiting.values():
            for job in jobs:
                if job.delivery.key == delivery_key:
                    jobs.remove(job)
                    return True
        return self._onward.withdraw(delivery_key)

    # --- the play ------------------------------------------------------------------------------------------------

    def _play(self, message_key: int) -> None:
        jobs = self._waiting.pop(message_key, [])
        if not jobs:
            return
        message = jobs[0].delivery.message
        deliveries = self._queued(message) or [job.delivery for job in jobs]
        settlements = self._settlements(message, deliveries, jobs[0])
        self._playing[message_key] = frozenset(one.delivery.key for one in settlements)
        self._settle(message_key, settlements)

    def _queued(self, message: Message) -> list[Delivery]:
        """Return all queued deliveries of a message to the simulator, in the window or not."""
        hostname = self._mail.origin.hostname
        try:
            found = self._spool.deliveries_of(message)
        except TemporaryError:
            return []
        return [
            one for one in found if one.state is DeliveryState.QUEUED and is_simulator_domain(one.domain, hostname)
        ]

    def _settlements(self, message: Message, deliveries: Sequence[Delivery], job: Job) -> list[Settlement]:
        if not message.mail_json:
            return [self._verdict(delivery, _UNKNOWN) for delivery in deliveries]
        played: dict[Scenario, list[Delivery]] = {scenario: [] for scenario in Scenario}
        for delivery in deliveries:
            scenario = scenario_of(delivery.recipient)
            self._tell(delivery, scenario)
            played[scenario].append(delivery)
        return [
            *(self._told(delivery, job) for delivery in played[Scenario.SUCCESS]),
            *(self._answered(delivery) for delivery in played[Scenario.OOTO]),
            *self._complained(message, played[Scenario.COMPLAINT], job),
            # A listed address is suppressed at acceptance; one that comes here all the same bounces.
            *self._bounced(message, played[Scenario.BOUNCE] + played[Scenario.SUPPRESSION_LIST], job),
        ]

    def _taken(self, delivery: Delivery) -> Settlement:
        settlement, outcome = self._verdict(delivery, _TAKEN), self._outcome(_TAKEN, delivery)
        events = delivered_event(delivery, outcome, self._mail.origin.hostname)
        return replace(settlement, events=tuple(map(simulated, events)))

    def _told(self, delivery: Delivery, job: Job) -> Settlement:
        """Return the verdict on a delivery that succeeds, with the report of that where it was asked for."""
        settlement, outcome = self._taken(delivery), self._outcome(_TAKEN, delivery)
        if not success_told(delivery, outcome):
            return settlement
        status = status_of(delivery.recipient, outcome, Cause.DELIVERED, delivery.wishes)
        reports = self._mail.feedback(Cause.DELIVERED, delivery.message, (status,), partial(original_of, job))
        return replace(settlement, messages=reports)

    def _answered(self, delivery: Delivery) -> Settlement:
        message = delivery.message
        replies = self._mail.auto_reply(message, delivery.recipient, reply_address(message))
        return replace(self._taken(delivery), messages=replies)

    def _complained(self, message: Message, deliveries: Sequence[Delivery], job: Job) -> Iterable[Settlement]:
        """Return the verdicts on all that complain; the last one of a report carries it and its event."""
        for start in range(0, len(deliveries), COMPLAINTS_MAX):
            together = deliveries[start : start + COMPLAINTS_MAX]
            event, mails = self._complaint(message, together, job)
            *others, last = (self._taken(delivery) for delivery in together)
            yield from others
            yield replace(last, events=(*last.events, event), messages=mails)

    def _complaint(
        self, message: Message, deliveries: Sequence[Delivery], job: Job
    ) -> tuple[NewEvent, Sequence[NewMessage]]:
        """Return the event of a complaint, read from its report as if that had arrived, and the mail of it."""
        recipients = tuple(delivery.recipient for delivery in deliveries)
        report = ComplaintReport(recipients, COMPLAINT_TYPE, self._clock.now_ms())
        made, mails = self._mail.complaint(message, report, head_of(job))
        assert isinstance(made.content.body, bytes)
        complaint = classify(made.content.head + made.content.body).complaint
        assert complaint is not None
        event_id = f"{message.message_id}/{deliveries[0].index}/Complaint/simulated"
        body = payload.complaint(
            message.mail_json,
            timestamp_ms=report.arrived_ms,
            recipients=complaint.recipients,
            feedback_id=event_id,
            user_agent=complaint.user_agent,
            feedback_type=complaint.feedback_type,
            arrival_ms=date_ms(complaint.arrival_date),
        )
        return NewEvent(event_id, "Complaint", message.message_id, body, SIMULATED), mails

    def _bounced(self, message: Message, deliveries: Sequence[Delivery], job: Job) -> Iterable[Settlement]:
        """Return the verdicts on all that bounce; the first one carries the only event and report (SIM-008)."""
        if not deliveries:
            return
        outcomes = [(delivery, self._outcome(_UNKNOWN, delivery)) for delivery in deliveries]
        event_id = f"{message.message_id}/{deliveries[0].index}/Bounce/simulated"
        body = payload.bounce(
            message.mail_json,
            timestamp_ms=self._clock.now_ms(),
            bounce_type=GENERAL.bounce_type,
            bounce_sub_type=GENERAL.bounce_sub_type,
            recipients=[replace(recipient_status(*each), action="failed") for each in outcomes],
            feedback_id=event_id,
            reporting_mta=self._mail.origin.hostname,
        )
        event = NewEvent(event_id, "Bounce", message.message_id, body, SIMULATED)
        statuses = [
            status_of(delivery.recipient, outcome, wishes=delivery.wishes)
            for delivery, outcome in outcomes
            if failure_told(delivery)
        ]
        whole = partial(original_of, job)
        asked = any(delivery.wishes for delivery in deliveries)
        reports = self._mail.feedback(Cause.FAILED, message, statuses, whole, asked=asked) if statuses else ()
        first, *others = (self._verdict(delivery, _UNKNOWN) for delivery in deliveries)
        yield replace(first, events=(event,), messages=reports)
        yield from others

    def _outcome(self, outcome: Outcome, delivery: Delivery) -> Outcome:
        now_ms = self._clock.now_ms()
        return replace(outcome, remote_host=delivery.domain, started_ms=now_ms, finished_ms=now_ms)

    def _verdict(self, delivery: Delivery, played: Outcome) -> Settlement:
        outcome = self._outcome(played, delivery)
        taken = outcome.verdict is Verdict.DELIVERED
        decision = Decision(Step.ACCEPTED_BY_REMOTE if taken else Step.REFUSED, 0, outcome.reply)
        return Settlement(
            delivery=delivery,
            state=DeliveryState.DELIVERED if taken else DeliveryState.BOUNCED,
            attempts=delivery.attempts + 1,
            next_ms=0,
            last_reply=outcome.reply,
            attempt=attempt_record(delivery, outcome, decision),
        )

    # --- on disk -------------------------------------------------------------------------------------------------

    def _settle(self, message_key: int, settlements: Sequence[Settlement]) -> None:
        self._spool.settle_all(settlements, partial(self._settled, message_key, settlements))

    def _settled(self, message_key: int, settlements: Sequence[Settlement], error: Exception | None) -> None:
        if error is not None:
            self._log.error("settlement not written, trying again", error=str(error))
            self._metrics.count("relay_storage_failures_total")
            self._call_later(SETTLE_AGAIN_SECONDS, partial(self._settle, message_key, settlements))
            return
        del self._playing[message_key]
        for settlement in settlements:
            self._finished(settlement.delivery.key)
            for new in settlement.messages:
                self._accepted(new)
        if message_key in self._waiting:
            self._play(message_key)

    def _tell(self, delivery: Delivery, scenario: Scenario) -> None:
        self._metrics.count("relay_simulator_deliveries_total", scenario.value)
        self._log.info(
            "simulated",
            message_id=delivery.message.message_id,
            recipient=delivery.recipient,
            scenario=scenario.value,
        )


def reply_address(message: Message) -> str:
    """Return where an automatic reply goes: the submitted Return-Path, else the sender (SIM-004); "" for nobody."""
    given = submitted_value(message.mail_json, "return-path")
    if not given:
        return message.sender
    if given == "<>":
        return ""
    parsed = parse_from(given, smtputf8=True)
    return message.sender if isinstance(parsed, BadAddress) else str(parsed[0].address)
