"""Event payloads in the JSON shapes of docs/spec/feedback.md section 3, as bytes without a newline.

The `mail` object of a message is rendered once, at acceptance, and kept with the message (`Message.mail_json`);
every event embeds those bytes. Its last key is `tags`, never empty, so that the address a message was sent from
can be added when it is known (TAG-005). Pure: ids and times are given.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import orjson

from relay.mail.addresslist import parse_list
from relay.mail.compose import Shaped
from relay.mail.headers import Field
from relay.mail.replies import ON_RELAY_LIST
from relay.mail.words import decode_words
from relay.model.ids import is_message_id
from relay.policy.suppression import SuppressedRecipient

HEADERS_MAX_BYTES = 10 * 1024  # EVT-007
SUBJECT_MAX_CHARS = 2000
LIST_MAX = 1000
CACHED_MAX_CHARS = 256

_COMMON_LISTS = {b"from": "from", b"to": "to", b"cc": "cc", b"bcc": "bcc", b"reply-to": "replyTo"}
_COMMON_TEXTS = {b"date": "date", b"message-id": "messageId", b"subject": "subject"}


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """A recipient of a bounce or delay; fields that are "" are left out (EVT-019).

    `blocklist` is the DNS block list that the refusal names (DNSBL-002): a field of ours beside those of the format.
    """

    email_address: str
    action: str = ""
    status: str = ""
    diagnostic_code: str = ""
    blocklist: str = ""


def timestamp(moment_ms: int) -> str:
    """Return milliseconds since 1970 as `YYYY-MM-DDThh:mm:ss.sssZ`."""
    return f"{_second(moment_ms // 1000)}.{moment_ms % 1000:03d}Z"


@lru_cache(maxsize=64)
def _second(moment_s: int) -> str:
    return f"{datetime.fromtimestamp(moment_s, tz=UTC):%Y-%m-%dT%H:%M:%S}"


def feedback_id_of(event_id: str) -> str:
    """Return an id in the shape of a message id, always the same for an event id, different from every message's."""
    digits = hashlib.sha256(b"feedback\0" + event_id.encode()).hexdigest()
    start = event_id[:16] if is_message_id(event_id[:60]) else digits[48:64]
    return f"{start}-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}-000000"


# --- the mail object -------------------------------------------------------------------------------------------


def mail(
    shaped: Shaped,
    *,
    timestamp_ms: int,
    message_id: str,
    source: str,
    source_arn: str,
    account: str,
    destination: Sequence[str],
    source_ip: str,
    caller: str,
    configuration_set: str = "",
    operation: str = "",
) -> bytes:
    """Return the EventMail object of a message.

    `destination` are all its recipients, `caller` who sent it, `configuration_set` the one it was sent with,
    `operation` what was called.
    """
    headers, truncated = _headers(shaped.submitted)
    return orjson.dumps(
        {
            "timestamp": timestamp(timestamp_ms),
            "messageId": message_id,
            "source": source,
            "sourceArn": source_arn,
            "sendingAccountId": account,
            "destination": destination,
            "headersTruncated": truncated,
            "headers": headers,
            "commonHeaders": _common_headers(shaped, message_id),
            "tags": _tags(shaped, source_ip, caller, configuration_set, operation),
        }
    )


def _headers(fields: Sequence[Field]) -> tuple[list[dict[str, str]], bool]:
    """Return the submitted fields in order, cut when they reach 10 KB (EVT-007)."""
    headers: list[dict[str, str]] = []
    size = 0
    for field in fields:
        size += len(field.raw)
        if size > HEADERS_MAX_BYTES:
            return headers, True
        headers.append({"name": field.name.decode("ascii"), "value": field.value.decode("utf-8", "replace")})
    return headers, False


