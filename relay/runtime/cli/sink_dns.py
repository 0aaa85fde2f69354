"""The DNS server of `relay sink`: authoritative for development domains, silent about the rest of the world.

For each development domain it answers A/AAAA and MX with the sink itself, and TXT with the DKIM keys it is given.
Every other name is NXDOMAIN, so that nothing under test ever learns a real address. UDP and TCP, bounded.
"""

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

TTL_SECONDS = 5
UDP_PLAIN_MAX_BYTES = 512
UDP_EDNS_MAX_BYTES = 1232
TCP_CONNECTIONS_MAX = 64
TCP_IDLE_SECONDS = 10.0
TXT_STRING_MAX_BYTES = 255


@dataclass(frozen=True, slots=True)
class Zone:
    """What is answered: `domains` and `hosts` (lower-case A-labels), `address` of the sink, `texts` by full name.

    A domain has mail exchangers and everything below it belongs to the zone; a host has an address only.
    """

    domains: frozenset[str]
    address: str
    texts: Mapping[str, str] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()


def answer(query: dns.message.Message, zone: Zone) -> dns.message.Message:
    """Return the response to one query."""
    response = dns.message.make_response(query)
    if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
        response.set_rcode(dns.rcode.NOTIMP if query.opcode() != dns.opcode.QUERY else dns.rcode.FORMERR)
        return response
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    records = _records(name, zone)
    response.flags |= dns.flags.AA
    if records is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response
    for kind, values in records.items():
        if question.rdtype in (kind, dns.rdatatype.ANY):
            rrset = dns.rrset.from_text_list(question.name, TTL_SECONDS, dns.rdataclass.IN, kind, values)
            response.answer.append(rrset)
    return response


def _records(name: str, zone: Zone) -> dict[dns.rdatatype.RdataType, list[str]] | None:
    """Return what a name holds, {} for a name that only has names below it, None when it does not exist."""
    records: dict[dns.rdatatype.RdataType, list[str]] = {}
    parent = name.partition(".")[2]
    if name in zone.domains or name in zone.hosts or (name == f"mx.{parent}" and parent in zone.domains):
        version = ipaddress.ip_address(zone.address).version
        records[dns.rdatatype.A if version == 4 else dns.rdatatype.AAAA] = [zone.address]  # noqa: PLR2004
    if name in zone.domains:
        records[dns.rdatatype.MX] = [f"10 mx.{name}."]
    if name in zone.texts:
        records[dns.rdatatype.TXT] = [_quoted(zone.texts[name])]
    if records:
        return records
    below = any(known.endswith(f".{name}") for known in (*zone.domains, *zone.texts))
    return {} if below and any(name == domain or name.endswith(f".{domain}") for domain in zone.domains) else None


def _quoted(text: str) -> str:
    """Return a TXT value as strings of at most 255 octets (RFC 1035 section 3.3.14)."""
    parts = [text[i : i + TXT_STRING_MAX_BYTES] for i in range(0, len(text), TXT_STRING_MAX_BYTES)] or [""]
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)


def respond(packet: bytes, zone: Zone, *, udp: bool) -> bytes | None:
    """Return the response to one packet, None for what is no query (never an answer to an answer)."""
    try:
        query = dns.message.from_wire(packet)
    except (dns.exception.DNSException, ValueError, struct.error):
        return None
    if query.flags & dns.flags.QR:
        return None
    response = answer(query, zone)
    if not udp:
        return response.to_wire()
    room = min(max(query.payload, UDP_PLAIN_MAX_BYTES), UDP_EDNS_MAX_BYTES)
    try:
        return response.to_wire(max_size=room)
    except dns.exception.TooBig:
        short = dns.message.make_response(query)
        short.flags |= dns.flags.TC | dns.flags.AA
        return short.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, zone: Callable[[], Zone]) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = respond(data, self._zone(), udp=True)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


class DnsServer:
    """Serves a zone on one port, UDP and TCP; `zone` is called for each query and must be cheap."""

    def __init__(self, zone: Callable[[], Zone]) -> None:
        self._zone = zone
        self._connections = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port. Port 0 picks one that is free for both."""
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_tcp, host, port, limit=1 << 17)
        bound: int = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self._zone), (host, bound))
        return bound

    async def stop(self) -> None:
        """Stop listening."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= TCP_CONNECTIONS_MAX:
            writer.close()
            return
        self._connections += 1
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._dialogue(reader, writer)
        finally:
            self._connections -= 1
            writer.close()

    async def _dialogue(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(TCP_IDLE_SECONDS):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                packet = await reader.readexactly(length)
            reply = respond(packet, self._zone(), udp=False)
            if reply is None:
                return
            writer.write(struct.pack("!H", len(reply)) + reply)
            async with asyncio.timeout(TCP_IDLE_SECONDS):
                await writer.drain()
