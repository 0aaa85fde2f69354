"""The states of a dialogue as a client, one row each: which reply is expected, and what is true while it is.

    (HANDSHAKE) GREETING EHLO [HELO] [STARTTLS HANDSHAKE EHLO] [AUTH AUTH_USER] [AUTH_PASSWORD]     once
    [RESET] MAIL RCPT... DATA FINAL_DOT                                                             for each message

Who answers for what comes next: `setup` (to EHLO), `auth`, `transactions` (RESET to DATA) and
`data` (FINAL_DOT). With PIPELINING several are expected at once, without it one.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from relay.model.outcome import Stage


class Step(IntEnum):
    """A reply that is expected; the number is the row in `STEPS`."""

    GREETING = 0
    EHLO = 1
    HELO = 2
    STARTTLS = 3
    HANDSHAKE = 4
    AUTH = 5
    AUTH_USER = 6
    AUTH_PASSWORD = 7
    RESET = 8
    MAIL = 9
    RCPT = 10
    DATA = 11
    FINAL_DOT = 12


class State(NamedTuple):
    """What is true while a reply is expected. `hidden`: what is noted in place of a command with a secret."""

    stage: Stage  # of an outcome that comes of it
    timeout: str  # the field of `Timeouts`
    where: str
    hidden: bytes = b""


STEPS: Final[tuple[State, ...]] = (
    State(Stage.GREETING, "greeting", "while waiting for the greeting"),
    State(Stage.EHLO, "ehlo", "while waiting for the reply to EHLO"),
    State(Stage.EHLO, "ehlo", "while waiting for the reply to HELO"),
    State(Stage.TLS, "tls", "while waiting for the reply to STARTTLS"),
    State(Stage.TLS, "tls", "during the TLS handshake"),
    State(Stage.AUTH, "auth", "while waiting for the reply to AUTH"),
    State(Stage.AUTH, "auth", "while waiting for the reply to AUTH_USER", b"(user name hidden)"),
    State(Stage.AUTH, "auth", "while waiting for the reply to AUTH_PASSWORD", b"(credentials hidden)"),
    State(Stage.MAIL, "reset", "while waiting for the reply to RESET"),
    State(Stage.MAIL, "mail", "while waiting for the reply to MAIL"),
    State(Stage.RCPT, "rcpt", "while waiting for the reply to RCPT"),
    State(Stage.DATA, "data", "while waiting for the reply to DATA"),
    State(Stage.FINAL_DOT, "final_dot", "after the message was sent, before its reply"),
)
