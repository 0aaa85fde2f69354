"""Replies of the server as bytes, each with and without its enhanced status code (RFC 5321 section 4.2, RFC 2034).

A `Reply` is rendered once, both ways; a session picks the form its listener was configured for (SMTP-031,
decision 1). Greetings, EHLO answers and intermediate replies never carry an enhanced code (RFC 2034 section 4).
Texts that clients match on are the contract of docs/spec/sending.md, group SMTP; those of refusals are in the one
table of `relay.model.refusal`; the rest is plain words.
"""

import re
from typing import Final

from relay.model.refusal import Reason, Refusal

TEXT_MAX_CHARACTERS = 480  # RFC 5321 section 4.5.3.1.5: 512 octets with codes and CRLF
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def printable(text: str, limit: int = TEXT_MAX_CHARACTERS) -> str:
    """Return `text` fit for one reply line: printable ASCII only, at most `limit` characters."""
    return _UNPRINTABLE.sub("?", text[:limit])


class Reply:
    """One reply: `code`, its enhanced code ("" for none), and one or more lines of text; immutable by convention.

    `plain` and `rich` are the bytes without and with the enhanced code, CRLF included.
    """

    __slots__ = ("code", "plain", "rich")

    def __init__(self, code: int, enhanced: str, *lines: str) -> None:
        self.code: Final = code
        self.plain: Final = _render(code, lines)
        self.rich: Final = _render(code, [f"{enhanced} {line}" for line in lines]) if enhanced else self.plain

    def __repr__(self) -> str:
        return f"Reply({self.plain!r})"


def _render(code: int, lines: list[str] | tuple[str, ...]) -> bytes:
    head = "".join(f"{code}-{printable(line)}\r\n" for line in lines[:-1])
    return f"{head}{code} {printable(lines[-1])}\r\n".encode("ascii")


def _of(reason: Reason) -> Reply:
    """Return the reply of a reason: its text is kept in the one table that all doors share."""
    return Reply(reason.code, reason.enhanced, reason.text)


OK = Reply(250, "2.0.0", "Ok")
SENDER_OK = Reply(250, "2.1.0", "Ok")
RECIPIENT_OK = Reply(250, "2.1.5", "Ok")
BYE = Reply(221, "2.0.0", "Bye")
HELP = Reply(214, "2.0.0", "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT")
CANNOT_VERIFY = Reply(252, "2.5.2", "Cannot VRFY user, but will accept message and attempt delivery")
READY_FOR_TLS = Reply(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED = Reply(235, "2.7.0", "Authentication successful")
START_INPUT = Reply(354, "", "End data with <CR><LF>.<CR><LF>")

UNKNOWN_COMMAND = Reply(500, "5.5.2", "Command not recognized")
BAD_LINE = Reply(500, "5.5.2", "Lines must end with CRLF and be free of CR, LF and NUL")
LINE_TOO_LONG = Reply(500, "5.5.6", "Line too long")
BAD_ARGUMENT = Reply(501, "5.5.4", "Syntax error in parameters or arguments")
BAD_HELLO = Reply(501, "5.5.4", "Syntax: EHLO hostname")
BAD_MAIL = Reply(501, "5.5.4", "Syntax: MAIL FROM:<address>")
BAD_BDAT = Reply(501, "5.5.4", "Syntax: BDAT size [LAST]")
BAD_XCLIENT = Reply(501, "5.5.4", "Syntax: XCLIENT attribute=value...")
HELD_TOO_LONG = Reply(501, "5.5.4", "Cannot hold mail for that long")
HELD_TO_THE_PAST = Reply(501, "5.5.4", "Cannot hold mail until a time that is over")
BAD_RCPT = Reply(501, "5.5.4", "Syntax: RCPT TO:<address>")
NO_NULL_SENDER = Reply(501, "5.1.7", "Invalid MAIL FROM address provided")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")
ALREADY_AUTHENTICATED = Reply(503, "5.5.1", "Already authenticated")
ALREADY_SECURE = Reply(503, "5.5.1", "TLS is already active")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "Unrecognized authentication type")
AUTH_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
AUTH_UNDECODABLE = Reply(501, "5.5.2", "Cannot decode authentication response")
LOGIN_NOT_TAKEN = Reply(550, "5.7.0", "LOGIN is not taken from you")
CLIENT_DENIED = Reply(554, "5.7.1", "Access denied")
TLS_REQUIRED = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
AUTH_REQUIRED = _of(Reason.NOT_LOCAL)
TOO_LARGE = _of(Reason.MESSAGE_TOO_LONG)
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Parameter not recognized or not implemented")
NO_RECIPIENTS = _of(Reason.NO_RECIPIENTS)

TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")
TEMPORARY = _of(Reason.TEMPORARY)
AUTH_TEMPORARY = _of(Reason.AUTH_TEMPORARY)
TIMED_OUT = _of(Reason.TIMED_OUT)
TOO_MANY_CONNECTIONS = _of(Reason.TOO_MANY_CONNECTIONS)
TOO_MANY_NEW_CONNECTIONS = Reply(421, "4.7.0", "Too many new SMTP connections in a minute")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors")
TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands without a message")
TOO_MANY_AUTH_FAILURES = Reply(421, "4.7.0", "Too many failed authentications")
TOO_MANY_MESSAGES = Reply(421, "4.3.2", "Too many messages in one session")
NOT_HTTP = Reply(421, "4.7.0", "This is not an HTTP server")
CLOSING = Reply(421, "4.3.2", "Service closing transmission channel")


def acceptance(message_id: str, *, enhanced: bool) -> bytes:
    """Return the reply that takes responsibility for a message (SMTP-021); ids are ASCII."""
    return f"250 2.0.0 Ok {message_id}\r\n".encode() if enhanced else f"250 Ok {message_id}\r\n".encode()


def invalid_sender(argument: str) -> Reply:
    """Return the reply to a malformed MAIL argument (SMTP-015)."""
    return _about(Reason.INVALID_SENDER, argument)


def invalid_recipient(argument: str) -> Reply:
    """Return the reply to a malformed RCPT argument (SMTP-015)."""
    return _about(Reason.INVALID_RECIPIENT, argument)


def _about(reason: Reason, argument: str) -> Reply:
    return Reply(reason.code, reason.enhanced, Refusal(reason, printable(argument, 256)).text)
