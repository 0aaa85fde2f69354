"""One listening socket of the SMTP door and the rules its new sessions get."""

import asyncio
import ipaddress
from typing import TYPE_CHECKING

from relay.smtp.server.command import in_networks
from relay.smtp.server.dialect import Dialect
from relay.smtpd.connection import SmtpConnection

if TYPE_CHECKING:
    from relay.smtp.server.policy import SessionPolicy
    from relay.smtpd.door import SmtpDoor


class SmtpListener:
    """Accepts connections until `stop`; `sessions` says how many of its connections are open."""

    def __init__(self, door: "SmtpDoor", policy: "SessionPolicy") -> None:
        self._door = door
        self._server: asyncio.Server | None = None
        self.sessions = 0
        self.name = ""
        self.use(policy)

    def use(self, policy: "SessionPolicy") -> None:
        """Give new sessions other rules; those that are open keep theirs."""
        self.dialect = Dialect(policy)
        self._trusted = _networks(policy.trusted_networks)
        self._allowed = _networks(policy.allowed_networks)
        self._denied = _networks(policy.denied_networks)
        self._proxies = _networks(policy.proxy_networks)
        self._front_ends = _networks(policy.xclient_networks)

    def serves(self, address: str) -> bool:
        """Say whether clients at an address are served at all: not denied, and allowed where only some are."""
        return not in_networks(address, self._denied) and (not self._allowed or in_networks(address, self._allowed))

    def proxied(self, address: str) -> bool:
        """Say whether connections from an address begin with a PROXY header."""
        return in_networks(address, self._proxies)

    def may_name(self, address: str) -> bool:
        """Say whether a client may use XCLIENT."""
        return in_networks(address, self._front_ends)

    def trusts(self, address: str) -> bool:
        """Say whether a peer may send without authentication."""
        return in_networks(address, self._trusted)

    def attach(self, server: asyncio.Server, name: str) -> None:
        """Take the server that accepts for this listener."""
        self._server = server
        self.name = name

    def connection(self) -> SmtpConnection:
        """Make the protocol of a new connection."""
        return SmtpConnection(self._door, self)

    def stop(self) -> None:
        """Accept no more and close the listening socket; open sessions go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def over(self) -> bool:
        """True once it was stopped and its last connection ended."""
        return self._server is None and self.sessions == 0

    def opened(self) -> None:
        """Count a connection."""
        self.sessions += 1

    def closed(self) -> None:
        """Count a connection that ended."""
        self.sessions -= 1


def _networks(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)
