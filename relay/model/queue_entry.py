"""What an operator sees of a delivery in the queue: facts of one row, without the message itself."""

from typing import NamedTuple

from relay.model.delivery import DeliveryState
from relay.model.message import Delivery, SendOptions


class QueueEntry(NamedTuple):
    """A delivery with what is known of its message. Times are milliseconds since 1970.

    `held_until_ms` is when a hold ends by itself, 0 when it does not; `rule` the standing hold that made it, 0 for
    none. `source` is our address that the last attempt came from, "" before there was one.
    """

    key: int
    state: DeliveryState
    attempts: int
    next_ms: int
    recipient: str
    last_reply: str
    message_id: str
    account: str
    sender: str
    accepted_ms: int
    expires_ms: int
    size_bytes: int
    options: SendOptions
    held_until_ms: int = 0
    rule: int = 0
    source: str = ""

    @property
    def domain(self) -> str:
        """The recipient's domain, lower case."""
        return self.recipient.rpartition("@")[2].lower()


def entry_of(delivery: Delivery) -> QueueEntry:
    """Return what an operator sees of a delivery that is in memory."""
    message = delivery.message
    return QueueEntry(
        delivery.key,
        delivery.state,
        delivery.attempts,
        delivery.next_ms,
        delivery.recipient,
        delivery.last_reply,
        message.message_id,
        message.account,
        message.sender,
        message.accepted_ms,
        message.expires_ms,
        message.size_bytes,
        message.options,
        source=delivery.source,
    )
