"""The DNS answers of the development sink: what exists, what does not, and how large they may be."""

import asyncio
import contextlib

import dns.asyncquery
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from relay.runtime.cli.sink_dns import DnsServer, Zone, answer, respond

KEY = "v=DKIM1; k=rsa; p=" + "A" * 400
ZONE = Zone(
    frozenset({"dev.test", "example.com"}), "127.0.0.1", {"one._domainkey.dev.test": KEY, "quote.dev.test": 'a"b\\c'}
)


def ask(name, kind):
    return answer(dns.message.make_query(name, kind), ZONE)


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "expected"),
    [
        ("dev.test", "MX", "NOERROR", ["10 mx.dev.test."]),
        ("DEV.Test", "MX", "NOERROR", ["10 mx.dev.test."]),
        ("dev.test", "A", "NOERROR", ["127.0.0.1"]),
        ("mx.dev.test", "A", "NOERROR", ["127.0.0.1"]),
        ("dev.test", "AAAA", "NOERROR", []),
        ("_domainkey.dev.test", "TXT", "NOERROR", []),
        ("other.dev.test", "A", "NXDOMAIN", []),
        ("mx.other.test", "A", "NXDOMAIN", []),
        ("test", "A", "NXDOMAIN", []),
        ("gmail.com", "MX", "NXDOMAIN", []),
    ],
)
def test_answers(name, kind, rcode, expected):
    response = ask(name, kind)
    assert dns.rcode.to_text(response.rcode()) == rcode
    assert [rdata.to_text() for rrset in response.answer for rdata in rrset] == expected


def test_key_is_published_whole_in_strings_of_255():
    (rrset,) = ask("one._domainkey.dev.test", "TXT").answer
    strings = next(iter(rrset)).strings
    assert b"".join(strings) == KEY.encode()
    assert max(map(len, strings)) <= 255


def test_quotes_in_a_text_survive():
    (rrset,) = ask("quote.dev.test", "TXT").answer
    assert b"".join(next(iter(rrset)).strings) == b'a"b\\c'


def test_ipv6_sink_answers_aaaa():
    zone = Zone(frozenset({"dev.test"}), "::1")
    response = answer(dns.message.make_query("dev.test", "AAAA"), zone)
    assert [rdata.to_text() for rdata in response.answer[0]] == ["::1"]


@pytest.mark.parametrize(
    "packet", [b"", b"\x00", b"\xff" * 12, b"\x00" * 11, b"\x12\x34\x01\x00\x00\x01" + b"\xc0\x0c" * 8]
)
def test_garbage_gets_no_answer(packet):
    assert respond(packet, ZONE, udp=True) is None


def test_answers_are_never_answered():
    query = dns.message.make_query("dev.test", "A")
    assert respond(dns.message.make_response(query).to_wire(), ZONE, udp=True) is None


def test_large_answer_over_udp_is_truncated_and_whole_over_tcp():
    zone = Zone(frozenset({"dev.test"}), "127.0.0.1", {"big.dev.test": "x" * 3000})
    query = dns.message.make_query("big.dev.test", "TXT").to_wire()
    short = dns.message.from_wire(respond(query, zone, udp=True))
    assert short.flags & dns.flags.TC
    assert not short.answer
    whole = dns.message.from_wire(respond(query, zone, udp=False))
    assert sum(len(part) for part in next(iter(whole.answer[0])).strings) == 3000


def test_real_queries_over_udp_and_tcp():
    async def run():
        server = DnsServer(lambda: ZONE)
        port = await server.start("127.0.0.1", 0)
        try:
            query = dns.message.make_query("one._domainkey.dev.test", "TXT", use_edns=0, payload=1232)
            over_udp = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=5)
            over_tcp = await dns.asyncquery.tcp(query, "127.0.0.1", port=port, timeout=5)
            assert over_udp.answer == over_tcp.answer != []
            # A client that says nothing sensible is cut off, others go on.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\x00\x03abc")
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            again = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=5)
            assert again.answer == over_udp.answer
        finally:
            await server.stop()

    asyncio.run(run())
