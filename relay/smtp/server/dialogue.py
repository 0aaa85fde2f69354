"""What a session is in the midst of, and what commands do to it: answer, change state, wait, begin anew, end.

The commands themselves are functions that take a `Dialogue`, gathered in `table`. This module knows none of
them; `server` runs them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from relay.model.refusal import Reason, Refusal
from relay.ports import Intake
from relay.smtp.server import reply
from relay.smtp.server.auth import Exchange
from relay.smtp.server.client import Client
from relay.smtp.server.dialect import Dialect
from relay.smtp.server.door import SessionDoor
from relay.smtp.server.reply import Reply
from relay.smtp.server.state import State
from relay.smtp.server.transaction import Transaction

HARD_ERROR = 500

# How sessions end, for the statistics.
_CAUSES: Final = {
    reply.BYE: "quit",
    reply.TOO_MANY_ERRORS: "errors",
    reply.TOO_MANY_COMMANDS: "junk",
    reply.TOO_MANY_AUTH_FAILURES: "errors",
    reply.CLOSING: "drain",
    reply.TOO_MANY_MESSAGES: "drain",
}


class Dialogue(ABC):
    """The state of one session. `waiting`: for an answer of the product, and nothing is parsed before it comes."""

    __slots__ = (
        "_buffer",
        "_draining",
        "_enhanced",
        "_errors",
        "_out",
        "_stressed",
        "auth_failures",
        "cause",
        "client",
        "closing",
        "dialect",
        "door",
        "exchange",
        "intake",
        "junk",
        "may_name",
        "messages",
        "policy",
        "said_bye",
        "session_id",
        "starting_tls",
        "state",
        "transaction",
        "waiting",
    )

    def __init__(self, dialect: Dialect, door: SessionDoor, intake: Intake, source: str, *, trusted: bool) -> None:
        policy = dialect.policy
        self.dialect = dialect
        self.policy = policy
        self.door = door
        self.intake = intake
        self.client = Client(dialect, source, trusted=trusted)
        self.state = self.client.state
        self.transaction = Transaction(policy, door)
        self.exchange: Exchange | None = None
        self.session_id = ""
        self.cause = "lost"
        self.may_name = False  # XCLIENT is taken from this client; the door says so before it greets
        self.auth_failures = self.junk = self.messages = self._errors = 0
        self.closing = self.starting_tls = self.waiting = self.said_bye = False
        self._draining = self._stressed = False
        self._enhanced = policy.enhanced_codes
        self._buffer = bytearray()
        self._out: list[bytes] = []

    # --- answers --------------------------------------------------------------------------------------------------

    def write(self, octets: bytes) -> None:
        """Say something that is no `Reply`: a greeting, the answer to EHLO, an acceptance."""
        self._out.append(octets)

    def say(self, answer: Reply) -> None:
        """Answer; an error too many ends the session."""
        self._out.append(answer.rich if self._enhanced else answer.plain)
        if answer.code < HARD_ERROR:
            return
        self._errors += 1
        if self._errors >= (1 if self._stressed else self.policy.errors_max):
            self.close_with(reply.TOO_MANY_ERRORS)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal of the product."""
        reason = refusal.reason
        self.say(Reply(reason.code, reason.enhanced, refusal.text))

    def accept(self, message_id: str) -> None:
        """Take responsibility for a message: a client that gets its work done is a good client."""
        self._errors = self.junk = 0
        self._out.append(reply.acceptance(message_id, enhanced=self._enhanced))

    def ask(self, question: Callable[[Any], Refusal | None], argument: object) -> Refusal | None:
        """Return what the product says; any fault of ours is a temporary one to the client (SMTP-028)."""
        try:
            return question(argument)
        except Exception as error:  # noqa: BLE001 - see above
            self.door.failed(error)
            return Refusal(Reason.TEMPORARY)

    # --- between messages -----------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Drop what was begun: the mail transaction, and an AUTH exchange."""
        self.exchange = None
        self.transaction.drop()

    def reset(self) -> None:
        """Go back between messages."""
        self.forget()
        self.state = self.client.state

    def end_if_draining(self) -> None:
        """End the session when it is to end and is between messages (SMTP-029)."""
        between = self.state < State.MAIL and self.transaction.stage is None
        if self._draining and between and not self.waiting and not self.starting_tls:
            self.close_with(reply.CLOSING)

    @abstractmethod
    def proceed(self) -> None:
        """Go on with what has arrived: an answer that was waited for has come."""

    # --- the end --------------------------------------------------------------------------------------------------

    def close_with(self, answer: Reply, cause: str = "") -> None:
        """Say a last line and end the session, whatever it was doing; `cause` is for the statistics."""
        if self.closing:
            return
        self.cause = cause or _CAUSES.get(answer, "protocol")
        self._out.append(answer.rich if self._enhanced else answer.plain)
        self.lost()

    def lost(self) -> None:
        """Drop everything: the connection is gone or about to be."""
        self.closing = True
        self.drop_input()
        if not self.transaction.given:
            self.transaction.drop_text()

    def drop_input(self) -> None:
        """Drop what has arrived and was not worked on."""
        self._buffer.clear()
