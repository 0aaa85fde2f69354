"""One listening socket of the SMTP door and the rules its new sessions get."""

import asyncio
import ipaddress
from typing import TYPE_CHECKING

from relay.smtp.command import in_networks
from relay.smtp.server import Dialect
from relay.smtpd.connection import SmtpConnection

if TYPE_CHECKING:
    from relay.smtp.server_policy import SessionPolicy
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
        self._networks = tuple(ipaddress.ip_network(network) for network in policy.trusted_networks)

    def trusts(self, address: str) -> bool:
        """Say whether a peer may send without authentication."""
        return in_networks(address, self._networks)

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
