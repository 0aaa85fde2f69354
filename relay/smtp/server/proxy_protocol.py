"""The header of the PROXY protocol, versions 1 and 2, which a load balancer puts before everything its client says.

Reading is bounded (107 octets in version 1, `HEADER_MAX_BYTES` in version 2) and strict: what is not exactly a header
is malformed, and then the connection has no meaning. TLVs are skipped. A header may say that it does not know the
client (UNKNOWN, or no IP address), or that the balancer itself connects (LOCAL, for a health check).
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from relay.smtp.server.command import plain_address

HEADER_MAX_BYTES: Final = 16 + 2048
_LINE_MAX_BYTES: Final = 107
_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_BYTES: Final = 16
_TCP: Final = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\Z"
)
_PORT_MAX: Final = 65535
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES: Final = {0x11: 4, 0x21: 16}  # TCP over IPv4, IPv6: octets of an address
_OTHERS: Final = frozenset((0x00, 0x12, 0x22, 0x31, 0x32))  # unspecified, UDP, Unix sockets


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole header of `size_bytes` octets; `address` is the client's, "" when it is not known."""

    address: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BadHeader:
    """What arrived is no header, for the reason in `text`."""

    text: str


def read_header(data: bytes) -> ProxyHeader | BadHeader | None:
    """Return the header at the beginning of what arrived, None while it is incomplete."""
    if data.startswith(_V1):
        return _read_line(data)
    if data.startswith(_V2):
        return _read_binary(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    return BadHeader("no PROXY header")


def _read_line(data: bytes) -> ProxyHeader | BadHeader | None:
    end = data.find(b"\r\n", 0, _LINE_MAX_BYTES)
    if end < 0:
        return None if len(data) < _LINE_MAX_BYTES else BadHeader("line too long")
    line, size = data[:end], end + 2
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader("", size)
    found = _TCP.match(line)
    if found is None or max(int(found.group(4)), int(found.group(5))) > _PORT_MAX:
        return BadHeader("malformed line")
    version = 4 if found.group(1) == b"TCP4" else 6
    try:
        source, target = (ipaddress.ip_address(found.group(number).decode()) for number in (2, 3))
    except ValueError:
        return BadHeader("malformed address")
    if source.version != version or target.version != version:
        return BadHeader("address of another family")
    return ProxyHeader(plain_address(source), size)


def _read_binary(data: bytes) -> ProxyHeader | BadHeader | None:
    if len(data) < _FIXED_BYTES:
        return None
    command, family = data[12], data[13]
    size = _FIXED_BYTES + int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXY):
        return BadHeader("unknown version or command")
    if size > HEADER_MAX_BYTES:
        return BadHeader("too long")
    if command == _PROXY and family not in _FAMILIES and family not in _OTHERS:
        return BadHeader("unknown family")
    if len(data) < size:
        return None
    if command == _LOCAL or family in _OTHERS:
        return ProxyHeader("", size)
    octets = _FAMILIES[family]
    if size < _FIXED_BYTES + 2 * octets + 4:
        return BadHeader("addresses are cut off")
    return ProxyHeader(plain_address(ipaddress.ip_address(data[_FIXED_BYTES : _FIXED_BYTES + octets])), size)
