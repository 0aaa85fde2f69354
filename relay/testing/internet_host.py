"""A receiving mail host on loopback that follows a script of faults and records what it was given.

Faults are words, some with a number behind a dot ("slow-dot.2"); a host may have several:
greet-STATUS, greet-http, greet-garbage, greet-barelf, greet-hang, greet-drop, greet-us, slow-greet.S, drip,
ehlo-502, ehlo-nothing, ehlo-drop, ehlo-us, helo-550, no-pipelining, no-8bit, no-utf8, size.N, pipeline-lie,
pipeline-503, mail-STATUS, rcpt-STATUS, data-STATUS, dot-STATUS, slow-mail.S, slow-rcpt.S, slow-dot.S, rcpts-max.N,
rcpts-552.N, drop-mail, drop-rcpt, drop-mid-data, reset-mid-data, drop-dot, hang-dot, dot-early, limit-msgs.N,
limit-conns.N, close-idle.S, greet-endless, drop-reused (at MAIL, after a message),
grey.N (the first N recipients get 451), flaky.N (the first N messages get 451),
implicit (TLS from the first byte), tls (STARTTLS offered), requiretls (offered inside TLS, RFC 8689),
tls-454, tls-garbage, tls-drop, tls-hang, tls-inject, auth (AUTH required), rcvbuf.N (octets it takes before it
reads them), at-STAGE-FAULT (see relay.testing.internet_faults), cert-expired, cert-name (another's), cert-untrusted.
"""

import asyncio
import contextlib
import re
import socket
import ssl
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.testing.internet_dialogue import Dialogue, Received
from relay.testing.internet_faults import Gone

_LINE_MAX_BYTES = 1 << 20
_WAIT_FOR_EVER_SECONDS = 3600.0
_LIE_SECONDS = 0.05
_RCVBUF_BYTES = 1 << 18
_PATH = re.compile(rb"(?:FROM|TO):<(.*)>([^>]*)\Z", re.IGNORECASE)


@dataclass
class FakeHost:
    """One host. `log` holds every command line with the number of its connection.

    `replies` are words for a stage (greet, mail, rcpt, dot) in place of the normal ones, `{"rcpt": "451 4.7.0 no"}`;
    they may be changed while the host runs. `replies_from` are the same for clients from one address.
    """

    name: str
    address: str
    faults: tuple[str, ...] = ()
    us: str = "relay.example"
    replies: dict[str, str] = field(default_factory=dict)
    replies_from: dict[str, dict[str, str]] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    log: list[tuple[int, bytes]] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    open_most: int = 0
    recipients_seen: int = 0
    messages_seen: int = 0
    server: asyncio.Server | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    struck: Counter[str] = field(default_factory=Counter)

    def has(self, fault: str) -> bool:
        """Say whether the script has a word."""
        return fault in self.faults

    def number(self, fault: str, default: float = 0.0) -> float:
        """Return the number behind a word, the default when the script has it not."""
        for word in self.faults:
            name, dot, number = word.partition(".")
            if name == fault and dot:
                return float(number)
        return default

    def status(self, stage: str) -> int:
        """Return the reply code that the script gives to a stage, 0 for the normal one."""
        for word in self.faults:
            name, _, code = word.rpartition("-")
            if name == stage and code.isdigit():
                return int(code)
        return 0

    def fault_at(self, stage: str) -> str:
        """Return the fault that strikes at a stage now, "" for none; each call is one stroke."""
        start = f"at-{stage}-"
        for word in self.faults:
            if not word.startswith(start):
                continue
            name, dot, times = word[len(start) :].partition(".")
            self.struck[word] += 1
            if not dot or self.struck[word] <= int(times):
                return name
        return ""

    def mend(self, *faults: str) -> None:
        """Follow another script from now on."""
        self.faults = faults
        if self.server is not None and self.server.sockets:
            self.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RCVBUF_BYTES)

    def commands(self, verb: bytes) -> list[bytes]:
        """Return the commands that begin with a verb."""
        return [line for _, line in self.log if line.upper().startswith(verb)]

    async def start(self, port: int) -> int:
        """Listen; return the port."""
        tls = self.context if self.has("implicit") else None
        self.server = await asyncio.start_server(self._accept, self.address, port, limit=_LINE_MAX_BYTES, ssl=tls)
        if size := int(self.number("rcvbuf")):  # sockets that are accepted inherit it
            self.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        return int(self.server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self.server is not None:
            self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.connections += 1
        self.open_connections += 1
        self.open_most = max(self.open_most, self.open_connections)
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, Gone, asyncio.CancelledError, TimeoutError
        ):
            await Dialogue(self, self.connections, reader, writer).run()
        self.open_connections -= 1
        writer.close()


def words(faults: Iterable[str] | str) -> tuple[str, ...]:
    """Return a script given as one string or several words."""
    return tuple(faults.split()) if isinstance(faults, str) else tuple(faults)
