"""What an event says about addresses that should not be written to again (SUPP-002, SUPP-006, SUPP-009, SUPP-017).

Only a recipient's own fault counts: no such mailbox, no such domain, a mailbox that is closed. What a receiver thinks
of our address, our sender or the content says nothing about the recipient, and would empty a sender's list by one
listing. What the lists themselves stopped is no news either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.model.account import SuppressionReason
from relay.model.facts import configuration_set_of, milliseconds
from relay.model.feedback import NO_COMPLAINTS
from relay.policy.simulator import is_simulator_address

KINDS = frozenset(("Bounce", "Complaint"))
_OWN_SUBTYPES = frozenset(("OnAccountSuppressionList", "Suppressed"))


@dataclass(frozen=True, slots=True)
class Feedback:
    """Addresses to suppress, each once, and which report says so; `configuration_set` is "" for none."""

    account: str
    configuration_set: str
    reason: SuppressionReason
    addresses: Sequence[str]
    message_id: str
    feedback_id: str
    occurred_ms: int


def feedback_of(kind: str, record: Mapping[str, Any], note: Mapping[str, Any], hostname: str) -> Feedback | None:
    """Return whom an event of a kind of `KINDS` suppresses, None for nobody.

    `record` is the published event, `note` what the relay knows beside it: `suppress` says of a bounce that it was
    the recipient's own fault (`relay.mail.replies.Judgement`).
    `hostname` is that of the relay, whose simulator is never listed.
    """
    body = record["bounce" if kind == "Bounce" else "complaint"]
    addresses = _bounced(body, note) if kind == "Bounce" else _complained(body)
    addresses = [address for address in addresses if not is_simulator_address(address, hostname)]
    if not addresses:
        return None
    mail = record["mail"]
    return Feedback(
        mail["sendingAccountId"],
        configuration_set_of(mail),
        SuppressionReason.BOUNCE if kind == "Bounce" else SuppressionReason.COMPLAINT,
        addresses,
        mail["messageId"],
        body["feedbackId"],
        milliseconds(body["timestamp"]),
    )


def trigger_of(kind: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of an event for who wants to see why an address is listed (SUPP-016): not the mail."""
    name, mail = "bounce" if kind == "Bounce" else "complaint", record["mail"]
    return {
        "eventType": kind,
        "mail": {field: mail[field] for field in ("timestamp", "messageId", "source")},
        name: record[name],
    }


def _bounced(body: Mapping[str, Any], note: Mapping[str, Any]) -> list[str]:
    if body["bounceType"] != "Permanent":
        return []
    if body["bounceSubType"] in _OWN_SUBTYPES or note.get("suppress") is not True:
        return []
    return [one["emailAddress"] for one in body["bouncedRecipients"]]


def _complained(body: Mapping[str, Any]) -> list[str]:
    """Return who complained, nobody when that is not certain (SUPP-017)."""
    if body.get("complaintSubType") in _OWN_SUBTYPES or body.get("complaintFeedbackType") in NO_COMPLAINTS:
        return []
    found = {one["emailAddress"].lower(): one["emailAddress"] for one in body["complainedRecipients"]}
    return list(found.values()) if len(found) == 1 else []
