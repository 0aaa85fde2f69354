"""What a message that arrives at a return path is: bounce, delay, success, complaint, auto-reply, or none of these.

Asked in this order: a feedback report, a delivery status notification, a report in free form, an automatic reply.
Each reader is in `relay.mail.reading`; what a reply in a report means is said by `relay.mail.replies`, as for replies
in a dialogue.
Which message it is about is told by the return path it came to; the message id here is only what the report says,
and proves nothing. Bounded: a megabyte is read at most, whatever comes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from relay.mail.dsn import RecipientStatus, Report
from relay.mail.headers import Field
from relay.mail.reading.automatic import automatic_rule
from relay.mail.reading.feedback_report import COMPLAINT_TYPES, Complaint, read_complaint
from relay.mail.reading.notice import Notice, judge_text, read_notice, reply_in
from relay.mail.reading.opened import Opened, open_message
from relay.mail.reading.origin import Origin, origin_of
from relay.mail.reading.status import REPORT_TYPES, read_status
from relay.mail.replies import Bounce, Judgement, bounce_of, delay_type_of, judge
from relay.model.ids import is_message_id

_OUR_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d{6}")
_CODE = re.compile(r"(?:^|[;\s])([245]\d\d)(?:[ -]|$)")
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
NOTICE_ABOUT_MAX_CHARS = 1000  # of the text for people, from a recipient's address on

__all__ = [
    "COMPLAINT_TYPES", "Bounce", "Classification", "Complaint", "bounce_of", "classify", "delay_type_of",
    "judge_recipient",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Classification:
    """What a message is. `kind`: bounce, delay, complaint, auto-reply, success or none; `rule` says what decided.

    `judgements` go with `recipients`, one each; of a bounce that names nobody there is one all the same. `date` is
    the Date field of the message itself.
    """

    kind: str
    rule: str
    message_id: str = ""
    recipients: tuple[RecipientStatus, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    report: Report | None = field(default=None, repr=False)
    complaint: Complaint | None = field(default=None, repr=False)
    date: str = ""

    @property
    def verdict(self) -> Judgement | None:
        """What a bounce means: a permanent failure stands before a transient one, that before an unknown one."""
        order = {"Permanent": 0, "Transient": 1}
        return min(self.judgements, key=lambda one: order.get(one.bounce.bounce_type, 2), default=None)

    @property
    def bounce(self) -> Bounce | None:
        """The kind of a bounce."""
        return self.verdict.bounce if self.verdict is not None else None

    def as_json(self) -> dict[str, object]:
        """Return the object that `relay classify` prints."""
        verdict = self.verdict
        return {
            "kind": self.kind,
            "messageId": self.message_id or None,
            "recipients": [
                {
                    "emailAddress": each.address,
                    "status": each.status or None,
                    "diagnosticCode": each.diagnostic or None,
                }
                for each in self.recipients
            ],
            "bounceType": verdict.bounce.bounce_type if verdict else None,
            "bounceSubType": verdict.bounce.bounce_sub_type if verdict else None,
            "complaintFeedbackType": self.complaint.feedback_type or None if self.complaint else None,
            "rule": f"{self.rule}: {verdict.rule}" if verdict else self.rule,
        }

    def explained(self) -> dict[str, object]:
        """Return that object with whose fault it is, whether to suppress, and what decided on each recipient."""
        judged = [one.as_note() | {"source": one.source or None} for one in self.judgements]
        return self.as_json() | {
            "fault": self.verdict.fault.value if self.verdict else None,
            "suppress": self.verdict.suppresses if self.verdict else False,
            "judgements": judged,
        }


def classify(content: bytes) -> Classification:
    """Return what a whole message (head and body) is; of a large one only the beginning is looked at."""
    opened = open_message(content)
    if not opened.fields.items:
        return Classification("none", "no header section")
    return replace(_classify(opened), date=opened.fields.first("date")[:100])


def _classify(opened: Opened) -> Classification:
    kind = opened.fields.media_type
    report_type = kind.parameters.get("report-type", "").lower()
    system = origin_of(opened.fields) is not Origin.SOMEBODY
    is_report = kind.kind == "multipart/report"
    if system or (is_report and report_type in {"", "feedback-report"}) or kind.kind == "multipart/mixed":
        complaint = _complaint(opened, is_report=is_report)
        if complaint is not None:
            return _of_complaint(complaint)
    if system or (is_report and report_type in REPORT_TYPES):
        report = read_status(opened)
        if report is not None:
            return _of_report(report, opened.notice)
    automatic = automatic_rule(opened.fields)
    notice = read_notice(opened)
    if notice is not None and not (automatic and origin_of(opened.fields) is not Origin.SYSTEM):
        return _of_notice(notice)
    if automatic:
        return Classification("auto-reply", automatic, _original_id(opened.fields.raw))
    return Classification("none", "no known form")


def judge_recipient(status: RecipientStatus, notice: str = "") -> Judgement:
    """Return what a report says of one recipient: its diagnostic and status, else its `notice` for people."""
    code = _CODE.search(status.diagnostic)
    number, enhanced = int(code.group(1)) if code else 0, status.status
    said = _ENHANCED.search(status.diagnostic) if _is_vague(enhanced) else None
    if said is not None and said[1][0] in "45":
        enhanced = said[1]
    found = judge(number, enhanced, status.diagnostic)
    if found.stated or not notice:
        return found
    at = notice.lower().find(status.address.lower())
    told = notice[max(at, 0) :][:NOTICE_ABOUT_MAX_CHARS]
    if not judge_text(told).stated:
        return found
    _, told_status, told_text = reply_in(told)
    return judge(number, (told_status if _is_vague(enhanced) else "") or enhanced, told_text)


def _is_vague(enhanced: str) -> bool:
    return not enhanced or enhanced.endswith(".0.0")


def _of_report(report: Report, notice: str) -> Classification:
    message_id = _original_id(report.original)
    for kind, actions in (("bounce", ("failed", "")), ("delay", ("delayed",))):
        chosen = tuple(each for each in report.recipients if each.action in actions)
        if chosen:
            judged = tuple(judge_recipient(each, notice) for each in chosen) if kind == "bounce" else ()
            return Classification(kind, f"RFC 3464 {kind}", message_id, chosen, judged, report)
    if all(each.action in ("delivered", "relayed", "expanded") for each in report.recipients):
        return Classification("success", "RFC 3464 success", message_id, report.recipients, (), report)
    return Classification("none", "RFC 3464 with an unknown action", message_id, report.recipients, (), report)


def _of_notice(notice: Notice) -> Classification:
    message_id = _original_id(notice.original)
    if notice.kind == "delay":
        return Classification("delay", notice.rule, message_id, notice.recipients)
    report = Report("", notice.recipients, original=notice.original)
    return Classification("bounce", notice.rule, message_id, notice.recipients, notice.judgements, report)


def _complaint(opened: Opened, *, is_report: bool) -> Complaint | None:
    """Return a complaint; of what is no report, only one that somebody else than a person sent."""
    if not is_report and origin_of(opened.fields) is Origin.SOMEBODY and not _by_a_loop(opened):
        return None
    return read_complaint(opened)


def _by_a_loop(opened: Opened) -> bool:
    """Say whether a message may be of a feedback loop, by its subject or the name of who sent it."""
    if opened.fields.subject.strip().lower().startswith("complaint about message from"):
        return True
    local = opened.fields.first("from").lower()
    names = ("staff@", "fbl", "feedback", "abuse", "complaint", "arf", "jmrp", "loop", "scomp")
    return any(name in local for name in names)


def _of_complaint(complaint: Complaint) -> Classification:
    recipients = tuple(RecipientStatus(address) for address in complaint.recipients)
    message_id = _original_id(complaint.original)
    return Classification("complaint", complaint.rule, message_id, recipients, (), None, complaint)


def _original_id(fields: Sequence[Field]) -> str:
    """Return the message id of ours that header fields carry, in Message-ID or in Received (SMTP-032)."""
    for key in (b"message-id", b"received", b"in-reply-to", b"references"):
        for each in fields:
            found = _OUR_ID.search(each.value.decode("latin-1")) if each.key == key else None
            if found and is_message_id(found.group()):
                return found.group()
    return ""
