"""What a receiving host of `relay.testing.internet_host` says and hears on one connection."""

import asyncio
import base64
import re
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.testing.internet_faults import Gone, play, reply, until_closed

if TYPE_CHECKING:
    from relay.testing.internet_host import FakeHost

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


class Dialogue:
    """One connection to a `FakeHost`, which has the script."""

    def __init__(
        self, host: "FakeHost", number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
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
        """Forget the transaction."""
        self.sender: str | None = None
        self.parameters = ""
        self.recipients: list[str] = []

    def tls_version(self) -> str:
        """Return the version of TLS on the connection, "" for none."""
        found = self.writer.get_extra_info("ssl_object")
        return found.version() or "TLS" if found is not None else ""

    def peer_address(self) -> str:
        """Return the client's address; a client that left before it was looked at has none any more."""
        peer = self.writer.get_extra_info("peername")
        if peer is None:
            raise Gone
        return str(peer[0])

    async def say(self, code: int, *lines: str) -> None:
        """Write a reply, or what a fault makes of it."""
        texts = lines or (f"text for {code}",)
        fault = self.host.fault_at(self.stage)
        if fault:
            await play(fault, self, code, texts)
            return
        self.writer.write(reply(code, texts))
        await self.writer.drain()

    async def scripted(self, stage: str) -> bool:
        """Say the words that the script has for a stage now; False when it has none."""
        peer = self.peer_address()
        reply = self.host.replies_from.get(peer, {}).get(stage) or self.host.replies.get(stage)
        if reply is None:
            return False
        await self.raw(reply.encode() + b"\r\n")
        if reply.startswith("421") or stage == "greet":
            raise Gone
        return True

    async def raw(self, data: bytes) -> None:
        """Write octets."""
        if self.writer.is_closing():
            raise Gone
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # a drain that need not wait lets nobody else have a turn

    async def run(self) -> None:
        """Greet, then answer commands until one side has enough."""
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
        """Return the next command line."""
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
        """Say the greeting, or what stands in its place."""
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
        """Answer EHLO."""
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
        """Return the extensions that are announced now."""
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
        """Answer HELO."""
        self.helo = line[5:].decode("ascii", "replace")
        await self.say(self.host.status("helo") or 250, self.host.name)

    async def on_starttls(self, _line: bytes) -> None:
        """Answer STARTTLS."""
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
        """Answer AUTH."""
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
        """Answer MAIL."""
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
        """Refuse a command with a code; 421 ends the connection."""
        await self.say(code, f"{code // 100}.1.1 the script says so")
        if code == 421:  # noqa: PLR2004 - RFC 5321 section 3.8
            raise Gone

    async def on_rcpt(self, line: bytes) -> None:
        """Answer RCPT."""
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
        """Answer DATA."""
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
        """Return the message up to its final dot."""
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
        """End the connection with a reset."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def answer_dot(self, data: bytes) -> None:
        """Answer the final dot, and keep the message that is taken."""
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
        peer = self.peer_address()
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
        """Answer RSET."""
        self.clear()
        await self.say(250, "2.0.0 ok")

    async def on_noop(self, _line: bytes) -> None:
        """Answer NOOP."""
        await self.say(250, "2.0.0 ok")

    async def on_quit(self, _line: bytes) -> None:
        """Answer QUIT."""
        await self.say(221, "2.0.0 bye")
        raise Gone


_VERBS = {
    b"EHLO": Dialogue.on_ehlo,
    b"HELO": Dialogue.on_helo,
    b"STAR": Dialogue.on_starttls,
    b"AUTH": Dialogue.on_auth,
    b"MAIL": Dialogue.on_mail,
    b"RCPT": Dialogue.on_rcpt,
    b"DATA": Dialogue.on_data,
    b"RSET": Dialogue.on_rset,
    b"NOOP": Dialogue.on_noop,
    b"QUIT": Dialogue.on_quit,
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
