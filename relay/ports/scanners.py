"""Programs that look into messages."""

from typing import Protocol

from relay.model.content import Content
from relay.model.scan import Scan


class Scanner(Protocol):
    """A program that looks into messages: for viruses, or for how much they are like spam.

    `name` is its type with its address, for logs; `label` its type, for metrics.
    """

    name: str
    label: str

    async def scan(self, content: Content) -> Scan:
        """Return what it says; a scanner that is down, slow or unintelligible is FAILED, never an exception."""
        ...
