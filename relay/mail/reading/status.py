"""Delivery status notifications (RFC 3464, 6533) as they come: also where they are not quite as they should be.

What is mended: recipients that no empty line parts, missing or odd actions, statuses with text behind them, addresses
in brackets, with comments or of other types, a status part in any transfer encoding. Reading is bounded in size,
recipients and field lengths.
"""

import re
from collections.abc import Iterator
from typing import Final

from relay.mail.dsn import RECIPIENTS_MAX, RecipientStatus, Report, untyped
from relay.mail.reading.opened import PART_FIELDS_MAX, Opened, open_message, printable, read_fields

FIELD_MAX_CHARS: Final = 1000
STATUS_TYPES: Final = ("message/delivery-status", "message/global-delivery-status")
REPORT_TYPES: Final = ("", "delivery-status", "global-delivery-status")
_STATUS = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\d)")
_PARTS = re.compile(rb"\r?\n[ \t]*\r?\n")
_STARTS: Final = frozenset({"final-recipient", "original-recipient", "action"})
_ACTIONS: Final = (
    ("fail", "failed"),
    ("delay", "delayed"),
    ("deliver", "delivered"),
    ("relay", "relayed"),
    ("expand", "expanded"),
)


def read_status(opened: Opened) -> Report | None:
    """Return what the status part of a message says, None when it has none or that names nobody."""
    part = opened.part(*STATUS_TYPES)
    if part is None:
        return None
    about: dict[str, str] = {}
    recipients: list[RecipientStatus] = []
    for block in _blocks(part.data):
        named = "final-recipient" in block or "original-recipient" in block
        if named and len(recipients) < RECIPIENTS_MAX:
            recipients.append(_recipient(block))
        for key, value in block.items():
            about.setdefault(key, value)
    if not recipients:
        return None
    return Report(
        about.get("reporting-mta", ""),
        tuple(recipients),
        about.get("arrival-date", ""),
        about.get("original-envelope-id", ""),
        original=opened.returned.raw,
    )


def read_report(content: bytes) -> Report | None:
    """Return what a message of head and body reports, None when it is no report."""
    return read_status(open_message(content))


def _blocks(data: bytes) -> Iterator[dict[str, str]]:
    """Yield groups of fields; a group also ends where a field of a recipient comes a second time."""
    for text in _PARTS.split(data, 2 * RECIPIENTS_MAX):
        block: dict[str, str] = {}
        for key, value in read_fields(text, PART_FIELDS_MAX).items:
            if key in _STARTS and key in block:
                yield block
                block = {}
            block.setdefault(key, value[:FIELD_MAX_CHARS])
        if block:
            yield block


def _recipient(block: dict[str, str]) -> RecipientStatus:
    status = _STATUS.match(block.get("status", ""))
    original = clean_address(untyped(block.get("original-recipient", "")))
    final = clean_address(untyped(block.get("final-recipient", "")))
    return RecipientStatus(
        address=original if "@" not in final and "@" in original else final or original,
        action=_action(block.get("action", "")),
        status=status.group(1) if status else "",
        diagnostic=block.get("diagnostic-code", "") or block.get("x-supplementary-info", ""),
        remote_mta=block.get("remote-mta", ""),
        original_address=original,
    )


def _action(value: str) -> str:
    word = value.partition("(")[0].strip().lower()
    return next((action for start, action in _ACTIONS if word.startswith(start)), word)


def clean_address(text: str) -> str:
    """Return an address without brackets, quotes, comments and the scheme of a link."""
    text = printable(text[:FIELD_MAX_CHARS]).strip()
    if "<" in text and ">" in text.partition("<")[2]:
        text = text.partition("<")[2].partition(">")[0]
    text = text.strip(" \t<>;,()").removeprefix("mailto:")
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        text = text[1:-1]
    return text.partition(" ")[0] if "@" in text.partition(" ")[0] else text
