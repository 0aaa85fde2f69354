"""What a suppression entry means for a recipient (SUPP-010, SUPP-018)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from relay.mail.address import BadAddress, parse_mailbox
from relay.model.account import SuppressionEntry

SUBTYPE = "OnAccountSuppressionList"


class SuppressionReason(StrEnum):
    """Why an address is on a list."""

    BOUNCE = "BOUNCE"
    COMPLAINT = "COMPLAINT"


@dataclass(frozen=True, slots=True)
class SuppressedRecipient:
    """A recipient that is not contacted: the event that says so, `Bounce` (`Permanent`) or `Complaint`.

    `index` is its position among the recipients; `subtype` is `bounceSubType` or `complaintSubType`.
    """

    index: int
    recipient: str
    event: str
    subtype: str = SUBTYPE


_EVENTS: dict[str, str] = {SuppressionReason.BOUNCE: "Bounce", SuppressionReason.COMPLAINT: "Complaint"}


def fold(address: str) -> str:
    """Return the form that addresses on lists are compared in: without case, and without quotes it does not need."""
    if address.startswith('"'):
        parsed = parse_mailbox(address, smtputf8=True)
        if not isinstance(parsed, BadAddress):
            return parsed.canonical.lower()
    return address.lower()


def event_kind(entry: SuppressionEntry) -> str:
    """Return the kind of event that a suppressed recipient gives; an unknown reason counts as a bounce."""
    return _EVENTS.get(entry.reason, _EVENTS[SuppressionReason.BOUNCE])


def suppressed_recipients(
    recipients: Sequence[str], lookup: Callable[[str], SuppressionEntry | None]
) -> tuple[SuppressedRecipient, ...]:
    """Return the recipients that have an entry, in order; the rest may be contacted."""
    found = ((index, recipient, lookup(recipient)) for index, recipient in enumerate(recipients))
    return tuple(SuppressedRecipient(i, recipient, event_kind(entry)) for i, recipient, entry in found if entry)
