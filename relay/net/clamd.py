"""Asks clamd whether a message has a virus in it, by its own protocol: one INSTREAM command a connection.

The message goes in blocks with their length before them; the reply is one record that ends with NUL:
`stream: OK`, `stream: NAME FOUND`, or a text that ends with ERROR. Whatever else comes is a failed scan. clamd may
answer before it has everything (its StreamMaxLength), so the reply is awaited from the beginning.
Bounds: one deadline for the whole scan, `REPLY_MAX_BYTES` of reply.
"""

import asyncio
import contextlib
import re
import struct

from relay.model.content import Content
from relay.model.scan import Scan, ScanVerdict
from relay.net.blocks import blocks

REPLY_MAX_BYTES = 4096
_FOUND = re.compile(r"(?:[^:]{1,200}: )?(.{1,500}) FOUND")
_CLEAN = re.compile(r"(?:[^:]{1,200}: )?OK")


class ClamdScanner:
    """A clamd at `address`: the absolute path of its socket, or host:port."""

    label = "clamav"

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self.name = f"clamav {address}"
        self._address = address
        self._timeout_seconds = timeout_seconds

    async def scan(self, content: Content) -> Scan:
        """Return CLEAN, INFECTED with the name of the virus, or FAILED with the reason."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                reply = await self._ask(content)
        except TimeoutError:
            return Scan(ScanVerdict.FAILED, self.name, f"no answer within {self._timeout_seconds:g} s")
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            return Scan(ScanVerdict.FAILED, self.name, str(error) or type(error).__name__)
        return judge(reply, self.name)

    async def _ask(self, content: Content) -> str:
        reader, writer = await self._connect()
        reply = asyncio.ensure_future(_read(reader))
        try:
            with contextlib.suppress(ConnectionError):  # then the reply says why, or there is none
                await _stream(writer, content, reply)
            return (await reply).rstrip(b"\0\r\n").decode("utf-8", "replace")
        finally:
            reply.cancel()
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.startswith("/"):
            return await asyncio.open_unix_connection(self._address, limit=REPLY_MAX_BYTES)
        host, _, port = self._address.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port), limit=REPLY_MAX_BYTES)


async def _stream(writer: asyncio.StreamWriter, content: Content, reply: "asyncio.Future[bytes]") -> None:
    writer.write(b"zINSTREAM\0")
    for block in blocks(content):
        if reply.done():
            return
        writer.write(struct.pack(">I", len(block)))
        writer.write(block)
        await writer.drain()
        await asyncio.sleep(0)  # a peer that takes everything at once must not keep the loop
    writer.write(struct.pack(">I", 0))
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Return the reply with its NUL; one that ends with the connection will do."""
    try:
        return await reader.readuntil(b"\0")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise EOFError("clamd closed the connection without an answer") from error
        return error.partial


def judge(reply: str, scanner: str) -> Scan:
    """Return what a reply of clamd means."""
    if _CLEAN.fullmatch(reply):
        return Scan(ScanVerdict.CLEAN, scanner)
    found = _FOUND.fullmatch(reply)
    if found:
        return Scan(ScanVerdict.INFECTED, scanner, _printable(found.group(1)))
    if reply.endswith("ERROR"):
        return Scan(ScanVerdict.FAILED, scanner, _printable(reply))
    return Scan(ScanVerdict.FAILED, scanner, f"unintelligible answer: {_printable(reply[:100])}")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
