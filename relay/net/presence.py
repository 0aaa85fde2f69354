"""Which addresses this host has: found by binding them, which is what a connection will do.

It sends nothing and costs a few microseconds for each address. With `net.ipv4.ip_nonlocal_bind` set the kernel binds
any address, and then every address counts as there.
"""

import socket
from collections.abc import Iterable


def has_address(address: str) -> bool:
    """Say whether mail can leave from an address now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def missing(addresses: Iterable[str]) -> list[str]:
    """Return those that the host does not have."""
    return [address for address in addresses if not has_address(address)]
