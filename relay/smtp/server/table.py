"""Which command does what in which state: the whole truth about the order of commands (RFC 5321 section 4.1.4).

A row is a state; a command leads to the function that works on it, or to the reply it gets whatever its argument is.
What a row does not list is answered by `unknown`.
"""

from collections.abc import Callable
from typing import Final

from relay.smtp.server import reply
from relay.smtp.server.dialogue import Dialogue
from relay.smtp.server.hello import on_ehlo, on_helo, on_quit, on_starttls
from relay.smtp.server.login import on_auth
from relay.smtp.server.mail import on_mail, on_rcpt, on_rset
from relay.smtp.server.reply import Reply
from relay.smtp.server.state import State
from relay.smtp.server.text import on_bdat, on_data
from relay.smtp.server.xclient import on_xclient

Action = Reply | Callable[[Dialogue, bytes], None]

_ALWAYS: Final[dict[bytes, Action]] = {
    b"EHLO": on_ehlo,
    b"HELO": on_helo,
    b"NOOP": reply.OK,
    b"RSET": on_rset,
    b"QUIT": on_quit,
    b"STARTTLS": on_starttls,
    b"HELP": reply.HELP,
    b"VRFY": reply.CANNOT_VERIFY,
    b"EXPN": reply.NOT_IMPLEMENTED,
    b"AUTH": reply.BAD_SEQUENCE,
    b"MAIL": reply.BAD_SEQUENCE,
    b"RCPT": reply.BAD_SEQUENCE,
    b"DATA": reply.BAD_SEQUENCE,
    b"BDAT": on_bdat,
    b"XCLIENT": on_xclient,
}
_IN_TRANSACTION: Final = _ALWAYS | {b"XCLIENT": reply.BAD_SEQUENCE}
TABLE: Final[dict[State, dict[bytes, Action]]] = {
    State.CLEAR: {verb: _ALWAYS[verb] for verb in (b"EHLO", b"NOOP", b"QUIT", b"STARTTLS", b"BDAT", b"XCLIENT")},
    State.HELLO: _ALWAYS,
    State.GREETED: _ALWAYS
    | {b"AUTH": on_auth, b"MAIL": reply.AUTH_REQUIRED, b"RCPT": reply.AUTH_REQUIRED, b"DATA": reply.AUTH_REQUIRED},
    State.READY: _ALWAYS | {b"AUTH": on_auth, b"MAIL": on_mail},
    State.MAIL: _IN_TRANSACTION | {b"RCPT": on_rcpt, b"DATA": on_data},
    State.RCPT: _IN_TRANSACTION | {b"RCPT": on_rcpt, b"DATA": on_data},
    State.CHUNKS: _IN_TRANSACTION,
}

# Commands that do not move mail: too many of them without a message end the session.
JUNK: Final = frozenset((b"NOOP", b"RSET", b"VRFY", b"EXPN", b"HELP", b"EHLO", b"HELO"))
