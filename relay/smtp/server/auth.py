"""The server side of AUTH PLAIN and AUTH LOGIN (RFC 4954, RFC 4616), without any knowledge of who is right.

`Exchange` is fed the client's lines; it answers with a challenge, a reply that ends the exchange, or the user
name and password to be checked.
"""

import base64
import binascii
from dataclasses import dataclass

from relay.smtp.server import reply
from relay.smtp.server.reply import Reply

NAME_MAX_BYTES = 255
SECRET_MAX_BYTES = 1024

CHALLENGE_EMPTY = Reply(334, "", "")
CHALLENGE_USERNAME = Reply(334, "", "VXNlcm5hbWU6")
CHALLENGE_PASSWORD = Reply(334, "", "UGFzc3dvcmQ6")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client presented; not checked yet."""

    username: str
    password: str


class Exchange:
    """One authentication exchange: `username` is known once LOGIN has asked for it."""

    __slots__ = ("_plain", "_username")

    def __init__(self, *, plain: bool) -> None:
        self._plain = plain
        self._username: str | None = None

    def step(self, line: bytes) -> Reply | Credentials:
        """Take the client's next response; a 334 reply means that another one is expected."""
        if line == b"*":
            return reply.AUTH_CANCELLED  # RFC 4954 section 4
        decoded = _decode(b"" if line == b"=" else line)
        if decoded is None:
            return reply.AUTH_UNDECODABLE
        if self._plain:
            return _plain(decoded)
        if self._username is None:
            self._username = decoded
            return CHALLENGE_PASSWORD if _sane(decoded, "") else reply.AUTH_UNDECODABLE
        return Credentials(self._username, decoded) if _sane(self._username, decoded) else reply.AUTH_UNDECODABLE


def begin(argument: bytes) -> tuple[Exchange | None, Reply | Credentials]:
    """Read the argument of AUTH: mechanism and, perhaps, the initial response (SMTP-008, SMTP-009, SMTP-013)."""
    words = argument.split()
    if not words or len(words) > 2:  # noqa: PLR2004 - mechanism and initial response
        return None, reply.BAD_ARGUMENT
    mechanism = words[0].upper()
    if mechanism not in (b"PLAIN", b"LOGIN"):
        return None, reply.UNKNOWN_MECHANISM
    exchange = Exchange(plain=mechanism == b"PLAIN")
    if len(words) == 1:
        return exchange, CHALLENGE_EMPTY if mechanism == b"PLAIN" else CHALLENGE_USERNAME
    return exchange, exchange.step(words[1])


def _decode(line: bytes) -> str | None:
    try:
        return base64.b64decode(line, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _plain(message: str) -> Reply | Credentials:
    """Read `[authzid] NUL authcid NUL passwd` (RFC 4616 section 2).

    The authorization identity is read over: a session is always its user's. Sendmail sends the name of a local user
    there (send-email-sendmail.md: `U:root`).
    """
    parts = message.split("\0")
    if len(parts) != 3:  # noqa: PLR2004 - the three parts of the message
        return reply.AUTH_UNDECODABLE
    _, username, password = parts
    return Credentials(username, password) if _sane(username, password) else reply.AUTH_UNDECODABLE


def _sane(username: str, password: str) -> bool:
    return 0 < len(username) <= NAME_MAX_BYTES and len(password) <= SECRET_MAX_BYTES and "\0" not in username
