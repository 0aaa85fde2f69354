"""Which addresses mail exchangers may have: a pure judgement (decision 8). Routes of the operator are not judged."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1
_METADATA = frozenset({"169.254.169.254", "fd00:ec2::254", "100.100.100.200"})
_LOW_32_BITS = 0xFFFFFFFF


class Guard:
    """Judges addresses. `own` are the addresses this machine listens on or sends from."""

    def __init__(self, own: Iterable[str] = (), *, allow_private: bool = False) -> None:
        self._own = frozenset(str(ipaddress.ip_address(address)) for address in own)
        self._allow_private = allow_private

    def judge(self, address: str) -> str:
        """Return "own" (loopback too), "private" (whatever the public Internet does not route), or "" when good."""
        try:
            ip = _unwrapped(ipaddress.ip_address(address))
        except ValueError:
            return "private"
        if ip.is_multicast or ip.is_unspecified:
            return "private"
        if self._allow_private:
            return ""
        if ip.is_loopback or str(ip) in self._own:
            return "own"
        return "" if ip.is_global and str(ip) not in _METADATA else "private"


@lru_cache(maxsize=1024)
def _unwrapped(ip: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
    if inner is None and ip in _NAT64:
        inner = ipaddress.IPv4Address(int(ip) & _LOW_32_BITS)
    return inner or ip
