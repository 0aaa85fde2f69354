"""How the owner of an identity hears of feedback about its mail (NOTIF-*)."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

NO_COMPLAINTS: Final = frozenset(("not-spam", "auth-failure"))
"""Types of feedback reports (RFC 5965, RFC 6591) that say nothing against the mail: told, and counted nowhere."""


class FeedbackKind(StrEnum):
    """What there are notifications of (NOTIF-011); also the `notificationType` of records and the `eventType`."""

    BOUNCE = "Bounce"
    COMPLAINT = "Complaint"
    DELIVERY = "Delivery"


@dataclass(frozen=True, slots=True)
class FeedbackSettings:
    """The settings of one identity: whether feedback is mailed, ARNs of topics ("" for none), and with what headers.

    `headers` are the kinds whose notifications have the original headers (NOTIF-012).
    """

    forwarding: bool = True
    bounce_topic: str = ""
    complaint_topic: str = ""
    delivery_topic: str = ""
    headers: frozenset[FeedbackKind] = frozenset()

    def topic(self, kind: FeedbackKind) -> str:
        """Return the ARN of the topic for a kind, "" for none."""
        return {
            FeedbackKind.BOUNCE: self.bounce_topic,
            FeedbackKind.COMPLAINT: self.complaint_topic,
            FeedbackKind.DELIVERY: self.delivery_topic,
        }[kind]

    def with_topic(self, kind: FeedbackKind, arn: str) -> "FeedbackSettings":
        """Return these settings with another topic for a kind, "" for none."""
        if kind is FeedbackKind.BOUNCE:
            return replace(self, bounce_topic=arn)
        if kind is FeedbackKind.COMPLAINT:
            return replace(self, complaint_topic=arn)
        return replace(self, delivery_topic=arn)


DEFAULT_FEEDBACK = FeedbackSettings()  # of every new identity (NOTIF-002)
