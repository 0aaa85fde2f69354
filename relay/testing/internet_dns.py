"""A name server on loopback that answers from a literal, over UDP and TCP, and can misbehave on purpose."""

import asyncio
import contextlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

_CHAIN_MAX = 25
_UDP_MAX_BYTES = 1232

Zones = Mapping[str, Mapping[str, object]]
"""Names to records by type, as text: {"a.test": {"MX": ["10 mx.a.test."], "TTL": 60}, "mx.a.test": {"A": [...]}}.

`FAULT` on a name: servfail, timeout, wrong-id, wrong-question, garbage, truncated, refused, pointer-loop. `SLOW`
delays its answers by that many seconds. A CNAME is followed as a recursive server would.
"""


@dataclass
class FakeDns:
    """The server. `zones` may be changed while it runs; `queries` tells what was asked: name, type, udp or tcp."""

    zones: dict[str, Mapping[str, object]] = field(default_factory=dict)
    queries: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = "127.0.0.1"
    port: int = 0
    _udp: asyncio.DatagramTransport | None = None
    _tcp: asyncio.Server | None = None

    @property
    def nameserver(self) -> str:
        """The server as `dns.nameservers` wants it."""
        return f"{self.address}:{self.port}"

    async def start(self) -> None:
        """Listen on a free port, the same one for UDP and TCP."""
        loop = asyncio.get_running_loop()
        for _ in range(50):
            self._tcp = await asyncio.start_server(self._serve_tcp, self.address, 0)
            self.port = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=(self.address, self.port)
                )
            except OSError:
                self._tcp.close()
                continue
            return
        raise OSError("no port is free for both UDP and TCP")

    async def stop(self) -> None:
        """Stop listening."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                answer = self.answer(await reader.readexactly(size), "tcp")
                for part in answer:
                    writer.write(struct.pack("!H", len(part)) + part)
        writer.close()

    def answer(self, wire: bytes, transport: str) -> Sequence[bytes]:
        """Return the datagrams that answer a query, none for a time-out."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return ()
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.queries.append((name, dns.rdatatype.to_text(question.rdtype), transport))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        records = self.zones.get(name)
        fault = str(records.get("FAULT", "")) if records else ""
        if fault:
            return _faulty(fault, wire, query, response, transport) or self._sized(self._filled(response), transport)
        return self._sized(self._filled(response), transport)

    def delay(self, wire: bytes) -> float:
        """Return how long the answer to a query is held back, in seconds."""
        with contextlib.suppress(dns.exception.DNSException, IndexError):
            name = dns.message.from_wire(wire).question[0].name.to_text(omit_final_dot=True).lower()
            return float(str(self.zones.get(name, {}).get("SLOW", 0)))
        return 0.0

    def _sized(self, response: dns.message.Message, transport: str) -> Sequence[bytes]:
        wire = response.to_wire(max_size=65535)
        if transport == "tcp" or len(wire) <= _UDP_MAX_BYTES:
            return (wire,)
        response.answer = []
        response.flags |= dns.flags.TC
        return (response.to_wire(),)

    def _filled(self, response: dns.message.Message) -> dns.message.Message:
        question = response.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        owner = question.name
        for _ in range(_CHAIN_MAX):
            records = self.zones.get(owner.to_text(omit_final_dot=True).lower())
            if records is None:
                if owner is question.name or not response.answer:
                    response.set_rcode(dns.rcode.NXDOMAIN)
                return response
            ttl = int(str(records.get("TTL", 60)))
            texts = records.get(kind)
            if isinstance(texts, (list, tuple)) and texts:
                response.answer.append(dns.rrset.from_text(owner, ttl, dns.rdataclass.IN, question.rdtype, *texts))
                return response
            target = records.get("CNAME")
            if target is None:
                return response
            response.answer.append(dns.rrset.from_text(owner, ttl, "IN", "CNAME", f"{str(target).rstrip('.')}."))
            owner = dns.name.from_text(str(target))
        return response


def _faulty(
    fault: str, wire: bytes, query: dns.message.Message, response: dns.message.Message, transport: str
) -> Sequence[bytes]:
    """Return the answer that a fault makes of a query; empty: the fault does not apply here."""
    if fault in ("servfail", "refused"):
        response.set_rcode(dns.rcode.SERVFAIL if fault == "servfail" else dns.rcode.REFUSED)
        return (response.to_wire(),)
    if fault == "garbage":
        return (wire[:2] + b"\x81\x80" + b"\xff" * 30,)
    if fault == "pointer-loop":  # the owner name of the answer points at itself (RFC 1035 section 4.1.4)
        head = wire[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
        asked = (query.question[0].name.to_wire() or b"") + struct.pack("!HH", query.question[0].rdtype, 1)
        loop = struct.pack("!H", 0xC000 | (len(head) + len(asked)))
        return (head + asked + loop + struct.pack("!HHIH", query.question[0].rdtype, 1, 2**31, 4) + b"\x7f\0\0\1",)
    if fault == "truncated" and transport == "udp":
        response.flags |= dns.flags.TC
        return (response.to_wire(),)
    if fault == "wrong-id":
        response.id = (query.id + 1) & 0xFFFF
        return (response.to_wire(),)
    if fault == "wrong-question":
        forged = dns.message.make_response(dns.message.make_query("forged.test.", query.question[0].rdtype))
        forged.id = query.id
        return (forged.to_wire(),)
    return (b"",) if fault == "timeout" else ()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDns) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answers = self._server.answer(data, "udp")
        asyncio.get_running_loop().call_later(self._server.delay(data), self._send, answers, addr)

    def _send(self, answers: Sequence[bytes], addr: tuple[str, int]) -> None:
        for answer in answers:
            if answer and self._transport is not None and not self._transport.is_closing():
                self._transport.sendto(answer, addr)
