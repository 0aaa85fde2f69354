"""The SMTP client of `relay send`: a few connections that share a number of messages, and what came of each.

An independent client (aiosmtplib) on purpose: what it sees is what applications see.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parseaddr

import aiosmtplib

from relay.errors import EX_TEMPFAIL, EX_UNAVAILABLE
from relay.runtime.cli.send_message import Draft, render

PERMANENT = 500
SECONDS_BETWEEN_RECONNECTS = 0.2


@dataclass(frozen=True, slots=True)
class Server:
    """Where to send. `tls` is starttls, implicit or none; `context` decides which certificates are believed."""

    host: str
    port: int
    tls: str
    username: str = ""
    password: str = field(default="", repr=False)
    context: ssl.SSLContext | None = None
    timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What the server said to one message. `code` is 0 when it could not be asked at all."""

    number: int
    code: int
    reply: str
    seconds: float
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """True when the server took the message for at least one recipient."""
        return 200 <= self.code < 300  # noqa: PLR2004 (RFC 5321 section 4.2.1: 2yz is completion)

    @property
    def message_id(self) -> str:
        """The id in `250 Ok <id>`, "" when the reply has another form."""
        words = self.reply.split()
        return words[1] if self.accepted and len(words) == 2 and words[0] == "Ok" else ""  # noqa: PLR2004

    @property
    def exit_code(self) -> int:
        """0, 75 when it may be tried again, 69 when it may not; refused recipients count (their worst)."""
        codes = [0 if self.accepted else self.code, *(int(reply[:3]) for reply in self.refused.values())]
        if any(code >= PERMANENT for code in codes):
            return EX_UNAVAILABLE
        return 0 if self.accepted and not self.refused else EX_TEMPFAIL


async def send_all(
    server: Server, draft: Draft, *, count: int, connections: int, on_result: Callable[[Sent], None]
) -> None:
    """Send `count` messages over at most `connections` sessions; report each as soon as it is answered."""
    numbers = iter(range(1, count + 1))

    async def session() -> None:
        client: aiosmtplib.SMTP | None = None
        for number in numbers:
            started = time.monotonic()
            content = render(draft, number, count)
            try:
                client = client or await _connect(server)
                result = await _send_one(client, draft, content, number, started)
            except (aiosmtplib.SMTPException, OSError) as error:
                result = _failure(server, number, error, time.monotonic() - started)
            on_result(result)
            if client is not None and not client.is_connected:
                client = None
            if result.code == 0 and count > 1:
                await asyncio.sleep(SECONDS_BETWEEN_RECONNECTS)
        if client is not None:
            await _leave(client)

    await asyncio.gather(*(session() for _ in range(min(connections, count))))


async def _connect(server: Server) -> aiosmtplib.SMTP:
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.tls == "implicit",
        start_tls=server.tls == "starttls",
        tls_context=server.context,
        timeout=server.timeout_seconds,
    )
    await client.connect()
    if server.username:
        await client.login(server.username, server.password)
    return client


async def _send_one(client: aiosmtplib.SMTP, draft: Draft, content: bytes, number: int, started: float) -> Sent:
    recipients = [parseaddr(one)[1] or one for one in draft.recipients]
    sender = parseaddr(draft.sender)[1]
    errors, reply = await client.sendmail(sender, recipients, content)
    refused = {address: _line(error.code, error.message) for address, error in errors.items()}
    return Sent(number, 250, reply, time.monotonic() - started, refused)


def _failure(server: Server, number: int, error: Exception, seconds: float) -> Sent:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        refused = {one.recipient: _line(one.code, one.message) for one in error.recipients}
        worst = max(one.code for one in error.recipients)
        return Sent(number, worst, "no recipient was accepted", seconds, refused)
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        return Sent(number, error.code, " ".join(error.message.splitlines()), seconds)
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ConnectionRefusedError):
        text = f"nothing listens on {server.host} port {server.port}; is the relay running? `relay doctor` tells"
        return Sent(number, 0, text, seconds)
    return Sent(number, 0, " ".join(str(error).split()) or type(error).__name__, seconds)


def _line(code: int, message: str) -> str:
    return f"{code} {' '.join(message.splitlines())}"


async def _leave(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit()
    except (aiosmtplib.SMTPException, OSError):
        client.close()
