"""Receive: mail for our own addresses. Bounces that come back, and mail for the postmaster.

A return path is a signed token, checked at RCPT; mail for a token that is not ours, or too old, is refused there
(FLOW-018). What arrives is read once, committed here, answered, and handed to the shard that owns the message until
that shard acknowledges it; the owner matches it, removes repeats, writes the event and mails the submitter
(FLOW-012). Automatic replies, and whatever else is no report, are forwarded as they are (FLOW-013); so are reports of
success and of delay, to senders that asked for them (RFC 3461).
"""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import orjson

from relay.errors import StorageError, TemporaryError
from relay.events import payload
from relay.mail import returnpath
from relay.mail.classify import Classification, bounce_of_recipient, classify
from relay.mail.dsn import RecipientStatus
from relay.mail.feedback import Cause, original_field
from relay.mail.headers import RECEIVED_MAX
from relay.mail.trace import received_field
from relay.model.content import Content
from relay.model.message import Delivery, NewEvent, NewMessage, Submission
from relay.model.refusal import Accepted, Reason, Refusal
from relay.pipeline.internal import NOTHING_KEPT, InternalMail, protection
from relay.policy.notification import failure_told, report_forwarded
from relay.policy.simulator import is_simulator_domain
from relay.ports import Clock, Inbox, Log, Metrics, Record, Spool

READ_MAX_BYTES = 1024 * 1024
FORWARD_MAX_BYTES = 256 * 1024
WAITING_BATCH = 200
AGAIN_SECONDS = 10.0
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
ROLE_ACCOUNTS = frozenset({"postmaster", "abuse"})  # RFC 5321 section 4.5.1, RFC 2142

Answer = Callable[[Accepted | Refusal], None]
Taken = Callable[[Exception | None], None]


class Peers(Protocol):
    """The other workers."""

    def hand_over(self, shard: int, item_id: str, item: bytes, done: Taken) -> None:
        """Give an item to the worker that owns `shard`; None when it was committed there."""
        ...


@dataclass(frozen=True, slots=True)
class ReceiveRules:
    """What configuration says about mail for us. `token_key` signs return paths."""

    hostname: str
    bounce_domain: str
    contact: str
    retention_ms: int
    token_key: bytes


