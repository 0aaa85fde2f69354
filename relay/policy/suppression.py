"""What suppression lists mean: which reasons count, what an entry makes of a recipient (SUPP-005 to SUPP-022).

Three layers: the list of the whole relay, the list of an account, and what a configuration set says instead of its
account. The last is no list of its own: it changes which reasons count for its mail, when entries are added and when
they stop something. Where any reason counts the account's list is in use, and stands above the relay's.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from relay.errors import RequestRefusedError, UsageError
from relay.mail.address import BadAddress, parse_mailbox
from relay.model.account import REASONS_DEFAULT, Account, SuppressionEntry, SuppressionReason
from relay.model.configuration_set import ConfigurationSet

SUBTYPE = "OnAccountSuppressionList"

__all__ = [
    "REASONS_DEFAULT",
    "SUBTYPE",
    "SuppressedRecipient",
    "SuppressionReason",
    "checked_reasons",
    "event_kind",
    "fold",
    "reasons_in_use",
    "refuse_in_sandbox",
    "suppressed_recipients",
]


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
    """Return the form that addresses on lists are compared in: without case, and without quotes it does not need.

    A label (`joe+news@`) is part of the address: what is listed with one is not listed without, nor the other way.
    """
    if address.startswith('"'):
        parsed = parse_mailbox(address, smtputf8=True)
        if not isinstance(parsed, BadAddress):
            return parsed.canonical.lower()
    return address.lower()


def reasons_in_use(account: Account | None, configuration_set: ConfigurationSet | None) -> Sequence[str]:
    """Return the reasons that count for mail of an account sent with a set, none where its list is not in use.

    What the set says replaces what the account says, also when it says "none" (SUPP-019 to SUPP-021).
    """
    if configuration_set is not None and configuration_set.suppressed_reasons is not None:
        return configuration_set.suppressed_reasons
    return account.suppressed_reasons if account is not None else ()


def checked_reasons(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return reasons in one order, each once. Raise UsageError for what is none (SUPP-008)."""
    known = [str(reason) for reason in SuppressionReason]
    given = [reason.strip().upper() for reason in reasons]
    for reason in given:
        if reason not in known:
            raise UsageError(f"A suppression reason is {' or '.join(known)}, not {reason[:80]!r}.")
    return tuple(reason for reason in known if reason in given)


def refuse_in_sandbox(account: Account) -> None:
    """Raise RequestRefusedError when an account may not put addresses on its list itself (SUPP-013)."""
    if account.sandbox:
        raise RequestRefusedError(
            "BadRequestException",
            f"Account {account.account_id} is in the sandbox: addresses are added by bounces and complaints only. "
            "Ask for production access first.",
        )


def event_kind(entry: SuppressionEntry) -> str:
    """Return the kind of event that a suppressed recipient gives; an unknown reason counts as a bounce."""
    return _EVENTS.get(entry.reason, _EVENTS[SuppressionReason.BOUNCE])


def suppressed_recipients(
    recipients: Sequence[str], reasons: Sequence[str], lookup: Callable[[str], SuppressionEntry | None]
) -> tuple[SuppressedRecipient, ...]:
    """Return the recipients with an entry whose reason counts, in order; the rest may be contacted."""
    if not reasons:
        return ()
    found = ((index, recipient, lookup(recipient)) for index, recipient in enumerate(recipients))
    return tuple(
        SuppressedRecipient(index, recipient, event_kind(entry))
        for index, recipient, entry in found
        if entry is not None and entry.reason in reasons
    )
