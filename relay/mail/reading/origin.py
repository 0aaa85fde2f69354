"""Who wrote a message: a mail system, perhaps one, or somebody. What somebody wrote is no report in free form."""

import re
from enum import IntEnum
from typing import Final

from relay.mail.reading.opened import Fields
from relay.mail.words import decode_words

_SYSTEMS = re.compile(
    r"(?:(?:mail|mailer|mail\.?delivery)[-_. ]?(?:daemon|system|subsystem|error|agent)|mdaemon"
    r"|microsoftexchange[0-9a-f]{8,40})\Z"
)
_OFFICES = re.compile(r"(?:post[-_.]?master|post[-_.]?office|mail[-_.]?admin|mail[-_.]?gateway|bounces?)\Z")
_NAMES: Final = (
    "mail delivery", "mail system", "mail daemon", "mailer daemon", "internet mail", "system administrator",
    "delivery system", "delivery subsystem", "mail administrator",
)  # fmt: skip
_ANSWER = re.compile(
    r"\s*(?:re|fwd?|fw|aw|wg|tr|sv|vs|antw|rv|enc|odp|res|回复|转发|答复)\s*(?:\[\d{1,3}\])?\s*[:\uff1a]",
    re.IGNORECASE,
)
_LISTS: Final = ("list-id", "list-post", "list-unsubscribe", "list-help", "x-mailing-list")
_TASKS: Final = ("x-cron-env", "x-rt-ticket", "x-github-reason", "x-jira-fingerprint")
_ADDRESS = re.compile(r"<([^<>\s]{1,320})>|([^<>\s\"(),;]{1,64}@[^<>\s\"(),;]{1,255})")


class Origin(IntEnum):
    """How sure it is that a mail system wrote it."""

    SOMEBODY = 0
    PERHAPS = 1  # a postmaster, or nobody to answer to
    SYSTEM = 2


def origin_of(fields: Fields) -> Origin:
    """Return who wrote a message, by its header fields."""
    if fields.has(*_LISTS, *_TASKS) or _ANSWER.match(fields.subject):
        return Origin.SOMEBODY
    written = decode_words(fields.first("from"))
    local = address_in(written).partition("@")[0].lower()
    name = written.partition("<")[0].lower() or written.lower()
    if _SYSTEMS.match(local) or fields.has("x-failed-recipients", "x-ms-exchange-message-is-ndr"):
        return Origin.SYSTEM
    office = bool(_OFFICES.match(local)) or is_null(fields)
    if any(word in name or word in written.lower().partition("(")[2] for word in _NAMES) and office:
        return Origin.SYSTEM
    return Origin.PERHAPS if office else Origin.SOMEBODY


def is_null(fields: Fields) -> bool:
    """Say whether a message came with the null sender, as its first Return-Path says."""
    return fields.first("return-path").replace(" ", "") == "<>"


def address_in(text: str) -> str:
    """Return the first address of a From or To field, "" when there is none."""
    found = _ADDRESS.search(text[:2000])
    return (found[1] or found[2]) if found else ""
