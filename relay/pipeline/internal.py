"""Mail that the relay sends itself: reports to submitters, forwarded bounces, mail for the contact.

Internal messages have the null sender (RFC 3834, RFC 5321 section 4.5.5), so nothing answers them and they never
bounce; their `mail_json` is empty, so they emit no events; they use no quota.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.errors import CorruptionError
from relay.mail.dsn import RecipientStatus
from relay.mail.feedback import Cause, status_of, write_feedback
from relay.model.content import Content
from relay.model.ids import new_message_id
from relay.model.message import Delivery, Message, NewMessage
from relay.model.outcome import Outcome
from relay.ports import Clock, Job, Log, Metrics, Spool
from relay.schedule.throttle import TokenBucket

REPORTS_PER_SECOND = 20.0  # to one address; a storm of failures must not become a storm of reports
SENDERS_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Origin:
    """Who writes: our host name, and how long the mail is tried."""

    hostname: str
    lifetime_ms: int


class InternalMail:
    """Makes messages of our own for this shard; the caller commits them."""

    def __init__(self, *, origin: Origin, spool: Spool, clock: Clock, log: Log, metrics: Metrics) -> None:
        self.origin = origin
        self._spool = spool
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._buckets: dict[str, TokenBucket] = {}

    def message(
        self, message_id: str, account: str, recipient: str, content: Content, *, eight_bit: bool, smtputf8: bool
    ) -> NewMessage:
        """Return a message of the null sender to one recipient."""
        now_ms = self._clock.now_ms()
        message = Message(
            key=self._spool.next_key(),
            message_id=message_id,
            account=account,
            sender="",
            accepted_ms=now_ms,
            expires_ms=now_ms + self.origin.lifetime_ms,
            size_bytes=content.size_bytes,
            smtputf8=smtputf8,
            eight_bit=eight_bit,
            mail_json=b"",
        )
        return NewMessage(message, content, (Delivery(message, 0, recipient, next_ms=now_ms),))

    def new_id(self) -> str:
        """Return a message id for a message of our own."""
        return new_message_id(self._spool.shard, self._clock.now_ms())

    def failure_report(self, job: Job, outcome: Outcome, expired: bool) -> Sequence[NewMessage]:  # noqa: FBT001
        """Return the report of a failed delivery to its sender; nothing for the null sender."""
        delivery = job.delivery
        if not delivery.message.sender:
            return ()
        status = status_of(delivery.recipient, outcome, expired=expired)
        cause = Cause.EXPIRED if expired else Cause.FAILED
        return self.feedback(cause, delivery.message, (status,), lambda: _head(job))

    def feedback(
        self, cause: Cause, message: Message, recipients: Sequence[RecipientStatus], head: Callable[[], bytes]
    ) -> Sequence[NewMessage]:
        """Return a report about `message` to its sender, unless there is none or it gets too many."""
        if not message.sender:
            self._metrics.count("relay_reports_dropped_total", "null_sender")
            return ()
        if not self._may_report(message.sender):
            self._metrics.count("relay_reports_dropped_total", "rate")
            self._log.warning("report not written, too many to this sender", message_id=message.message_id)
            return ()
        report_id = self.new_id()
        made = write_feedback(
            cause, message, recipients, head(), self.origin.hostname, report_id, self._clock.now_ms()
        )
        self._metrics.count("relay_reports_total", "bounce")
        eight_bit = made.facts.eight_bit
        return (
            self.message(
                report_id, message.account, made.recipient, made.content, eight_bit=eight_bit, smtputf8=made.smtputf8
            ),
        )

    def _may_report(self, sender: str) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.pop(sender, None)
        if bucket is None:
            bucket = TokenBucket(now)
            bucket.give_back(int(REPORTS_PER_SECOND))
            if len(self._buckets) >= SENDERS_REMEMBERED:
                self._buckets.pop(next(iter(self._buckets)))
        self._buckets[sender] = bucket
        if not bucket.admits(REPORTS_PER_SECOND, now):
            return False
        bucket.spend(1)
        return True


def _head(job: Job) -> bytes:
    try:
        return job.load().head
    except CorruptionError:
        return b""
