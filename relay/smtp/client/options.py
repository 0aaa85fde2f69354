"""What a client session is told and what it stands between: its options, its wire and whoever has mail to send."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from relay.model.content import Content
from relay.smtp.client.answer import Answer
from relay.smtp.client.envelope import Downgrade, Transaction


class TlsUse(Enum):
    """Whether a session uses STARTTLS."""

    NEVER = "never"
    WHEN_OFFERED = "when offered"
    REQUIRED = "required"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait at each stage: RFC 5321 section 4.5.3.2. `gate` is the wait for our own release."""

    greeting: float = 300.0
    ehlo: float = 300.0
    tls: float = 60.0
    auth: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final_dot: float = 600.0
    reset: float = 60.0
    gate: float = 60.0


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How to talk to one host. `own_names`: names that only we have, empty where a loop is not looked for."""

    helo_name: str
    tls: TlsUse = TlsUse.WHEN_OFFERED
    extended: bool = True  # False: HELO only
    pipelining: bool = True
    username: str = ""
    password: str = field(default="", repr=False)
    clear_auth: bool = False
    own_names: frozenset[str] = frozenset()
    timeouts: Timeouts = Timeouts()
    requiretls: bool = False  # every transaction of the session has it
    downgrade: Downgrade | None = None


class Wire(Protocol):
    """What carries the bytes. None of these call back before they return."""

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def write_content(self, content: Content) -> None:
        """Stream a message whose body is a file, stuffed and with its final dot.

        Ends in `content_written` or `content_failed`.
        """
        ...

    def start_tls(self) -> None:
        """Begin a handshake; ends in `tls_started` or `tls_failed`. Bytes received earlier are dropped."""
        ...

    def close(self) -> None:
        """Send what was written, then close. `lost` may follow and is ignored."""
        ...

    def abort(self) -> None:
        """Close at once without sending what is still buffered."""
        ...

    def unsent(self) -> bool:
        """Say whether something that was written cannot have reached the host yet."""
        ...


class ClientUser(Protocol):
    """Whoever has mail to send."""

    def session_ready(self) -> None:
        """The session can take its first transaction."""
        ...

    def session_failed(self, answer: Answer) -> None:
        """The session never became ready; it is closed."""
        ...

    def transaction_done(self, transaction: Transaction, answers: list[Answer]) -> None:
        """A transaction ended: one answer for each recipient. When `client.open`, `send` may be called here."""
        ...

    def session_over(self) -> None:
        """The session was ready and is closed now; no transaction is under way."""
        ...
