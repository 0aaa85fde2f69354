"""What a session asks of the connection it runs on."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from relay.model.refusal import Refusal
from relay.smtp.server.content import BodySink
from relay.smtp.server.reply import Reply


class Blocked(Enum):
    """The answer to a client that may not try to authenticate now."""

    BLOCKED = auto()


AuthAnswer = str | Refusal | Blocked


class SessionDoor(Protocol):
    """What a session asks of the connection it runs on. Callbacks may come from inside the call, exactly once."""

    def authenticate(self, username: str, password: str, done: Callable[[AuthAnswer], None]) -> None:
        """Check a user: account id, the refusal, or Blocked."""
        ...

    def open_sink(self) -> BodySink:
        """Open a place for a large body."""
        ...

    def now_ms(self) -> int:
        """Return the time in milliseconds since 1970."""
        ...

    def client_named(self, address: str | None) -> bool | Reply:
        """Count the client at another address than it had ("": unknown, None: the same) and judge it anew.

        Return whether it may send without authentication, or the reply that ends the session.
        """
        ...

    def refused(self, label: str) -> None:
        """Count a message that was refused here, by the label of the reason; the intake counts its own refusals."""
        ...

    def failed(self, error: Exception) -> None:
        """Report a fault of ours, which the client was told as a temporary one."""
        ...

    def resumed(self) -> None:
        """Take the output and start reading again: an answer came after `receive` had returned."""
        ...
