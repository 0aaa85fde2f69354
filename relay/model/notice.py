"""A mail of the relay's own to a sender or a contact, from the change it tells about until a worker has it."""

from dataclasses import dataclass

from relay.model.content import Content


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail to `recipient` with the null sender.

    `signed_by` is the address it is from, whose identity in `account` signs; "": the relay itself signs.
    """

    notice_id: int
    account: str
    recipient: str
    signed_by: str
    content: Content
    created_ms: int