class Receive:
    """Takes mail addressed to the relay itself."""

    def __init__(
        self,
        *,
        rules: ReceiveRules,
        inbox: Inbox,
        spool: Spool,
        peers: Peers,
        mail: InternalMail,
        is_mail_from: Callable[[str], bool],
        accepted: Callable[[NewMessage], None],
        call_later: Callable[[float, Callable[[], None]], object],
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self.rules = rules
        self._inbox = inbox
        self._spool = spool
        self._peers = peers
        self._mail = mail
        self._is_mail_from = is_mail_from
        self._accepted = accepted
        self._call_later = call_later
        self._clock = clock
        self._log = log
        self._metrics = metrics

    def start(self) -> None:
        """Take up what an earlier life of this worker did not hand over."""
        self._hand_over_waiting()

    # --- at the door ---------------------------------------------------------------------------------------------

    def may_receive(self, recipient: str) -> Refusal | None:
        """Say whether mail for an address is taken without authentication (SMTP-003, MFROM-011)."""
        if self._is_role(recipient):
            return None
        local, _, domain = recipient.rpartition("@")
        if domain == self.rules.bounce_domain or self._is_mail_from(domain):
            return None if self._token(local) is not None else Refusal(Reason.BAD_BOUNCE_TOKEN, recipient)
        if domain == self.rules.hostname or is_simulator_domain(domain, self.rules.hostname):  # SIM-010
            return Refusal(Reason.NO_SUCH_USER, recipient)
        return Refusal(Reason.NOT_LOCAL)

    def receive(self, submission: Submission, answer: Answer) -> None:
        """Commit what arrived, then answer; hand it over afterwards."""
        content = submission.content
        if len(_RECEIVED.findall(content.head)) >= RECEIVED_MAX:
            answer(Refusal(Reason.LOOP))
            return
        message_id = self._mail.new_id()
        tokens = [returnpath.read(r.rpartition("@")[0], self.rules.token_key) for r in submission.recipients]
        found = [token for token in tokens if token is not None]
        waits = _Countdown(len(found) + bool(len(found) < len(tokens)), partial(self._kept, answer, message_id))
        if not waits.left:
            answer(Refusal(Reason.NO_RECIPIENTS))
            return
        items = [(f"{message_id}/{number}", token) for number, token in enumerate(found)]
        if items:
            self._keep(items, content, waits)
        if len(found) < len(tokens):
            self._forward_to_contact(message_id, submission, waits)

    def _keep(
        self, items: Sequence[tuple[str, returnpath.ReturnPath]], content: Content, waits: "_Countdown"
    ) -> None:
        seen = classify(_first_bytes(content))
        for item_id, token in items:
            item = self._item(token, seen, content)
            self._inbox.keep(item_id, token.shard, item, partial(self._item_kept, item_id, token.shard, item, waits))

    def _item_kept(self, item_id: str, shard: int, item: bytes, waits: "_Countdown", error: Exception | None) -> None:
        waits.one(error)
        if error is None:
            self._hand_over(item_id, shard, item)

    def _kept(self, answer: Answer, message_id: str, error: Exception | None) -> None:
        if error is not None:
            self._log.error("received mail not written", message_id=message_id, error=str(error))
            answer(Refusal(Reason.TEMPORARY))
            return
        self._log.info("received", message_id=message_id)
        answer(Accepted(message_id))

    def _forward_to_contact(self, message_id: str, submission: Submission, waits: "_Countdown") -> None:
        content = Content(self._received(message_id, submission) + submission.content.head, submission.content.body)
        eight_bit, smtputf8 = submission.facts.eight_bit, submission.smtputf8
        new = self._mail.message(
            message_id,
            "",
            self.rules.contact,
            content,
            eight_bit=eight_bit,
            smtputf8=smtputf8,
            options=protection(requiretls=submission.wishes.requiretls),
        )

        def done(error: Exception | None) -> None:
            waits.one(error)
            if error is None:
                self._accepted(new)

        self._spool.append(new, done)

    def _received(self, message_id: str, submission: Submission) -> bytes:
        return received_field(message_id, self.rules.hostname, submission.protocol, self._clock.now_ms())

    def _is_role(self, recipient: str) -> bool:
        local, at, domain = recipient.rpartition("@")
        if not at:
            return recipient.lower() == "postmaster"
        if local.lower() not in ROLE_ACCOUNTS:
            return False
        return domain in {self.rules.hostname, self.rules.bounce_domain} or self._is_mail_from(domain)

    def _token(self, local: str) -> returnpath.ReturnPath | None:
        token = returnpath.read(local, self.rules.token_key)
        if token is None or token.expired(self._clock.now_ms(), self.rules.retention_ms):
            return None
        return token

    def _item(self, token: returnpath.ReturnPath, seen: Classification, content: Content) -> bytes:
        """Return the JSON that the owner of the message gets."""
        item: dict[str, Any] = {
            "prefix": token.message_id_prefix,
            "index": token.index,
            "arrivedMs": self._clock.now_ms(),
            "kind": seen.kind,
            "reportingMta": seen.report.reporting_mta if seen.report else "",
            "recipients": [[r.address, r.action, r.status, r.diagnostic] for r in seen.recipients],
        }
        if seen.kind in _FORWARDED and isinstance(content.body, bytes) and content.size_bytes <= FORWARD_MAX_BYTES:
            item["content"] = [base64.b64encode(part).decode() for part in (content.head, content.body)]
        return orjson.dumps(item)

    # --- on the way to the owner ---------------------------------------------------------------------------------

    def _hand_over(self, item_id: str, shard: int, item: bytes) -> None:
        taken = partial(self._taken, item_id)
        if shard == self._spool.shard:
            self.take(item, taken)
            return
        self._peers.hand_over(shard, item_id, item, taken)

    def _taken(self, item_id: str, error: Exception | None) -> None:
        if error is not None:
            self._log.warning("feedback not handed over, trying again", item=item_id, error=str(error))
            self._call_later(AGAIN_SECONDS, self._hand_over_waiting)
            return
        self._inbox.forget(item_id, lambda _error: None)

    def _hand_over_waiting(self) -> None:
        try:
            waiting = self._inbox.waiting(WAITING_BATCH)
        except TemporaryError:
            waiting = ()
        for item_id, shard, item in waiting:
            self._hand_over(item_id, shard, item)

    # --- at the owner --------------------------------------------------------------------------------------------

    def take(self, item: bytes, done: Taken) -> None:
        """Match what came back with its message, and settle it; repeats change nothing."""
        about = orjson.loads(item)
        try:
            record = self._inbox.find(about["prefix"])
        except (TemporaryError, StorageError) as error:
            done(error)
            return
        delivery = _delivery(record, about["index"]) if record else None
        if delivery is None:
            self._drop(about, "unknown", done)
        elif about["kind"] == "bounce":
            self._bounced(delivery, about, done)
        elif "content" in about and delivery.message.sender and report_forwarded(delivery, about["kind"]):
            self._forward(delivery, about, done)
        else:
            self._drop(about, about["kind"], done)

    def _drop(self, about: dict[str, Any], result: str, done: Taken) -> None:
        self._metrics.count("relay_feedback_total", result)
        self._log.info("feedback without effect", message_id=about["prefix"], kind=about["kind"], result=result)
        done(None)

    def _bounced(self, delivery: Delivery, about: dict[str, Any], done: Taken) -> None:
        message = delivery.message
        status = _status(delivery, about)
        kind = bounce_of_recipient(status)
        dedupe = f"bounce/{message.message_id}/{delivery.index}"
        events: tuple[NewEvent, ...] = ()
        if message.mail_json:
            body = payload.bounce(
                message.mail_json,
                timestamp_ms=about["arrivedMs"],
                bounce_type=kind.bounce_type,
                bounce_sub_type=kind.bounce_sub_type,
                recipients=(
                    payload.RecipientStatus(delivery.recipient, status.action, status.status, status.diagnostic),
                ),
                feedback_id=dedupe,
                reporting_mta=about["reportingMta"],
            )
            event_id = f"{message.message_id}/{delivery.index}/Bounce/returned"
            events = (NewEvent(event_id, "Bounce", message.message_id, body),)
        reports: Sequence[NewMessage] = ()
        if failure_told(delivery):
            reports = self._mail.feedback(Cause.RETURNED, message, (status,), lambda: NOTHING_KEPT)
        self._record(dedupe, events, reports, "bounce", delivery.source, done)

    def _forward(self, delivery: Delivery, about: dict[str, Any], done: Taken) -> None:
        message = delivery.message
        head, body = (base64.b64decode(part) for part in about["content"])
        dedupe = "forward/" + hashlib.sha256(about["prefix"].encode() + head + body).hexdigest()
        message_id = self._mail.new_id()
        trace = b"Received: by %b id %b\r\n" % (self.rules.hostname.encode(), message_id.encode())
        content = Content(trace + head, body)
        eight_bit = not body.isascii()
        new = self._mail.message(
            message_id,
            message.account,
            message.sender,
            content,
            eight_bit=eight_bit,
            smtputf8=not head.isascii(),
            options=protection(requiretls=message.options.requiretls),
        )
        self._record(dedupe, (), (new,), about["kind"], delivery.source, done)

    def _record(  # noqa: PLR0917 - what is written, as what it counts, for which address of ours
        self,
        dedupe: str,
        events: Sequence[NewEvent],
        messages: Sequence[NewMessage],
        result: str,
        source: str,
        done: Taken,
    ) -> None:
        def recorded(written: bool, error: Exception | None) -> None:  # noqa: FBT001 (a callback's shape)
            if written:
                for new in messages:
                    self._accepted(new)
            if error is None:
                self._metrics.count("relay_feedback_total", result if written else "repeat")
            if written and source:
                self._metrics.count("relay_source_feedback_total", source, result)
            done(error)

        self._inbox.record(dedupe, events, messages, recorded)


_FORWARDED = frozenset({"auto-reply", "none", "complaint", "success", "delay"})


class _Countdown:
    """Calls `done` once, after so many parts are through: with the first error, or None."""

    def __init__(self, left: int, done: Taken) -> None:
        self.left = left
        self._done = done
        self._error: Exception | None = None

    def one(self, error: Exception | None) -> None:
        """Note that a part is through."""
        self._error = self._error or error
        self.left -= 1
        if not self.left:
            self._done(self._error)


def _first_bytes(content: Content) -> bytes:
    """Return the message, at most `READ_MAX_BYTES` of it: reports are short, or their beginning says enough."""
    if isinstance(content.body, bytes):
        return content.head + content.body
    with open(content.body.path, "rb") as file:  # noqa: PTH123 (a path as text everywhere)
        file.seek(content.body.offset_bytes)
        return content.head + file.read(min(READ_MAX_BYTES, content.body.size_bytes))


def _delivery(record: Record, index: int) -> Delivery | None:
    return next((delivery for delivery in record.deliveries if delivery.index == index), None)


def _status(delivery: Delivery, about: dict[str, Any]) -> RecipientStatus:
    """Return what the report says of the recipient, which the return path names whatever the report calls it."""
    reported = [RecipientStatus(*values) for values in about["recipients"]]
    same = [one for one in reported if one.address.lower() == delivery.recipient.lower()]
    chosen = (same or reported or [RecipientStatus("", "failed", "5.0.0")])[0]
    return RecipientStatus(
        delivery.recipient,
        chosen.action or "failed",
        chosen.status,
        chosen.diagnostic,
        original_recipient=original_field(delivery.wishes),
    )
