"""Commands that a session does not have: a client of another protocol is sent away, others are told."""

from typing import Final

from relay.smtp.server import reply
from relay.smtp.server.dialogue import Dialogue
from relay.smtp.server.state import State

_HTTP: Final = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI", b"HOST:")
)
_NOT_OFFERED: Final = frozenset((b"ETRN", b"ATRN", b"TURN", b"BURL", b"SEND", b"SOML", b"SAML"))


def on_unknown(dialogue: Dialogue, verb: bytes) -> None:
    """Answer a command that the state's row does not list."""
    if verb in _HTTP:
        dialogue.close_with(reply.NOT_HTTP)
    elif dialogue.state is State.CLEAR:
        dialogue.say(reply.TLS_REQUIRED)
    else:
        dialogue.say(reply.NOT_IMPLEMENTED if verb in _NOT_OFFERED else reply.UNKNOWN_COMMAND)