def _common_headers(shaped: Shaped, message_id: str) -> dict[str, object]:
    """Return the fields people look for, decoded; the message id stands in for a missing Message-ID (EVT-004)."""
    common: dict[str, object] = {}
    for field in shaped.submitted:
        key = field.key
        if key in _COMMON_LISTS:
            listed = common.setdefault(_COMMON_LISTS[key], [])
            assert isinstance(listed, list)
            room = LIST_MAX - len(listed)
            listed.extend(_addresses(field)[:room] if key != b"from" else map(str, shaped.authors))
        elif key in _COMMON_TEXTS:
            text = decode_words(field.value[: 2 * SUBJECT_MAX_CHARS].decode("utf-8", "replace"))
            common.setdefault(_COMMON_TEXTS[key], text[:SUBJECT_MAX_CHARS])
    common.setdefault("to", [])  # a message may have its recipients elsewhere; the key is always there
    common.setdefault("messageId", message_id)
    return common


def _addresses(field: Field) -> list[str]:
    if len(field.raw) > HEADERS_MAX_BYTES:
        return []
    text = field.value.decode("utf-8", "replace")
    return _short_list(text) if len(text) <= CACHED_MAX_CHARS else _list(text)


def _list(text: str) -> list[str]:
    mailboxes = parse_list(text, smtputf8=True)
    return [str(mailbox) for mailbox in mailboxes] if isinstance(mailboxes, tuple) else [text]


# Most Reply-To fields are the same in every message of an application.
_short_list = lru_cache(maxsize=1024)(_list)


def _tags(
    shaped: Shaped, source_ip: str, caller: str, configuration_set: str, operation: str
) -> dict[str, list[str]]:
    """Return tags as arrays, the relay's own after the submitter's (TAG-004, TAG-006)."""
    tags: dict[str, list[str]] = {name: [value] for name, value in shaped.controls.tags}
    if configuration_set:
        tags["ses:configuration-set"] = [configuration_set]
    tags["ses:source-ip"] = [source_ip]
    tags["ses:from-domain"] = [shaped.author.domain]
    tags["ses:caller-identity"] = [caller]
    if operation:
        tags["ses:operation"] = [operation]
    return tags


# --- events ----------------------------------------------------------------------------------------------------


def _event(kind: str, mail_json: bytes, name: str, body: Mapping[str, object], outgoing_ip: str = "") -> bytes:
    if outgoing_ip:
        # `tags` is the last key and holds something: the new one goes between its last value and the two braces.
        mail_json = mail_json[:-2] + b',"ses:outgoing-ip":[' + orjson.dumps(outgoing_ip) + b"]}}"
    return b'{"eventType":"%b","mail":%b,"%b":%b}' % (kind.encode(), mail_json, name.encode(), orjson.dumps(body))


def send(mail_json: bytes) -> bytes:
    """Return a Send event."""
    return b'{"eventType":"Send","mail":%b,"send":{}}' % mail_json


def reject(mail_json: bytes) -> bytes:
    """Return a Reject event; the reason is always the same (EVT-013)."""
    return _event("Reject", mail_json, "reject", {"reason": "Bad content"})


def delivery(
    mail_json: bytes,
    *,
    timestamp_ms: int,
    processing_ms: int,
    recipients: Sequence[str],
    smtp_response: str,
    reporting_mta: str,
    outgoing_ip: str = "",
) -> bytes:
    """Return a Delivery event; `reporting_mta` is the relay's host name (EVT-015)."""
    body = {
        "timestamp": timestamp(timestamp_ms),
        "processingTimeMillis": processing_ms,
        "recipients": recipients,
        "smtpResponse": smtp_response,
        "reportingMTA": reporting_mta,
    }
    return _event("Delivery", mail_json, "delivery", body, outgoing_ip)


def delivery_delay(
    mail_json: bytes,
    *,
    timestamp_ms: int,
    delay_type: str,
    expiration_ms: int,
    recipients: Sequence[RecipientStatus],
    reporting_mta: str,
    outgoing_ip: str = "",
) -> bytes:
    """Return a DeliveryDelay event; `reporting_mta` is the address of the remote server, "" for none (EVT-030)."""
    body: dict[str, object] = {
        "timestamp": timestamp(timestamp_ms),
        "delayType": delay_type,
        "expirationTime": timestamp(expiration_ms),
    }
    if reporting_mta:
        body["reportingMTA"] = reporting_mta
    body["delayedRecipients"] = [
        {
            "emailAddress": each.email_address,
            "status": each.status,
            "diagnosticCode": each.diagnostic_code,
            **({"blocklist": each.blocklist} if each.blocklist else {}),
        }
        for each in recipients
    ]
    return _event("DeliveryDelay", mail_json, "deliveryDelay", body, outgoing_ip)


