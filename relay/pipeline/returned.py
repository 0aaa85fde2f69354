"""Returned: what came back about a message, at the shard that owns it. Matched, settled once, told.

An item is what the door found out about one report (`item_of`). A bounce and a complaint become an event each, and
mail to the submitter where the settings of the identity want that (NOTIF-*); automatic replies and whatever else is
no report are forwarded as they are (FLOW-013); so are reports of success and of delay, to senders that asked for
them (RFC 3461). A repeat changes nothing.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from relay.errors import CorruptionError, TemporaryError
from relay.events import payload
from relay.events.notes import joined, lane_notes
from relay.mail import returnpath
from relay.mail.addresslist import parse_from
from relay.mail.arf import ComplaintReport, date_ms
from relay.mail.classify import Classification
from relay.mail.dsn import RecipientStatus
from relay.mail.feedback import Cause, original_field
from relay.mail.forwarded import forwarded_head, submitted_head
from relay.mail.mime import find, read_part
from relay.mail.replies import NOTHING_SAID, Judgement, judgement_of
from relay.model.content import Content
from relay.model.feedback import NO_COMPLAINTS, FeedbackKind
from relay.model.ids import accepted_ms_of
from relay.model.message import Delivery, Message, NewEvent, NewMessage
from relay.pipeline.internal import InternalMail, protection
from relay.policy.forward_limit import ForwardLimit
from relay.policy.notification import failure_told, report_forwarded
from relay.ports import Inbox, Log, Metrics, Record

FORWARD_MAX_BYTES = 256 * 1024
ANY_INDEX = -1  # a report that names the message, and not by a return path which of its recipients
_FORWARDED = frozenset({"auto-reply", "none", "complaint", "success", "delay"})
_AUTHOR_MAX_CHARACTERS = 1000
FIELDS_SEARCHED_MAX = 200
FIELD_SEARCHED_BYTES = 2000
_LOCAL = re.compile(r"(?<![A-Za-z0-9])([A-Za-z2-7]{48})@")

Json = dict[str, Any]
Taken = Callable[[Exception | None], None]


def item_of(prefix: str, index: int, seen: Classification, content: Content, arrived_ms: int) -> bytes:
    """Return the JSON that the owner of a message gets: which message, which recipient, and what the report says.

    When the report was sent (EVT-020) is what its Date says, where that lies between acceptance and arrival.
    """
    said_ms = date_ms(seen.date)
    item: Json = {
        "prefix": prefix,
        "index": index,
        "arrivedMs": said_ms if accepted_ms_of(prefix) <= said_ms <= arrived_ms else arrived_ms,
        "kind": seen.kind,
        "reportingMta": seen.report.reporting_mta if seen.report else "",
        "recipients": [[r.address, r.action, r.status, r.diagnostic] for r in seen.recipients],
        "judgements": [each.as_json() for each in seen.judgements],
    }
    if seen.complaint is not None:
        item |= {
            "feedbackType": seen.complaint.feedback_type,
            "userAgent": seen.complaint.user_agent,
            "complaintMs": date_ms(seen.complaint.arrival_date),
            "reporter": _author_domain(content),
        }
    if seen.kind in _FORWARDED and isinstance(content.body, bytes) and content.size_bytes <= FORWARD_MAX_BYTES:
        item["content"] = [base64.b64encode(part).decode() for part in (content.head, content.body)]
    return orjson.dumps(item)


@dataclass(frozen=True, slots=True)
class About:
    """Which message a report is about: the prefix of its id, and the recipient's index or `ANY_INDEX`."""

    prefix: str
    index: int


def complained_about(seen: Classification, token: Callable[[str], returnpath.ReturnPath | None]) -> About | None:
    """Return which message of ours a feedback report is about, None where it names none.

    A signed return path in the header section of the original proves it and names the recipient; the id of a message,
    which only its recipients have seen, is enough to count a complaint. `token` reads a local part.
    """
    if seen.kind != "complaint" or seen.complaint is None:
        return None
    for path in seen.complaint.return_paths:
        found = token(path.partition("@")[0])
        if found is not None:
            return About(found.message_id_prefix, found.index)
    for field in seen.complaint.original[:FIELDS_SEARCHED_MAX]:
        for local in _LOCAL.findall(field.value[:FIELD_SEARCHED_BYTES].decode("latin-1")):
            found = token(local)
            if found is not None:
                return About(found.message_id_prefix, found.index)
    return About(seen.message_id[: returnpath.PREFIX_CHARS], ANY_INDEX) if seen.message_id else None


