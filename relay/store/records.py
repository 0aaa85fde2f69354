"""Our values as rows, and rows as values again; a row whose checksum fails is never turned into mail."""

import zlib
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final

import orjson

from relay.errors import CorruptionError
from relay.model.delivery import OPEN_STATES, DeliveryState
from relay.model.message import (
    DEFAULT_OPTIONS,
    RECIPIENT_INDEX_BITS,
    Delivery,
    Message,
    NewEvent,
    SendOptions,
)
from relay.model.scan import Scan, ScanVerdict
from relay.schedule.fair import strand_of

Row = Sequence[Any]

CODES: Final = {state: code for code, state in enumerate(DeliveryState)}
STATES: Final = dict(enumerate(DeliveryState))
FIRST_FINAL_CODE: Final = len(OPEN_STATES)
INDEX_MASK: Final = (1 << RECIPIENT_INDEX_BITS) - 1
QUEUED_CODE: Final = CODES[DeliveryState.QUEUED]

_OPTIONS: Final = tuple(field.name for field in fields(SendOptions))
_FLAG_SMTPUTF8: Final = 1
_FLAG_EIGHT_BIT: Final = 2
_CHECKSUM_BITS: Final = 0xFFFFFFFF


def message_row(message: Message) -> tuple[Any, ...]:
    """Return the row of a message, in the column order of the schema."""
    flags = (_FLAG_SMTPUTF8 if message.smtputf8 else 0) | (_FLAG_EIGHT_BIT if message.eight_bit else 0)
    options = options_text(message.options)
    return (
        message.key,
        message.message_id,
        message.account,
        message.sender,
        message.accepted_ms,
        message.expires_ms,
        message.size_bytes,
        flags,
        _message_checksum(message, flags, options),
        options,
        message.mail_json,
    )


def message_of(row: Row) -> Message:
    """Return the message of a row (columns as in the schema). Raise CorruptionError when its checksum fails."""
    key, message_id, account, sender, accepted_ms, expires_ms, size_bytes, flags, checksum, options, mail_json = row
    try:
        message = Message(
            key=key,
            message_id=message_id,
            account=account,
            sender=sender,
            accepted_ms=accepted_ms,
            expires_ms=expires_ms,
            size_bytes=size_bytes,
            smtputf8=bool(flags & _FLAG_SMTPUTF8),
            eight_bit=bool(flags & _FLAG_EIGHT_BIT),
            mail_json=mail_json,
            options=options_of(options),
        )
        intact = checksum == _message_checksum(message, flags, options)
    except (TypeError, ValueError, AttributeError) as error:  # a damaged row may hold any type
        raise CorruptionError(f"the record of message {key} is unreadable") from error
    if not intact:
        raise CorruptionError(f"the record of message {key} fails its checksum")
    return message


def delivery_row(delivery: Delivery) -> tuple[Any, ...]:
    """Return the row of a delivery, in the column order of the schema."""
    key = delivery.key
    return (
        key,
        CODES[delivery.state],
        delivery.attempts,
        delivery.next_ms,
        delivery.crashes,
        delivery_checksum(key, delivery.recipient, delivery.wishes),
        strand_of(delivery),
        delivery.recipient,
        delivery.last_reply,
        delivery.source,
        delivery.wishes,
        delivery.delay_told,
        "",
    )


def delivery_of(row: Row, message: Message) -> Delivery:
    """Return the delivery of a row (key to delay_told). Raise CorruptionError when its checksum fails."""
    key, state, attempts, next_ms, crashes, checksum, recipient, last_reply, source, wishes, delay_told = row
    try:
        intact = checksum == delivery_checksum(key, recipient, wishes)
        delivery = Delivery(
            message=message,
            index=key & INDEX_MASK,
            recipient=recipient,
            state=STATES[state],
            attempts=attempts,
            next_ms=next_ms,
            last_reply=last_reply.encode("utf-8", "replace").decode("utf-8"),
            crashes=crashes,
            source=source,
            wishes=wishes,
            delay_told=bool(delay_told),
        )
    except (TypeError, AttributeError, UnicodeError, KeyError) as error:
        raise CorruptionError(f"the record of delivery {key} is unreadable") from error
    if not intact:
        raise CorruptionError(f"the record of delivery {key} fails its checksum")
    return delivery


def options_text(options: SendOptions) -> str:
    """Return options as the spool keeps them: "" for the defaults, else a JSON object of what differs."""
    if options is DEFAULT_OPTIONS or options == DEFAULT_OPTIONS:
        return ""
    given = {name: getattr(options, name) for name in _OPTIONS}
    differing = {name: value for name, value in given.items() if value != getattr(DEFAULT_OPTIONS, name)}
    return orjson.dumps(differing).decode()


def options_of(text: str) -> SendOptions:
    """Return the options of a text. Raise TypeError or ValueError when it is none of ours."""
    return SendOptions(**orjson.loads(text)) if text else DEFAULT_OPTIONS


@lru_cache(maxsize=1024)
def set_of(text: str) -> str:
    """Return the configuration set in a text of options; "" for none, and for a text that is damaged."""
    try:
        return options_of(text).configuration_set
    except (TypeError, ValueError):
        return ""


def event_row(seq: int, event: NewEvent) -> tuple[Any, ...]:
    """Return the row of an event."""
    return (seq, event.event_id, event.kind, event.message_id, event.payload, event.notes)


def scan_row(message_key: int, scan: Scan) -> tuple[Any, ...]:
    """Return the row of a scan."""
    return (message_key, scan.verdict.value, scan.scanner, scan.detail, scan.spam_score, scan.scanned_ms)


def scan_of(rows: Sequence[Row]) -> Scan | None:
    """Return the scan of the one row there is; None without one, and for a damaged one: it is scanned again."""
    try:
        verdict, *rest = rows[0]
        return Scan(ScanVerdict(verdict), *rest)
    except (IndexError, ValueError, TypeError):
        return None


def delivery_checksum(key: int, recipient: str, wishes: str) -> int:
    """Return the checksum that ties a recipient, and what is asked for it, to its delivery.

    A flipped bit must neither redirect mail nor change a command to a next hop.
    """
    facts = f"{recipient}\0{wishes}" if wishes else recipient
    return zlib.crc32(facts.encode("utf-8"), key & _CHECKSUM_BITS)


def _message_checksum(message: Message, flags: int, options: str) -> int:
    facts = "\0".join(
        (
            message.message_id,
            message.account,
            message.sender,
            f"{message.accepted_ms} {message.expires_ms} {message.size_bytes} {flags}",
            options,
        )
    )
    return zlib.crc32(message.mail_json, zlib.crc32(facts.encode("utf-8"), message.key & _CHECKSUM_BITS))
