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
_MANY = 50
_SILENCE = (b"",)
_DROP = (b"drop",)

Zones = Mapping[str, Mapping[str, object]]
"""Names to records by type, as text: {"a.test": {"MX": ["10 mx.a.test."], "TTL": 60}, "mx.a.test": {"A": [...]}}.

`FAULT` on a name: servfail, timeout, wrong-id, wrong-question, garbage, truncated, refused, pointer-loop, lame (a
referral), other-names (records of another name), spoofed (forgeries in front of the answer), mixed-case (the question
comes back in other letters), tcp-silent, tcp-drop (truncated, and no answer over TCP). `FAULT-A` is one for that type
alone. `SLOW` delays its answers by that many seconds. A CNAME is followed as a recursive server would. `AD` says that
the name is in a signed zone: answers that consist of such names only carry the bit, for who asks for it.
"""


@dataclass
class FakeDns:
    """The server. `zones` may be changed while it runs; `queries` tells what was asked: name, type, udp or tcp."""

    zones: dict[str, Mapping[str, object]] = field(default_factory=dict)
    queries: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = "127.0.0.1"
    port: int = 0
    dead: bool = False  # says nothing at all
    _made: dict[tuple[str, int], tuple[Sequence[str], dns.rrset.RRset]] = field(default_factory=dict)
    _wires: dict[str, tuple[dns.rrset.RRset, bytes]] = field(default_factory=dict)
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
                wire = await reader.readexactly(size)
                answer = self.answer(wire, "tcp")
                if answer == _DROP:
                    break
                for part in filter(None, answer):
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
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries.append((name, kind, transport))
        if self.dead:
            return ()
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        records = self.zones.get(name)
        fault = str(records.get(f"FAULT-{kind}", records.get("FAULT", ""))) if records else ""
        if fault:
            in_front = [_forged(query)] if fault == "spoofed" else []
            bad = _faulty(fault, wire, query, response, transport)
            return bad or [*in_front, *self._sized(self._filled(response), transport)]
        filled = self._filled(response)
        if query.flags & dns.flags.AD and self._validated(filled):
            filled.flags |= dns.flags.AD
        return self._sized(filled, transport)

    def _validated(self, response: dns.message.Message) -> bool:
        names = {response.question[0].name, *(rrset.name for rrset in response.answer)}
        return all(self.zones.get(name.to_text(omit_final_dot=True).lower(), {}).get("AD") for name in names)

    def delay(self, wire: bytes) -> float:
        """Return how long the answer to a query is held back, in seconds."""
        with contextlib.suppress(dns.exception.DNSException, IndexError):
            name = dns.message.from_wire(wire).question[0].name.to_text(omit_final_dot=True).lower()
            return float(str(self.zones.get(name, {}).get("SLOW", 0)))
        return 0.0

    def _sized(self, response: dns.message.Message, transport: str) -> Sequence[bytes]:
        wire = self._wire(response)
        if transport == "tcp" or len(wire) <= _UDP_MAX_BYTES:
            return (wire,)
        response.answer = []
        response.flags |= dns.flags.TC
        return (response.to_wire(),)

    def _wire(self, response: dns.message.Message) -> bytes:
        """Return an answer as bytes; a large one, which takes long to write, is written once."""
        large = next((rrset for rrset in response.answer if len(rrset) >= _MANY), None)
        if large is None:
            return response.to_wire(max_size=65535)
        asked = response.question[0].name.to_text()
        known = self._wires.get(asked)
        if known is None or known[0] is not large:
            known = self._wires[asked] = large, response.to_wire(max_size=65535)[2:]
        return struct.pack("!H", response.id) + known[1]

    def _rrset(
        self, owner: dns.name.Name, ttl: int, rdtype: dns.rdatatype.RdataType, texts: Sequence[str]
    ) -> dns.rrset.RRset:
        """Make a record set, or find a large one that was made before."""
        if len(texts) < _MANY:
            return dns.rrset.from_text(owner, ttl, dns.rdataclass.IN, rdtype, *texts)
        key = owner.to_text(), rdtype
        known = self._made.get(key)
        if known is None or known[0] is not texts:
            made = dns.rrset.from_text(owner, ttl, dns.rdataclass.IN, rdtype, *texts)
            known = self._made[key] = texts, made
        return known[1]

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
                response.answer.append(self._rrset(owner, ttl, question.rdtype, texts))
                return response
            target = records.get("CNAME")
            if target is None:
                return response
            response.answer.append(dns.rrset.from_text(owner, ttl, "IN", "CNAME", f"{str(target).rstrip('.')}."))
            owner = dns.name.from_text(str(target))
        return response


def _forged(query: dns.message.Message) -> bytes:
    """Return what an attacker sends who can guess the port and not the id: the same question, an address of his."""
    question = query.question[0]
    forged = dns.message.make_response(query)
    forged.id = (query.id + 1) & 0xFFFF
    text = "10 forged.test." if question.rdtype == dns.rdatatype.MX else "127.0.0.66"
    if question.rdtype in (dns.rdatatype.MX, dns.rdatatype.A):
        forged.answer.append(dns.rrset.from_text(question.name, 60, dns.rdataclass.IN, question.rdtype, text))
    return forged.to_wire()


def _beside(fault: str, response: dns.message.Message) -> Sequence[bytes]:
    """Return an answer beside the question; empty: only its letters are others."""
    question = response.question[0]
    if fault == "mixed-case":
        letters = question.name.to_text()
        name = "".join(letter.upper() if n % 2 else letter for n, letter in enumerate(letters))
        question.name = dns.name.from_text(name)
        return ()
    if fault == "lame":
        response.flags &= ~dns.flags.RA
        response.authority.append(dns.rrset.from_text("test.", 60, "IN", "NS", "ns1.test.", "ns2.test."))
    else:
        kind, text = ("MX", "10 forged.test.") if question.rdtype == dns.rdatatype.MX else ("A", "127.0.0.66")
        response.answer.append(dns.rrset.from_text("other.test.", 60, "IN", kind, text))
    return (response.to_wire(),)


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
    if fault in ("lame", "other-names", "mixed-case"):
        return _beside(fault, response)
    if fault in ("tcp-silent", "tcp-drop") and transport == "tcp":
        return _SILENCE if fault == "tcp-silent" else _DROP
    if fault in ("truncated", "tcp-silent", "tcp-drop") and transport == "udp":
        response.flags |= dns.flags.TC
        return (response.to_wire(),)
    if fault == "wrong-id":
        response.id = (query.id + 1) & 0xFFFF
        return (response.to_wire(),)
    if fault == "wrong-question":
        forged = dns.message.make_response(dns.message.make_query("forged.test.", query.question[0].rdtype))
        forged.id = query.id
        return (forged.to_wire(),)
    return _SILENCE if fault == "timeout" else ()


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