class Returned:
    """Settles items for messages of one shard."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        mail: InternalMail,
        accepted: Callable[[NewMessage], None],
        came_back: Callable[[str, str, str], None],
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._inbox = inbox
        self._mail = mail
        self._accepted = accepted
        self._came_back = came_back
        self._log = log
        self._metrics = metrics
        self._limit = ForwardLimit()

    def take(self, item: bytes, done: Taken) -> None:
        """Match what came back with its message, and settle it; repeats change nothing."""
        about = orjson.loads(item)
        try:
            record = self._inbox.find(about["prefix"])
        except TemporaryError as error:
            done(error)
            return
        except CorruptionError as error:  # nobody can say what it is about: kept, it would come again for ever
            self._log.error("feedback about a damaged record", message_id=about["prefix"], error=str(error))
            self._drop(about, "corrupt", done)
            return
        deliveries = _concerned(record, about) if record else ()
        if record is None or not deliveries:
            self._drop(about, "unknown", done)
        elif about["kind"] == "complaint":
            self._complained(deliveries, _last_attempt(record, deliveries[0]), about, done)
        elif about["kind"] == "bounce":
            self._bounced(deliveries[0], _last_attempt(record, deliveries[0]), about, done)
        elif self._goes_on(deliveries[0], about):
            self._forward(deliveries[0], about, done)
        else:
            self._drop(about, about["kind"], done)

    def _goes_on(self, delivery: Delivery, about: Json) -> bool:
        wanted = report_forwarded(delivery, about["kind"])
        return "content" in about and bool(delivery.message.sender) and wanted

    def _drop(self, about: Json, result: str, done: Taken) -> None:
        self._metrics.count("relay_feedback_total", result)
        self._log.info("feedback without effect", message_id=about["prefix"], kind=about["kind"], result=result)
        done(None)

    # --- bounces -------------------------------------------------------------------------------------------------

    def _bounced(self, delivery: Delivery, last: Json, about: Json, done: Taken) -> None:
        message = delivery.message
        status = _status(delivery, about)
        dedupe = f"bounce/{message.message_id}/{delivery.index}"
        events = (_bounce_event(delivery, status, _notes(last), about, dedupe),) if message.mail_json else ()
        reports: Sequence[NewMessage] = ()
        if failure_told(delivery):
            original = Content(submitted_head(message.mail_json), b"")
            reports = self._mail.feedback(
                Cause.RETURNED, message, (status,), lambda: original, asked=bool(delivery.wishes)
            )
        self._record(dedupe, events, reports, "bounce", delivery, last, done)

    # --- complaints ----------------------------------------------------------------------------------------------

    def _complained(self, deliveries: Sequence[Delivery], last: Json, about: Json, done: Taken) -> None:
        """Tell a complaint, once for each recipient, or group of them at a provider, and type (EVT-026, EVT-028)."""
        first = deliveries[0]
        message = first.message
        result = about["feedbackType"] if about["feedbackType"] in NO_COMPLAINTS else "complaint"
        recipients = tuple(delivery.recipient for delivery in deliveries)
        dedupe = f"complaint/{message.message_id}/{_whose(deliveries, about)}/{about['feedbackType']}"
        events: tuple[NewEvent, ...] = ()
        if message.mail_json:
            body = payload.complaint(
                message.mail_json,
                timestamp_ms=about["arrivedMs"],
                recipients=recipients,
                feedback_id=dedupe,
                user_agent=about["userAgent"],
                feedback_type=about["feedbackType"],
                arrival_ms=about["complaintMs"],
            )
            event_id = f"{message.message_id}/{first.index}/Complaint/{_digest((dedupe,))}"
            events = (NewEvent(event_id, "Complaint", message.message_id, body, _notes(last)),)
        reports = self._complaint_mail(message, recipients, about)
        self._record(dedupe, events, reports, result, first, last, done)

    def _complaint_mail(self, message: Message, recipients: Sequence[str], about: Json) -> Sequence[NewMessage]:
        """Return the report for the sender, as its provider sent it (NOTIF-008), or ours where that is too large."""
        if not message.sender or not self._mail.forwards(message, FeedbackKind.COMPLAINT):
            return ()
        if "content" in about:
            return (self._onward(message, about, rewritten=True),)
        report = ComplaintReport(tuple(recipients), about["feedbackType"], about["complaintMs"] or about["arrivedMs"])
        return self._mail.complaint(message, report, submitted_head(message.mail_json))[1]

    # --- mail that goes on ---------------------------------------------------------------------------------------

    def _forward(self, delivery: Delivery, about: Json, done: Taken) -> None:
        if not self._limit.admits(about["prefix"], about["index"], about["arrivedMs"]):
            self._drop(about, "limited", done)
            return
        dedupe = "forward/" + _digest((about["prefix"], *about["content"]))
        new = self._onward(delivery.message, about, rewritten=False)
        self._record(dedupe, (), (new,), about["kind"], delivery, {}, done)  # it is no answer that is counted

    def _onward(self, message: Message, about: Json, *, rewritten: bool) -> NewMessage:
        head, body = (base64.b64decode(part) for part in about["content"])
        hostname, message_id = self._mail.origin.hostname, self._mail.new_id()
        trace = b"Received: by %b id %b\r\n" % (hostname.encode(), message_id.encode())
        content = Content(trace + (forwarded_head(head, hostname) if rewritten else head), body)
        return self._mail.message(
            message_id,
            message.account,
            message.sender,
            content,
            eight_bit=not body.isascii(),
            smtputf8=not head.isascii(),
            options=protection(requiretls=message.options.requiretls),
        )

    def _record(  # noqa: PLR0917 - what is written, as what it counts, about which delivery and attempt
        self,
        dedupe: str,
        events: Sequence[NewEvent],
        messages: Sequence[NewMessage],
        result: str,
        delivery: Delivery,
        last: Json,
        done: Taken,
    ) -> None:
        def recorded(written: bool, error: Exception | None) -> None:  # noqa: FBT001 (a callback's shape)
            if written:
                for new in messages:
                    self._accepted(new)
            if error is None:
                self._metrics.count("relay_feedback_total", result if written else "repeat")
            if written and delivery.source:
                self._metrics.count("relay_source_feedback_total", delivery.source, result)
                self._came_back(delivery.source, last.get("provider") or "", result)
            done(error)

        self._inbox.record(dedupe, events, messages, recorded)


def _concerned(record: Record, about: Json) -> Sequence[Delivery]:
    """Return the deliveries that a report is about.

    A return path names one. Without it, a complaint is about the recipients it names, else about those at the
    reporter's domain (EVT-028), else about all, for one of them it was; only one recipient of a message proves more.
    """
    if about["index"] != ANY_INDEX:
        return [delivery for delivery in record.deliveries if delivery.index == about["index"]]
    if about["kind"] != "complaint":
        return ()
    named = {address.lower() for address, *_ in about["recipients"]}
    exact = [delivery for delivery in record.deliveries if delivery.recipient.lower() in named]
    reporter = about["reporter"]
    there = [delivery for delivery in record.deliveries if reporter and _within(delivery.domain, reporter)]
    return exact or there or record.deliveries


def _whose(deliveries: Sequence[Delivery], about: Json) -> str:
    """Return what tells complaints about a message apart: the recipient, or who reports where it may be several.

    A report that names several of them itself is one whichever they are, so that whoever knows their addresses can
    not complain in the name of every combination.
    """
    if len(deliveries) == 1:
        return str(deliveries[0].index)
    named = {address.lower() for address, *_ in about["recipients"]}
    if any(delivery.recipient.lower() in named for delivery in deliveries):
        return "several"
    return _digest([delivery.recipient for delivery in deliveries])


def _within(domain: str, reporter: str) -> bool:
    """Say whether one of two domains is the other or lies below it."""
    return domain == reporter or domain.endswith(f".{reporter}") or reporter.endswith(f".{domain}")


def _last_attempt(record: Record, delivery: Delivery) -> Json:
    """Return the last attempt of a delivery as it was noted; empty for one that never had any."""
    attempts = dict(zip((one.key for one in record.deliveries), record.attempts, strict=False))
    made = orjson.loads(attempts.get(delivery.key, "[]"))
    return made[-1] if made else {}


def _notes(last: Json) -> bytes:
    """Return where a delivery went in an attempt."""
    return lane_notes(last.get("provider") or "", last.get("pool") or "", remote=last.get("remoteAddress") or "")


def _bounce_event(delivery: Delivery, status: RecipientStatus, notes: bytes, about: Json, dedupe: str) -> NewEvent:
    message = delivery.message
    judged = _judgement(delivery, about)
    kind = judged.bounce
    body = payload.bounce(
        message.mail_json,
        timestamp_ms=about["arrivedMs"],
        bounce_type=kind.bounce_type,
        bounce_sub_type=kind.bounce_sub_type,
        recipients=(payload.RecipientStatus(delivery.recipient, status.action, status.status, status.diagnostic),),
        feedback_id=dedupe,
        reporting_mta=about["reportingMta"],
        outgoing_ip=delivery.source,
    )
    event_id = f"{message.message_id}/{delivery.index}/Bounce/returned"
    return NewEvent(event_id, "Bounce", message.message_id, body, joined(notes, judged.as_note()))


def _judgement(delivery: Delivery, about: Json) -> Judgement:
    """Return what the report means for the recipient: what was judged of its row, or of the report as a whole."""
    judged = [judgement_of(each) for each in about["judgements"]]
    rows = zip(about["recipients"], judged, strict=False)
    same = [one for row, one in rows if row[0].lower() == delivery.recipient.lower()]
    return (same or judged or [NOTHING_SAID])[0]


def _status(delivery: Delivery, about: Json) -> RecipientStatus:
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


def _author_domain(content: Content) -> str:
    """Return the domain of a report's author, "" when it names none."""
    fields = read_part(content.head, 0, len(content.head)).fields or ()
    author = find(fields, b"from")
    if author is None:
        return ""
    parsed = parse_from(author.value[:_AUTHOR_MAX_CHARACTERS].decode("utf-8", "replace"), smtputf8=True)
    return parsed[0].address.domain if isinstance(parsed, tuple) else ""


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
