"""Where a session is in its dialogue, and where it goes when no mail transaction is open.

    CLEAR      a submission listener before TLS: EHLO, NOOP, STARTTLS and QUIT only (SMTP-002)
    HELLO      EHLO or HELO is expected: a new session, and again after STARTTLS
    GREETED    a submission listener, not authenticated: no mail
    READY      between messages
    MAIL       a sender was given
    RCPT       a recipient was accepted as well
    CHUNKS     a message is arriving by BDAT, between two of its chunks (RFC 3030)

What each command does in each state says `table`. Who the client is decides between the first four.
"""

from enum import IntEnum, auto
from typing import Final


class State(IntEnum):
    """Where a session is in its dialogue; those below MAIL have no transaction."""

    CLEAR = auto()
    HELLO = auto()
    GREETED = auto()
    READY = auto()
    MAIL = auto()
    RCPT = auto()
    CHUNKS = auto()


# (TLS is still to come, EHLO or HELO was said, may give mail): the state between messages
BETWEEN_MESSAGES: Final[dict[tuple[bool, bool, bool], State]] = {
    (True, False, False): State.CLEAR,
    (True, False, True): State.CLEAR,
    (True, True, False): State.CLEAR,
    (True, True, True): State.READY,
    (False, False, False): State.HELLO,
    (False, False, True): State.HELLO,
    (False, True, False): State.GREETED,
    (False, True, True): State.READY,
}
