"""What was said in one attempt: every host that was tried, each with its dialogue, and those passed over."""

from dataclasses import dataclass
from enum import StrEnum


class Trace(StrEnum):
    """Of which attempts the dialogue is kept."""

    FAILURES = "failures"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """How a connection was encrypted. `verified`: the certificate was checked against the host's name and is trusted.

    Subject and issuer are names as RFC 4514 writes them, "" where the remote showed no certificate.
    """

    version: str
    cipher: str
    subject: str = ""
    issuer: str = ""
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `who` is "C" for us, "S" for the remote, "-" for a note; milliseconds since the connection began."""

    at_ms: int
    who: str
    text: str


@dataclass(frozen=True, slots=True)
class Try:
    """One connection: what came of it, and what was said. `messages_before` counts those it had carried already."""

    host: str
    address: str
    port: int
    outcome: str
    tls: TlsFacts | None = None
    lines: tuple[Line, ...] = ()
    messages_before: int = 0


@dataclass(frozen=True, slots=True)
class Skipped:
    """A host or an address that was not tried, and why not."""

    host: str
    address: str
    why: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """All of an attempt, in order; the last try is the one that decided."""

    tries: tuple[Try, ...] = ()
    skipped: tuple[Skipped, ...] = ()