def bounce(
    mail_json: bytes,
    *,
    timestamp_ms: int,
    bounce_type: str,
    bounce_sub_type: str,
    recipients: Sequence[RecipientStatus],
    feedback_id: str,
    reporting_mta: str = "",
    outgoing_ip: str = "",
) -> bytes:
    """Return a Bounce event. `feedback_id` is the event's id; another form of it is shown (`feedback_id_of`).

    `reporting_mta` is who reports, `dns; host` from a DSN, or a plain host name, which gets that form (EVT-019).
    """
    body: dict[str, object] = {
        "bounceType": bounce_type,
        "bounceSubType": bounce_sub_type,
        "bouncedRecipients": [_bounced(each) for each in recipients],
        "timestamp": timestamp(timestamp_ms),
        "feedbackId": feedback_id_of(feedback_id),
    }
    if reporting_mta:
        body["reportingMTA"] = reporting_mta if ";" in reporting_mta else f"dns; {reporting_mta}"
    return _event("Bounce", mail_json, "bounce", body, outgoing_ip)


def _bounced(status: RecipientStatus) -> dict[str, str]:
    fields = {"emailAddress": status.email_address}
    if status.action:
        fields["action"] = status.action
    if status.status:
        fields["status"] = status.status
    if status.diagnostic_code:
        fields["diagnosticCode"] = status.diagnostic_code
    if status.blocklist:
        fields["blocklist"] = status.blocklist
    return fields


def complaint(
    mail_json: bytes,
    *,
    timestamp_ms: int,
    recipients: Sequence[str],
    feedback_id: str,
    complaint_sub_type: str | None = None,
    user_agent: str = "",
    feedback_type: str = "",
    arrival_ms: int = 0,
) -> bytes:
    """Return a Complaint event; what the report does not say is left out (EVT-026, EVT-027)."""
    body: dict[str, object] = {
        "complainedRecipients": [{"emailAddress": address} for address in recipients],
        "timestamp": timestamp(timestamp_ms),
        "feedbackId": feedback_id_of(feedback_id),
        "complaintSubType": complaint_sub_type,
    }
    if user_agent:
        body["userAgent"] = user_agent
    if feedback_type:
        body["complaintFeedbackType"] = feedback_type
    if arrival_ms:
        body["arrivalDate"] = timestamp(arrival_ms)
    return _event("Complaint", mail_json, "complaint", body)


def suppressed_by_relay(mail_json: bytes, recipients: Sequence[str], *, timestamp_ms: int, feedback_id: str) -> bytes:
    """Return the event of recipients on the list of the whole relay (FLOW-015, SIM-006)."""
    diagnostic = "The recipient is on the suppression list of this relay."
    return bounce(
        mail_json,
        timestamp_ms=timestamp_ms,
        bounce_type=ON_RELAY_LIST.bounce_type,
        bounce_sub_type=ON_RELAY_LIST.bounce_sub_type,
        recipients=[RecipientStatus(each, "failed", "5.1.1", diagnostic) for each in recipients],
        feedback_id=feedback_id,
    )


def suppressed(mail_json: bytes, one: SuppressedRecipient, *, timestamp_ms: int, feedback_id: str) -> bytes:
    """Return the event of a recipient on the account's suppression list (SUPP-010)."""
    if one.event == "Complaint":
        return complaint(
            mail_json,
            timestamp_ms=timestamp_ms,
            recipients=(one.recipient,),
            feedback_id=feedback_id,
            complaint_sub_type=one.subtype,
        )
    status = RecipientStatus(
        one.recipient, "failed", "5.1.1", "The recipient is on the suppression list of this account."
    )
    return bounce(
        mail_json,
        timestamp_ms=timestamp_ms,
        bounce_type="Permanent",
        bounce_sub_type=one.subtype,
        recipients=(status,),
        feedback_id=feedback_id,
    )
