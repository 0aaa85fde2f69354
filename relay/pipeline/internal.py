"""Mail that the relay sends itself: reports to submitters, forwarded bounces, mail for the contact.

Internal messages have the null sender (RFC 3834, RFC 5321 section 4.5.5), so nothing answers them and they never
bounce; their `mail_json` is empty, so they emit no events; they use no quota.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.errors import CorruptionError
from relay.mail.arf import ComplaintReport, write_complaint
from relay.mail.auto_reply import write_auto_reply
from relay.mail.dsn import RecipientStatus
from relay.mail.feedback import Cause, Feedback, status_of, write_feedback
from relay.model.content import Content
from relay.model.feedback import FeedbackKind
from relay.model.ids import new_message_id
from relay.model.message import DEFAULT_OPTIONS, Delivery, Message, NewMessage, SendOptions
from relay.model.outcome import Outcome
from relay.pipeline.forwarding import Forwarding, always
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

    def __init__(
        self,
        *,
        origin: Origin,
        spool: Spool,
        clock: Clock,
        log: Log,
        metrics: Metrics,
        forwards: Forwarding = always,
    ) -> None:
        self.origin = origin
        self.forwards = forwards  # whether the settings of a message's identity want feedback mailed
        self._spool = spool
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._buckets: dict[str, TokenBucket] = {}

    def message(
        self,
        message_id: str,
        account: str,
        recipient: str,
        content: Content,
        *,
        eight_bit: bool,
        smtputf8: bool,
        options: SendOptions = DEFAULT_OPTIONS,
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
            options=options,
        )
        return NewMessage(message, content, (Delivery(message, 0, recipient, next_ms=now_ms),))

    def new_id(self) -> str:
        """Return a message id for a message of our own."""
        return new_message_id(self._spool.shard, self._clock.now_ms())

    def report(self, cause: Cause, job: Job, outcome: Outcome) -> Sequence[NewMessage]:
        """Return the report of an attempt to the sender; nothing for the null sender."""
        delivery = job.delivery
        if not delivery.message.sender:
            return ()
        status = status_of(delivery.recipient, outcome, cause, delivery.wishes)
        asked = bool(delivery.wishes)
        return self.feedback(cause, delivery.message, (status,), lambda: original_of(job), asked=asked)

    def feedback(
        self,
        cause: Cause,
        message: Message,
        recipients: Sequence[RecipientStatus],
        original: Callable[[], Content],
        *,
        asked: bool = False,
    ) -> Sequence[NewMessage]:
        """Return a report about `message` to its sender, unless there is none or it gets too many.

        Of failures the settings of the identity decide, unless it was asked for with the message (RFC 3461).
        """
        if cause.failure and not asked and not self.forwards(message, FeedbackKind.BOUNCE):
            return ()
        if not self._may_write(message, message.sender):
            return ()
        report_id, content = self.new_id(), original()
        made = write_feedback(
            cause,
            message,
            recipients,
            content.head,
            self.origin.hostname,
            report_id,
            self._clock.now_ms(),
            content.body if isinstance(content.body, bytes) else None,
        )
        self._metrics.count("relay_reports_total", _LABELS.get(cause, "bounce"))
        return (self._mail(report_id, message, made),)

    def auto_reply(self, message: Message, author: str, recipient: str) -> Sequence[NewMessage]:
        """Return the automatic reply of `author`, a recipient of `message`, to `recipient` (RFC 3834)."""
        if not self._may_write(message, recipient):
            return ()
        reply_id = self.new_id()
        made = write_auto_reply(message, author, recipient, self.origin.hostname, reply_id, self._clock.now_ms())
        return (self._mail(reply_id, message, made),)

    def complaint(
        self, message: Message, report: ComplaintReport, head: bytes
    ) -> tuple[Feedback, Sequence[NewMessage]]:
        """Return a feedback report (RFC 5965) about `message`, and the mail of it to the sender if it may be sent."""
        report_id = self.new_id()
        made = write_complaint(message, report, head, self.origin.hostname, report_id, self._clock.now_ms())
        if not self.forwards(message, FeedbackKind.COMPLAINT) or not self._may_write(message, message.sender):
            return made, ()
        return made, (self._mail(report_id, message, made),)

    def _mail(self, report_id: str, about: Message, made: Feedback) -> NewMessage:
        return self.message(
            report_id,
            about.account,
            made.recipient,
            made.content,
            eight_bit=made.facts.eight_bit,
            smtputf8=made.smtputf8,
            options=protection(requiretls=about.options.requiretls),
        )

    def _may_write(self, message: Message, recipient: str) -> bool:
        if not recipient:
            self._metrics.count("relay_reports_dropped_total", "null_sender")
            return False
        if not self._may_report(recipient):
            self._metrics.count("relay_reports_dropped_total", "rate")
            self._log.warning("report not written, too many to this sender", message_id=message.message_id)
            return False
        return True

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


_LABELS = {Cause.DELAYED: "delay", Cause.RELAYED: "relayed", Cause.DELIVERED: "delivered"}
NOTHING_KEPT = Content(b"", b"")


def original_of(job: Job) -> Content:
    """Return a job's message; nothing of it when it cannot be read back.

    A body in a file is too large to go back, and of the others none is over 256 KiB (K07).
    """
    try:
        return job.load()
    except CorruptionError:
        return NOTHING_KEPT


def protection(*, requiretls: bool) -> SendOptions:
    """Return how mail that tells about a message is sent: as protected as that was (RFC 8689 section 5)."""
    return SendOptions(requiretls=True) if requiretls else DEFAULT_OPTIONS


def head_of(job: Job) -> bytes:
    """Return the header section of a job's message, empty when it cannot be read back."""
    return original_of(job).head
