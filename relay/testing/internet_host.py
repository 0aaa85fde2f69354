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
import base64
import contextlib
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.testing.internet_faults import Gone, play, reply, until_closed

_LINE_MAX_BYTES = 1 << 20
_WAIT_FOR_EVER_SECONDS = 3600.0
_LIE_SECONDS = 0.05
_RCVBUF_BYTES = 1 << 18
_PATH = re.compile(rb"(?:FROM|TO):<(.*)>([^>]*)\Z", re.IGNORECASE)


@dataclass
class Received:
    """One message that a host said 2xx to; `data` is as it came on the wire, stuffed, without the final dot."""

    host: str
    connection: int
    helo: str
    tls: str
    sender: str
    parameters: str
    recipients: list[str]
    data: bytes
    peer: str
    username: str = ""

    @property
    def content(self) -> bytes:
        """The message, un-stuffed."""
        text = self.data.replace(b"\r\n..", b"\r\n.")
        return text[1:] if text.startswith(b"..") else text


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
            await _Dialogue(self, self.connections, reader, writer).run()
        self.open_connections -= 1
        writer.close()


class _Dialogue:
    def __init__(
        self, host: FakeHost, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.host = host
        self.number = number
        self.reader = reader
        self.writer = writer
        self.helo = ""
        self.tls = self.tls_version()
        self.username = ""
        self.messages = 0
        self.stage = "greet"
        self.clear()

    def clear(self) -> None:
        self.sender: str | None = None
        self.parameters = ""
        self.recipients: list[str] = []

    def tls_version(self) -> str:
        """Return the version of TLS on the connection, "" for none."""
        found = self.writer.get_extra_info("ssl_object")
        return found.version() or "TLS" if found is not None else ""

    async def say(self, code: int, *lines: str) -> None:
        texts = lines or (f"text for {code}",)
        fault = self.host.fault_at(self.stage)
        if fault:
            await play(fault, self, code, texts)
            return
        self.writer.write(reply(code, texts))
        await self.writer.drain()

    async def scripted(self, stage: str) -> bool:
        """Say the words that the script has for a stage now; False when it has none."""
        peer = self.writer.get_extra_info("peername")[0]
        reply = self.host.replies_from.get(peer, {}).get(stage) or self.host.replies.get(stage)
        if reply is None:
            return False
        await self.raw(reply.encode() + b"\r\n")
        if reply.startswith("421") or stage == "greet":
            raise Gone
        return True

    async def raw(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise Gone
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # a drain that need not wait lets nobody else have a turn

    async def run(self) -> None:
        await self.greet()
        while True:
            line = await self.read_line()
            self.host.log.append((self.number, line))
            verb = line[:4].upper()
            self.stage = _STAGES.get(verb, "")
            if self.stage == "ehlo" and self.tls:
                self.stage = "ehlos"
            handler = _VERBS.get(verb)
            if handler is None:
                await self.say(500, "5.5.1 unknown command")
                continue
            await handler(self, line)

    async def read_line(self) -> bytes:
        idle = self.host.number("close-idle")
        if idle and self.messages:
            async with asyncio.timeout(idle):
                line = await self.reader.readuntil(b"\r\n")
        else:
            line = await self.reader.readuntil(b"\r\n")
        if self.host.has("pipeline-lie"):
            await asyncio.sleep(_LIE_SECONDS)
            waiting = self.reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001 - drops what a bad host drops
            if waiting and not line.upper().startswith(b"DATA"):
                waiting.clear()
                self.writer.write(b"")
                await self.say(250, "and I lost the rest")
                raise Gone
        return line[:-2]

    async def greet(self) -> None:
        host = self.host
        await asyncio.sleep(host.number("slow-greet"))
        if await self.scripted("greet"):
            return
        if host.number("limit-conns", 1e9) < host.open_connections:
            await self.say(421, "4.7.0 too many connections")
            raise Gone
        if host.has("greet-drop"):
            raise Gone
        if host.has("greet-hang"):
            await asyncio.sleep(_WAIT_FOR_EVER_SECONDS)
        odd = _GREETINGS.get(next((word for word in host.faults if word in _GREETINGS), ""))
        if odd is not None:
            await self.raw(odd)
            return
        if host.has("drip"):
            for octet in f"220 {host.name} drip\r\n".encode():
                await self.raw(bytes((octet,)))
                await asyncio.sleep(0.005)
            return
        code = host.status("greet") or 220
        await self.say(code, f"{host.us if host.has('greet-us') else host.name} ESMTP")
        if code != 220:  # noqa: PLR2004 - RFC 5321 section 4.2
            raise Gone

    async def on_ehlo(self, line: bytes) -> None:
        host = self.host
        if host.has("ehlo-drop"):
            raise Gone
        if host.has("ehlo-502"):
            await self.say(502, "5.5.1 not implemented")
            return
        self.helo = line[5:].decode("ascii", "replace")
        name = host.us if host.has("ehlo-us") else host.name
        offer = [] if host.has("ehlo-nothing") else self.offer()
        await self.say(250, name, *offer)

    def offer(self) -> list[str]:
        host = self.host
        lines = []
        if not host.has("no-pipelining"):
            lines.append("PIPELINING")
        if not host.has("no-8bit"):
            lines.append("8BITMIME")
        if not host.has("no-utf8"):
            lines.append("SMTPUTF8")
        lines.append(f"SIZE {int(host.number('size', 50_000_000))}")
        if any(word.startswith("tls") for word in host.faults) and not self.tls:
            lines.append("STARTTLS")
        if host.has("requiretls") and self.tls:
            lines.append("REQUIRETLS")
        if host.has("auth") and self.tls:
            lines.append("AUTH LOGIN" if host.has("auth-login") else "AUTH PLAIN LOGIN")
        return lines

    async def on_helo(self, line: bytes) -> None:
        self.helo = line[5:].decode("ascii", "replace")
        await self.say(self.host.status("helo") or 250, self.host.name)

    async def on_starttls(self, _line: bytes) -> None:
        host = self.host
        if host.has("tls-454"):
            await self.say(454, "4.7.0 TLS not available")
            return
        if host.has("tls-inject"):
            await self.raw(b"220 go\r\n250-injected.test\r\n250 AUTH PLAIN\r\n")
        else:
            await self.say(220, "go")
        fault = host.fault_at("handshake")
        if fault:
            await play(fault, self, 250, ["injected in clear"])
            raise Gone
        if host.has("tls-garbage"):
            await self.raw(b"500 what is this\r\n" * 10)
            await asyncio.sleep(0.05)
            raise Gone
        if host.has("tls-drop"):
            raise Gone
        if host.has("tls-hang"):
            await asyncio.sleep(_WAIT_FOR_EVER_SECONDS)
        assert host.context is not None
        await self.writer.start_tls(host.context)
        self.tls = self.tls_version()
        self.helo = ""
        self.clear()

    async def on_auth(self, line: bytes) -> None:
        words = line.split()
        if words[1].upper() == b"PLAIN":
            token = base64.b64decode(words[2]).split(b"\0")
            user, password = token[1].decode(), token[2].decode()
        else:
            await self.say(334, "VXNlcm5hbWU6")
            user = base64.b64decode(await self.reader.readuntil(b"\r\n")).decode()
            await self.say(334, "UGFzc3dvcmQ6")
            password = base64.b64decode(await self.reader.readuntil(b"\r\n")).decode()
        if password == "wrong":  # noqa: S105 - the script's own
            await self.say(535, "5.7.8 no")
            return
        self.username = user
        await self.say(235, "2.7.0 welcome")

    async def on_mail(self, line: bytes) -> None:
        host = self.host
        await asyncio.sleep(host.number("slow-mail"))
        if await self.scripted("mail"):
            return
        if host.has("drop-mail") or (host.has("drop-reused") and self.messages):
            raise Gone
        if host.number("limit-msgs", 1e9) <= self.messages:
            await self.say(421, "4.7.0 enough for one connection")
            raise Gone
        code = host.status("mail")
        if code:
            await self.refuse(code)
            return
        if self.sender is not None:
            await self.say(503, "5.5.1 nested MAIL")
            return
        found = _PATH.search(line)
        if found is None:
            await self.say(501, "5.5.4 syntax")
            return
        self.sender = found[1].decode()
        self.parameters = found[2].decode().strip()
        await self.say(250, "2.1.0 sender ok")

    async def refuse(self, code: int) -> None:
        await self.say(code, f"{code // 100}.1.1 the script says so")
        if code == 421:  # noqa: PLR2004 - RFC 5321 section 3.8
            raise Gone

    async def on_rcpt(self, line: bytes) -> None:
        host = self.host
        await asyncio.sleep(host.number("slow-rcpt"))
        if host.has("drop-rcpt"):
            raise Gone
        if await self.scripted("rcpt"):
            return
        if host.has("pipeline-503") and not host.has("no-pipelining"):
            await self.say(503, "5.5.1 where am I")
            return
        host.recipients_seen += 1
        found = _PATH.search(line)
        if self.sender is None or found is None:
            await self.say(503, "5.5.1 MAIL first")
            return
        if len(self.recipients) >= host.number("rcpts-max", 1e9):
            await self.say(452, "4.5.3 too many recipients")
            return
        if len(self.recipients) >= host.number("rcpts-552", 1e9):
            await self.say(552, "5.5.3 too many recipients")
            return
        code = host.status("rcpt") or (451 if host.recipients_seen <= host.number("grey") else 0)
        if code:
            await self.refuse(code)
            return
        self.recipients.append(found[1].decode())
        await self.say(250, "2.1.5 recipient ok")

    async def on_data(self, _line: bytes) -> None:
        host = self.host
        code = host.status("data")
        if code:
            await self.refuse(code)
            return
        if not self.recipients:
            await self.say(554, "5.5.1 no valid recipients")
            return
        if host.has("dot-early"):
            await self.raw(b"354 go\r\n250 2.0.0 thanks already\r\n")
        else:
            await self.say(354, "go")
        fault = host.fault_at("body")
        if fault:
            await self.reader.read(200)
            await play(fault, self, 250, ["2.0.0 taken before it came"])
            if fault.startswith(("code4", "code5")):  # refused: the rest is thrown away
                await until_closed(self)
        data = await self.read_data()
        self.stage = "dot"
        host.messages_seen += 1
        await self.answer_dot(data)

    async def read_data(self) -> bytes:
        host = self.host
        if host.has("drop-mid-data") or host.has("reset-mid-data"):
            await self.reader.read(200)
            if host.has("reset-mid-data"):
                self.reset()
            raise Gone
        parts: list[bytes] = []
        while True:
            line = await self.reader.readuntil(b"\r\n")
            if line == b".\r\n":
                return b"".join(parts)
            parts.append(line)

    def reset(self) -> None:
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def answer_dot(self, data: bytes) -> None:
        host = self.host
        await asyncio.sleep(host.number("slow-dot"))
        if host.has("drop-dot"):
            raise Gone
        if host.has("hang-dot"):
            await asyncio.sleep(_WAIT_FOR_EVER_SECONDS)
        if await self.scripted("dot"):
            self.clear()
            return
        code = host.status("dot") or (451 if host.messages_seen <= host.number("flaky") else 0)
        if code:
            self.clear()
            await self.refuse(code)
            return
        assert self.sender is not None
        peer = self.writer.get_extra_info("peername")[0]
        host.received.append(
            Received(
                host=host.name,
                connection=self.number,
                helo=self.helo,
                tls=self.tls,
                sender=self.sender,
                parameters=self.parameters,
                recipients=self.recipients,
                data=data,
                peer=peer,
                username=self.username,
            )
        )
        self.messages += 1
        self.clear()
        await self.say(250, "2.0.0 queued as 42")

    async def on_rset(self, _line: bytes) -> None:
        self.clear()
        await self.say(250, "2.0.0 ok")

    async def on_noop(self, _line: bytes) -> None:
        await self.say(250, "2.0.0 ok")

    async def on_quit(self, _line: bytes) -> None:
        await self.say(221, "2.0.0 bye")
        raise Gone


_VERBS = {
    b"EHLO": _Dialogue.on_ehlo,
    b"HELO": _Dialogue.on_helo,
    b"STAR": _Dialogue.on_starttls,
    b"AUTH": _Dialogue.on_auth,
    b"MAIL": _Dialogue.on_mail,
    b"RCPT": _Dialogue.on_rcpt,
    b"DATA": _Dialogue.on_data,
    b"RSET": _Dialogue.on_rset,
    b"NOOP": _Dialogue.on_noop,
    b"QUIT": _Dialogue.on_quit,
}

_STAGES = {
    b"EHLO": "ehlo",
    b"HELO": "helo",
    b"STAR": "starttls",
    b"MAIL": "mail",
    b"RCPT": "rcpt",
    b"DATA": "data",
    b"RSET": "rset",
}

_GREETINGS = {
    "greet-http": b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n",
    "greet-garbage": b"\xff\xfe\x00\x01 hello\r\n",
    "greet-barelf": b"220 mx.test ESMTP\n",
    "greet-endless": b"220-" + b"x" * 100_000,
}


def words(faults: Iterable[str] | str) -> tuple[str, ...]:
    """Return a script given as one string or several words."""
    return tuple(faults.split()) if isinstance(faults, str) else tuple(faults)
