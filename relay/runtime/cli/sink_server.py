"""The SMTP side of `relay sink`: takes every mail for everybody, offers STARTTLS, checks DKIM, keeps, tells.

An independent receiver (aiosmtpd) on purpose, so that what it accepts is not what our own engine believes in.
"""

import asyncio
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dns.exception
import dns.resolver
from aiosmtpd.smtp import SMTP, Envelope, Session

from relay.runtime.cli.sink_mailbox import Kept, Maildir
from relay.signing.verification import dkim_results

CONNECTIONS_MAX = 200
RECIPIENTS_MAX = 1000

IDLE_SECONDS = 300.0
DNS_SECONDS = 3.0

NULL_SENDER = "<>"  # what aiosmtpd makes of MAIL FROM:<>


class KeyLookup:
    """Fetches DKIM keys by real DNS queries to one server."""

    def __init__(self, host: str, port: int) -> None:
        self._resolver = dns.resolver.Resolver(configure=False)
        self._resolver.nameservers = [host]
        self._resolver.port = port
        self._resolver.lifetime = DNS_SECONDS

    def __call__(self, name: bytes | str, timeout: float = DNS_SECONDS) -> bytes | None:
        """Return the TXT record of a name, None when there is none; the signature is dkimpy's `dnsfunc`."""
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        try:
            found = self._resolver.resolve(text, "TXT", lifetime=min(timeout, DNS_SECONDS))
        except dns.exception.DNSException:
            return None
        return b"".join(next(iter(found)).strings)


class SinkServer:
    """Listens and hands each mail to `on_mail` after it was kept."""

    def __init__(
        self,
        mailbox: Maildir,
        on_mail: Callable[[Kept], None],
        *,
        tls: ssl.SSLContext | None,
        size_max_bytes: int,
        lookup: Callable[..., bytes | None] | None,
    ) -> None:
        self._mailbox = mailbox
        self._on_mail = on_mail
        self._tls = tls
        self._size_max_bytes = size_max_bytes
        self._lookup = lookup
        self._server: asyncio.Server | None = None
        self._open = 0
        # One thread verifies: a queue of mails waits in their sessions, not in memory of its own.
        self._verifier = ThreadPoolExecutor(1, "sink-dkim")

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port."""
        self._server = await asyncio.get_running_loop().create_server(self._session, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        self._verifier.shutdown(wait=False, cancel_futures=True)

    def _session(self) -> SMTP:
        return _Session(self)

    # What aiosmtpd calls for each transaction, by name.

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take any recipient."""
        if len(envelope.rcpt_tos) >= RECIPIENTS_MAX:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the mail and tell about it."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        results: list[tuple[str, str, str]] = []
        if self._lookup is not None:
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._verifier, dkim_results, content, self._lookup)
        tls = server.transport.get_extra_info("ssl_object") if server.transport else None
        kept = Kept(
            sender="" if envelope.mail_from in (None, NULL_SENDER) else envelope.mail_from,
            recipients=tuple(envelope.rcpt_tos),
            content=content,
            peer=str(session.peer[0]) if session.peer else "",
            helo=session.host_name or "",
            tls=(tls.version() or "none") if tls else "none",
            dkim=results,
        )
        self._mailbox.add(kept)
        self._on_mail(kept)
        return "250 2.0.0 kept"


class _Session(SMTP):
    """One connection; closed at once while too many are open."""

    def __init__(self, owner: SinkServer) -> None:
        self._owner = owner
        self._counted = False
        super().__init__(
            owner,
            data_size_limit=owner._size_max_bytes,  # noqa: SLF001
            enable_SMTPUTF8=True,
            hostname="sink",
            ident="Relay sink",
            tls_context=owner._tls,  # noqa: SLF001
            timeout=IDLE_SECONDS,
            loop=asyncio.get_running_loop(),
        )

    def connection_made(self, transport: Any) -> None:
        if not self._counted:
            self._counted = True
            self._owner._open += 1  # noqa: SLF001
        if self._owner._open > CONNECTIONS_MAX:  # noqa: SLF001
            transport.write(b"421 4.3.2 Too many connections\r\n")
            transport.close()
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._counted:
            self._counted = False
            self._owner._open -= 1  # noqa: SLF001
        super().connection_lost(error)
