"""The PROXY header: whole, cut anywhere, and everything that only looks like one."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.smtp.server.proxy_protocol import HEADER_MAX_BYTES, BadHeader, ProxyHeader, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def binary(command=0x21, family=0x11, addresses=bytes((192, 0, 2, 1, 10, 0, 0, 1)) + b"\0\1\0\2", tlvs=b""):
    rest = addresses + tlvs
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(rest)) + rest


V6 = bytes.fromhex("20010db8000000000000000000000001") * 2 + b"\0\1\0\2"
GOOD = [
    (b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 25\r\n", "192.0.2.1"),
    (b"PROXY TCP6 2001:DB8::1 ::1 0 65535\r\n", "2001:db8::1"),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2\r\n", "192.0.2.1"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ""),
    (binary(), "192.0.2.1"),
    (binary(tlvs=b"\x04\x00\x03abc" * 20), "192.0.2.1"),
    (binary(family=0x21, addresses=V6), "2001:db8::1"),
    (binary(command=0x20), ""),
    (binary(command=0x20, family=0, addresses=b""), ""),
    (binary(family=0, addresses=b""), ""),
    (binary(family=0x31, addresses=b"\0" * 216), ""),
    (binary(family=0x12), ""),
]


@pytest.mark.parametrize(("header", "address"), GOOD)
def test_headers(header, address):
    assert read_header(header + b"EHLO x\r\n") == ProxyHeader(address, len(header))
    for cut in range(len(header)):
        assert read_header(header[:cut]) is None, cut


@pytest.mark.parametrize(
    "text",
    [
        b"EHLO x\r\n", b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", b"PROXY\r\n", b"PROXY \r\n", b"PROXYTCP4",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n", b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n", b"PROXY UNIX a b\r\n",
        b"PROXY UNKNOWN" + b" " * 200, b"PROXY UNKNOWNX\r\n", b"\r\n\r\n\0\r\nQUIX", b"\x16\x03\x01\x02\x00",
        binary(command=0x11), binary(command=0x22), binary(family=0x41), binary(addresses=b"\1\2\3\4"),
        binary(family=0x21), SIGNATURE + b"\x21\x11\xff\xff",
    ],
)  # fmt: skip
def test_what_is_none(text):
    assert isinstance(read_header(text), BadHeader)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([header for header, _ in GOOD]), st.data())
def test_mutations_are_bounded(header, data):
    """Whatever comes, the reader has decided once it has the longest header."""
    text = bytearray(header)
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    found = read_header(bytes(text) + bytes(HEADER_MAX_BYTES))
    assert found is not None
    assert isinstance(found, BadHeader) or found.size_bytes <= HEADER_MAX_BYTES
